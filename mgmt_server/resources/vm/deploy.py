"""A new machine's rows, in the transaction of the call."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.api.context import Context
from mgmt_server.api.passwords import generated
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.model.account import Account
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import DiskOffering, NetworkOffering, OfferedTo, ServiceOffering
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.vm import SshKeyPair, Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.instancegroup.rows import group_named
from mgmt_server.resources.network.create import Wish, create_network
from mgmt_server.resources.network.nics import add_nic
from mgmt_server.resources.template.views import status

USER_DATA_LIMIT = Setting("vm.userdata.max.length", "Bytes that user data may have, decoded", least=0, most=2**20)
PASSWORD_LENGTH = Setting(
    "vm.password.length", "Characters of generated passwords of machines", default="8", least=8, most=100
)
GIB = 2**30


@dataclass
class Request:
    """What was asked for, resolved."""

    zone: Zone
    offering: ServiceOffering
    template: Template
    owner: Account
    networks: list[Network]
    name: str | None = None
    display_name: str | None = None
    addresses: dict[int, str] = field(default_factory=dict)  # by network
    disk: DiskOffering | None = None
    disk_size: int | None = None  # GiB
    root_size: int | None = None  # GiB
    user_data: str | None = None
    keys: list[str] = field(default_factory=list)
    password: str | None = None
    group: str | None = None
    hypervisor: str | None = None
    details: dict[str, str] = field(default_factory=dict)
    display: bool = True
    uuid: str | None = None
    dynamic: bool = False


def add_machine(ctx: Context, asked: Request) -> Vm:
    """Add machine, disks and NICs. Raises InvalidValue naming what does not fit, NoAddress for a full network."""
    tx, zone = ctx.session, asked.zone
    _check_zone(ctx, asked)
    cpus, speed, memory = _size(asked)
    names, keys = _keys(tx, asked)
    uuid = asked.uuid
    vm = Vm(
        **({"uuid": uuid} if uuid else {}),
        name=asked.name or "",
        display_name=asked.display_name or asked.name,
        kind="User",
        state="Stopped",
        account_id=asked.owner.id,
        domain_id=asked.owner.domain_id,
        user_id=ctx.caller.user_id,
        zone_id=zone.id,
        service_offering_id=asked.offering.id,
        template_id=asked.template.id,
        os_type_id=asked.template.os_type_id,
        hypervisor=_hypervisor(tx, asked),
        cpus=cpus,
        speed=speed,
        memory=memory,
        ha_enabled=asked.offering.offer_ha,
        dynamically_scalable=asked.dynamic,
        display=asked.display,
        group_id=group_named(ctx, asked.owner.id, asked.owner.domain_id, asked.group).id if asked.group else None,
        user_data=user_data(asked.user_data),
        key_pairs=names or None,
        public_keys=keys or None,
        password=_password(asked),
        vnc_password=secrets.token_urlsafe(6),
        details=dict(asked.details),
    )
    if not vm.name:
        from mgmt_server.db import new_uuid

        vm.uuid = vm.uuid or new_uuid()
        vm.name = f"VM-{vm.uuid}"
        vm.display_name = vm.display_name or vm.name
    else:
        _free_host_name(tx, vm.name, asked.networks)
    tx.add(vm)
    tx.flush()
    _add_volumes(tx, vm, asked)
    for device, network in enumerate(asked.networks):
        wanted = asked.addresses.get(network.id)
        add_nic(tx, vm, network, zone, device=device, default=device == 0, wanted=wanted)
    counted.machine_comes(tx, vm)
    return vm


def _check_zone(ctx: Context, asked: Request) -> None:
    zone = asked.zone
    if zone.allocation_state != "Enabled" and not ctx.caller.is_root:
        raise InvalidValue(f"The zone {zone.name} is disabled: only root administrators deploy there")
    for network in asked.networks:
        if network.zone_id != zone.id:
            raise InvalidValue(f"The network {network.name} is not in the zone {zone.name}")
        if network.is_system:
            raise InvalidValue(f"The network {network.name} is the system's own")
    chosen = {o.uuid: o.name for o in (asked.offering, asked.disk) if o is not None}
    theirs = OfferedTo.offering.in_(chosen) & OfferedTo.zone_id.is_not(None)
    rows = select(
        _images(asked).where(TemplateOnStore.state == "Ready").exists(), OfferedTo.offering, OfferedTo.zone_id
    )
    rows = rows.select_from(Template).outerjoin(OfferedTo, theirs).where(Template.id == asked.template.id)
    found = ctx.session.execute(rows).all()
    for uuid, name in chosen.items():
        zones = {z for _, offering, z in found if offering == uuid}
        if zones and zone.id not in zones:
            raise InvalidValue(f"The offering {name} is not for the zone {zone.name}")
    if asked.offering.is_system:
        raise InvalidValue(f"The offering {asked.offering.name} is for system VMs")
    if asked.template.format == "ISO":
        raise InvalidValue("Deploying from an ISO is not supported in this version: choose a template")
    if asked.template.type == "SYSTEM":
        raise InvalidValue(f"The template {asked.template.name} is for system VMs")
    if not found[0][0]:
        raise _not_ready(ctx.session, asked)


def _images(asked: Request) -> Select[Any]:
    """The template's images in the zone."""
    return select(TemplateOnStore.state, TemplateOnStore.progress, TemplateOnStore.error).where(
        TemplateOnStore.template_id == asked.template.id,
        TemplateOnStore.zone_id == asked.zone.id,
        TemplateOnStore.store_id.in_(select(ImageStore.id).where(ImageStore.removed.is_(None))),
    )


def _not_ready(tx: Session, asked: Request) -> InvalidValue:
    """Said at the call: the job could only fail."""
    row = tx.execute(_images(asked).order_by(TemplateOnStore.id.desc()).limit(1)).first()
    state, told = (row.state, status(*row)) if row else ("Absent", status(None, None, None))
    return InvalidValue(
        f"The template {asked.template.name} is not ready in the zone {asked.zone.name}, it is {state} ({told}): wait "
        "until listTemplates shows isready=true"
    )


def _size(asked: Request) -> tuple[int, int, int]:
    """cpus, MHz, MiB: from the offering, where it is customised from details."""
    offering, details = asked.offering, asked.details
    if not offering.customized:
        given = [k for k in ("cpuNumber", "cpuSpeed", "memory") if k in details]
        if given:
            raise InvalidValue(f"The offering {offering.name} is fixed: leave {', '.join(given)} out of details")
        return offering.cpus or 1, offering.speed or 0, offering.memory or 0

    def number(key: str, fixed: int | None, least: int) -> int:
        if fixed is not None:
            return fixed
        text = details.get(key)
        if text is None or not text.isdecimal() or int(text) < least:
            raise InvalidValue(
                f"The offering {offering.name} leaves {key} to you: send details[0].{key}, at least {least}"
            )
        _within(key, int(text))
        return int(text)

    def _within(key: str, value: int) -> None:
        names = {"cpuNumber": ("mincpunumber", "maxcpunumber"), "memory": ("minmemory", "maxmemory")}.get(key)
        for name, wrong in ((names[0], int.__lt__), (names[1], int.__gt__)) if names else ():
            limit = offering.details.get(name)
            if limit is not None and wrong(value, int(limit)):
                raise InvalidValue(
                    f"{key}={value} is outside what the offering {offering.name} allows ({name} {limit})"
                )

    return (
        number("cpuNumber", offering.cpus, 1),
        number("cpuSpeed", offering.speed, 1),
        number("memory", offering.memory, 32),
    )


def _hypervisor(tx: Session, asked: Request) -> str:
    if asked.hypervisor and asked.hypervisor.lower() != asked.template.hypervisor.lower():
        raise InvalidValue(
            f"hypervisor={asked.hypervisor} does not fit the template {asked.template.name}, which is for "
            f"{asked.template.hypervisor}"
        )
    if asked.template.hypervisor in ("None", "Any", ""):
        rows = select(Host.hypervisor).where(Host.zone_id == asked.zone.id, Host.removed.is_(None))
        return tx.scalar(rows.limit(1)) or "KVM"
    return asked.template.hypervisor


def _keys(tx: Session, asked: Request) -> tuple[str, str]:
    """Names and texts of the key pairs."""
    if not asked.keys:
        return "", ""
    rows = select(SshKeyPair).where(
        SshKeyPair.account_id == asked.owner.id, SshKeyPair.name.in_(asked.keys), SshKeyPair.removed.is_(None)
    )
    found = {k.name: k.public_key for k in tx.scalars(rows)}
    missing = [k for k in asked.keys if k not in found]
    if missing:
        raise InvalidValue(f"There is no SSH key pair named {', '.join(missing)} in the account {asked.owner.name}")
    return ",".join(asked.keys), "\n".join(found[k].strip() for k in asked.keys)


def user_data(text: str | None) -> str | None:
    """User data as it was sent, once it is known to be base64 and not too long."""
    if not text:
        return None
    compact = "".join(text.split()).replace("-", "+").replace("_", "/")
    compact += "=" * (-len(compact) % 4)
    try:
        raw = base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue("userdata is no base64 text: encode it first") from None
    limit = USER_DATA_LIMIT.number() or 32768
    if len(raw) > limit:
        raise InvalidValue(f"userdata has {len(raw)} bytes; the setting vm.userdata.max.length allows {limit}")
    return compact


def _password(asked: Request) -> str | None:
    if not asked.template.password_enabled:
        if asked.password:
            raise InvalidValue(f"The template {asked.template.name} cannot take a password: leave it out")
        return None
    return asked.password or generated(PASSWORD_LENGTH.number())


def _free_host_name(tx: Session, name: str, networks: list[Network]) -> None:
    """Two machines of one name in one network could not be told apart by its name service."""
    if not networks:
        return
    rows = select(Network.name).join(Nic, Nic.network_id == Network.id).join(Vm, Vm.id == Nic.vm_id)
    rows = rows.where(
        Vm.name == name, Vm.removed.is_(None), Nic.removed.is_(None), Nic.network_id.in_([n.id for n in networks])
    )
    taken = tx.scalar(rows.limit(1))
    if taken is not None:
        raise InvalidValue(f"The vm with hostName {name} already exists in the network {taken}: choose another name")


def _add_volumes(tx: Session, vm: Vm, asked: Request) -> None:
    common: dict[str, Any] = {
        "zone_id": vm.zone_id,
        "account_id": vm.account_id,
        "domain_id": vm.domain_id,
        "vm_id": vm.id,
    }
    size = _root_size(asked)
    root = Volume(
        name=f"ROOT-{vm.id}", kind="ROOT", size=size, device=0, slot=0, template_id=asked.template.id,
        disk_offering_id=asked.offering.disk_offering_id, **common,
    )  # fmt: skip
    tx.add(root)
    counted.volumes_come(tx, [root])
    if asked.disk is None:
        return
    if asked.disk.customized:
        if not asked.disk_size:
            raise InvalidValue(f"The disk offering {asked.disk.name} leaves the size to you: send size in GiB")
        bytes_ = asked.disk_size * GIB
    else:
        bytes_ = asked.disk.size
    data = Volume(
        name=f"DATA-{vm.id}", kind="DATADISK", size=bytes_, device=1, slot=1, disk_offering_id=asked.disk.id,
        provisioning=asked.disk.provisioning, **common,
    )  # fmt: skip
    tx.add(data)
    counted.volumes_come(tx, [data])


def _root_size(asked: Request) -> int:
    least = asked.template.size or GIB
    wished = asked.root_size * GIB if asked.root_size is not None else (asked.offering.root_disk_size or least)
    if asked.root_size is not None and wished < least:
        raise InvalidValue(f"rootdisksize={asked.root_size} GiB is less than the template's {-(-least // GIB)} GiB")
    return max(wished, least)


def networks_for(ctx: Context, zone: Zone, owner: Account) -> list[Network]:
    """Where a machine goes when no network was named: the zone's shared one in a Basic zone, else the account's own.

    An account without one gets the default isolated network, as it always has.
    """
    tx = ctx.session
    rows = select(Network).where(Network.zone_id == zone.id, Network.removed.is_(None), ~Network.is_system)
    if zone.network_type == "Basic" or zone.security_groups:
        shared = list(tx.scalars(rows.where(Network.guest_type == "Shared").order_by(Network.id).limit(1)))
        if not shared:
            raise InvalidValue(f"The zone {zone.name} has no guest network yet: create a shared one first")
        return shared
    offerings = select(NetworkOffering).where(
        NetworkOffering.availability == "Required",
        NetworkOffering.guest_type == "Isolated",
        NetworkOffering.state == "Enabled",
        NetworkOffering.removed.is_(None),
        ~NetworkOffering.is_system,
    )
    required = list(tx.scalars(offerings.order_by(NetworkOffering.id)))
    if not required:
        raise InvalidValue("No default isolated network offering is enabled: send networkids")
    own = rows.where(Network.account_id == owner.id, Network.guest_type == "Isolated")
    found = list(tx.scalars(own.where(Network.offering_id.in_([o.id for o in required])).limit(2)))
    if len(found) > 1:
        raise InvalidValue("The account has several default isolated networks: say with networkids which one is meant")
    if found:
        return found
    name = f"{owner.name}-network"
    wish = Wish(name=name, text=name, is_default=True)
    return [create_network(tx, wish, required[0], zone, None, owner, None)]


def bad_name(name: str) -> ParameterError:
    return ParameterError(
        "Unable to execute API command deployvirtualmachine due to invalid value. Invalid parameter name "
        f"value={name[:100]}: it may have letters, digits and hyphens, 1 to 63 of them, a letter or digit at both "
        "ends, and not digits alone"
    )
