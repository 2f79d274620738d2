"""A move whose answer gets lost: where the machine is, and which files are its disks, its hosts tell."""

# ruff: noqa: F811  the fixture is imported

import pytest
from sqlalchemy import update

from mgmt_server.db import write
from mgmt_server.drivers.hypervisor import dispatch as machines
from mgmt_server.drivers.hypervisor import simulator as hypervisor
from mgmt_server.drivers.storage import dispatch, simulator
from mgmt_server.errors import Unavailable
from mgmt_server.jobs import enqueue
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.resources.ha import guests
from mgmt_server.resources.reconcile import timers
from mgmt_server.resources.vm.migrate import arrived
from tests.api.reconciling import repair
from tests.api.test_leftovers import later
from tests.api.test_migrate import content, disk_of, other_host, row, second_pool, zone  # noqa: F401
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.crash.invariants import broken


def test_a_machine_in_doubt_waits_until_a_host_tells(cloud, zone):
    vm = deploy(cloud, zone)
    target = other_host(zone, vm)
    cloud.ask("configureSimulator", name="migrate", value="lost:true|late:true", count=1)
    cloud.ask("configureSimulator", name="machines", value="lost:true", hostid=target, count=1)
    with pytest.raises(Refused, match="Nobody can tell"):
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=target)
    assert row(vm).state == "Migrating" and row(vm).target_host_id is not None
    write(arrived, row(vm).id)  # as the reconciler does
    assert row(vm).state == "Running" and broken() == []


@pytest.fixture
def in_doubt(cloud, zone):
    """A machine whose move with its disk got no answer, nor do its hosts tell where it is by then."""

    def begin(*, arrived):
        vm, pool = deploy(cloud, zone), second_pool(zone)
        volume, _ = disk_of(vm)
        write(simulator.touch, zone["pool"], volume.path)
        target = other_host(zone, vm)
        cloud.ask(
            "configureSimulator", name="migrate", value="lost:true|late:true" if arrived else "lost:true", count=1
        )
        for question in ("machines", "settle_disk"):
            cloud.ask("configureSimulator", name=question, value="lost:true")
        sent = {"migrateto[0].volume": volume.uuid, "migrateto[0].pool": pool, "hostid": target}
        with pytest.raises(Refused, match="Nobody can tell"):
            cloud.job("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], **sent)
        assert row(vm).state == "Migrating" and content(volume, zone["pool"])
        return vm, volume, pool, target

    return begin


def stopped(vm):
    off = update(SimulatedMachine).where(SimulatedMachine.name == row(vm).instance).values(state="Stopped")
    write(lambda tx: tx.execute(off) and None)


def bury(cloud, vm):
    one = row(vm)
    write(lambda tx: enqueue(tx, guests.bury, (one.id, one.host_id, "died"), lock=f"vm:{one.id}") and None)
    cloud.work()


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("arrived", [True, False])
def test_a_machine_in_doubt_whose_host_died_is_laid_down_with_the_disk_that_it_had_last(
    cloud, zone, in_doubt, arrived, runs
):
    vm, volume, pool, target = in_doubt(arrived=arrived)
    write(simulator.touch, pool if arrived else zone["pool"], volume.path)
    last = content(volume, pool if arrived else zone["pool"])
    if not (arrived and runs):  # it went with its host, or shut itself down where it had come
        stopped(vm)
    bury(cloud, vm)
    assert row(vm).state == "Migrating", "the other host does not answer yet"
    cloud.ask("cleanupSimulatorMock")
    later(cloud)
    assert row(vm).state == ("Running" if arrived and runs else "Stopped")
    later(cloud)
    after, lies = disk_of(vm)
    assert (lies, after.state, content(after, lies)) == (pool if arrived else zone["pool"], "Ready", last)
    assert broken() == []


@pytest.mark.parametrize("arrived", [True, False])
def test_a_machine_in_doubt_that_stopped_meanwhile_has_the_disk_that_it_had_last(cloud, zone, in_doubt, arrived):
    vm, volume, pool, _ = in_doubt(arrived=arrived)
    write(simulator.touch, pool if arrived else zone["pool"], volume.path)
    last = content(volume, pool if arrived else zone["pool"])
    stopped(vm)
    repair(cloud)
    assert row(vm).state == "Migrating", "no host answers yet"
    cloud.ask("cleanupSimulatorMock")
    timers.forget()
    repair(cloud)
    later(cloud)
    assert row(vm).state == "Stopped" and broken() == []
    cloud.job("startVirtualMachine", id=vm["id"])
    after, lies = disk_of(vm)
    assert (lies, content(after, lies)) == (pool if arrived else zone["pool"], last) and broken() == []


def test_a_machine_that_goes_over_while_its_host_is_asked_has_moved(cloud, zone, monkeypatch):
    """The answer got lost, but the move went on: nothing of it is undone before it has ended."""
    vm, pool = deploy(cloud, zone), second_pool(zone)
    volume, _ = disk_of(vm)
    settle, held_up = dispatch.settle_disk, []

    def migrate(call, source, target, machine, moves):
        held_up.append((call, source, target, machine, moves))
        raise Unavailable("no answer")

    def settled(*question):
        while held_up:
            write(hypervisor._migrate, str(held_up[0][0]), *held_up.pop()[1:])
        return settle(*question)

    monkeypatch.setattr(machines, "migrate", migrate)
    monkeypatch.setattr(dispatch, "settle_disk", settled)
    sent = {"migrateto[0].volume": volume.uuid, "migrateto[0].pool": pool, "hostid": other_host(zone, vm)}
    moved = cloud.job("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], **sent)["virtualmachine"]
    assert moved["hostid"] == other_host(zone, vm) and disk_of(vm)[1] == pool
    later(cloud)
    assert broken() == []


@pytest.mark.parametrize("arrived", [True, False])
def test_a_machine_in_doubt_both_of_whose_hosts_died_is_laid_down_and_keeps_both_files(cloud, zone, in_doubt, arrived):
    vm, volume, pool, target = in_doubt(arrived=arrived)
    bury(cloud, vm)
    assert row(vm).state == "Migrating", "the other host may come back and tell"
    gone = update(Host).where(Host.uuid == target).values(state="Down", resource_state="Degraded")
    write(lambda tx: tx.execute(gone) and None)
    later(cloud)
    assert row(vm).state == "Stopped"
    later(cloud)
    assert bool(content(volume, pool)) == arrived and content(volume, zone["pool"])
    with pytest.raises(Refused, match="Nobody can tell yet where the disk"):
        cloud.job("startVirtualMachine", id=vm["id"])
