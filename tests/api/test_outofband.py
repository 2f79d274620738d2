"""Management controllers: configured and used over the wire, with a simulated host and with a played ipmitool."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.drivers.power import Controller, ipmitool
from mgmt_server.errors import Failed, InvalidValue, Unavailable
from mgmt_server.jobs.rows import JobRow, StepRow
from mgmt_server.model.event import Event
from mgmt_server.model.ha import OutOfBand
from tests.cloud import Refused
from tests.simulated import build

SECRET = "s3cr3t-of-bmc"
WHERE = {"address": "192.0.2.7", "port": "623", "username": "root", "password": SECRET}


@pytest.fixture
def host(cloud):
    return build(hosts=1)["hosts"]


@pytest.fixture
def controlled(cloud, host):
    cloud.ask("configureOutOfBandManagement", hostid=host, driver="simulator", **WHERE)
    cloud.job("enableOutOfBandManagementForHost", hostid=host)
    return host


def power(cloud, host, action):
    found = cloud.job("issueOutOfBandManagementPowerAction", hostid=host, action=action)
    return found["outofbandmanagement"]["powerstate"]


def test_a_controller_is_told_without_its_password(cloud, host):
    made = cloud.ask("configureOutOfBandManagement", hostid=host, driver="simulator", **WHERE)["outofbandmanagement"]
    assert made == {
        "hostid": host, "enabled": False, "driver": "simulator", "address": "192.0.2.7", "port": "623",
        "username": "root", "powerstate": "Disabled",
    }  # fmt: skip
    listed = cloud.ask("listHosts", id=host)["host"][0]["outofbandmanagement"]
    assert (listed["enabled"], listed["driver"]) == (False, "simulator")


def test_power_goes_off_and_on(cloud, controlled):
    assert power(cloud, controlled, "STATUS") == "On"
    assert power(cloud, controlled, "OFF") == "Off"
    assert cloud.ask("listHosts", id=controlled)["host"][0]["state"] == "Down"
    assert power(cloud, controlled, "ON") == "On"
    with reading() as session:
        told = list(session.scalars(select(Event.description).where(Event.type.endswith("POWERSTATE.TRANSITION"))))
    assert [t.rpartition(" ")[2] for t in told] == ["On", "Off", "On"]


def test_one_that_is_not_enabled_is_left_alone(cloud, host):
    with pytest.raises(Refused, match="call configureOutOfBandManagement"):
        power(cloud, host, "OFF")
    cloud.ask("configureOutOfBandManagement", hostid=host, driver="simulator", **WHERE)
    with pytest.raises(Refused, match="call enableOutOfBandManagementForHost"):
        power(cloud, host, "OFF")


@pytest.mark.parametrize("place", ["cluster", "zone"])
def test_a_cluster_or_a_zone_switches_all_of_its_controllers(cloud, controlled, place):
    found = cloud.ask("listHosts", id=controlled)["host"][0]
    where = {f"{place}id": found[f"{place}id"]}
    answer = cloud.job(f"disableOutOfBandManagementFor{place.capitalize()}", **where)
    assert answer["outofbandmanagement"]["enabled"] is False
    with pytest.raises(Refused, match="are disabled in the cluster or the zone"):
        power(cloud, controlled, "STATUS")
    cloud.job(f"enableOutOfBandManagementFor{place.capitalize()}", **where)
    assert power(cloud, controlled, "STATUS") == "On"


def test_a_new_password_is_kept_sealed_and_in_no_job(cloud, controlled):
    cloud.job("changeOutOfBandManagementPassword", hostid=controlled, password="an0ther-one")
    with reading() as session:
        row = session.scalar(select(OutOfBand))
        assert (row.password, row.next_password) == ("an0ther-one", None)
        jobs = [str(vars(j)) for j in session.scalars(select(JobRow))]
        steps = [str(vars(s)) for s in session.scalars(select(StepRow))]
        events = [str(vars(e)) for e in session.scalars(select(Event))]
    assert not [t for t in jobs + steps + events if "an0ther-one" in t or SECRET in t]


def test_wrong_values_are_refused_with_what_is_right(cloud, host):
    for wrong, text in (
        ({"driver": "telepathy"}, "none of ipmitool, redfish, simulator"),
        ({"port": "70000"}, "is no port"),
        ({"address": "-I open"}, "is no name or address"),
    ):
        with pytest.raises(Refused, match=text):
            cloud.ask("configureOutOfBandManagement", **{"hostid": host, "driver": "simulator", **WHERE, **wrong})


# --- ipmitool ---

CONTROLLER = Controller("u", "kvm1", "192.0.2.7", 623, "root", SECRET)
PLAYED = """#!/bin/sh
echo "$@" >> {log}
[ "$IPMI_PASSWORD" = "{secret}" ] || {{ echo "Error: Unable to establish IPMI v2 / RMCP+ session" >&2; exit 1; }}
case "$*" in
  *"chassis power status"*) echo "Chassis Power is {state}";;
  *"user list"*) printf 'ID  Name\\tCallin\\n1   \\ttrue\\n2   root\\ttrue\\n';;
  *exec*) for last; do :; done; cat "$last" >> {log};;
  *"power off"*) echo "Set Chassis Power Control failed: password {secret} was odd" >&2; exit 1;;
esac
"""


@pytest.fixture
def played(cloud, tmp_path):
    """A program in the place of ipmitool: what it was asked goes to a file."""
    log, program = tmp_path / "log", tmp_path / "ipmitool"

    def make(state="on", secret=SECRET):
        program.write_text(PLAYED.format(log=log, state=state, secret=secret))
        program.chmod(0o755)
        return log

    make()
    cloud.ask("updateConfiguration", name="outofbandmanagement.ipmitool.path", value=str(program))
    return make


def test_ipmitool_tells_the_state_and_gets_the_password_by_its_environment(played):
    log = played("off")
    assert ipmitool.Ipmitool().act(CONTROLLER, "STATUS", 5) == "Off"
    asked = log.read_text()
    assert asked == "-I lanplus -H 192.0.2.7 -p 623 -U root -R 1 -E chassis power status\n"


def test_an_error_of_ipmitool_is_told_without_the_password(played):
    with pytest.raises(Failed, match="password \\*\\*\\* was odd") as refused:
        ipmitool.Ipmitool().act(CONTROLLER, "OFF", 5)
    assert SECRET not in str(refused.value)


def test_a_controller_that_lets_nobody_in_is_not_there(played):
    played(secret="another")
    with pytest.raises(Unavailable, match="Unable to establish"):
        ipmitool.Ipmitool().act(CONTROLLER, "STATUS", 5)


def test_a_new_password_goes_to_ipmitool_in_a_file(played):
    log = played()
    ipmitool.Ipmitool().change_password(CONTROLLER, "new/one", 5)
    listed, run, written = log.read_text().splitlines()
    assert "new/one" not in listed + run
    assert written == "user set password 2 new/one 16"
    with pytest.raises(InvalidValue, match="no spaces"):
        ipmitool.Ipmitool().change_password(CONTROLLER, 'a" ; chassis power off', 5)


def test_a_program_that_is_missing_is_named(cloud):
    cloud.ask("updateConfiguration", name="outofbandmanagement.ipmitool.path", value="/nowhere/ipmitool")
    with pytest.raises(Failed, match="install ipmitool"):
        ipmitool.Ipmitool().act(CONTROLLER, "STATUS", 5)


def test_hosts_are_found_by_their_controllers(cloud, controlled):
    assert power(cloud, controlled, "STATUS") == "On"
    for sent, count in (
        ({"outofbandmanagementenabled": True}, 1), ({"outofbandmanagementenabled": False}, 0),
        ({"outofbandmanagementpowerstate": "on"}, 1), ({"outofbandmanagementpowerstate": "Off"}, 0),
        ({"outofbandmanagementpowerstate": "Disabled"}, 0),
    ):  # fmt: skip
        assert len(cloud.ask("listHosts", **sent).get("host", [])) == count, sent
