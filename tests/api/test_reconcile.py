"""Nothing stays stuck, and what happened behind the server's back is found and told."""

# ruff: noqa: F811  the fixtures are imported

from datetime import timedelta

import pytest
from sqlalchemy import select

from mgmt_server.db import now, reading, write
from mgmt_server.jobs import enqueue
from mgmt_server.jobs.rows import JobRow
from mgmt_server.model.event import Alert, Event
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.snapshot import Snapshot, VmSnapshot
from mgmt_server.model.storage import Pool, TemplateOnStore
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.protocol.machine import MachineState
from mgmt_server.resources.host import timers as host_timers
from mgmt_server.resources.host.link import look as look_at_host
from mgmt_server.resources.reconcile import timers
from mgmt_server.resources.vm import flows
from mgmt_server.resources.vm.power import reported
from tests.api.reconciling import add, change, others, repair, row, told, vm, zone  # noqa: F401
from tests.api.test_maintenance import capacity_fits
from tests.api.test_vm import deploy
from tests.crash.invariants import broken

# --- what hosts have ---


def test_a_guest_that_is_no_longer_on_its_host_is_stopped(cloud, vm):
    write(lambda tx: tx.delete(tx.scalar(select(SimulatedMachine).where(SimulatedMachine.machine == vm.uuid))))
    look_at_host(vm.host_id)
    cloud.work()
    assert row(vm.uuid).state == "Stopped"
    assert told("is no longer on")
    capacity_fits()


def test_one_that_was_started_since_the_host_was_asked_is_left_alone(cloud, vm):
    reported(vm.host_id, [], vm.state_changed - timedelta(seconds=1))
    assert row(vm.uuid).state == "Running"


def test_a_host_that_comes_back_tells_what_it_has(cloud, vm):
    with reading() as session:
        host = session.get(Host, vm.host_id)
    cloud.ask("configureSimulator", name="*", value="lost:true", hostid=host.uuid)
    change(SimulatedMachine, SimulatedMachine.machine == vm.uuid, state="Stopped")
    cloud.ask("cleanupSimulatorMock")
    cloud.work()
    assert row(vm.uuid).state == "Stopped"


def test_one_that_was_moved_by_hand_is_where_it_runs(cloud, vm):
    other = others(vm)[0]
    change(SimulatedMachine, SimulatedMachine.machine == vm.uuid, host=other.uuid)
    reported(other.id, [MachineState("any", vm.uuid, "Running")])
    cloud.work()
    assert (row(vm.uuid).state, row(vm.uuid).host_id) == ("Running", other.id)
    assert told("was moved from")
    capacity_fits()


def test_one_that_its_own_host_cannot_tell_of_is_left_where_it_is(cloud, vm):
    other = others(vm)[0]
    with reading() as session:
        home = session.get(Host, vm.host_id)
    cloud.ask("configureSimulator", name="machines", value="lost:true", hostid=home.uuid)
    reported(other.id, [MachineState("any", vm.uuid, "Running")])
    cloud.work()
    assert row(vm.uuid).host_id == vm.host_id
    capacity_fits()


def test_a_paused_guest_is_told_once(cloud, vm):
    for _ in range(2):
        reported(vm.host_id, [MachineState("any", vm.uuid, "Paused")])
    assert row(vm.uuid).state == "Running"
    with reading() as session:
        assert len(list(session.scalars(select(Alert).where(Alert.subject.contains("is paused on"))))) == 1
    assert told("is paused on")


def test_one_that_somebody_started_is_told(cloud, vm):
    cloud.job("stopVirtualMachine", id=vm.uuid)
    reported(vm.host_id, [MachineState("any", vm.uuid, "Running")])
    assert told("though it should be stopped")


def test_hosts_are_looked_at_again_and_again(cloud, vm):
    change(SimulatedMachine, SimulatedMachine.machine == vm.uuid, state="Stopped")
    host_timers.look_at_all()
    cloud.work()
    assert row(vm.uuid).state == "Stopped"


def test_hosts_of_each_kind_are_looked_at(cloud, vm, monkeypatch):
    change(Host, Host.id == vm.host_id, hypervisor="KVM")
    looked = []
    monkeypatch.setattr(host_timers.link, "look_step", lambda call, number: looked.append(number) or "")
    host_timers.look_at_all()
    assert vm.host_id in looked and len(looked) > 1


def test_a_start_that_fails_leaves_nothing_on_a_host_that_also_fails_to_stop_it(cloud, zone, vm):
    """The host shows that it does not run the machine: its new disks go, and another host is tried."""
    home = others(vm)[0].uuid
    for name in ("start", "stop"):
        cloud.ask("configureSimulator", name=name, value="fail:no, says the host", hostid=home)
    second = row(deploy(cloud, zone, name="second")["id"])
    third = cloud.ask(
        "deployVirtualMachine", zoneid=zone["zone"], templateid=zone["template"], serviceofferingid=zone["offering"],
        hostid=home, name="third",
    )  # fmt: skip
    cloud.work()
    assert cloud.ask("queryAsyncJobResult", jobid=third["jobid"])["jobstatus"] == 2
    assert second.state == "Running" and broken() == []


def test_many_that_died_at_once_are_laid_down_together(cloud, zone):
    first = zone["hosts"].split(",")[0]
    names = [f"m{n}" for n in range(6)]
    for name in names:
        deploy(cloud, zone, name=name, hostid=first)
    with reading() as session:
        host = session.scalar(select(Host.id).where(Host.uuid == first))
    change(SimulatedMachine, SimulatedMachine.host == first, state="Stopped")
    look_at_host(host)
    with reading() as session:
        states = set(session.scalars(select(Vm.state).where(Vm.name.in_(names), Vm.last_host_id == host)))
        assert states == {"Stopped"}
        assert len(list(session.scalars(select(Event).where(Event.description.contains("stopped by itself"))))) >= 6
    capacity_fits()


# --- what is stuck ---


@pytest.mark.parametrize("state", ["Starting", "Stopping"])
@pytest.mark.parametrize(("real", "after"), [("Running", "Running"), ("Stopped", "Stopped")])
def test_a_machine_between_two_states_is_what_its_host_says(cloud, vm, state, real, after):
    change(Vm, Vm.id == vm.id, state=state)
    change(SimulatedMachine, SimulatedMachine.machine == vm.uuid, state=real)
    repair(cloud)
    assert row(vm.uuid).state == after
    assert told(f"guest was found {state} and nobody at it")
    capacity_fits()


@pytest.mark.parametrize("real", ["home", "target", "nowhere", "home, and the target is lost"])
def test_a_machine_amid_a_move_is_where_it_runs(cloud, vm, real):
    target = others(vm)[0]
    change(Vm, Vm.id == vm.id, state="Migrating", target_host_id=target.id)
    change(
        Host, Host.id == target.id, machines=Host.machines + 1, cpu_used=Host.cpu_used + vm.cpus * vm.speed,
        memory_used=Host.memory_used + (vm.memory << 20),
    )  # fmt: skip
    if real == "target":
        change(SimulatedMachine, SimulatedMachine.machine == vm.uuid, host=target.uuid)
    if real == "nowhere":
        change(SimulatedMachine, SimulatedMachine.machine == vm.uuid, state="Stopped")
    if "lost" in real:
        cloud.ask("configureSimulator", name="machines", value="lost:true", hostid=target.uuid)
    repair(cloud)
    after, real = row(vm.uuid), real.partition(",")[0]
    expected = {"home": ("Running", vm.host_id), "target": ("Running", target.id), "nowhere": ("Stopped", None)}
    assert (after.state, after.host_id, after.target_host_id) == (*expected[real], None)
    capacity_fits()


def test_a_host_that_does_not_answer_decides_nothing(cloud, vm):
    change(Vm, Vm.id == vm.id, state="Stopping")
    cloud.ask("configureSimulator", name="machines", value="lost:true", count=1)
    repair(cloud)
    assert row(vm.uuid).state == "Stopping"
    timers.forget()
    repair(cloud)
    assert row(vm.uuid).state == "Running"


def test_an_expunge_that_was_cut_off_is_done_anew(cloud, vm):
    cloud.job("destroyVirtualMachine", id=vm.uuid)
    change(Vm, Vm.id == vm.id, state="Expunging")
    repair(cloud)
    assert row(vm.uuid).removed is not None
    capacity_fits()


def test_what_an_open_job_works_on_is_never_touched(cloud, vm):
    change(Vm, Vm.id == vm.id, state="Stopping")
    later = now() + timedelta(hours=1)
    write(lambda tx: enqueue(tx, flows.stop, (vm.id, False), lock=f"vm:{vm.id}", not_before=later) and None)
    repair(cloud)
    assert row(vm.uuid).state == "Stopping"
    with reading() as session:
        assert len(list(session.scalars(select(JobRow).where(JobRow.state == "queued")))) == 1


def test_nothing_is_touched_at_the_first_sight(cloud, vm):
    change(Vm, Vm.id == vm.id, state="Stopping")
    timers.look()
    cloud.work()
    assert row(vm.uuid).state == "Stopping"


@pytest.mark.parametrize("state", ["Resizing", "Snapshotting", "RevertSnapshotting", "Attaching", "Migrating"])
def test_a_disk_goes_back_to_ready(cloud, vm, state):
    change(Volume, Volume.vm_id == vm.id, state=state)
    repair(cloud)
    with reading() as session:
        assert session.scalar(select(Volume.state).where(Volume.vm_id == vm.id)) == "Ready"
    assert told(f"was found {state} and nobody at it")


def test_a_disk_that_was_never_made_gives_its_space_back(cloud, vm):
    disk = cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]["id"]
    uuid = cloud.job("createVolume", name="d", diskofferingid=disk, zoneid=_zone_of(vm))["volume"]["id"]
    with reading() as session:
        pool, volume = session.scalar(select(Pool)), session.scalar(select(Volume).where(Volume.uuid == uuid))
    change(Volume, Volume.uuid == uuid, state="Creating", pool_id=pool.id)
    change(Pool, Pool.id == pool.id, allocated=pool.allocated + volume.size)
    repair(cloud)
    with reading() as session:
        found = session.scalar(select(Volume).where(Volume.uuid == uuid))
        assert (found.state, found.pool_id) == ("Allocated", None)
        assert session.get(Pool, pool.id).allocated == pool.allocated


def _zone_of(vm):
    from mgmt_server.model.zone import Zone

    with reading() as session:
        return session.get(Zone, vm.zone_id).uuid


def test_every_other_kind_leaves_its_state(cloud, zone, vm):
    with reading() as session:
        volume = session.scalar(select(Volume).where(Volume.vm_id == vm.id))
        network = session.scalar(select(Network).where(Network.removed.is_(None), Network.state == "Implemented"))
    whose = {"account_id": vm.account_id, "domain_id": vm.domain_id, "zone_id": vm.zone_id, "hypervisor": "Simulator"}
    for state in ("Allocated", "BackingUp", "Copying", "Destroying"):
        add(Snapshot(name=f"s-{state}", volume_id=volume.id, state=state, **whose))
    for state in ("Creating", "Reverting", "Expunging"):
        add(VmSnapshot(name=f"v-{state}", vm_id=vm.id, state=state, **whose))
    change(Network, Network.id == network.id, state="Shutdown")
    change(Host, Host.id == others(vm)[0].id, state="Connecting")
    change(Host, Host.id == others(vm)[1].id, resource_state="PrepareForMaintenance")
    change(Pool, state="PrepareForMaintenance")
    for _ in range(7):  # those of one disk, or of one machine, come one after the other
        repair(cloud)
    with reading() as session:
        assert dict(session.execute(select(Snapshot.name, Snapshot.state)).all()) == {
            "s-Allocated": "Error", "s-BackingUp": "Error", "s-Copying": "BackedUp", "s-Destroying": "Destroyed",
        }  # fmt: skip
        assert dict(session.execute(select(VmSnapshot.name, VmSnapshot.state)).all()) == {
            "v-Creating": "Error", "v-Reverting": "Ready", "v-Expunging": "Removed",
        }  # fmt: skip
        assert session.get(Network, network.id).state == "Implemented"
        assert session.get(Host, others(vm)[0].id).state == "Up"
        assert session.scalar(select(Pool.state)) == "ErrorInMaintenance"
    repair(cloud)
    with reading() as session:
        assert "Maintenance" in set(session.scalars(select(Host.resource_state)))
        assert session.scalar(select(TemplateOnStore.state)) == "Ready"
