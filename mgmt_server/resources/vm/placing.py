"""Where a machine starts: the host, and a pool for each disk that is nowhere yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from mgmt_server.allocation import hosts, implicit, planners, pools, refusal
from mgmt_server.allocation.counted import host_tags, words
from mgmt_server.allocation.hosts import Need
from mgmt_server.allocation.pools import Space
from mgmt_server.errors import Failed, InvalidValue, NoCapacity
from mgmt_server.model.account import ACCOUNT_TYPES, Account
from mgmt_server.model.affinity import AffinityMember
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.settings import Setting
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.network.nics import move_to_pod, pod_of
from mgmt_server.resources.vm.release import spoken

ROOT_ON_DISABLED = Setting(
    "allow.admin.vm.on.disabled.resources",
    "Whether machines of root administrators may start on disabled hosts, and in disabled clusters and pods",
)
ROUTERS_ON_DISABLED = Setting(
    "allow.router.on.disabled.resources",
    "Whether virtual routers may start on disabled hosts, and in disabled clusters and pods",
)
ELSEWHERE = Setting(
    "allow.deploy.vm.if.deploy.on.given.host.fails",
    "Whether a machine that is to start on a certain host starts on another where that one cannot take it",
)
RETRIES = Setting(
    "start.retry",
    "On how many hosts a machine is tried, one after the other, when hosts fail to start it",
    least=1,
    most=100,
)
PLANNER = "deployment_planner"  # a detail of machines: which planner places it, instead of its offering's


@dataclass(frozen=True)
class Options:
    """Where a machine shall start. `first`: it never ran, and is given up when it does not start.

    `ha`: its host has failed. `failed`: hosts that were tried, and what they said.
    """

    host_id: int | None = None
    cluster_id: int | None = None
    pod_id: int | None = None
    last_host: bool = True
    first: bool = False
    ha: bool = False
    planner: str = ""
    failed: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Parts:
    """All that a start looks at."""

    vm: Vm
    offering: ServiceOffering
    root: DiskOffering
    template: Template | None
    os: OsType | None
    zone_type: str
    grouped: bool  # whether it is in affinity groups
    of_root: bool  # whether its account is a root administrator's
    volumes: list[tuple[Volume, DiskOffering | None]]


@cache
def _machine() -> Select[Any]:
    grouped = select(AffinityMember.id).where(AffinityMember.vm_id == Vm.id).exists()
    of_root = Account.type == ACCOUNT_TYPES["Admin"]
    return (
        select(Vm, ServiceOffering, DiskOffering, Template, OsType, Zone.network_type, grouped, of_root)
        .join(Zone, Zone.id == Vm.zone_id)
        .join(Account, Account.id == Vm.account_id)
        .join(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
        .join(DiskOffering, DiskOffering.id == ServiceOffering.disk_offering_id)
        .outerjoin(Template, Template.id == Vm.template_id)
        .outerjoin(OsType, OsType.id == Vm.os_type_id)
        .where(Vm.id == bindparam("vm"), Vm.removed.is_(None))
    )


@cache
def _volumes() -> Select[Any]:
    return (
        select(Volume, DiskOffering)
        .outerjoin(DiskOffering, DiskOffering.id == Volume.disk_offering_id)
        .where(Volume.vm_id == bindparam("vm"), Volume.removed.is_(None))
        .order_by(Volume.device)
    )


def parts_of(tx: Session, vm_id: int) -> Parts:
    row = tx.execute(_machine(), {"vm": vm_id}).first()
    if row is None:
        raise InvalidValue("the machine is gone")
    volumes = tx.execute(_volumes(), {"vm": vm_id}).all()
    if not any(v.kind == "ROOT" for v, _ in volumes):
        raise InvalidValue(f"{spoken(row[0])} has no root disk: attach one with deviceid=0")
    return Parts(*row, volumes=[(v, o) for v, o in volumes])


@dataclass(frozen=True)
class Wants:
    """What a machine needs before it has a host: of the host, and of pools for its homeless disks, by volume."""

    need: Need
    spaces: dict[int, Space]
    usable: list[Pool]
    known: dict[int, Pool]
    pod: int | None  # where its address is


def wants(tx: Session, parts: Parts, options: Options) -> Wants:
    vm = parts.vm
    known = {p.id: p for p in pools_of(tx, parts)}
    need = need_of(parts, options, list(known.values()))
    pod = pod_of(tx, vm.id) if parts.zone_type == "Basic" else None
    if pod is not None and vm.last_host_id is not None and need.pod_id is None:
        need = replace(need, pod_id=pod)  # it ran with that address, and stays where the address is
    homeless = [(v, o) for v, o in parts.volumes if v.pool_id is None]
    spaces = {v.id: space_of(v, o or parts.root) for v, o in homeless}
    return Wants(need, spaces, pools.usable(tx, vm.zone_id, vm.account_id) if homeless else [], known, pod)


def place(tx: Session, parts: Parts, options: Options) -> tuple[Host, dict[int, Pool]]:
    """A host with room, and a pool for each disk: volume id -> pool.

    Raises NoCapacity, Failed after an attempt, Unavailable where storage of a disk is in maintenance.
    """
    try:
        return _place(tx, parts, options)
    except (NoCapacity, Failed):
        if options.host_id is None or not ELSEWHERE.flag():
            raise
    return _place(tx, parts, replace(options, host_id=None))


def _place(tx: Session, parts: Parts, options: Options) -> tuple[Host, dict[int, Pool]]:
    vm, wanted = parts.vm, wants(tx, parts, options)
    need, spaces, usable = wanted.need, wanted.spaces, wanted.usable
    for volume, _ in parts.volumes:
        if volume.pool_id is not None:
            pools.check_open(wanted.known[volume.pool_id], volume, f"{spoken(vm)} cannot start")
    found = hosts.candidates(tx, need)
    if options.last_host and vm.last_host_id and not need.planner:
        found.sort(key=lambda h: h.id != vm.last_host_id)
    met = {number: ("failed", f"did not start it: {told}") for number, told in options.failed}
    guard = hosts.guard(tx, need)
    for host in found:
        if not hosts.take(tx, host.id, need.cpu, need.memory, condition=guard):
            met[host.id] = ("memory", "was filled, or closed, by somebody else at the same moment")
            continue
        places = _pools_on(tx, host, spaces, usable)
        if places is not None:
            if wanted.pod not in (None, host.pod_id):
                move_to_pod(tx, vm, host.pod_id)
            by_volume = {v.id: wanted.known[v.pool_id] for v, _ in parts.volumes if v.pool_id is not None}
            return host, by_volume | places
        hosts.untake(tx, host.id, need.cpu, need.memory)
        met[host.id] = ("storage", storage_of(host, spaces, usable))
    raise _refused(tx, parts, options, wanted, met)


def storage_of(host: Host, spaces: dict[int, Space], usable: Sequence[Pool]) -> str:
    """Why a host with room cannot have the disks."""
    near = [p for p in usable if pools.reachable(p, host)]
    told = sorted({r for s in spaces.values() for r in pools.refusals(near, s)} if near else ())
    return "has room, but no storage for its disks: " + ("; ".join(told) or "it reaches no pool that takes new ones")


def _refused(
    tx: Session, parts: Parts, options: Options, wanted: Wants, met: dict[int, tuple[str, str]]
) -> NoCapacity | Failed:
    what = spoken(parts.vm)
    none = refusal.error(tx, wanted.need, what, met=met)
    if any(rule == "storage" for rule, _ in met.values()):
        begin = f"No pool can take the disks of {what}: "
        spaces = list(wanted.spaces.values())
        asked = pools.with_closed(tx, parts.vm.zone_id, wanted.usable, spaces)
        told = "; ".join(dict.fromkeys(r for s in spaces for r in pools.refusals(asked, s)))
        text = begin + pools.words(asked, spaces)
        none = NoCapacity(text, inventory=f"{begin}{told}. {none.inventory}")
    if not options.failed:
        return none
    first = options.failed[0][1]
    return Failed(f"{first}. Then: {none}", inventory=f"{first}. Then: {none.inventory}")


def need_of(parts: Parts, options: Options, known: Sequence[Pool]) -> Need:
    """What the machine needs of a host. `known`: the pools that its disks are in."""
    vm = parts.vm
    own = str(vm.details.get(PLANNER) or "")
    planner = options.planner or own or parts.offering.deployment_planner or ""
    return Need(
        zone_id=vm.zone_id,
        hypervisor=vm.hypervisor,
        cpu=vm.cpus * vm.speed,
        memory=vm.memory * 2**20,
        pod_id=options.pod_id,
        cluster_id=options.cluster_id,
        host_id=options.host_id,
        disk_clusters=tuple(sorted({p.cluster_id for p in known if p.scope == "CLUSTER" and p.cluster_id is not None})),
        disk_hosts=tuple(sorted({p.host_id for p in known if p.scope == "HOST" and p.host_id is not None})),
        tags=host_tags(parts.offering, parts.template),
        named=options.host_id is not None,
        arch=parts.template.arch or "" if parts.template else "",
        firmware=firmware_of(vm),
        account_id=vm.account_id,
        vm_id=vm.id,
        grouped=parts.grouped,
        serves=vm.kind == "DomainRouter",
        avoid=tuple(number for number, _ in options.failed),
        planner=planner if vm.kind == "User" else planners.FIRST_FIT,
        implicit=implicit.mode_of(parts.offering, planner),
        ha=options.ha,
        disabled=on_disabled(vm.kind, parts.of_root),
        spare=options.ha or vm.kind != "User" or vm.state in ("Running", "Migrating"),
    )


def firmware_of(vm: Vm) -> str:
    if vm.boot_type != "UEFI":
        return ""
    return "secureboot" if vm.boot_mode == "SECURE" else "uefi"


def on_disabled(kind: str, of_root: bool) -> bool:
    """Whether a machine may start where administrators let nothing start."""
    if kind == "DomainRouter":
        return ROUTERS_ON_DISABLED.flag()
    return kind == "User" and of_root and ROOT_ON_DISABLED.flag()


def space_of(volume: Volume, offering: DiskOffering) -> Space:
    return space(volume.size, offering, volume.account_id)


def space(size: int, offering: DiskOffering, account_id: int) -> Space:
    """What a disk of an account needs."""
    return Space(size, offering.storage_type == "local", words(offering.tags), account_id=account_id)


def pools_of(tx: Session, parts: Parts) -> list[Pool]:
    ids = {v.pool_id for v, _ in parts.volumes if v.pool_id is not None}
    return list(tx.scalars(select(Pool).where(Pool.id.in_(ids)))) if ids else []


def _pools_on(tx: Session, host: Host, spaces: dict[int, Space], usable: list[Pool]) -> dict[int, Pool] | None:
    places: dict[int, Pool] = {}
    for volume, space in spaces.items():
        pool = pools.choose(tx, usable, host, space)
        if pool is None:
            for other, taken in places.items():
                pools.give_back(tx, taken.id, spaces[other].size)
            return None
        places[volume] = pool
    return places
