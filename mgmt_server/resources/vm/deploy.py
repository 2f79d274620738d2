"""A new machine's rows, in the transaction of the call."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, select, true
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import UUID_TEXT
from mgmt_server.api.passwords import generated
from mgmt_server.db import new_uuid
from mgmt_server.db.prepared import among
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.affinity import AffinityGroup, AffinityMember
from mgmt_server.model.event import Tag
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import DiskOffering, NetworkOffering, OfferedTo, ServiceOffering
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.vm import SshKeyPair, Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import hold_names
from mgmt_server.resources.detail.options import OF_MACHINES
from mgmt_server.resources.instancegroup.rows import group_named
from mgmt_server.resources.network.create import Wish, create_network
from mgmt_server.resources.network.nics import add_nic, is_for
from mgmt_server.resources.template.views import status
from mgmt_server.resources.userdata.rules import Given, compose
from mgmt_server.resources.vm import extra
from mgmt_server.resources.vm.firstdisks import Disk, Root, add_data, add_root, check_open
from mgmt_server.resources.vm.leases import Lease
from mgmt_server.resources.vm.naming import name_for_hosts
from mgmt_server.resources.vm.shape import grows, shape_of

PASSWORD_LENGTH = Setting(
    "vm.password.length", "Characters of generated passwords of machines", default="8", least=8, most=100
)
ANYWHERE = Setting(
    "admin.is.allowed.to.deploy.anywhere",
    "Whether root administrators deploy machines into networks that are not for the machine's account",
)
SCOPE = Setting(
    "vm.distinct.hostname.scope",
    "Among which machines host names are distinct, besides those of one network",
    options=("network", "account", "domain", "subdomain", "global"),
)


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
    macs: dict[int, str] = field(default_factory=dict)  # by network
    root_disk: DiskOffering | None = None  # instead of the service offering's own
    root_size: int | None = None  # GiB
    existing: Volume | None = None  # a disk that becomes the root disk
    snapshot: Snapshot | None = None  # that the root disk is made of
    disks: Sequence[Disk] = ()
    user_data: Given = field(default_factory=Given)
    keys: list[str] = field(default_factory=list)
    password: str | None = None
    group: str | None = None
    hypervisor: str | None = None
    details: dict[str, str] = field(default_factory=dict)
    display: bool = True
    uuid: str | None = None
    dynamic: bool = True
    boot_type: str = "BIOS"
    boot_mode: str = "LEGACY"
    affinity: Sequence[AffinityGroup] = ()
    copies_tags: bool = False
    lease: Lease | None = None
    extra: str | None = None
    dhcp_options: dict[int, dict[str, str]] = field(default_factory=dict)  # by network

    @property
    def is_iso(self) -> bool:
        """Whether its root disk will be installed from an ISO."""
        return self.template.format == "ISO" and self.existing is None and self.snapshot is None

    @property
    def root(self) -> Root:
        return Root(self.template, self.offering, self.root_disk, self.root_size, self.existing, self.snapshot)


def add_machine(ctx: Context, asked: Request) -> Vm:
    """Add machine, disks and NICs. Raises InvalidValue naming what does not fit, NoAddress for a full network."""
    tx, zone = ctx.session, asked.zone
    _check_zone(ctx, asked)
    vm = _row(ctx, asked)
    if not vm.name:
        vm.uuid = vm.uuid or new_uuid()
        vm.name = f"VM-{vm.uuid}"
        vm.display_name = vm.display_name or vm.name
    else:
        free_host_name(tx, vm.name, asked.owner, asked.networks)
    tx.add(vm)
    tx.flush()
    name_for_hosts(vm)
    check_open(asked.root)
    add_root(tx, vm, asked.root)
    add_data(tx, vm, asked.disks)
    if asked.macs:
        hold_names(ctx)
    for device, network in enumerate(asked.networks):
        wanted = asked.addresses.get(network.id)
        nic = add_nic(tx, vm, network, zone, device=device, default=device == 0, wanted=wanted)
        if network.id in asked.dhcp_options:
            nic.dhcp_options = asked.dhcp_options[network.id]
        if network.id in asked.macs:
            nic.mac = _free_mac(tx, network, asked.macs[network.id])
    tx.add_all(AffinityMember(group_id=group.id, vm_id=vm.id) for group in asked.affinity)
    if asked.copies_tags:
        _copy_tags(tx, asked.template, vm)
    counted.machine_comes(tx, vm)
    return vm


def _row(ctx: Context, asked: Request) -> Vm:
    tx, owner = ctx.session, asked.owner
    shape = shape_of(asked.offering, asked.details)
    names, keys = key_pairs(tx, owner, asked.keys)
    reads = compose(tx, asked.user_data, asked.template, owner)
    hypervisor = _hypervisor(tx, asked)
    of_template = {k: str(v) for k, v in (asked.template.details or {}).items() if k in OF_MACHINES}
    return Vm(
        **({"uuid": asked.uuid} if asked.uuid else {}),
        name=asked.name or "",
        display_name=asked.display_name or asked.name,
        kind="User",
        state="Stopped",
        account_id=owner.id,
        domain_id=owner.domain_id,
        user_id=ctx.caller.user_id,
        zone_id=asked.zone.id,
        service_offering_id=asked.offering.id,
        template_id=asked.template.id,
        iso_id=asked.template.id if asked.is_iso else None,
        os_type_id=asked.template.os_type_id,
        hypervisor=hypervisor,
        cpus=shape.cpus,
        speed=shape.speed,
        memory=shape.memory,
        ha_enabled=asked.offering.offer_ha,
        dynamically_scalable=grows(asked.offering, asked.template, asked.zone.id, asked.dynamic),
        display=asked.display,
        group_id=group_named(ctx, owner.id, owner.domain_id, asked.group).id if asked.group else None,
        user_data=reads.text,
        user_data_id=reads.registered,
        user_data_details=reads.values,
        key_pairs=names or None,
        public_keys=keys or None,
        password=first_password(asked.template, asked.password),
        vnc_password=secrets.token_urlsafe(6),
        boot_type=asked.boot_type,
        boot_mode=asked.boot_mode,
        details={**of_template, **asked.details, **extra.given(tx, owner.id, hypervisor, asked.extra)},
        **(asked.lease.columns() if asked.lease is not None else {}),
    )


def _check_zone(ctx: Context, asked: Request) -> None:
    zone = asked.zone
    if zone.allocation_state != "Enabled" and not ctx.caller.is_root:
        raise InvalidValue(f"The zone {zone.name} is disabled: only root administrators deploy there")
    for network in asked.networks:
        if network.zone_id != zone.id:
            raise InvalidValue(f"The network {network.name} is not in the zone {zone.name}")
        if network.is_system:
            raise InvalidValue(f"The network {network.name} is the system's own")
        anywhere = ctx.caller.is_root and ANYWHERE.flag()
        if not anywhere and not is_for(ctx.session, network, asked.owner.id, asked.owner.domain_id):
            raise InvalidValue(f"The network {network.name} is not for the account {asked.owner.name}")
    offerings = (asked.offering, asked.root_disk, *(d.offering for d in asked.disks))
    chosen = {o.uuid: o.name for o in offerings if o is not None}
    sent = {"template": asked.template.id, "zone": zone.id, "offerings": list(chosen)}
    found = ctx.session.execute(_fit(), sent).all()
    for uuid, name in chosen.items():
        zones = {z for _, offering, z in found if offering == uuid}
        if zones and zone.id not in zones:
            raise InvalidValue(f"The offering {name} is not for the zone {zone.name}")
    if asked.offering.is_system:
        raise InvalidValue(f"The offering {asked.offering.name} is for system VMs")
    if asked.root_disk is not None and not asked.is_iso and asked.offering.disk_offering_strict:
        raise InvalidValue(f"The offering {asked.offering.name} has a disk offering of its own: choose no other")
    if asked.is_iso and not asked.template.bootable:
        raise InvalidValue(f"The ISO {asked.template.name} is not bootable: attach it to a machine with attachIso")
    if asked.template.type == "SYSTEM":
        raise InvalidValue(f"The template {asked.template.name} is for system VMs")
    if not found[0][0] and asked.existing is None and asked.snapshot is None:
        raise _not_ready(ctx.session, asked)


@cache
def _fit() -> Select[Any]:
    """Whether a template can be had in a zone, and the zones that each of some offerings is for."""
    ready = _images().where(TemplateOnStore.state == "Ready").exists()
    theirs = OfferedTo.offering.in_(bindparam("offerings", expanding=True)) & OfferedTo.zone_id.is_not(None)
    rows = select(ready, OfferedTo.offering, OfferedTo.zone_id).select_from(Template).outerjoin(OfferedTo, theirs)
    return rows.where(Template.id == bindparam("template"))


def _images() -> Select[Any]:
    """The images of a `template` in a `zone`."""
    return select(TemplateOnStore.state, TemplateOnStore.progress, TemplateOnStore.error).where(
        TemplateOnStore.template_id == bindparam("template"),
        TemplateOnStore.zone_id == bindparam("zone"),
        TemplateOnStore.reachable(),
    )


def _not_ready(tx: Session, asked: Request) -> InvalidValue:
    """Said at the call: the job could only fail."""
    newest = _images().order_by(TemplateOnStore.id.desc()).limit(1)
    row = tx.execute(newest, {"template": asked.template.id, "zone": asked.zone.id}).first()
    state, told = (row.state, status(*row)) if row else ("Absent", status(None, None, None))
    return InvalidValue(
        f"The {'ISO' if asked.is_iso else 'template'} {asked.template.name} is not ready in the zone "
        f"{asked.zone.name}, it is {state} ({told}): wait until {'listIsos' if asked.is_iso else 'listTemplates'} "
        "shows isready=true"
    )


def _hypervisor(tx: Session, asked: Request) -> str:
    own = asked.template.hypervisor
    if own in ("None", "Any", "") or asked.is_iso:
        rows = select(Host.hypervisor).where(Host.zone_id == asked.zone.id, Host.removed.is_(None)).distinct()
        there = list(tx.scalars(rows.order_by(Host.hypervisor)))
        if asked.is_iso and not asked.hypervisor:
            raise InvalidValue("hypervisor is missing: a machine from an ISO needs to know on which it shall run")
        if not asked.hypervisor:
            return there[0] if there else "KVM"
        for name in there:
            if name.lower() == asked.hypervisor.lower():
                return name
        raise InvalidValue(
            f"hypervisor={asked.hypervisor[:50]}: the zone {asked.zone.name} has {', '.join(there) or 'no host'}"
        )
    if asked.hypervisor and asked.hypervisor.lower() != own.lower():
        raise InvalidValue(
            f"hypervisor={asked.hypervisor[:50]} does not fit the template {asked.template.name}, which is for {own}"
        )
    return own


def key_pairs(tx: Session, owner: Account, wanted: Sequence[str]) -> tuple[str, str]:
    """Names and texts of an account's key pairs. Raises InvalidValue for one that it does not have."""
    if not wanted:
        return "", ""
    rows = select(SshKeyPair).where(
        SshKeyPair.account_id == owner.id, SshKeyPair.name.in_(wanted), SshKeyPair.removed.is_(None)
    )
    found = {k.name: k.public_key for k in tx.scalars(rows)}
    missing = [k for k in wanted if k not in found]
    if missing:
        raise InvalidValue(f"There is no SSH key pair named {', '.join(missing)[:200]} in the account {owner.name}")
    return ",".join(wanted), "\n".join(found[k].strip() for k in wanted)


def first_password(template: Template | None, wished: str | None) -> str | None:
    """The password that a guest of the template fetches; None for one that takes none."""
    if template is None or not template.password_enabled:
        if wished:
            raise InvalidValue("The machine's template cannot take a password: leave it out")
        return None
    return wished or generated(PASSWORD_LENGTH.number())


def free_host_name(tx: Session, name: str, owner: Account, networks: Sequence[Network]) -> None:
    """Two machines of one name in one network could not be told apart by its name service; a setting forbids more."""
    wide = SCOPE.text()
    sent = {"name": name, "networks": [n.id for n in networks], "account": owner.id, "domain": owner.domain_id}
    if wide == "subdomain":
        path = tx.scalars(select(Domain.path).where(Domain.id == owner.domain_id)).one()
        sent["below"] = path.replace("/", "//").replace("%", "/%").replace("_", "/_") + "%"
    taken = tx.scalar(_namesake(wide), sent)
    if taken is not None:
        where = f"the network {taken}" if wide == "network" else f"the same {wide} scope ({SCOPE.name})"
        raise InvalidValue(f"The vm with hostName {name} already exists in {where}: choose another name")


@cache
def _namesake(wide: str) -> Select[tuple[str]]:
    """The network of a machine of this `name`, in one of these `networks` or as near as the scope says."""
    near = among(Nic.network_id, "networks")
    if wide == "account":
        near |= Vm.account_id == bindparam("account")
    elif wide == "domain":
        near |= Vm.domain_id == bindparam("domain")
    elif wide == "subdomain":
        near |= Vm.domain_id.in_(select(Domain.id).where(Domain.path.like(bindparam("below"), escape="/")))
    elif wide == "global":
        near = true()
    rows = select(Network.name).join(Nic, Nic.network_id == Network.id).join(Vm, Vm.id == Nic.vm_id)
    rows = rows.where(Vm.name == bindparam("name"), Vm.kind == "User", Vm.removed.is_(None), Nic.removed.is_(None))
    return rows.where(near).limit(1)


def own_uuid(ctx: Context, text: str | None) -> str | None:
    """The id that an administrator gives a machine. Raises InvalidValue for one that is none, or taken."""
    if text is None:
        return None
    if not ctx.caller.is_root:
        raise InvalidValue("customid is for root administrators: leave it out")
    if not UUID_TEXT.fullmatch(text):
        raise InvalidValue(f"customid={text[:100]} is no UUID")
    if ctx.session.scalar(select(Vm.id).where(Vm.uuid == text.lower())) is not None:
        raise InvalidValue(f"customid={text} is the id of another machine: choose another one")
    return text.lower()


def _free_mac(tx: Session, network: Network, mac: str) -> str:
    tx.flush()
    taken = select(Nic.id).where(Nic.mac == mac, Nic.network_id == network.id, Nic.removed.is_(None))
    if tx.scalar(taken.limit(1)) is not None:
        raise InvalidValue(f"The MAC address {mac} is taken in the network {network.name}: choose another one")
    return mac


def _copy_tags(tx: Session, template: Template, vm: Vm) -> None:
    kind = "ISO" if template.format == "ISO" else "Template"
    for tag in tx.scalars(select(Tag).where(Tag.resource_type == kind, Tag.resource_uuid == template.uuid)):
        owner = {"account_id": vm.account_id, "domain_id": vm.domain_id}
        tx.add(Tag(resource_type="UserVm", resource_uuid=vm.uuid, key=tag.key, value=tag.value, **owner))


def networks_for(ctx: Context, zone: Zone, owner: Account) -> list[Network]:
    """Where a machine goes when no network was named: the zone's shared one in a Basic zone, else the account's own.

    An account without one gets the default isolated network, as it always has.
    """
    tx = ctx.session
    if zone.network_type == "Basic" or zone.security_groups:
        rows = select(Network).where(Network.zone_id == zone.id, Network.removed.is_(None), ~Network.is_system)
        shared = list(tx.scalars(rows.where(Network.guest_type == "Shared").order_by(Network.id).limit(1)))
        if not shared:
            raise InvalidValue(f"The zone {zone.name} has no guest network yet: create a shared one first")
        return shared
    required = list(tx.scalars(_required()))
    if not required:
        raise InvalidValue("No default isolated network offering is enabled: send networkids")
    sent = {"zone": zone.id, "account": owner.id, "offerings": [o.id for o in required]}
    found = list(tx.scalars(_default_ones(), sent))
    if len(found) > 1:
        raise InvalidValue("The account has several default isolated networks: say with networkids which one is meant")
    if found:
        return found
    name = f"{owner.name}-network"
    wish = Wish(name=name, text=name, is_default=True)
    return [create_network(tx, wish, required[0], zone, None, owner, None)]


@cache
def _required() -> Select[tuple[NetworkOffering]]:
    kind = (NetworkOffering.availability == "Required") & (NetworkOffering.guest_type == "Isolated")
    there = (NetworkOffering.state == "Enabled") & NetworkOffering.removed.is_(None) & ~NetworkOffering.is_system
    return select(NetworkOffering).where(kind, there).order_by(NetworkOffering.id)


@cache
def _default_ones() -> Select[tuple[Network]]:
    """An account's networks of these offerings: two where there are several."""
    mine = (Network.zone_id == bindparam("zone")) & (Network.account_id == bindparam("account"))
    there = Network.removed.is_(None) & ~Network.is_system & (Network.guest_type == "Isolated")
    return select(Network).where(mine, there, among(Network.offering_id, "offerings")).limit(2)


def bad_name(name: str) -> ParameterError:
    return ParameterError(
        "Unable to execute API command deployvirtualmachine due to invalid value. Invalid parameter name "
        f"value={name[:100]}: it may have letters, digits and hyphens, 1 to 63 of them, a letter or digit at both "
        "ends, and not digits alone"
    )
