"""32 at once on one machine, disk or image, on both databases: each is refused in words or ends, one state is left, and
all that is counted adds up. Their jobs run in several workers at the same time."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import select, update

from mgmt_server import db
from mgmt_server.db import new_uuid
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.jobs.worker import run_next
from mgmt_server.model.host import Host
from mgmt_server.model.network import Nic
from mgmt_server.model.snapshot import VmSnapshot
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Vm, Volume
from tests.cloud import Cloud, Refused
from tests.crash.invariants import broken
from tests.db.test_races import MANY, at_once
from tests.simulated import GIB, build

WORKERS = 6


class Place:
    """An account's machine with a data disk beside it, in a zone of its own with three hosts."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.user = cloud.account(f"u{new_uuid()[:8]}")
        self.zone = build(name=f"z-{self.user}", hosts=3)
        small = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
        self.disks = sorted(
            (d for d in cloud.ask("listDiskOfferings")["diskoffering"] if not d["iscustomized"]),
            key=lambda d: d["disksize"],
        )
        self.sent = {"zoneid": self.zone["zone"], "templateid": self.zone["template"], "serviceofferingid": small}
        self.vm = self.deploy("one")
        self.disk = self.job("createVolume", zoneid=self.zone["zone"], diskofferingid=self.disks[0]["id"], name="d")
        self.disk = self.disk["volume"]["id"]

    def deploy(self, name, **more):
        return self.job("deployVirtualMachine", name=name, **self.sent, **more)["virtualmachine"]["id"]

    def job(self, command, user="", **sent):
        return self.cloud.job(command, user=user or self.user, **sent)

    def attached(self):
        self.job("attachVolume", id=self.disk, virtualmachineid=self.vm)
        return self

    def race(self, *calls, user="", count=MANY):
        """So many callers, each with one of these calls; then workers at once. What each came to."""
        who = user or self.user

        def ask(number):
            command, sent = calls[number % len(calls)]
            return command, self.cloud.ask(command, user=who, **sent)

        given = at_once(lambda n: _kept(ask, n), count)
        for strange in (g for g in given if isinstance(g, Exception)):
            raise strange
        self.work()
        return [(command, self.outcome(told, who)) for command, told in given]

    def work(self):
        def turn(_):
            while run_next(self.cloud.node):
                pass

        open_jobs = select(JobRow.id, JobRow.command, JobRow.state).where(JobRow.state.in_(OPEN))
        for _ in range(20):  # a worker ends when nothing is free, though another one's job may be about to queue more
            told = [g for g in at_once(turn, WORKERS) if g is not None]
            assert not told, told
            with db.reading() as session:
                left = session.execute(open_jobs).all()
            if not left:
                break
        assert not left, left

    def outcome(self, told, user):
        """What a job answers, or why not. Each refusal is in words."""
        if not isinstance(told, Exception) and "jobid" in told:
            done = self.cloud.ask("queryAsyncJobResult", user=user, jobid=told["jobid"])
            assert done["jobstatus"] in (1, 2), done
            told = done["jobresult"]
            told = told if done["jobstatus"] == 1 else Refused(done["jobresultcode"], told)
        if isinstance(told, Exception):
            assert isinstance(told, Refused) and told.text and "internal error" not in told.text, told
        return told

    def volume(self, uuid=""):
        with db.reading() as session:
            return session.scalar(select(Volume).where(Volume.uuid == (uuid or self.disk)))

    def machine(self, uuid=""):
        with db.reading() as session:
            return session.scalar(select(Vm).where(Vm.uuid == (uuid or self.vm)))

    def whole(self, outcomes=()):
        """Nothing is in between, and everything adds up; of this zone, for others' tests left theirs."""
        told = [t for t in broken() if not t.startswith("job ") and "was told to" not in t]
        assert not told, (told, [str(t) for _, t in outcomes if isinstance(t, Exception)])


def _kept(ask, number):
    try:
        return ask(number)
    except Refused as no:
        return "", no


def won(outcomes):
    return [(command, told) for command, told in outcomes if not isinstance(told, Exception)]


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def place(request):
    if request.param == "sqlite":
        request.getfixturevalue("database")
    else:
        request.getfixturevalue("fresh_mariadb")
    db.forget_rows()
    yield Place(Cloud())
    faults.forget()


def test_one_disk_attached_to_two_machines_is_on_one(place):
    other = place.deploy("two")
    calls = [("attachVolume", {"id": place.disk, "virtualmachineid": vm}) for vm in (place.vm, other)]
    outcomes = place.race(*calls)
    assert won(outcomes)
    volume = place.volume()
    on = {told["volume"]["virtualmachineid"] for _, told in won(outcomes)}
    assert len(on) == 1 and volume.vm_id is not None and volume.slot is not None
    place.whole()


def test_the_last_slots_of_a_machine_go_to_a_disk_each(place):
    """Eight disks, six slots."""
    mine = [
        place.job("createVolume", zoneid=place.zone["zone"], diskofferingid=place.disks[0]["id"], name=f"d{n}")
        for n in range(8)
    ]
    calls = [("attachVolume", {"id": d["volume"]["id"], "virtualmachineid": place.vm}) for d in mine]
    outcomes = place.race(*calls, count=len(mine))
    assert len(won(outcomes)) == 6, outcomes
    with db.reading() as session:
        slots = list(session.scalars(select(Volume.slot).where(Volume.vm_id == place.machine().id)))
    assert len(slots) == len(set(slots)) == 7
    place.whole()


def test_one_slot_that_many_disks_want_goes_to_one(place):
    mine = [
        place.job("createVolume", zoneid=place.zone["zone"], diskofferingid=place.disks[0]["id"], name=f"d{n}")
        for n in range(6)
    ]
    calls = [("attachVolume", {"id": d["volume"]["id"], "virtualmachineid": place.vm, "deviceid": 7}) for d in mine]
    assert len(won(place.race(*calls, count=len(mine)))) == 1
    place.whole()


def test_a_disk_that_is_deleted_attached_and_resized_at_once_is_in_one_state(place):
    place.race(
        ("attachVolume", {"id": place.disk, "virtualmachineid": place.vm}),
        ("deleteVolume", {"id": place.disk}),
        ("resizeVolume", {"id": place.disk, "diskofferingid": place.disks[-1]["id"]}),
        ("createSnapshot", {"volumeid": place.disk}),
    )
    volume = place.volume()
    assert (volume.removed is not None) or (volume.state in ("Ready", "Allocated"))
    assert not (volume.removed is not None and volume.vm_id is not None), "an attached disk was deleted"
    place.whole()


def test_two_sizes_at_once_leave_one_and_it_is_counted(place):
    place.attached()
    calls = [("resizeVolume", {"id": place.disk, "diskofferingid": d["id"]}) for d in place.disks[1:3]]
    assert won(place.race(*calls))
    assert place.volume().size in {d["disksize"] * GIB for d in place.disks[1:3]} | {place.disks[0]["disksize"] * GIB}
    place.whole()


def test_moves_to_two_hosts_at_once_leave_it_on_one(place):
    with db.reading() as session:
        home = session.get(Host, place.machine().host_id).uuid
    there = [h for h in place.zone["hosts"].split(",") if h != home]
    calls = [("migrateVirtualMachine", {"virtualmachineid": place.vm, "hostid": h}) for h in there]
    assert won(place.race(*calls, user="admin"))
    assert place.machine().state == "Running" and place.machine().target_host_id is None
    place.whole()


def test_a_disk_that_is_moved_and_attached_at_once_is_in_one_pool(place):
    def second(tx):
        first = tx.scalar(select(Pool).where(Pool.uuid == place.zone["pool"]))
        columns = ("zone_id", "pod_id", "cluster_id", "scope", "type", "hypervisor", "server", "capacity")
        made = Pool(name="second", path="/second", details={}, **{c: getattr(first, c) for c in columns})
        tx.add(made)
        tx.flush()
        hosts = list(tx.scalars(select(PoolHost.host_id).where(PoolHost.pool_id == first.id)))
        tx.add_all(PoolHost(pool_id=made.id, host_id=h) for h in hosts)
        return made.uuid

    pool = db.write(second)
    place.attached()
    place.job("detachVolume", id=place.disk)
    place.race(
        ("migrateVolume", {"volumeid": place.disk, "storageid": pool}),
        ("attachVolume", {"id": place.disk, "virtualmachineid": place.vm}),
        user="admin",
    )
    assert place.volume().state == "Ready" and place.volume().target_pool_id is None
    place.whole()


def test_a_snapshot_that_is_reverted_to_while_the_disk_is_attached_or_it_is_deleted(place):
    place.attached()
    place.job("detachVolume", id=place.disk)
    kept = place.job("createSnapshot", volumeid=place.disk)["snapshot"]["id"]
    place.race(
        ("revertSnapshot", {"id": kept}),
        ("attachVolume", {"id": place.disk, "virtualmachineid": place.vm}),
        ("deleteSnapshot", {"id": kept}),
    )
    assert place.volume().state == "Ready"
    place.whole()


def test_the_last_machine_snapshot_that_is_allowed_goes_to_one(place):
    place.cloud.ask("updateConfiguration", name="vmsnapshot.max", value=3)
    for _ in range(2):
        place.job("createVMSnapshot", virtualmachineid=place.vm)
    outcomes = place.race(("createVMSnapshot", {"virtualmachineid": place.vm}))
    with db.reading() as session:
        mine = select(VmSnapshot.state).where(
            VmSnapshot.vm_id == place.machine().id, VmSnapshot.removed.is_(None), VmSnapshot.state != "Error"
        )
        assert list(session.scalars(mine)) == ["Ready"] * 3, outcomes
    place.whole()


def test_a_machine_that_everybody_changes_at_once_is_in_one_state(place):
    place.attached()
    words = Counter(
        command or "refused"
        for command, _ in place.race(
            ("stopVirtualMachine", {"id": place.vm}),
            ("startVirtualMachine", {"id": place.vm}),
            ("rebootVirtualMachine", {"id": place.vm}),
            ("createVMSnapshot", {"virtualmachineid": place.vm}),
            ("restoreVirtualMachine", {"virtualmachineid": place.vm}),
            ("detachVolume", {"id": place.disk}),
            ("createSnapshot", {"volumeid": place.disk}),
            ("destroyVirtualMachine", {"id": place.vm}),
        )
    )
    assert words
    assert place.machine().state in ("Running", "Stopped", "Destroyed")
    place.whole()


def test_a_template_that_is_deleted_while_machines_are_made_of_it(place):
    place.attached()
    place.job("detachVolume", id=place.disk)
    kind = place.cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    made = place.job("createTemplate", name="made", ostypeid=kind, volumeid=place.disk)["template"]["id"]
    outcomes = place.race(
        ("deployVirtualMachine", {**place.sent, "templateid": made}), ("deleteTemplate", {"id": made}), count=12
    )
    for command, told in won(outcomes):
        if command == "deployVirtualMachine":
            assert place.machine(told["virtualmachine"]["id"]).state == "Running"
    place.whole(outcomes)


def test_a_network_that_is_deleted_while_machines_come_to_it(place):
    offering = place.cloud.ask("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    net = place.cloud.ask(
        "createNetwork", user=place.user, name="n", zoneid=place.zone["zone"], gateway="10.9.0.1",
        netmask="255.255.255.0", networkofferingid=offering["networkoffering"][0]["id"],
    )["network"]["id"]  # fmt: skip
    outcomes = place.race(
        ("deployVirtualMachine", {**place.sent, "networkids": net}), ("deleteNetwork", {"id": net}), count=12
    )
    with db.reading() as session:
        for command, told in won(outcomes):
            if command == "deployVirtualMachine":
                vm = place.machine(told["virtualmachine"]["id"])
                assert session.scalar(select(Nic.id).where(Nic.vm_id == vm.id, Nic.removed.is_(None)))
    place.whole()


@pytest.mark.parametrize("scarce", ["memory", "cpu", "storage"])
def test_the_room_for_one_machine_goes_to_one_of_many_starts(place, scarce):
    machines = [place.deploy(f"m{n}", startvm=False) for n in range(8)]
    vm = place.machine()
    with db.reading() as session:
        pool = session.scalar(select(Pool).where(Pool.uuid == place.zone["pool"]))
        root = session.scalar(select(Volume.size).where(Volume.vm_id == vm.id))

    def tighten(tx):
        hosts = list(tx.scalars(select(Host).where(Host.uuid.in_(place.zone["hosts"].split(","))).order_by(Host.id)))
        for number, host in enumerate(hosts):
            more = number == 0  # one machine's room there, none on the others
            if scarce == "memory":
                host.memory_capacity = host.memory_used + more * (vm.memory << 20)
            if scarce == "cpu":
                host.cpu_capacity = host.cpu_used + more * vm.cpus * vm.speed
        if scarce == "storage":
            capacity = pool.allocated + root
            tx.execute(update(Pool).where(Pool.id == pool.id).values(capacity=capacity, overprovision=1.0))

    db.write(tighten)
    for name in ("cluster.cpu", "cluster.memory", "pool.storage"):
        place.cloud.ask("updateConfiguration", name=f"{name}.allocated.capacity.disablethreshold", value="1")
    outcomes = place.race(*(("startVirtualMachine", {"id": m}) for m in machines), count=len(machines))
    assert len(won(outcomes)) == 1, [str(told) for _, told in outcomes if isinstance(told, Exception)][:3]
    assert sum(place.machine(m).state == "Running" for m in machines) == 1
    place.whole()
