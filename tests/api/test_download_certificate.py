"""Certificates for direct download: who has them, and what hosts are told of them."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template.stored import authorities_of
from tests.certificates import authority
from tests.cloud import Refused
from tests.simulated import simulated_zone

UPLOAD, LIST = "uploadTemplateDirectDownloadCertificate", "listTemplateDirectDownloadCertificates"
PROVISION, REVOKE = "provisionTemplateDirectDownloadCertificate", "revokeTemplateDirectDownloadCertificate"


@pytest.fixture
def names(cloud):
    made = write(simulated_zone)
    write(_agents)
    return made


def _agents(tx):
    for host in tx.scalars(select(Host)):
        host.agent = f"agent-{host.name}"


def told(names):
    """Of each certificate that hosts are told: the agents that use it."""
    with reading() as session:
        zone = session.scalar(select(Zone.id).where(Zone.uuid == names["zone"]))
        return [a.agents for a in authorities_of(session, zone, "Simulator")]


def hosts():
    with reading() as session:
        return list(session.scalars(select(Host).order_by(Host.id)))


def upload(cloud, names, name="ours", **more):
    sent = {"certificate": authority()[0], "hypervisor": "simulator", "name": name, "zoneid": names["zone"]} | more
    return cloud.ask(UPLOAD, **sent)["uploadtemplatedirectdownloadcertificate"]


def test_a_certificate_is_for_all_hosts_of_its_zone(cloud, names):
    made = upload(cloud, names)
    assert (made["alias"], made["hypervisor"], made["subject"], made["issuer"]) == (
        "ours", "Simulator", "CN=images", "CN=images",
    )  # fmt: skip
    assert made["version"] == "3" and made["serialnum"].isdecimal() and made["validity"].startswith("From: [")
    assert [h["status"] for h in made["hostsmap"]] == ["UPLOADED", "UPLOADED"]
    (seen,) = cloud.ask(LIST)["directdownloadcertificate"]
    assert seen["id"] == made["id"] and "hostsmap" not in seen
    (seen,) = cloud.ask(LIST, zoneid=names["zone"], id=made["id"], listhosts=True)["directdownloadcertificate"]
    assert [h["hostid"] for h in seen["hostsmap"]] == [h.uuid for h in hosts()]
    assert told(names) == [()]


def test_a_host_loses_it_and_gets_it_again(cloud, names):
    made, (one, two) = upload(cloud, names), hosts()
    gone = cloud.ask(REVOKE, zoneid=names["zone"], id=made["id"], hostid=one.uuid)
    assert [(h["hostid"], h["status"]) for h in gone["directdownloadcertificatehoststatus"]] == [(one.uuid, "REVOKED")]
    assert told(names) == [(two.agent,)]
    back = cloud.ask(PROVISION, id=made["id"], hostid=one.uuid)["directdownloadcertificatehoststatus"]
    assert (back["hostid"], back["status"]) == (one.uuid, "UPLOADED") and told(names) == [()]


def test_one_for_a_single_host_is_for_others_once_they_ask(cloud, names):
    one, two = hosts()
    made = upload(cloud, names, hostid=two.uuid)
    assert [h["status"] for h in made["hostsmap"]] == ["SKIPPED", "UPLOADED"] and told(names) == [(two.agent,)]
    cloud.ask(PROVISION, id=made["id"], hostid=one.uuid)
    assert told(names) == [(one.agent, two.agent)]


def test_one_that_is_revoked_is_gone_and_its_name_free(cloud, names):
    upload(cloud, names)
    with pytest.raises(Refused) as no:
        upload(cloud, names)
    assert "already" in no.value.text
    gone = cloud.ask(REVOKE, zoneid=names["zone"], name="ours", hypervisor="Simulator")
    assert [h["status"] for h in gone["directdownloadcertificatehoststatus"]] == ["REVOKED", "REVOKED"]
    assert cloud.ask(LIST) == {} and told(names) == []
    upload(cloud, names)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"certificate": "nonsense"}, "not one certificate in PEM"),
        ({"certificate": authority()[0] + authority()[0]}, "not one certificate in PEM"),
        ({"certificate": authority(days=-1)[0]}, "has expired"),
        ({"hypervisor": "Xen"}, "Hypervisor Type"),
        ({"hypervisor": "KVM", "hostid": "first"}, "has no KVM"),
    ],
)
def test_what_is_no_certificate_for_hosts_is_refused(cloud, names, wrong, why):
    if "hostid" in wrong:
        wrong = {**wrong, "hostid": hosts()[0].uuid}
    with pytest.raises(Refused) as no:
        upload(cloud, names, **wrong)
    assert why in no.value.text and cloud.ask(LIST) == {}


def test_revoking_wants_to_know_which(cloud, names):
    upload(cloud, names)
    for sent, why in (({}, "id is missing"), ({"name": "other", "hypervisor": "Simulator"}, "no such certificate")):
        with pytest.raises(Refused) as no:
            cloud.ask(REVOKE, zoneid=names["zone"], **sent)
        assert why in no.value.text
    cloud.account("ann")
    with pytest.raises(Refused):
        cloud.ask(LIST, user="ann")
