"""Redfish: a host's power and its controller's password, over HTTPS with a service that behaves as the schema says."""

import pytest

from tests.cloud import Refused
from tests.redfish import SYSTEM, running
from tests.simulated import build


@pytest.fixture
def service(tmp_path):
    with running(tmp_path) as found:
        yield found


@pytest.fixture
def host(cloud, service):
    """A host whose controller is the service, and trusted."""
    found = build(hosts=1)["hosts"]
    where = {"address": "127.0.0.1", "port": str(service.port), "username": "admin", "password": "s3cr3t-of-bmc"}
    cloud.ask("configureOutOfBandManagement", hostid=found, driver="redfish", **where)
    cloud.job("enableOutOfBandManagementForHost", hostid=found)
    trust(cloud, service.ca)
    return found


def trust(cloud, file):
    cloud.ask("updateConfiguration", name="redfish.ca.certificate", value=str(file))


def power(cloud, host, action, **more):
    found = cloud.job("issueOutOfBandManagementPowerAction", hostid=host, action=action, **more)
    return found["outofbandmanagement"]["powerstate"]


def test_power_goes_off_and_on_where_the_system_says_that_it_is_switched(cloud, service, host):
    assert power(cloud, host, "STATUS") == "On"
    assert power(cloud, host, "OFF") == "Off"
    assert power(cloud, host, "ON") == "On"
    assert service.asked == ["ForceOff", "On"]


def test_off_is_said_when_it_is_off_and_not_before(cloud, service, host):
    service.slow = 1
    assert power(cloud, host, "OFF") == "Off"
    assert (service.slow, service.power) == (0, "Off")


def test_a_host_that_is_off_already_is_off(cloud, service, host):
    service.power = "Off"
    assert power(cloud, host, "OFF") == "Off"
    assert service.asked == []


def test_the_first_way_that_the_system_knows_is_taken(cloud, service, host):
    power(cloud, host, "CYCLE")
    assert service.asked == ["ForceRestart"]
    service.allowed = None  # it does not tell
    power(cloud, host, "CYCLE")
    assert service.asked == ["ForceRestart", "PowerCycle"]
    service.allowed = ["On", "ForceOff"]
    with pytest.raises(
        Refused, match="cannot do SOFT: it has none of GracefulShutdown, PushPowerButton, but On, ForceOff"
    ):
        power(cloud, host, "SOFT")


def test_a_controller_with_a_certificate_of_nobody_known_is_not_spoken_to(cloud, service, host):
    trust(cloud, "")
    with pytest.raises(Refused, match="certificate"):
        power(cloud, host, "STATUS")
    cloud.ask("updateConfiguration", name="redfish.ignore.ssl", value="true")
    assert power(cloud, host, "STATUS") == "On"


def test_a_file_without_certificates_is_named(cloud, service, host):
    trust(cloud, "/nowhere/ca.pem")
    with pytest.raises(Refused, match="redfish.ca.certificate=/nowhere/ca.pem has no certificates: No such file"):
        power(cloud, host, "STATUS")


def test_a_wrong_password_is_told_without_it(cloud, service, host):
    service.users["admin"] = "another"
    with pytest.raises(Refused, match="refuses the user admin") as refused:
        power(cloud, host, "STATUS")
    assert "s3cr3t" not in str(refused.value.answer)


@pytest.mark.parametrize("elsewhere", ["//192.0.2.9/x", "https://192.0.2.9/x"])
def test_a_password_goes_to_no_other_place(cloud, service, host, elsewhere):
    service.members = [elsewhere]
    with pytest.raises(Refused, match="no system to switch"):
        power(cloud, host, "STATUS")
    service.members, service.moved = [SYSTEM], elsewhere
    with pytest.raises(Refused, match="answered 308 to GET /redfish/v1/Systems"):
        power(cloud, host, "STATUS")


def test_a_new_password_is_set_and_used(cloud, service, host):
    cloud.job("changeOutOfBandManagementPassword", hostid=host, password="an0ther-one")
    assert service.users == {"admin": "an0ther-one"}
    assert power(cloud, host, "STATUS") == "On"
