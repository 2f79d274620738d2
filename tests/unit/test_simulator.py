"""The simulated host: once for each call id, few statements, and faults that hit what they should."""

from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.drivers.hypervisor import HostRef, dispatch, faults
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.drivers.storage import simulator as simulated
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.model.simulator import SimulatedDisk, SimulatedFault, SimulatedMachine
from mgmt_server.protocol.machine import Disk, File, Image, Machine, Pool, Store
from mgmt_server.protocol.router import RouterDocument

HOST = HostRef(str(uuid4()), "h1", "Simulator")
OTHER = HostRef(str(uuid4()), "h2", "Simulator")
POOL = Pool("p-1", "NetworkFilesystem", "/export", "192.0.2.1")


@pytest.fixture(autouse=True)
def fresh(database):
    faults.forget()
    yield
    faults.forget()


def machine(name="i-2-3-VM"):
    return Machine(name, str(uuid4()), "User", 1, 1000, 512 << 20, (), ())


def row(name="i-2-3-VM"):
    with db.reading() as session:
        return session.scalar(select(SimulatedMachine).where(SimulatedMachine.name == name))


def switch_on(**fault):
    db.write(lambda tx: tx.add(SimulatedFault(**{"method": "*", **fault})))
    faults.forget()


def test_a_repeat_of_a_call_starts_nothing_twice():
    call, wanted = uuid4(), machine()
    first = dispatch.start(call, HOST, wanted)
    assert (first.state, first.name) == ("Running", "i-2-3-VM")
    dispatch.start(uuid4(), HOST, machine("i-2-4-VM"))
    assert dispatch.start(call, HOST, wanted) == first and row().starts == 1
    dispatch.stop(uuid4(), HOST, wanted.name, False)
    assert row().state == "Stopped"
    dispatch.start(uuid4(), OTHER, wanted)
    assert (row().starts, row().host) == (2, OTHER.uuid)
    assert {m.name for m in dispatch.machines(HOST)} == {"i-2-4-VM"}


def test_the_undo_of_a_start_leaves_nothing():
    wanted = machine()
    dispatch.start(uuid4(), HOST, wanted)
    dispatch.stop_forced(uuid4(), HOST, wanted)
    assert row() is None
    dispatch.stop_forced(uuid4(), HOST, wanted)  # of a start that never happened


def test_a_deploy_costs_few_statements():
    wanted = machine()
    image = Image("t-1", Store("nfs://192.0.2.1/s"), "template/tmpl/2/201/x.qcow2", "QCOW2", 1, 1)
    dispatch.start(uuid4(), HOST, machine("warm"))
    before = db.statements()
    backing = disks.cache_template(uuid4(), HOST, POOL, image)
    disks.create_disk(uuid4(), HOST, Disk("d-1", POOL, 1 << 30, backing=backing))
    dispatch.start(uuid4(), HOST, wanted)
    assert db.statements() - before <= 7  # on SQLite each BEGIN counts too; one looks what the template's file holds
    with db.reading() as session:
        assert session.scalars(select(SimulatedDisk.backing).order_by(SimulatedDisk.id)).all() == ["", "t-1"]
    disks.delete_disk(uuid4(), HOST, Disk("d-1", POOL, 1 << 30))
    with db.reading() as session:
        assert session.scalars(select(SimulatedDisk.name)).all() == ["t-1"]


def test_a_router_takes_no_older_document():
    dispatch.start(uuid4(), HOST, machine("r-4-VM"))
    assert dispatch.configure_router(uuid4(), HOST, RouterDocument("r-4-VM", 3, ())).error == ""
    assert "older than 3" in dispatch.configure_router(uuid4(), HOST, RouterDocument("r-4-VM", 2, ())).error
    with pytest.raises(Failed, match="does not run"):
        dispatch.configure_router(uuid4(), OTHER, RouterDocument("r-4-VM", 4, ()))


def test_the_nth_call_fails_and_the_next_does_not():
    switch_on(method="start", failure="no bits left", skip=1, left=1)
    dispatch.start(uuid4(), HOST, machine("a"))
    with pytest.raises(Failed, match="no bits left"):
        dispatch.start(uuid4(), HOST, machine("b"))
    dispatch.start(uuid4(), HOST, machine("c"))
    assert row("b") is None and row("c").state == "Running"


def test_a_late_failure_has_had_its_effect_and_a_lost_host_does_not_answer():
    switch_on(method="start", failure="the link broke", late=True, left=1)
    with pytest.raises(Failed, match="the link broke"):
        dispatch.start(uuid4(), HOST, machine())
    assert row().state == "Running"
    switch_on(unavailable=True)
    with pytest.raises(Unavailable, match="does not answer"):
        dispatch.machines(HOST)


def test_an_unknown_hypervisor_is_told():
    with pytest.raises(Unavailable, match="no driver for hypervisor Hyperv"):
        dispatch.machines(HostRef("x", "x", "Hyperv"))


def content(pool, name):
    with db.reading() as session:
        rows = select(SimulatedDisk.content).where(SimulatedDisk.pool == pool, SimulatedDisk.name == name)
        return session.scalar(rows)


def test_a_machine_migrates_once_and_takes_what_it_has_along(database):
    call, wanted = uuid4(), machine()
    dispatch.start(uuid4(), HOST, wanted)
    dispatch.attach_disk(uuid4(), HOST, wanted.name, Disk("d-9", POOL, 1 << 30))
    with pytest.raises(Failed, match="does not run on host"):
        dispatch.migrate(uuid4(), OTHER, HOST, wanted, ())
    for _ in range(2):
        assert dispatch.migrate(call, HOST, OTHER, wanted, ()).state == "Running"
    assert not dispatch.machines(HOST) and [m.name for m in dispatch.machines(OTHER)] == [wanted.name]
    with pytest.raises(Failed, match="does not run on host"):
        dispatch.detach_disk(uuid4(), HOST, wanted.name, Disk("d-9", POOL, 1 << 30))


def test_what_a_disk_holds_follows_saves_loads_and_reverts(database):
    disk, other = Disk("d-1", POOL, 1 << 30), Disk("d-2", POOL, 1 << 30)
    store = Store("nfs://store/secondary")
    wanted = replace(machine(), disks=(disk,))
    disks.create_disk(uuid4(), HOST, disk)
    dispatch.start(uuid4(), HOST, wanted)
    before = content(POOL.uuid, "d-1")
    saved = disks.save_disk(uuid4(), HOST, disk, wanted.name, File(store, "snapshots/1/1/a"), "", "p")
    assert saved.whole and saved.point == "p"
    dispatch.snapshot(uuid4(), HOST, wanted.name, "now", True)
    db.write(simulated.touch, POOL.uuid, "d-1")
    assert content(POOL.uuid, "d-1") != before
    disks.load_disk(uuid4(), HOST, other, (Image("s", store, "snapshots/1/1/a", "QCOW2", 1, 1 << 30),))
    assert content(POOL.uuid, "d-2") == before
    assert dispatch.revert(uuid4(), HOST, wanted, "now").state == "Running"
    assert content(POOL.uuid, "d-1") == before
    dispatch.delete_snapshot(uuid4(), HOST, wanted.name, "now")
    with pytest.raises(Failed, match="no snapshot now"):
        dispatch.revert(uuid4(), HOST, wanted, "now")
