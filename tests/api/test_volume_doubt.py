"""A disk that moves while its machine runs, and the answer gets lost: its host tells which file is the disk."""

import pytest
from sqlalchemy import delete, select

from mgmt_server.db import reading, write
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.drivers.storage import dispatch, simulator
from mgmt_server.errors import Failed
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.protocol.machine import Disk, Pool
from mgmt_server.resources.reconcile import timers
from mgmt_server.resources.storage import rows as storage
from mgmt_server.resources.volume import moving as flow
from tests.api import test_volume
from tests.api.reconciling import repair, told
from tests.api.test_leftovers import later
from tests.api.test_volume import create, deploy, row, second_pool, shown
from tests.cloud import Refused
from tests.crash.invariants import broken

zone = test_volume.zone
STAYS = "Nobody can tell where the disk .* lies now: it stays Migrating until .* tells"


@pytest.fixture(autouse=True)
def no_faults():
    yield
    faults.forget()


@pytest.fixture
def moving(cloud, zone):
    """A running machine's disk with content, and a pool that it can move to."""
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, virtualmachineid=vm["id"], storageid=zone["pool"])
    write(simulator.touch, zone["pool"], row(volume).path)
    return vm, volume, second_pool(zone)


def fail(cloud, name, value="lost:true", **more):
    return cloud.ask("configureSimulator", name=name, value=value, **more)["mock"]["id"]


def move(cloud, volume, pool):
    cloud.job("migrateVolume", volumeid=volume["id"], storageid=pool, livemigrate=True)


def files(volume):
    """Content of the disk's files by pool."""
    rows = select(SimulatedDisk.pool, SimulatedDisk.content).where(SimulatedDisk.name == row(volume).path)
    with reading() as session:
        return {found.pool: found.content for found in session.execute(rows)}


def used(vm, volume):
    """The pool in which the machine has the disk open."""
    with reading() as session:
        places = session.scalar(select(SimulatedMachine.places).where(SimulatedMachine.machine == vm["id"]))
    return places[row(volume).path]


def test_a_move_whose_answer_is_lost_has_happened(cloud, zone, moving):
    vm, volume, other = moving
    content = files(volume)[zone["pool"]]
    fail(cloud, "move_disk", "late:true|lost:true", count=1)
    move(cloud, volume, other)
    assert used(vm, volume) == other and files(volume) == {other: content}
    assert (shown(cloud, volume)["state"], shown(cloud, volume)["storageid"]) == ("Ready", other)
    assert broken() == []


@pytest.mark.parametrize("fault", ["lost:true", "fail:no"])
def test_a_move_that_did_not_happen_leaves_nothing(cloud, zone, moving, fault):
    vm, volume, other = moving
    before = files(volume)
    for _ in range(2):
        fail(cloud, "move_disk", fault, count=1)
        with pytest.raises(Refused, match="does not answer|no"):
            move(cloud, volume, other)
        assert files(volume) == before and used(vm, volume) == zone["pool"]
        assert shown(cloud, volume)["state"] == "Ready" and broken() == []
    for pool in (other, zone["pool"]):
        move(cloud, volume, pool)
    fail(cloud, "move_disk", fault, count=1)
    with pytest.raises(Refused):  # to where it was once
        move(cloud, volume, other)
    assert shown(cloud, volume)["state"] == "Ready" and broken() == []


@pytest.mark.parametrize("arrived", [True, False])
def test_where_nobody_can_tell_both_files_stay_until_the_host_does(cloud, zone, moving, arrived):
    vm, volume, other = moving
    content, pools = files(volume)[zone["pool"]], {zone["pool"], other}
    fail(cloud, "move_disk", "late:true|lost:true" if arrived else "lost:true")
    silent = fail(cloud, "settle_disk")
    with pytest.raises(Refused, match=STAYS):
        move(cloud, volume, other)
    for _ in range(2):
        assert shown(cloud, volume)["state"] == "Migrating"
        assert files(volume).keys() == (pools if arrived else {zone["pool"]})
        repair(cloud)
        later(cloud)
    with pytest.raises(Refused, match="Nobody can tell yet where the disk data lies"):
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    cloud.ask("cleanupSimulatorMock", id=silent)
    repair_again(cloud)
    later(cloud)
    lies = other if arrived else zone["pool"]
    assert used(vm, volume) == lies and files(volume) == {lies: content}
    assert (shown(cloud, volume)["state"], shown(cloud, volume)["storageid"]) == ("Ready", lies)
    assert told("it has arrived in other" if arrived else "it is Ready where it was") and broken() == []


def repair_again(cloud):
    timers.forget()
    repair(cloud)


def test_a_machine_that_stopped_meanwhile_does_not_start_with_the_older_file(cloud, zone, moving):
    """Its host knows of the machine that it had which file was its disk last."""
    vm, volume, other = moving
    fail(cloud, "move_disk", "late:true|lost:true")
    silent = fail(cloud, "settle_disk")
    with pytest.raises(Refused, match=STAYS):
        move(cloud, volume, other)
    write(simulator.touch, other, row(volume).path)
    content = files(volume)[other]
    cloud.job("stopVirtualMachine", id=vm["id"])
    for forbidden in ("startVirtualMachine", "destroyVirtualMachine"):
        sent = {"expunge": True} if forbidden.startswith("destroy") else {}
        with pytest.raises(Refused, match="Nobody can tell yet where the disk data lies"):
            cloud.job(forbidden, id=vm["id"], **sent)
        if sent:
            cloud.ask("recoverVirtualMachine", id=vm["id"])
    repair_again(cloud)
    assert shown(cloud, volume)["state"] == "Migrating" and files(volume).keys() == {zone["pool"], other}
    cloud.ask("cleanupSimulatorMock", id=silent)
    repair_again(cloud)
    later(cloud)
    cloud.job("startVirtualMachine", id=vm["id"])
    assert used(vm, volume) == other and files(volume) == {other: content} and broken() == []


def test_a_failure_after_the_move_takes_nothing_away(cloud, zone, moving, monkeypatch):
    vm, volume, other = moving
    content = files(volume)[zone["pool"]]

    def refuse(tx, volume):
        raise Failed("the database does not want it")

    with monkeypatch.context() as patched:
        patched.setattr(flow, "disk_moved", refuse)
        with pytest.raises(Refused, match="does not want it"):
            move(cloud, volume, other)
    assert files(volume)[other] == content and shown(cloud, volume)["state"] == "Migrating"
    repair_again(cloud)
    later(cloud)
    assert used(vm, volume) == other and files(volume) == {other: content} and broken() == []


def test_a_host_does_not_delete_the_disk_of_a_machine_that_runs_there(cloud, zone, moving):
    vm, volume, _ = moving
    with reading() as session:
        host = storage.ref(session.scalar(select(Host).where(Host.uuid == vm["hostid"])))
    file = Disk(row(volume).path, Pool(zone["pool"], "Filesystem", "/p"), 0)
    with pytest.raises(Failed, match="runs with the disk"):
        dispatch.delete_disk(None, host, file)
    assert files(volume)


@pytest.fixture
def lost(cloud, zone, moving):
    """A move whose host is deleted before it could tell whether that happened. Gives machine, disk and pool."""

    def lose(*, arrived):
        vm, volume, other = moving
        fail(cloud, "move_disk", "late:true|lost:true" if arrived else "lost:true")
        silent = fail(cloud, "settle_disk")
        with pytest.raises(Refused, match=STAYS):
            move(cloud, volume, other)
        cloud.ask("cleanupSimulatorMock", id=silent)
        cloud.ask("deleteHost", id=vm["hostid"], forced=True)
        return vm, volume, other

    return lose


def alerts(cloud):
    found = cloud.ask("listAlerts", keyword="another file of it")
    return [a["description"] for a in found.get("alert", [])]


def test_without_the_host_that_could_tell_both_files_stay_and_the_operator_can_take_either(cloud, zone, lost):
    vm, volume, other = lost(arrived=True)
    write(simulator.touch, other, row(volume).path)
    newer = files(volume)[other]
    repair_again(cloud)
    later(cloud)
    assert (shown(cloud, volume)["state"], shown(cloud, volume)["storageid"]) == ("Ready", zone["pool"])
    assert told("no host knows any more") and len(alerts(cloud)) == 1
    assert files(volume).keys() == {zone["pool"], other}
    assert broken() == [f"disk {row(volume).path} in the pool {other} is nobody's"], "as the alert says"
    cloud.job("startVirtualMachine", id=vm["id"])
    assert used(vm, volume) == zone["pool"]
    taken = cloud.job("importVolume", path=row(volume).path, storageid=other)["volume"]
    cloud.job("detachVolume", id=volume["id"])
    cloud.job("attachVolume", id=taken["id"], virtualmachineid=vm["id"])
    assert files(taken)[other] == newer and broken() == []


@pytest.mark.parametrize("kept", ["source", "target"])
def test_without_that_host_the_only_file_is_the_disk(cloud, zone, lost, kept):
    vm, volume, other = lost(arrived=kept == "target")
    source = SimulatedDisk.pool == zone["pool"]
    if kept == "target":
        write(
            lambda tx: tx.execute(delete(SimulatedDisk).where(source, SimulatedDisk.name == row(volume).path)) and None
        )
    repair_again(cloud)
    lies = other if kept == "target" else zone["pool"]
    assert (shown(cloud, volume)["state"], shown(cloud, volume)["storageid"]) == ("Ready", lies)
    assert not alerts(cloud)
    cloud.job("startVirtualMachine", id=vm["id"])
    assert used(vm, volume) == lies and broken() == []


def test_a_host_that_was_made_anew_cannot_tell_either(cloud, zone, moving):
    vm, volume, other = moving
    fail(cloud, "move_disk", "late:true|lost:true")
    silent = fail(cloud, "settle_disk")
    with pytest.raises(Refused, match=STAYS):
        move(cloud, volume, other)
    cloud.ask("cleanupSimulatorMock", id=silent)
    fail(cloud, "settle_disk", "fail:this host does not know it")
    repair_again(cloud)
    assert shown(cloud, volume)["state"] == "Migrating", "its host has the machine: another try may tell"
    write(lambda tx: tx.execute(delete(SimulatedMachine).where(SimulatedMachine.machine == vm["id"])) and None)
    repair_again(cloud)
    assert shown(cloud, volume)["state"] == "Ready" and len(alerts(cloud)) == 1
