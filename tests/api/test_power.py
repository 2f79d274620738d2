"""What hosts tell of machines that no job works on."""

import pytest
from sqlalchemy import delete, select, update

from mgmt_server.db import now, reading, write
from mgmt_server.model.event import Alert, Event
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.storage import PoolHost
from mgmt_server.model.vm import Vm, instance_name
from mgmt_server.protocol.machine import MachineState
from mgmt_server.resources.vm.power import reported
from tests.api.test_maintenance import capacity_fits
from tests.api.test_vm import deploy
from tests.simulated import build


@pytest.fixture
def running(cloud):
    zone = build()
    zone["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    answer = deploy(cloud, zone)
    with reading() as session:
        return session.scalar(select(Vm).where(Vm.uuid == answer["id"]))


def powered_off(running):
    off = update(SimulatedMachine).where(SimulatedMachine.machine == running.uuid).values(state="Stopped")
    write(lambda tx: tx.execute(off) and None)


def test_a_guest_that_shut_itself_down_is_stopped_and_holds_no_host(cloud, running):
    powered_off(running)
    reported(running.host_id, [MachineState("any", running.uuid, "Stopped")])
    cloud.work()
    with reading() as session:
        vm, host = session.get(Vm, running.id), session.get(Host, running.host_id)
        assert (vm.state, vm.host_id, vm.last_host_id, vm.reserved) == ("Stopped", None, running.host_id, False)
        router = session.scalar(select(Vm).where(Vm.kind == "DomainRouter"))
        assert host.machines == (1 if router.host_id == host.id else 0)
        assert "stopped by itself" in session.scalar(select(Event.description).where(Event.type == "VM.STOP"))


def test_one_that_is_gone_has_only_its_name(cloud, running):
    name = instance_name(running.kind, running.account_id, running.id)
    powered_off(running)
    reported(running.host_id, [MachineState(name, "", "Stopped")])
    cloud.work()
    with reading() as session:
        assert session.get(Vm, running.id).state == "Stopped"


def test_strangers_are_told_once(cloud, running):
    stranger = MachineState("by-hand", "0f0f0f0f-0000-4000-8000-000000000001", "Running")
    for _ in range(2):
        reported(running.host_id, [stranger])
    with reading() as session:
        assert session.get(Host, running.host_id).details["unmanaged"] == "by-hand"
        assert len(list(session.scalars(select(Alert)))) == 1


def test_another_host_cannot_stop_it(cloud, running):
    with reading() as session:
        other = session.scalar(select(Host.id).where(Host.id != running.host_id))
    reported(other, [MachineState("any", running.uuid, "Stopped")])
    with reading() as session:
        assert session.get(Vm, running.id).state == "Running"


def kept(running, state, host_id):
    """Another host has the machine too, as its hypervisor says."""
    with reading() as session:
        other = session.scalar(select(Host).where(Host.id == host_id))
    place = update(SimulatedMachine).where(SimulatedMachine.machine == running.uuid)
    write(lambda tx: tx.execute(place.values(host=other.uuid, state=state)) and None)
    return [MachineState(running.instance, running.uuid, state)]


def left():
    with reading() as session:
        return list(session.scalars(select(SimulatedMachine.name).where(SimulatedMachine.name.startswith("i-"))))


def test_what_a_host_kept_of_a_machine_that_runs_elsewhere_is_taken_away(cloud, running):
    with reading() as session:
        other = session.scalar(select(Host.id).where(Host.id != running.host_id))
    states = kept(running, "Stopped", other)
    reported(other, states)  # a change alone says nothing of what is kept
    cloud.work()
    assert left() == [running.instance]
    reported(other, states, now())
    cloud.work()
    assert left() == []
    with reading() as session:
        assert session.get(Vm, running.id).state == "Running"


@pytest.mark.parametrize(("state", "stays"), [("Expunging", False), ("Stopped", True)])
def test_what_is_left_of_an_expunged_machine_goes_and_one_that_was_let_go_stays(cloud, running, state, stays):
    host = running.host_id
    gone = update(Vm).where(Vm.id == running.id).values(removed=now(), state=state, host_id=None)
    write(lambda tx: tx.execute(gone) and None)
    reported(host, kept(running, "Stopped", host), now())
    cloud.work()
    assert bool(left()) == stays


@pytest.mark.parametrize("then", ["rests", "runs", "is expunged"])
def test_the_old_name_of_a_machine_that_was_given_away_goes_once_its_host_answers_again(cloud, running, then):
    cloud.account("ann")
    domain = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    cloud.job("stopVirtualMachine", id=running.uuid)
    fault = cloud.ask("configureSimulator", name="forget", value="lost:true")["mock"]["id"]
    cloud.ask("assignVirtualMachine", virtualmachineid=running.uuid, account="ann", domainid=domain)
    cloud.work()
    cloud.ask("cleanupSimulatorMock", id=fault)
    assert left() == [running.instance]
    if then == "runs":
        cloud.job("startVirtualMachine", id=running.uuid)
    if then == "is expunged":
        cloud.job("destroyVirtualMachine", id=running.uuid, expunge=True)
    reported(running.host_id, [MachineState(running.instance, running.uuid, "Stopped")], now())
    cloud.work()
    assert running.instance not in left() and len(left()) == (then == "runs")


def test_what_runs_again_meanwhile_is_not_taken_away(cloud, running):
    with reading() as session:
        other = session.scalar(select(Host.id).where(Host.id != running.host_id))
    reported(other, kept(running, "Stopped", other), now())
    kept(running, "Running", other)
    cloud.work()
    assert left() == [running.instance]


def strayed(cloud, running):
    """It is stopped, and somebody starts it on the other host."""
    cloud.job("stopVirtualMachine", id=running.uuid)
    with reading() as session:
        other = session.scalar(select(Host).where(Host.id != running.host_id))
        row = session.scalar(select(SimulatedMachine).where(SimulatedMachine.name == running.instance))
    assert row is None or row.state == "Stopped"
    place = update(SimulatedMachine).where(SimulatedMachine.name == running.instance)
    write(lambda tx: tx.execute(place.values(host=other.uuid, state="Running")) and None)
    reported(other.id, [MachineState(running.instance, running.uuid, "Running")], now())
    with reading() as session:
        (alert,) = session.scalars(select(Alert).where(Alert.lasting == f"stray:{running.id}"))
        assert "though it should be stopped" in alert.subject
    assert runs() == [running.instance]


def runs():
    mine = SimulatedMachine.name.startswith("i-") & (SimulatedMachine.state == "Running")
    with reading() as session:
        return list(session.scalars(select(SimulatedMachine.name).where(mine)))


def test_one_that_runs_though_it_should_not_is_stopped_where_it_runs(cloud, running):
    strayed(cloud, running)
    cloud.job("stopVirtualMachine", id=running.uuid)
    assert runs() == []
    with reading() as session:
        assert session.get(Vm, running.id).state == "Stopped"
        assert not list(session.scalars(select(Alert).where(Alert.lasting == f"stray:{running.id}")))
        assert session.get(Host, running.host_id).machines in (0, 1)
    assert cloud.job("startVirtualMachine", id=running.uuid)["virtualmachine"]["state"] == "Running"


def test_one_that_runs_though_it_should_not_is_destroyed_where_it_runs(cloud, running):
    strayed(cloud, running)
    cloud.job("destroyVirtualMachine", id=running.uuid, expunge=True)
    assert left() == []


# --- moved by hand: what its old host says comes first ---


@pytest.fixture
def moved(cloud, running):
    """Somebody has moved it to the other host; gives that."""
    return moves(running)


def moves(vm):
    with reading() as session:
        other = session.scalar(select(Host).where(Host.id != vm.host_id, Host.type == "Routing"))
    place = update(SimulatedMachine).where(SimulatedMachine.machine == vm.uuid)
    write(lambda tx: tx.execute(place.values(host=other.uuid)) and None)
    return other


def seen(vm):
    with reading() as session:
        return session.get(Vm, vm.id)


@pytest.mark.parametrize("kept", ["nothing", "its definition"])
def test_one_that_was_moved_by_hand_is_found_where_it_runs(cloud, running, moved, kept):
    states = [MachineState(running.instance, running.uuid, "Stopped")] if kept == "its definition" else []
    reported(running.host_id, states, now())
    cloud.work()
    vm = seen(running)
    assert (vm.state, vm.host_id) == ("Running", moved.id)
    assert runs() == [running.instance]
    texts = [e["description"] for e in cloud.ask("listEvents", resourceid=running.uuid, listall=True)["event"]]
    assert any("was moved" in t and "by nobody here" in t for t in texts) and not any("stopped" in t for t in texts)
    capacity_fits()


def test_it_is_sought_only_where_its_disks_are_reached(cloud, running, moved):
    write(lambda tx: tx.execute(delete(PoolHost).where(PoolHost.host_id == moved.id)) and None)
    reported(running.host_id, [], now())
    assert seen(running).state == "Stopped", "at once: nobody else can have it"


def test_a_host_that_cannot_tell_keeps_nothing_from_being_laid_down(cloud, running):
    with reading() as session:
        other = session.scalar(select(Host).where(Host.id != running.host_id))
    powered_off(running)
    cloud.ask("configureSimulator", name="machines", value="lost:true", hostid=other.uuid)
    reported(running.host_id, [MachineState(running.instance, running.uuid, "Stopped")], now())
    cloud.work()
    assert seen(running).state == "Stopped"


def test_its_own_host_has_the_last_word(cloud, running):
    """It runs again there by the time it is sought; and while that host cannot tell, nothing is done."""
    home = running.host_id
    reported(home, [MachineState(running.instance, running.uuid, "Stopped")], now())
    cloud.work()
    assert (seen(running).state, seen(running).host_id) == ("Running", home)
    powered_off(running)
    with reading() as session:
        name = session.get(Host, home).uuid
    fault = cloud.ask("configureSimulator", name="machines", value="lost:true", hostid=name)["mock"]["id"]
    reported(home, [MachineState(running.instance, running.uuid, "Stopped")], now())
    cloud.work()
    assert seen(running).state == "Running"
    cloud.ask("cleanupSimulatorMock", id=fault)
    reported(home, [MachineState(running.instance, running.uuid, "Stopped")], now())
    cloud.work()
    assert seen(running).state == "Stopped"


def test_with_high_availability_it_is_not_started_twice(cloud, running):
    write(lambda tx: tx.execute(update(Vm).where(Vm.id == running.id).values(ha_enabled=True)) and None)
    other = moves(running)
    reported(running.host_id, [], now())
    cloud.work()
    assert (seen(running).state, seen(running).host_id) == ("Running", other.id)
    assert runs() == [running.instance]
