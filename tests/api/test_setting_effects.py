"""Settings take effect: each is turned, and what it is for is looked at."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.jobs.worker import periodic
from mgmt_server.model.account import Account, User
from mgmt_server.model.zone import Zone
from mgmt_server.resources.alert.timers import _server
from mgmt_server.resources.network.create import _network_domain
from mgmt_server.resources.password.flows import server as links_server
from mgmt_server.resources.projectinvitation.rows import server as invitations_server
from mgmt_server.web.app import Asked
from mgmt_server.web.signature import digest
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


def test_answers_in_json_have_the_content_type_that_the_setting_says(cloud):
    def media(**sent):
        with reading() as session:
            row = session.scalar(select(User).where(User.username == "admin"))
        pairs = {"command": "listZones", "response": "json", "apiKey": row.api_key, **sent}
        pairs["signature"] = base64.b64encode(digest(pairs, row.secret_key)).decode()
        return cloud.front.serve(Asked("GET", pairs)).media

    assert media() == "application/json; charset=UTF-8"
    turn(cloud, "json.content.type", "text/javascript")
    assert (media(), media(id="nosuch"), media(response="xml")) == (
        "text/javascript",
        "text/javascript",
        "text/xml; charset=UTF-8",
    )
    turn(cloud, "json.content.type", "text/plain\nSet-Cookie: ☃")
    assert media() == "text/plain Set-Cookie: ?", "whatever it says, it is one header and shuts nobody out"
    turn(cloud, "json.content.type", "")
    assert media() == "application/json; charset=UTF-8"


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
    with reading() as session:
        key = session.scalar(select(User).where(User.username == "admin"))
    sent = {"command": "listCapabilities", "apiKey": key.api_key}
    sent["signature"] = base64.b64encode(digest(sent, key.secret_key)).decode()
    assert b"<listcapabilitiesresponse cloud-stack-version=" in cloud.front.serve(Asked("GET", sent)).body
    turn(cloud, "expose.cloudstack.version.api.xml.response", "false")
    assert b"<listcapabilitiesresponse><capability>" in cloud.front.serve(Asked("GET", sent)).body


def test_texts_are_encoded_for_clients_that_expect_it(cloud):
    cloud.ask("createZone", **{**ZONE, "name": "north & south"})
    turn(cloud, "encode.api.response", "true")
    (zone,) = cloud.ask("listZones")["zone"]
    assert zone["name"] == "north%20%26%20south" and zone["securitygroupsenabled"] is False
    assert ":" in cloud.ask("listAccounts")["account"][0]["created"], "dates stay as they are"


@pytest.mark.parametrize("whose", ["alert", "project", "user.password.reset"])
def test_mail_servers_are_spoken_to_in_versions_of_tls_that_are_allowed(cloud, whose):
    name = f"{whose}.smtp.enabledSecurityProtocols"
    for host in ("project.smtp.host", "project.email.sender"):
        turn(cloud, host, "mail@example.org")
    made = {"alert": _server, "project": invitations_server, "user.password.reset": links_server}[whose]
    assert made().protocols == ()
    turn(cloud, name, "TLSv1.2  TLSv1.3")
    assert made().protocols == ("TLSv1.2", "TLSv1.3")
    with pytest.raises(Refused, match="choose TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"):
        turn(cloud, name, "SSLv3 TLSv1.2")


def test_the_mail_server_of_alerts_has_its_times(cloud):
    turn(cloud, "alert.smtp.timeout", 4000)
    turn(cloud, "alert.smtp.connectiontimeout", 2000)
    assert (_server().timeout, _server().dial) == (4, 2)
