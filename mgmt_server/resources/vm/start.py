"""Starting a machine: where it runs, what its host has to have first, what the host is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from uuid import UUID, uuid5

from sqlalchemy import Update, bindparam, select, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, hosts, pools
from mgmt_server.db import now, write
from mgmt_server.db.prepared import change
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.errors import ApiError, Failed, NoCapacity, Unavailable
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import STATES, VOLUME_STATES, Vm, Volume
from mgmt_server.protocol.machine import Disk, Machine, MachineState, Nic
from mgmt_server.resources.alert.telling import tell
from mgmt_server.resources.isodrive.drive import Disc, disc_of
from mgmt_server.resources.network.nics import nics_of
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.template import pooled
from mgmt_server.resources.template.pooled import Fetch
from mgmt_server.resources.vm import elsewhere, extra
from mgmt_server.resources.vm.details import shown
from mgmt_server.resources.vm.made import made_by
from mgmt_server.resources.vm.placing import RETRIES, Options, place
from mgmt_server.resources.vm.placing import Parts as _Parts
from mgmt_server.resources.vm.placing import parts_of as _parts
from mgmt_server.resources.vm.release import free_nics, spoken
from mgmt_server.resources.vm.shape import CPUS_AT_MOST, MEMORY_AT_MOST, most_of
from mgmt_server.resources.vm.tuning import tuned_disk
from mgmt_server.resources.volume import leftovers
from mgmt_server.resources.volume.locks import check_settled
from mgmt_server.resources.volume.qos import limited


@dataclass(frozen=True)
class Plan:
    """All that a start does, decided in one transaction."""

    host: HostRef
    machine: Machine
    create: tuple[Disk, ...]  # disks that are not there yet; `backing` of those in `fetch` is filled in later
    fetch: tuple[Fetch, ...]
    tell: tuple[int, ...]  # networks whose router has to know the machine before it asks
    disc: Fetch | None = None  # in its drive, to be fetched first


def begin(tx: Session, vm_id: int, options: Options) -> Plan:
    """Stopped -> Starting: promise a host and pools. Raises NoCapacity with the reasons of each."""
    parts = _parts(tx, vm_id)
    vm = parts.vm
    if vm.doubted:
        raise Unavailable(f"{spoken(vm)} may run: its host did not tell yet. Try again when it is no longer Starting")
    check_settled(v for v, _ in parts.volumes)
    host, places = place(tx, parts, options)
    STATES.move(
        tx, vm.id, ("Stopped", "Starting"), "Starting",
        host_id=host.id, pod_id=host.pod_id, reserved=True, state_changed=now(),
    )  # fmt: skip
    counted.machine_starts(tx, vm)
    _note_ceiling(vm, parts, host)
    reference = storage.ref(host)
    disks, create, fetch = _disks(tx, parts, places)
    nics, tell = nics_of(tx, vm, host.hypervisor)
    disc = _disc(tx, parts, places)
    machine = _machine(parts, tuple(disks), tuple(nics), disc)
    return Plan(reference, machine, tuple(create), tuple(fetch), tuple(tell), disc.fetch)


def _note_ceiling(vm: Vm, parts: _Parts, host: Host) -> None:
    """Up to what the machine grows while it runs: a host that it moves to has to be told the same."""
    most = most_of(vm, parts.offering, host) if vm.dynamically_scalable and vm.kind == "User" else None
    if most is not None:
        vm.details = {**vm.details, CPUS_AT_MOST: most.cpus, MEMORY_AT_MOST: most.memory}
    elif CPUS_AT_MOST in vm.details:
        vm.details = {k: v for k, v in vm.details.items() if k not in (CPUS_AT_MOST, MEMORY_AT_MOST)}


def _disks(tx: Session, parts: _Parts, places: dict[int, Pool]) -> tuple[list[Disk], list[Disk], list[Fetch]]:
    """All disks, those to be created, and the templates to be fetched for them."""
    disks, create, fetch = [], [], []
    for volume, offering in parts.volumes:
        pool = places[volume.id]
        at_host = storage.as_seen(pool)
        backing = ""
        if volume.state in ("Allocated", "Creating") and volume.template_id is not None:
            backing, missing = pooled.find(tx, volume.template_id, pool, at_host)
            if missing is not None:
                fetch.append(missing)
                backing = missing.image.uuid  # until it is known what the pool calls it
        limits = offering or parts.root
        disk = Disk(
            name=volume.path or volume.uuid,
            pool=at_host,
            size=volume.size,
            device=volume.device or 0,
            backing=backing,
            serial=volume.uuid.replace("-", "")[:20],
        )
        limit = limited(disk, volume, limits, system=parts.vm.kind != "User")
        disk = tuned_disk(limit, parts.vm.details, pool.id)
        disks.append(disk)
        if volume.state in ("Allocated", "Creating"):
            create.append(disk)
            moved = {"pool_id": pool.id, "path": disk.name, "pod_id": pool.pod_id, "provisioning": limits.provisioning}
            change(tx, Volume, {"id": volume.id}, state="Creating", **moved)
    return disks, create, fetch


def _disc(tx: Session, parts: _Parts, places: dict[int, Pool]) -> Disc:
    if parts.vm.iso_id is None:
        return Disc()
    root = next(v for v, _ in parts.volumes if v.kind == "ROOT")
    return disc_of(tx, parts.vm.iso_id, places[root.id])


def _machine(parts: _Parts, disks: tuple[Disk, ...], nics: tuple[Nic, ...], disc: Disc) -> Machine:
    vm = parts.vm
    details = shown(vm.details) if vm.kind == "User" else {}
    return Machine(
        name=vm.instance,
        uuid=vm.uuid,
        kind=vm.kind,
        cpus=vm.cpus,
        speed=vm.speed,
        memory=vm.memory * 2**20,
        disks=disks,
        nics=nics,
        os=(parts.os.platform or {}).get(vm.hypervisor, parts.os.name) if parts.os else "",
        iso=disc.iso,
        iso_pool=disc.pool,
        boot_type=vm.boot_type,
        boot_mode=vm.boot_mode,
        most_cpus=int(vm.details.get(CPUS_AT_MOST, 0)),
        most_memory=int(vm.details.get(MEMORY_AT_MOST, 0)) * 2**20,
        speed_limit=vm.speed if parts.offering.limit_cpu_use else 0,
        vnc_password=vm.vnc_password or "",
        boot_arguments=str(vm.details.get("boot_arguments", "")) if vm.kind != "User" else "",
        details={k: v for k, v in details.items() if not extra.is_one(k)},
        extra=tuple(v for k, v in sorted(details.items()) if extra.is_one(k)),
        **made_by(vm),
    )


def described(tx: Session, vm_id: int, places: dict[int, Pool], hypervisor: str) -> tuple[Machine, Fetch | None]:
    """A machine that runs already as another host is told of it, its disks in `places`, volume id -> pool; and the
    disc of its drive that the host has to fetch first."""
    parts = _parts(tx, vm_id)
    disks, _, _ = _disks(tx, parts, places)
    nics, _ = nics_of(tx, parts.vm, hypervisor)
    disc = _disc(tx, parts, places)
    return _machine(parts, tuple(disks), tuple(nics), disc), disc.fetch


def make(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> MachineState:
    """Create the missing disks and start."""
    for disk in create:
        disks.create_disk(uuid5(call, disk.name), host, disk)
    return dispatch.start(uuid5(call, "start"), host, machine)


@dataclass(frozen=True)
class Refusal:
    """Why a host did not start a machine. Empty: it did."""

    text: str = ""
    unavailable: bool = False

    def error(self, more: str = "") -> ApiError:
        return (Unavailable if self.unavailable else Failed)(self.text + more)


def attempt(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> Refusal:
    """`make`, whose failure may be the host's alone: then another host is tried."""
    try:
        make(call, host, create, machine)
    except (Failed, NoCapacity, Unavailable) as error:
        return Refusal(str(error) or "the host failed", isinstance(error, Unavailable))
    return Refusal()


def clear(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> str:
    """Nothing is left on the host; or why that is not known: then the machine is tried nowhere else."""
    try:
        unmake(call, host, create, machine)
    except ApiError as error:
        return (
            f". It is not tried elsewhere: {host.name} does not confirm that it does not run there ({error}). It stays "
            "Starting until that is known"
        )
    return ""


def undone(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> None:
    """Undo of `attempt`. A machine that may run there still is doubted, as by `clear`, and keeps what it holds."""
    try:
        unmake(call, host, create, machine)
    except ApiError:
        write(_doubt_at, machine.uuid, host.uuid)
        raise


def _doubt_at(tx: Session, machine: str, host: str) -> None:
    """Nothing where it was tried there before, and it was known then that it does not run."""
    here = select(Vm).join(Host, Host.id == Vm.host_id).where(Vm.uuid == machine, Host.uuid == host)
    vm = tx.scalar(here.where(Vm.state == "Starting", Vm.removed.is_(None)))
    if vm is not None:
        doubt(tx, vm.id)


def doubt(tx: Session, vm_id: int) -> None:
    """It may run, or come to run: it stays Starting, with all that it holds, until the reconciler knows."""
    tx.get_one(Vm, vm_id).doubted = True


def retry(tx: Session, vm_id: int, options: Options, host: HostRef, refusal: Refusal) -> tuple[Plan, Options]:
    """Give up one host and take another, and tell operators. Raises what the host said where there is no other."""
    row = tx.scalars(select(Host).where(Host.uuid == host.uuid)).one()
    options = replace(options, failed=(*options.failed, (row.id, refusal.text)))
    if options.host_id is not None or len(options.failed) >= RETRIES.number():
        raise refusal.error()
    abandon(tx, vm_id, options)
    tx.expire_all()
    plan = begin(tx, vm_id, options)
    where = {"zone_id": row.zone_id, "pod_id": row.pod_id, "cluster_id": row.cluster_id}
    begun = f"{spoken(tx.get_one(Vm, vm_id))} did not start on {host.name} and is tried on {plan.host.name}"
    tell(tx, "ALERT.USERVM", f"{begun}: {refusal.text}", **where)
    return plan, options


def abandon_again(tx: Session, vm_id: int, options: Options, host: HostRef, refusal: Refusal) -> None:
    """Undo of `retry`."""
    abandon(tx, vm_id, options)


def unmake(call: UUID, host: HostRef, create: tuple[Disk, ...], machine: Machine) -> None:
    """Leave nothing of `make` behind. A host that cannot stop the machine may prove as well that it does not run it."""
    try:
        dispatch.stop_forced(uuid5(call, "stop"), host, machine)
    except Failed:
        if elsewhere.runs(host, machine.name):
            raise
    for disk in create:
        leftovers.remove(uuid5(call, disk.name), host, disk)


def started(tx: Session, vm_id: int) -> None:
    """Starting -> Running, its disks Ready."""
    STATES.move(tx, vm_id, "Starting", "Running", state_changed=now())
    tx.execute(_ready(), {"vm": vm_id, "moment": now()})


@cache
def _ready() -> Update:
    made = update(Volume).where(Volume.vm_id == bindparam("vm"), Volume.state == "Creating")
    made = made.values(state="Ready", physical_size=Volume.size, attached=bindparam("moment"))
    return made.execution_options(synchronize_session=False)


def abandon(tx: Session, vm_id: int, options: Options, *, known: bool = False) -> None:
    """Undo of `begin`; nothing where a later attempt has been undone before.

    One that is doubted is left alone, unless it is `known` by now that it runs nowhere.
    """
    vm = tx.get_one(Vm, vm_id)
    if vm.state != "Starting" or (vm.doubted and not known):
        return
    vm.doubted = False
    hosts.give_back(tx, vm)
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.state == "Creating")):
        if volume.pool_id is not None:
            pools.give_back(tx, volume.pool_id, volume.size)
        volume.pool_id, volume.state = None, "Allocated"
    tx.flush()
    STATES.move(tx, vm_id, "Starting", "Stopped", host_id=None, state_changed=now())


def never_ran(tx: Session, vm_id: int, options: Options, networks: list[int], told: list[str]) -> None:
    """A machine whose first start failed gives up everything and is left in Error for its owner to see."""
    vm = tx.get_one(Vm, vm_id)
    if options.first and vm.kind == "User" and vm.state == "Stopped":
        STATES.move(tx, vm_id, "Stopped", "Error", state_changed=now())
        counted.machine_goes(tx, vm)
        give_up(tx, vm_id)


def give_up(tx: Session, vm_id: int) -> None:
    """Give back addresses and disks of a machine that never ran."""
    free_nics(tx, vm_id)
    gone = []
    for volume in tx.scalars(select(Volume).where(Volume.vm_id == vm_id, Volume.removed.is_(None))):
        if volume.pool_id is not None:  # it was there before the machine, and stays
            volume.vm_id = volume.slot = volume.device = volume.attached = None
            continue
        VOLUME_STATES.move(tx, volume.id, volume.state, "Expunged", removed=now(), slot=None)
        gone.append(volume)
    tx.flush()
    counted.volumes_go(tx, gone)
