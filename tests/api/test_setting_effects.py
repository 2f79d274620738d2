"""Settings take effect: each is turned, and what it is for is looked at."""

import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.jobs.worker import periodic
from mgmt_server.model.account import Account
from mgmt_server.model.zone import Zone
from mgmt_server.resources.network.create import _network_domain
from tests.api.infrastructure import ZONE
from tests.cloud import Refused


def turn(cloud, name, value, **scope):
    cloud.ask("updateConfiguration", name=name, value=value, **scope)


def test_pages_are_as_long_as_the_setting_says(cloud):
    for number in range(4):
        cloud.ask("createZone", **{**ZONE, "name": f"z{number}"})
    turn(cloud, "default.page.size", 3)
    got = cloud.ask("listZones")
    assert got["count"] == 4 and len(got["zone"]) == 3
    with pytest.raises(Refused) as no:
        cloud.ask("listZones", page=1, pagesize=4)
    assert "at most 3" in no.value.text


def test_sort_keys_count_upwards_or_downwards(cloud):
    for number in range(3):
        sent = {"name": f"d{number}", "displaytext": "d", "disksize": 1}
        made = cloud.ask("createDiskOffering", **sent)["diskoffering"]
        cloud.ask("updateDiskOffering", id=made["id"], sortkey=10 - number)

    def names():
        return [o["name"] for o in cloud.ask("listDiskOfferings")["diskoffering"] if o["name"].startswith("d")]

    assert names() == ["d2", "d1", "d0"]
    turn(cloud, "sortkey.algorithm", "false")
    assert names() == ["d0", "d1", "d2"]


def test_networks_end_as_their_zone_says(cloud):
    zone = cloud.ask("createZone", **ZONE)["zone"]["id"]

    def domain():
        with reading() as session:
            return _network_domain(session, session.get(Account, 2), session.scalar(select(Zone)))

    assert domain() == "cs2cloud.internal"
    turn(cloud, "guest.domain.suffix", ".east.example", zoneid=zone)
    assert domain() == "cs2.east.example"


def test_keys_are_as_long_as_the_setting_says(cloud):
    turn(cloud, "ssh.key.length", 2048)
    made = cloud.ask("createSSHKeyPair", name="k")["keypair"]["privatekey"]
    assert serialization.load_pem_private_key(made.encode(), None).key_size == 2048


def test_timers_come_as_often_as_their_settings_say(cloud):
    turn(cloud, "expunge.interval", 7)
    turn(cloud, "vm.stats.interval", 9000)
    turn(cloud, "storage.stats.interval", 11000)
    turn(cloud, "capacity.check.period", 13000)
    found = {name: periodic[name].period for name in (
        "expunge destroyed machines", "statistics of machines", "imagestores", "alerts.capacity")}  # fmt: skip
    assert list(found.values()) == [7, 9, 11, 13]


def test_the_protocols_release_is_told_or_not(cloud):
    assert cloud.ask("listCapabilities")["capability"]["cloudstackversion"].startswith("4.22")
    turn(cloud, "expose.cloudstack.version.api.list.capabilities", "false")
    assert "cloudstackversion" not in cloud.ask("listCapabilities")["capability"]
