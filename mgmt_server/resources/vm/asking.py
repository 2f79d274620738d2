"""What a deployment asks for beyond plain values: networks with addresses, groups, firmware, disks that are there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.context import Context
from mgmt_server.api.projects import check_allowed
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account
from mgmt_server.model.network import Network
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.snapshot.rows import usable_in
from mgmt_server.resources.template import appliance

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
BIOS, UEFI = "BIOS", "UEFI"
LEGACY, SECURE = "LEGACY", "SECURE"


@dataclass
class Networks:
    """Networks in order, the default one first; what is wished for in them is by network."""

    networks: list[Network] = field(default_factory=list)
    addresses: dict[int, str] = field(default_factory=dict)
    macs: dict[int, str] = field(default_factory=dict)


def networks_asked(
    ctx: Context,
    ids: Sequence[Network] | None,
    rows: Sequence[Mapping[str, str]] | None,
    parameter: str = "iptonetworklist",
) -> Networks:
    """Those of networkids, or those of iptonetworklist with what is wished for in them."""
    if ids and rows:
        raise InvalidValue("networkids and iptonetworklist exclude each other: send one of them")
    found = Networks(list(ids or ()))
    for row in rows or ():
        uuid = row.get("networkid", "")
        mine = select(Network).where(Network.uuid == uuid, Network.removed.is_(None), Network.usable_by(ctx.caller))
        network = ctx.session.scalar(mine)
        if network is None:
            raise InvalidValue(f"{parameter} names no network that can be used: {uuid[:100]}")
        check_allowed(ctx, network)
        if row.get("ipv6"):
            raise InvalidValue("iptonetworklist: ipv6 is not supported in this version: leave it out")
        found.networks.append(network)
        if row.get("ip"):
            found.addresses[network.id] = row["ip"]
        if row.get("mac"):
            found.macs[network.id] = mac_of("iptonetworklist.mac", row["mac"])
    if len({n.id for n in found.networks}) < len(found.networks):
        raise InvalidValue("a machine has one NIC in each of its networks: name each network once")
    return found


def mac_of(parameter: str, text: str) -> str:
    """A MAC address that a guest may have, in the usual form."""
    mac = text.strip().lower().replace("-", ":")
    if not MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise InvalidValue(f"{parameter}={text[:50]} is no MAC address of a machine: write it as 02:01:02:03:04:05")
    return mac


def firmware(boot_type: str | None, boot_mode: str | None, into_setup: bool) -> tuple[str, str]:
    """boottype and bootmode, where they go together."""
    kind = one_of("boottype", boot_type, (BIOS, UEFI)) or BIOS
    mode = one_of("bootmode", boot_mode, (LEGACY, SECURE)) or LEGACY
    if kind == BIOS and mode == SECURE:
        raise InvalidValue("bootmode=SECURE needs boottype=UEFI")
    check_setup(into_setup)
    return kind, mode


def check_setup(into_setup: bool) -> None:
    if into_setup:
        raise InvalidValue("bootintosetup=true: hypervisors here do not stop in the firmware's set-up: leave it out")


def root_of_volume(tx: Session, volume: Volume, zone: Zone, owner: Account) -> Template:
    """The template or ISO behind a disk that shall be a machine's root disk. Raises InvalidValue where it cannot be."""
    tx.refresh(volume, with_for_update=True)  # nobody else takes it now
    if volume.account_id != owner.id or volume.zone_id != zone.id:
        raise InvalidValue(f"The disk {volume.name} is of another account or in another zone than the machine would be")
    if volume.vm_id is not None or volume.state != "Ready":
        raise InvalidValue(f"The disk {volume.name} is {volume.state} or attached: only a free, Ready one can be")
    return _source(tx, volume.template_id or volume.iso_id, f"the disk {volume.name}")


def root_of_snapshot(tx: Session, snapshot: Snapshot, zone: Zone, owner: Account) -> Template:
    """The same of a snapshot."""
    if snapshot.account_id != owner.id:
        raise InvalidValue(f"The snapshot {snapshot.name} belongs to another account than the machine would")
    usable_in(tx, snapshot, zone.id)
    disk = tx.get_one(Volume, snapshot.volume_id)
    return _source(tx, snapshot.template_id or disk.iso_id, f"the snapshot {snapshot.name}")


def _source(tx: Session, number: int | None, what: str) -> Template:
    if number is None:
        raise InvalidValue(f"No machine starts from {what}: it was never a root disk")
    return appliance.alone(tx.get_one(Template, number), "deployed")
