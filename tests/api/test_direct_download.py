"""Templates that hosts fetch from their URLs: what is known of them without an image on secondary storage."""

import pytest
from sqlalchemy import delete, select

from mgmt_server.db import reading, write
from mgmt_server.jobs import enqueue
from mgmt_server.jobs.rows import JobRow
from mgmt_server.model.storage import TemplateOnPool, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.reconcile import images
from mgmt_server.resources.template import caches
from mgmt_server.resources.template.stored import image_in
from tests.api.test_template_download import DISK, ZONE, Pages, qcow2, sent, state, store, web  # noqa: F401
from tests.api.test_template_formats import moody, no_pause  # noqa: F401
from tests.certificates import authority, web_server
from tests.cloud import Refused
from tests.counts import used as used_of
from tests.simulated import simulated_zone


def image(zone):
    with reading() as session:
        number = session.scalar(select(Zone.id).where(Zone.uuid == zone))
        return image_in(
            session, session.scalar(select(Template.id).where(Template.name == "t", Template.removed.is_(None))), number
        )


def register(cloud, sent, **more):  # noqa: F811
    made = cloud.ask("registerTemplate", **sent, directdownload=True, **more)["template"][0]
    cloud.work()
    return made


def test_its_url_is_looked_at_and_nothing_is_stored(cloud, web, store, sent):  # noqa: F811
    web[0]["/t.qcow2"] = qcow2()
    digest = "{SHA-256}" + "ab" * 32
    made = register(cloud, sent, checksum=digest)
    assert made["directdownload"] is True and made["isready"] is False
    seen = state(cloud)
    assert (seen["isready"], seen["status"], seen["size"]) == (True, "Download Complete", DISK)
    assert "physicalsize" not in seen and list(store.iterdir()) == []
    assert used_of(2) == {"template": 1}
    told = image(sent["zoneid"])
    assert (told.virtual_size, told.format, told.checksum, told.path) == (DISK, "QCOW2", digest, "")
    assert told.direct.url == sent["url"] and told.direct.allowed == ("127.0.0.0/8",)
    assert not told.direct.redirects
    cloud.ask("updateConfiguration", name="store.download.follow.redirects", value="true")
    assert image(sent["zoneid"]).direct.redirects
    assert cloud.ask("updateTemplate", id=made["id"], name="u")["template"]["directdownload"] is True
    for command in ("extractTemplate", "copyTemplate"):
        more = {"mode": "HTTP_DOWNLOAD"} if command == "extractTemplate" else {"destzoneid": sent["zoneid"]}
        with pytest.raises(Refused) as no:
            cloud.ask(command, id=made["id"], **more)
        assert "on no secondary storage" in no.value.text
    cloud.job("deleteTemplate", id=made["id"])
    with reading() as session:
        assert session.scalar(select(TemplateOnStore.id)) is None


@pytest.mark.parametrize(
    ("content", "more", "why"),
    [
        (qcow2(b"/etc/shadow"), {}, "is refused"),
        (b"x" * 100_000, {}, "its content is raw"),
        (b"\x1f\x8b" + qcow2(), {}, "packed"),
        (qcow2(), {"format": "RAW"}, "its content is qcow2"),
        (qcow2()[:0x20000], {}, "cut off"),
        (None, {}, "answered 404"),
    ],
)
def test_what_the_url_leads_to_is_refused_by_its_beginning(cloud, web, sent, content, more, why):  # noqa: F811
    if content is not None:
        web[0]["/t.qcow2"] = content
    register(cloud, {**sent, **more})
    assert state(cloud)["isready"] is False and why in state(cloud)["status"]
    assert image(sent["zoneid"]) is None


def test_the_size_of_a_raw_disk_is_what_the_server_tells(cloud, web, sent):  # noqa: F811
    web[0]["/t.qcow2"] = b"x" * 1_000_000
    register(cloud, {**sent, "format": "RAW"})
    assert state(cloud)["isready"] is True and state(cloud)["size"] == 1_000_000


def test_no_secondary_storage_is_needed_and_it_goes_with_its_zone(cloud, web, sent):  # noqa: F811
    web[0]["/t.qcow2"] = qcow2()
    north = cloud.ask("createZone", name="north", **ZONE)["zone"]["id"]
    register(cloud, {**sent, "zoneid": north})
    assert state(cloud)["isready"] is True and state(cloud)["zonename"] == "north"
    cloud.ask("deleteZone", id=north)
    with reading() as session:
        assert session.scalar(select(TemplateOnStore.id)) is None


def test_addresses_and_formats_that_hosts_must_not_fetch_are_refused_at_once(cloud, sent):  # noqa: F811
    cloud.ask("updateConfiguration", name="secstorage.allowed.internal.sites", value="")
    for more, why in (({}, "Illegal host"), ({"format": "OVA", "url": "http://h.example/x"}, "takes the formats")):
        with pytest.raises(Refused) as no:
            register(cloud, {**sent, **more})
        assert why in no.value.text


def test_a_look_that_was_cut_off_is_done_again(cloud, web, sent):  # noqa: F811
    web[0]["/t.qcow2"] = qcow2()
    cloud.ask("registerTemplate", **sent, directdownload=True)
    with reading() as session:
        number = session.scalar(select(TemplateOnStore.id))
    write(lambda tx: tx.execute(delete(JobRow)))
    write(lambda tx: enqueue(tx, images.repair, (number, "Creating"), lock="template:again"))
    cloud.work()
    assert state(cloud)["isready"] is True


def test_a_certificate_of_the_zone_is_trusted(cloud, web, sent, tmp_path):  # noqa: F811
    Pages.pages["/t.qcow2"] = qcow2()
    certificate, key = authority()
    cloud.ask("updateConfiguration", name="template.download.retries", value="0")
    with web_server(Pages, key, tmp_path) as address:
        sent = {**sent, "url": f"{address}/t.qcow2"}
        first = register(cloud, sent)
        assert "not trusted" in state(cloud)["status"]
        cloud.job("deleteTemplate", id=first["id"])
        cloud.ask(
            "uploadTemplateDirectDownloadCertificate",
            certificate=certificate, hypervisor="KVM", name="ours", zoneid=sent["zoneid"],
        )  # fmt: skip
        register(cloud, sent)
        assert state(cloud)["isready"] is True
    assert [a.certificate for a in image(sent["zoneid"]).direct.authorities] == [certificate]


def test_simulated_machines_start_from_it_and_its_copies_in_pools_go(cloud):
    names = write(simulated_zone)
    os_type = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    sent = {"name": "t", "url": "http://h.example/x", "format": "QCOW2", "hypervisor": "Simulator"}  # noqa: F811
    made = register(cloud, {**sent, "ostypeid": os_type, "zoneid": names["zone"]})
    assert (made["isready"], made["directdownload"]) == (True, True)
    vm = cloud.job(
        "deployVirtualMachine", zoneid=names["zone"], templateid=made["id"], serviceofferingid=_offering(cloud)
    )["virtualmachine"]
    assert vm["state"] == "Running" and vm["templateid"] == made["id"]
    assert (
        cloud.job("restoreVirtualMachine", virtualmachineid=vm["id"], expunge=True)["virtualmachine"]["state"]
        == "Running"
    )
    cloud.job("deleteTemplate", id=made["id"], forced=True)
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    with reading() as session:
        (left,) = caches.unused(session)
    write(caches.start_dropping, *left)
    cloud.work()
    with reading() as session:
        assert session.scalar(select(TemplateOnPool.id)) is None
        assert session.scalar(select(TemplateOnStore.id).where(TemplateOnStore.store_id.is_(None))) is None


def _offering(cloud):
    return cloud.ask("listServiceOfferings")["serviceoffering"][0]["id"]


def test_a_web_server_that_is_away_for_a_moment_is_asked_again(cloud, sent, web, moody, no_pause):  # noqa: F811
    web[0]["/t.qcow2"] = qcow2()
    moody[0][:] = [503, 100]
    register(cloud, sent)
    assert state(cloud)["isready"] is True and len(moody[1]) == 3
