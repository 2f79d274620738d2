"""What proves that a lost host is dead is chosen with ha.proof: its power, its sign of life, either, or both."""

# ruff: noqa: F811  the fixture is imported

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.jobs.rows import JobRow
from mgmt_server.model.event import Alert, Event
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedFault, SimulatedMachine
from tests.api.test_ha import BMC, alone, host_of, look, lose, row, timeline, watched, zone  # noqa: F401
from tests.api.test_vm import deploy
from tests.cloud import Refused

OLD, BETWEEN, FRESH = 120, 45, 15  # seconds since a sign of life: proof from 60, no switching off below 30
CUT = "its power is off"
SILENT = r"its last sign of life in shared storage is 1[2-9]\d s old"


@pytest.fixture
def guest(cloud, zone):
    """A machine, and the host that it runs on, whose power a controller tells."""
    vm = row(deploy(cloud, zone)["id"])
    host = host_of(vm)
    cloud.ask("configureOutOfBandManagement", hostid=host.uuid, **BMC)
    cloud.job("enableOutOfBandManagementForHost", hostid=host.uuid)
    return vm, host


def prove(cloud, zone, policy):
    cloud.ask("updateConfiguration", name="ha.proof", value=policy, clusterid=zone["cluster"])


def cut(cloud, host):
    """Somebody switches the host off."""
    cloud.job("issueOutOfBandManagementPowerAction", hostid=host.uuid, action="OFF")


def later(cloud, host, seconds):
    """Another look, when the last sign of life is so old."""
    write(lambda tx: tx.execute(update(JobRow).values(completed=now() - timedelta(hours=1))) and None)
    lose(cloud, host, seconds=seconds)
    look(cloud)


def running_on(vm):
    with reading() as session:
        mine = SimulatedMachine.machine == vm.uuid, SimulatedMachine.state == "Running"
        return list(session.scalars(select(SimulatedMachine.host).where(*mine)))


def switched_off():
    with reading() as session:
        return list(session.scalars(select(SimulatedFault.host_id).where(SimulatedFault.failure.contains("power"))))


def stays(vm, host):
    after = row(vm.uuid)
    return (after.state, after.host_id) == ("Running", host.id) and set(running_on(vm)) <= {host.uuid}


def hastate(cloud, host):
    return cloud.ask("listHostHAResources", hostid=host.uuid)["hostha"][0]["hastate"]


def content():
    with reading() as session:
        return session.scalar(select(Alert.content).where(Alert.name == "ALERT.HA.ACTION"))


@pytest.mark.parametrize(
    ("policy", "power", "age", "proof"),
    [
        ("either", "Off", FRESH, CUT),
        ("either", "On", OLD, SILENT),
        ("either", "Off", OLD, f"{CUT} and {SILENT}"),
        ("either", "On", FRESH, None),
        ("power", "Off", FRESH, CUT),
        ("power", "On", OLD, None),
        ("heartbeat", "On", OLD, SILENT),
        ("heartbeat", "Off", FRESH, None),
        ("both", "Off", OLD, f"{CUT} and {SILENT}"),
        ("both", "Off", FRESH, None),
        ("both", "On", OLD, None),
    ],
)
def test_guests_start_elsewhere_when_what_was_chosen_proves_it(cloud, zone, guest, policy, power, age, proof):
    vm, host = guest
    prove(cloud, zone, policy)
    if power == "Off":
        cut(cloud, host)
    lose(cloud, host, seconds=age)
    look(cloud)
    if proof is None:
        assert stays(vm, host)
        assert {e["what"] for e in timeline(host)} <= {"lost", "suspected", "alive", "unproven"}
        return
    after = row(vm.uuid)
    assert (after.state, after.host_id != host.id) == ("Running", True)
    assert running_on(vm) == [host_of(after).uuid] or power == "On"
    (told,) = [e for e in timeline(host) if e["what"] == "fenced"]
    assert re.fullmatch(proof, told["proof"])


@pytest.mark.parametrize("policy", ["heartbeat", "both"])
def test_a_host_that_is_off_and_wrote_just_now_waits_and_the_alert_says_why(cloud, zone, guest, policy):
    vm, host = guest
    prove(cloud, zone, policy)
    cut(cloud, host)
    lose(cloud, host, seconds=FRESH)
    look(cloud)
    assert stays(vm, host)
    assert content().startswith("it wrote to shared storage less than 60 s ago. If you know that it is off")
    assert timeline(host)[-1]["why"] == "it wrote to shared storage less than 60 s ago"
    later(cloud, host, OLD)
    assert row(vm.uuid).host_id != host.id


def test_where_signs_of_life_prove_it_nobody_is_switched_off(cloud, zone, guest):
    vm, host = guest
    watched(cloud, host)
    prove(cloud, zone, "heartbeat")
    lose(cloud, host, seconds=BETWEEN)
    look(cloud)
    assert stays(vm, host) and switched_off() == []
    later(cloud, host, OLD)
    assert row(vm.uuid).host_id != host.id
    assert switched_off() == []
    assert [e["what"] for e in timeline(host)][-3:] == ["fenced", "released", "started again"]
    assert "fencing" not in {e["what"] for e in timeline(host)}


@pytest.mark.parametrize(("policy", "proof"), [("power", CUT), ("both", f"{CUT} and {SILENT}")])
def test_where_power_proves_it_a_watched_host_is_switched_off_first(cloud, zone, guest, policy, proof):
    vm, host = guest
    watched(cloud, host)
    prove(cloud, zone, policy)
    lose(cloud, host, seconds=FRESH)
    look(cloud)
    assert stays(vm, host) and switched_off() == [], "it writes"
    later(cloud, host, OLD)
    assert switched_off() == [host.id]
    assert running_on(vm) == [host_of(row(vm.uuid)).uuid] != [host.uuid]
    told = timeline(host)
    assert [e["what"] for e in told][1:4] == ["suspected", "fencing", "fenced"]
    assert re.match(proof, told[3]["proof"])


def test_both_waits_for_the_sign_of_life_of_a_host_that_it_switched_off(cloud, zone, guest):
    vm, host = guest
    watched(cloud, host)
    prove(cloud, zone, "both")
    lose(cloud, host, seconds=BETWEEN)
    look(cloud)
    assert switched_off() == [host.id] and row(vm.uuid).host_id == host.id and running_on(vm) == []
    with reading() as session:
        moves = list(session.scalars(select(Event.description).where(Event.type == "HA.STATE.TRANSITION")))
    assert not any("could not be switched off" in text for text in moves), "it is off"
    assert "it wrote to shared storage less than 60 s ago" in content()
    later(cloud, host, OLD)
    assert row(vm.uuid).host_id != host.id and running_on(vm) == [host_of(row(vm.uuid)).uuid]


@pytest.mark.parametrize("policy", ["power", "both"])
def test_an_old_sign_of_life_is_no_proof_where_the_controller_fails(cloud, zone, guest, policy):
    vm, host = guest
    watched(cloud, host)
    prove(cloud, zone, policy)
    lose(cloud, host, seconds=7200)
    cloud.ask("configureSimulator", name="power", value="lost:true", hostid=host.uuid)
    look(cloud)
    assert stays(vm, host)
    assert "its controller says that the power is Unknown" in content()
    prove(cloud, zone, "either")
    later(cloud, host, 7200)
    assert row(vm.uuid).host_id != host.id


def test_a_clusters_own_choice_wins_and_no_other_word_is_taken(cloud, zone, guest):
    vm, host = guest
    cloud.ask("updateConfiguration", name="ha.proof", value="power")
    lose(cloud, host, seconds=OLD)
    look(cloud)
    assert stays(vm, host)
    with pytest.raises(Refused, match="hearsay"):
        prove(cloud, zone, "hearsay")
    prove(cloud, zone, "heartbeat")
    later(cloud, host, OLD)
    assert row(vm.uuid).host_id != host.id


def test_both_switches_nobody_off_while_no_sign_of_life_could_prove_it(cloud, zone, guest):
    vm, host = guest
    watched(cloud, host)
    prove(cloud, zone, "both")
    alone(host)
    lose(cloud, host, seconds=OLD)
    look(cloud)
    assert stays(vm, host) and switched_off() == [] and running_on(vm) == [host.uuid]
    assert "no other host that is up shares storage with it" in content()
    prove(cloud, zone, "power")
    later(cloud, host, OLD)
    assert switched_off() == [host.id] and row(vm.uuid).host_id != host.id


@pytest.mark.parametrize(
    ("policy", "controller", "shared", "state"),
    [
        ("either", False, True, "Available"),
        ("either", True, False, "Available"),
        ("power", False, True, "Ineligible"),
        ("power", True, False, "Available"),
        ("heartbeat", True, False, "Ineligible"),
        ("heartbeat", False, True, "Available"),
        ("both", True, False, "Ineligible"),
        ("both", False, True, "Ineligible"),
        ("both", True, True, "Available"),
    ],
)
def test_a_host_that_lacks_what_the_policy_needs_is_ineligible(cloud, zone, policy, controller, shared, state):
    with reading() as session:
        host = session.scalar(select(Host))
    prove(cloud, zone, policy)
    if not shared:
        alone(host)
    assert watched(cloud, host, controller=controller)["hastate"] == state


def test_eligibility_follows_the_policy_and_the_controller(cloud, zone):
    with reading() as session:
        host = session.scalar(select(Host))
    assert watched(cloud, host)["hastate"] == "Available"
    alone(host)
    look(cloud)
    assert hastate(cloud, host) == "Available", "its controller would tell"
    prove(cloud, zone, "both")
    look(cloud)
    assert hastate(cloud, host) == "Ineligible"
    with reading() as session:
        told = session.scalar(select(Event.description).where(Event.description.contains("to Ineligible")))
    assert told.endswith("from Available to Ineligible: nothing could prove that it is dead as ha.proof asks")
    prove(cloud, zone, "power")
    look(cloud)
    assert hastate(cloud, host) == "Available"
    cloud.job("disableOutOfBandManagementForCluster", clusterid=zone["cluster"])
    look(cloud)
    assert hastate(cloud, host) == "Ineligible"
