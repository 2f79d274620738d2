"""What must hold of a cloud at rest, whatever it went through: recounted from the rows, told as sentences."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mgmt_server.allocation.counted import LEFT, STORED, TENANTS, UNKEPT, counts_network
from mgmt_server.db import reading
from mgmt_server.jobs.rows import OPEN, JobRow, StepRow
from mgmt_server.model.account import SYSTEM_ACCOUNT, Account, Domain, Project, ProjectMember
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.limit import TYPES, ResourceCount, used_of
from mgmt_server.model.network import Network, Nic, NicAddress
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore, VmSnapshot
from mgmt_server.model.storage import Pool, TemplateOnPool, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.transfer import VolumeOnStore
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Address, PodAddress, VlanRange, Vnet

PASSING = (
    "Starting", "Stopping", "Expunging", "Migrating", "Creating", "Resizing", "Implementing", "Shutdown", "Attaching",
    "Snapshotting", "RevertSnapshotting", "UploadOp", "Copying", "BackingUp", "Destroying", "Reverting",
)  # fmt: skip


_IMAGES = select(TemplateOnStore).where(TemplateOnStore.state.in_(PASSING))


def broken() -> list[str]:
    """Everything that does not hold; empty for a sound cloud."""
    with reading() as session:
        found: list[str] = []
        for look in (_states, _hosts, _pools, _machines, _disks, _addresses, _vnets, _limits, _jobs, _events):
            found += look(session)
        return found


def _alive(session: Session, table: Any) -> list[Any]:
    return list(session.scalars(select(table).where(table.removed.is_(None))))


def _states(session: Session) -> list[str]:
    told = [f"vm {v.name} stays {v.state}" for v in _alive(session, Vm) if v.state in PASSING]
    told += [f"volume {v.name} stays {v.state}" for v in _alive(session, Volume) if v.state in PASSING]
    told += [f"vm {v.name} holds a host to move to" for v in _alive(session, Vm) if v.target_host_id is not None]
    told += [
        f"volume {v.name} holds a pool to move to" for v in _alive(session, Volume) if v.target_pool_id is not None
    ]
    told += [f"an image of template {t.template_id} stays {t.state}" for t in session.scalars(_IMAGES)]
    told += [f"network {n.name} stays {n.state}" for n in _alive(session, Network) if n.state in PASSING]
    told += [f"snapshot {s.name} stays {s.state}" for s in _alive(session, Snapshot) if s.state in PASSING]
    return told + [f"snapshot {s.name} stays {s.state}" for s in _alive(session, VmSnapshot) if s.state in PASSING]


def _hosts(session: Session) -> list[str]:
    told = []
    for host in session.scalars(select(Host)):
        mine = [v for v in session.scalars(select(Vm).where(Vm.host_id == host.id)) if v.reserved]
        sums = (sum(v.cpus * v.speed for v in mine), sum(v.memory * 2**20 for v in mine), len(mine))
        if sums != (host.cpu_used, host.memory_used, host.machines):
            told.append(f"host {host.name} promises {host.cpu_used}, {host.memory_used}, {host.machines}, not {sums}")
    running = {v.id for v in _alive(session, Vm) if v.state == "Running"}
    held = set(session.scalars(select(Vm.id).where(Vm.reserved)))
    return told + ([f"machines {running ^ held} run without capacity, or hold it at rest"] if running != held else [])


def _pools(session: Session) -> list[str]:
    told = []
    for pool in session.scalars(select(Pool)):
        disks = session.scalar(select(func.sum(Volume.size)).where(Volume.pool_id == pool.id, Volume.removed.is_(None)))
        cached = session.scalar(select(func.sum(TemplateOnPool.size)).where(TemplateOnPool.pool_id == pool.id))
        total = int(disks or 0) + int(cached or 0)
        if total != pool.allocated:
            told.append(f"pool {pool.name} promises {pool.allocated}, not {total}")
    return told


def _machines(session: Session) -> list[str]:
    machines = list(session.scalars(select(SimulatedMachine)))
    there = {m.name: m for m in machines if m.host}  # else snapshots in its disks
    hosts = {row.id: row.uuid for row in session.execute(select(Host.id, Host.uuid))}
    told = [f"{m.name} was started on a host while another one ran it" for m in machines if m.doubled]
    told += [f"{m.name} runs on two hosts" for m in machines if m.beside and m.state == "Running"]
    running = [m for m in machines if m.state == "Running"]
    for kind, held in (("disk", Counter(d for m in running for d in m.disks)),
                       ("MAC", Counter(n for m in running for n in m.nics))):  # fmt: skip
        told += [f"{n} machines run with the {kind} {name}" for name, n in held.items() if n > 1]
    pools = {row.id: row.uuid for row in session.execute(select(Pool.id, Pool.uuid))}
    lies = {v.path: pools[v.pool_id] for v in _alive(session, Volume) if v.pool_id and v.path}
    told += [
        f"{m.name} runs with the disk {name} in another pool than the database says"
        for m in running for name, pool in m.places.items() if lies.get(name, pool) != pool
    ]  # fmt: skip
    known = {}
    for vm in _alive(session, Vm):
        name = vm.instance
        known[name] = vm
        machine = there.get(name)
        if vm.state == "Running" and (machine is None or machine.state != "Running"):
            told.append(f"{name} is Running and its host does not run it")
        if vm.state == "Running" and machine is not None and machine.host != hosts[vm.host_id]:
            told.append(f"{name} runs on another host than the database says")
        if vm.state != "Running" and machine is not None and machine.state == "Running":
            told.append(f"{name} is {vm.state} and its host runs it")
    return told + [f"the host still has {name}, which is gone" for name in there.keys() - known.keys()]


def _disks(session: Session) -> list[str]:
    pools = {row.id: row.uuid for row in session.execute(select(Pool.id, Pool.uuid))}
    wanted = Counter((pools[v.pool_id], v.path) for v in _alive(session, Volume) if v.pool_id and v.path)
    twice = [f"{n} volumes are the disk {name}" for (_, name), n in wanted.items() if n > 1]
    wanted.update((pools[t.pool_id], t.name) for t in _alive(session, TemplateOnPool))
    there = Counter((d.pool, d.name) for d in session.scalars(select(SimulatedDisk)))
    told = [f"disk {name} in the pool {pool} is nobody's" for pool, name in there.keys() - wanted.keys()]
    return twice + told + [f"disk {name} is not in its pool" for _, name in wanted.keys() - there.keys()]


def _addresses(session: Session) -> list[str]:
    told = []
    machines = {v.id for v in _alive(session, Vm)}
    nics = list(session.scalars(select(Nic)))
    second = _alive(session, NicAddress)
    held_by = {(n.network_id, n.address) for n in second if n.address_id is None}
    for nic in nics:
        if nic.removed is None and nic.vm_id not in machines:
            told.append(f"NIC {nic.mac} lives, its machine is gone")
        if nic.removed is not None and nic.taken is not None and (nic.network_id, nic.taken) not in held_by:
            told.append(f"NIC {nic.mac} is gone and keeps {nic.taken}")
        if nic.removed is None and nic.traffic != "Control" and nic.taken != nic.address:
            told.append(f"NIC {nic.mac} has {nic.address} and holds {nic.taken}")
    alive = {n.id for n in nics if n.removed is None}
    told += [f"the secondary address {n.address} lives, its NIC is gone" for n in second if n.nic_id not in alive]
    used = Counter(n.address_id for n in (*(n for n in nics if n.removed is None), *second) if n.address_id is not None)
    told += [f"address {number} is on {n} NICs" for number, n in used.items() if n > 1]
    macs = Counter(n.mac for n in nics if n.removed is None)
    told += [f"the MAC {mac} is on {n} NICs" for mac, n in macs.items() if n > 1]
    held_nics = [n for n in nics if n.removed is None and n.address and n.traffic != "Control"]
    places = Counter((n.network_id, n.address) for n in held_nics)
    places.update((n.network_id, n.address) for n in second)
    told += [f"{n} NICs of the network {net} have {address}" for (net, address), n in places.items() if n > 1]
    for address in session.scalars(select(Address)):
        if (address.state != "Free") != (address.id in used) and address.network_id is None:
            told.append(f"address {address.address} is {address.state}, on {used[address.id]} NICs")
        if address.state == "Free" and address.id in used:
            told.append(f"address {address.address} is Free and on a NIC")
    held = set(session.scalars(select(PodAddress.vm_id).where(PodAddress.vm_id.is_not(None))))
    return told + [f"machine {number} is gone and keeps a management address" for number in held - machines]


def _vnets(session: Session) -> list[str]:
    told = []
    networks = {n.id: n for n in _alive(session, Network)}
    tags = [(v.network_id, v.tag) for v in session.scalars(select(Vnet).where(Vnet.network_id.is_not(None)))]
    held = {number for number, _ in tags}
    mine = [n for n in networks.values() if n.guest_type == "Isolated" and n.broadcast]
    used = Counter((n.physical_network_id, n.broadcast) for n in mine)
    told += [f"{n} networks have {broadcast}" for (_, broadcast), n in used.items() if n > 1]
    for number, tag in tags:
        network = networks.get(number)
        if network is None or (network.broadcast or "").rpartition("/")[2] != str(tag):
            told.append(f"VLAN {tag} is held by network {number}, which does not use it")
    for network in networks.values():
        if network.state == "Implemented" and network.guest_type == "Isolated" and network.id not in held:
            told.append(f"network {network.name} uses {network.broadcast} and does not hold it")
    return told


def _limits(session: Session) -> list[str]:
    """What accounts and domains are counted for is what is there, each thing once."""
    there: Counter[tuple[int, str]] = Counter()
    users = {v.id: v for v in session.scalars(select(Vm).where(Vm.kind == "User"))}
    for vm in users.values():
        if vm.removed is None and vm.state not in ("Destroyed", "Error", "Expunging"):
            there.update({(vm.account_id, "user_vm"): 1, (vm.account_id, "cpu"): vm.cpus})
            there[vm.account_id, "memory"] += vm.memory
    for disk in _alive(session, Volume):
        if disk.state not in LEFT and (disk.vm_id is None or disk.vm_id in users):
            there.update({(disk.account_id, "volume"): 1, (disk.account_id, "primary_storage"): disk.size})
    owners = {s.id: s.account_id for s in session.scalars(select(Snapshot))}
    there.update((s.account_id, "snapshot") for s in _alive(session, Snapshot) if s.state not in UNKEPT)
    for file in session.scalars(select(SnapshotOnStore)):
        there[owners[file.snapshot_id], "secondary_storage"] += file.physical_size
    made = {t.id: t for t in session.scalars(select(Template)) if t.type in STORED}
    there.update((t.account_id, "template") for t in made.values() if t.removed is None and t.type in TENANTS)
    for image in session.scalars(select(TemplateOnStore).where(TemplateOnStore.template_id.in_(made))):
        there[made[image.template_id].account_id, "secondary_storage"] += image.physical_size
    whose = {v.id: v.account_id for v in session.scalars(select(Volume))}
    for sent in session.scalars(select(VolumeOnStore)):
        there[whose[sent.volume_id], "secondary_storage"] += sent.physical_size
    projects = {p.id for p in _alive(session, Project)}
    heads = {(m.account_id, m.project_id) for m in _alive(session, ProjectMember) if m.role == "Admin"}
    there.update((account, "project") for account, project in heads if project in projects)
    there.update((n.account_id, "network") for n in _alive(session, Network) if counts_network(n))
    public = {r.id for r in session.scalars(select(VlanRange)) if r.type == "VirtualNetwork"}
    for address in session.scalars(
        select(Address).where(Address.state != "Free", Address.account_id != SYSTEM_ACCOUNT)
    ):
        there[address.account_id, "public_ip"] += address.range_id in public
    counts = session.scalars(select(ResourceCount).where(ResourceCount.tag == "")).all()
    kept = Counter({(c.account_id, t): n for c in counts if c.account_id is not None for t, n in used_of(c).items()})
    told = [f"{w} is counted as {kept[w]}, not {there[w]}" for w in there.keys() | kept.keys() if kept[w] != there[w]]
    paths = {row.id: row.path for row in session.execute(select(Domain.id, Domain.path))}
    places = {row.id: paths[row.domain_id] for row in session.execute(select(Account.id, Account.domain_id))}
    for count in counts:
        if count.domain_id is not None:
            path = paths[count.domain_id]
            below = {account for account, place in places.items() if place.startswith(path)}
            told_used = used_of(count)
            for type in TYPES:
                used = told_used.get(type, 0)
                mine = sum(n for (a, t), n in kept.items() if t == type and a in below)
                if mine != used:
                    told.append(f"{count.key} has {type} counted as {used}, not {mine}")
    return told


def _jobs(session: Session) -> list[str]:
    told = []
    positions: dict[int, list[int]] = {}
    for job, position in session.execute(select(StepRow.job_id, StepRow.position)):
        positions.setdefault(job, []).append(position)
    for job in session.scalars(select(JobRow)):
        if job.state in OPEN or job.completed is None:
            told.append(f"job {job.id} {job.command or job.flow} is {job.state}")
        steps = sorted(positions.get(job.id, []))
        if steps != list(range(len(steps))):
            told.append(f"job {job.id} noted the steps {steps}")
    return told


def _events(session: Session) -> list[str]:
    """What was scheduled was told to have begun, and to be over, each once, and says how the job ended."""
    told = []
    stages = Counter(
        tuple(row) for row in session.execute(select(Event.start_id, Event.state).where(Event.start_id.is_not(None)))
    )
    for event in session.scalars(select(Event).where(Event.state == "Scheduled")):
        for state, words in (("Started", "have begun"), ("Completed", "be over")):
            if stages[event.id, state] != 1:
                told.append(f"the event {event.type} {event.id} was told to {words} {stages[event.id, state]} times")
    # what the cloud does by itself, such as a guest's new start, was never scheduled by anybody
    started = [j for j in session.scalars(select(JobRow)) if j.event and j.event["start"] is not None]
    return told + [
        f"job {j.id} has no Scheduled event" for j in started if session.get(Event, j.event["start"]) is None
    ]
