"""High availability: machines that died run again, and those of a lost host only once it is proven dead."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.jobs.rows import JobRow, Node
from mgmt_server.model.event import Alert, Event
from mgmt_server.model.ha import HostHa
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.storage import PoolHost
from mgmt_server.model.vm import Vm
from mgmt_server.protocol.machine import MachineState
from mgmt_server.resources.ha import timers
from mgmt_server.resources.vm.power import reported
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.simulated import build

BMC = {"address": "192.0.2.7", "port": "623", "username": "root", "password": "x", "driver": "simulator"}


@pytest.fixture
def zone(cloud):
    found = build(hosts=3)
    offering = cloud.ask(
        "createServiceOffering", name="ha", displaytext="ha", cpunumber=1, cpuspeed=500, memory=256, offerha=True
    )
    found["offering"] = offering["serviceoffering"]["id"]
    yield found
    faults.forget()


def row(uuid):
    with reading() as session:
        return session.scalar(select(Vm).where(Vm.uuid == uuid))


def host_of(vm):
    with reading() as session:
        return session.get(Host, vm.host_id or vm.last_host_id)


def lose(cloud, host, seconds=120):
    """The host answers nothing any more, since a while."""
    cloud.ask("configureSimulator", name="*", value="lost:true", hostid=host.uuid)
    gone = now() - timedelta(seconds=seconds)
    write(lambda tx: tx.execute(update(Host).where(Host.id == host.id).values(disconnected=gone)) and None)


def look(cloud):
    timers.look()
    cloud.work()


def watched(cloud, host, controller=True):
    if controller:
        cloud.ask("configureOutOfBandManagement", hostid=host.uuid, **BMC)
        cloud.job("enableOutOfBandManagementForHost", hostid=host.uuid)
    cloud.job("configureHAForHost", hostid=host.uuid, provider="SimulatorHAProvider")
    return cloud.job("enableHAForHost", hostid=host.uuid)["hostha"]


def alone(host):
    """Nobody shares storage with the host: nothing tells of its life."""
    write(lambda tx: [tx.delete(r) for r in tx.scalars(select(PoolHost).where(PoolHost.host_id == host.id))] and None)


def alerts():
    with reading() as session:
        return list(session.scalars(select(Alert.subject).where(Alert.name == "ALERT.HA.ACTION")))


def timeline(host):
    with reading() as session:
        return session.scalar(select(HostHa.timeline).where(HostHa.host_id == host.id))


def dies(vm):
    """Its process ends, and its host tells."""
    mine = update(SimulatedMachine).where(SimulatedMachine.machine == vm.uuid)
    write(lambda tx: tx.execute(mine.values(state="Stopped")) and None)
    reported(vm.host_id, [MachineState("any", vm.uuid, "Stopped")])


def test_a_guest_that_died_runs_again(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    dies(vm)
    cloud.work()
    assert row(vm.uuid).state == "Running"
    with reading() as session:
        texts = list(session.scalars(select(Event.description).where(Event.resource_uuid == vm.uuid)))
    assert any("stopped by itself" in t and "started again" in t for t in texts)
    assert any(t.startswith("Successfully completed: starting") and t.endswith("again") for t in texts)


def test_a_guest_whose_offering_does_not_ask_stays_stopped_unless_its_cluster_forces(cloud, zone):
    plain = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    vm = row(deploy(cloud, {**zone, "offering": plain})["id"])
    dies(vm)
    cloud.work()
    assert row(vm.uuid).state == "Stopped"
    cloud.job("startVirtualMachine", id=vm.uuid)
    cloud.ask("updateConfiguration", name="force.ha", value="true", clusterid=zone["cluster"])
    dies(row(vm.uuid))
    cloud.work()
    assert row(vm.uuid).state == "Running"


def test_one_that_cannot_start_is_tried_again_and_told(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    cloud.ask("configureSimulator", name="start", value="fail:no way")
    dies(vm)
    cloud.work()
    assert row(vm.uuid).state == "Stopped"
    with reading() as session:
        assert session.scalar(select(Alert.subject).where(Alert.subject.contains("could not be started again")))
    cloud.ask("cleanupSimulatorMock")
    write(lambda tx: tx.execute(update(JobRow).where(JobRow.state == "queued").values(not_before=None)) and None)
    cloud.work()
    assert row(vm.uuid).state == "Running"


def test_a_lost_host_is_switched_off_before_its_guests_start_elsewhere(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    assert watched(cloud, host) == {
        "hostid": host.uuid, "haenable": True, "haprovider": "simulatorhaprovider", "hastate": "Available",
        "status": True,
    }  # fmt: skip
    alone(host)
    lose(cloud, host)
    look(cloud)
    after = row(vm.uuid)
    assert (after.state, after.host_id != host.id) == ("Running", True)
    assert cloud.job("issueOutOfBandManagementPowerAction", hostid=host.uuid, action="STATUS")
    assert cloud.ask("listHostHAResources", hostid=host.uuid)["hostha"][0]["hastate"] == "Fenced"
    told = timeline(host)
    assert [e["what"] for e in told] == ["lost", "suspected", "fencing", "fenced", "released", "started again"]
    assert told[3]["proof"] == "its power is off"
    assert [e["at"] for e in told] == sorted(e["at"] for e in told)
    with reading() as session:
        empty = session.get(Host, host.id)
        assert (empty.machines, empty.cpu_used, empty.memory_used) == (0, 0, 0)


def test_while_a_server_has_just_started_nobody_is_suspected(cloud, zone):
    """Agents need a while to find it: a host whose agent has not, lives."""
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    watched(cloud, host)
    alone(host)
    write(lambda tx: tx.execute(update(Host).where(Host.id == host.id).values(hypervisor="KVM", state="Down")) and None)
    lose(cloud, host)
    look(cloud)
    assert timeline(host) == []
    write(lambda tx: tx.execute(update(Node).values(started=now() - timedelta(minutes=2))) and None)
    write(lambda tx: tx.execute(update(JobRow).values(completed=now() - timedelta(minutes=5))) and None)
    look(cloud)
    assert [e["what"] for e in timeline(host)][:2] == ["lost", "suspected"]


def test_an_old_sign_of_life_proves_it_where_there_is_no_controller(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    lose(cloud, host, seconds=45)
    look(cloud)
    assert row(vm.uuid).host_id == host.id, "45 seconds are no proof"
    lose(cloud, host, seconds=90)
    write(lambda tx: tx.execute(update(timers.JobRow).values(completed=now() - timedelta(hours=1))) and None)
    look(cloud)
    assert row(vm.uuid).state == "Running"
    assert row(vm.uuid).host_id != host.id


def test_without_proof_nothing_starts_and_an_alert_says_why(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    alone(host)
    lose(cloud, host, seconds=7200)
    look(cloud)
    assert (row(vm.uuid).state, row(vm.uuid).host_id) == ("Running", host.id)
    assert alerts() == [
        f"Host {host.name} is lost, and nothing proves that it is dead: its machines are not started elsewhere"
    ]
    with reading() as session:
        content = session.scalar(select(Alert.content).where(Alert.name == "ALERT.HA.ACTION"))
    assert "no management controller" in content
    assert "no other host that is up shares storage" in content


def test_a_controller_that_fails_is_no_proof(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    watched(cloud, host)
    alone(host)
    lose(cloud, host)
    cloud.ask("configureSimulator", name="power", value="lost:true", hostid=host.uuid)
    look(cloud)
    assert (row(vm.uuid).state, row(vm.uuid).host_id) == ("Running", host.id)
    assert cloud.ask("listHostHAResources", hostid=host.uuid)["hostha"][0]["hastate"] == "Suspect"
    assert len(alerts()) == 1


def test_a_host_that_still_writes_is_not_switched_off(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    watched(cloud, host)
    lose(cloud, host, seconds=15)  # its sign of life is 15 seconds old
    look(cloud)
    assert row(vm.uuid).host_id == host.id
    assert [e["what"] for e in timeline(host)][-1] == "alive"
    with reading() as session:
        assert session.scalar(select(SimulatedMachine.state).where(SimulatedMachine.machine == vm.uuid)) == "Running"


def test_nothing_is_fenced_when_more_than_half_of_the_zone_is_gone(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    with reading() as session:
        hosts = list(session.scalars(select(Host)))
    for host in hosts:
        watched(cloud, host)
    lost = [host_of(vm), next(h for h in hosts if h.id != vm.host_id)]
    for host in lost:
        lose(cloud, host)
    look(cloud)
    assert (row(vm.uuid).state, row(vm.uuid).host_id) == ("Running", vm.host_id)
    (told,) = alerts()
    assert "2 of 3 hosts of the zone are lost at once" in told
    assert cloud.ask("listSimulatorFaults")["count"] == 2, "nobody was switched off"


def test_a_host_that_is_back_is_available_again_and_nothing_more_is_told(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    watched(cloud, host)
    lose(cloud, host, seconds=15)
    look(cloud)
    cloud.ask("cleanupSimulatorMock")
    look(cloud)
    assert cloud.ask("listHostHAResources", hostid=host.uuid)["hostha"][0]["hastate"] == "Available"
    assert timeline(host)[-1]["what"] == "back"


def test_ha_is_configured_before_it_is_enabled_and_by_what_fits(cloud, zone):
    host = zone["hosts"].split(",")[0]
    with pytest.raises(Refused, match="call configureHAForHost first"):
        cloud.ask("enableHAForHost", hostid=host)
    with pytest.raises(Refused, match="use simulatorhaprovider"):
        cloud.ask("configureHAForHost", hostid=host, provider="kvmhaprovider")
    assert cloud.ask("listHostHAProviders", hypervisor="KVM")["haprovider"] == [{"haprovider": "kvmhaprovider"}]
    assert cloud.ask("listHostHAResources") == {}


def test_a_cluster_where_it_is_disabled_switches_nobody_off(cloud, zone):
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    watched(cloud, host)
    cloud.job("disableHAForCluster", clusterid=zone["cluster"])
    alone(host)
    lose(cloud, host)
    look(cloud)
    assert row(vm.uuid).host_id == host.id
    assert cloud.ask("listSimulatorFaults")["count"] == 1


def test_a_drill_measures_how_long_guests_are_away(cloud, zone, monkeypatch):
    from mgmt_server.resources.ha import drill

    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    with pytest.raises(Exception, match="call configureHAForHost and enableHAForHost first"):
        drill.run(host.name, 1, str)
    watched(cloud, host)

    def servers(_seconds):
        """What running servers do meanwhile; time has gone by."""
        gone = now() - timedelta(seconds=30)
        lost = update(Host).where(Host.id == host.id, Host.state == "Down").values(disconnected=gone)
        write(lambda tx: tx.execute(lost) and None)
        look(cloud)

    monkeypatch.setattr(drill.time, "sleep", servers)
    said = []
    report = drill.run(host.name, 60, said.append)
    assert report["ok"] and report["running"] == report["guests"] >= 1
    what = [e["what"] for e in report["timeline"]]
    assert what[:2] == ["power cut", "suspected"] and what[-1] == "started again"
    assert report["timeline"][-1]["guests"] >= 1
    assert said[-1] == f"the power of {host.name} is on again"
    assert cloud.ask("listSimulatorFaults") == {}


def test_a_host_of_which_nothing_could_prove_that_it_is_dead_is_ineligible(cloud, zone):
    with reading() as session:
        host = session.scalar(select(Host))
    alone(host)
    assert watched(cloud, host, controller=False)["hastate"] == "Ineligible"
    look(cloud)
    assert cloud.ask("listHostHAResources", hostid=host.uuid)["hostha"][0]["hastate"] == "Ineligible"
    cloud.ask("configureOutOfBandManagement", hostid=host.uuid, **BMC)
    cloud.job("enableOutOfBandManagementForHost", hostid=host.uuid)
    look(cloud)
    assert cloud.ask("listHostHAResources", hostid=host.uuid)["hostha"][0]["hastate"] == "Available"
