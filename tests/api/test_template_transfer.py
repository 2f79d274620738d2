"""Templates and ISOs out by links, and in by forms: through the server's own door."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mgmt_server.db import now, reading, write
from mgmt_server.errors import ApiError
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.transfer import ExtractLink
from mgmt_server.model.zone import Zone
from mgmt_server.resources.transfer import links, tickets
from tests.api.test_template_download import files, qcow2, sent, state, store, web  # noqa: F401
from tests.cloud import Refused
from tests.simulated import build


@pytest.fixture
def ready(cloud, web, store, sent):  # noqa: F811
    """A template of ann's whose image is there, and extractable."""
    cloud.account("ann")
    cloud.account("bob")
    web[0]["/t.qcow2"] = qcow2()
    made = cloud.ask("registerTemplate", user="ann", **sent, isextractable=True)["template"][0]
    cloud.work()
    return made["id"]


def token_of(url):
    return url.removeprefix(links.base()).split("/")[2]


def test_a_link_leads_to_the_image_and_ends_with_the_template(cloud, ready, store, sent):  # noqa: F811
    told = cloud.job("extractTemplate", user="ann", id=ready, zoneid=sent["zoneid"], mode="HTTP_DOWNLOAD")["template"]
    assert (told["id"], told["state"], told["zonename"]) == (ready, "DOWNLOAD_URL_CREATED", "east")
    assert told["url"].endswith("/t.qcow2") and told["extractMode"] == "HTTP_DOWNLOAD"
    with reading() as session:
        target = links.target_of(session, token_of(told["url"]))
        assert not session.scalar(select(ExtractLink)).temporary
    (file,) = files(store)
    assert (target.store, target.path) == (f"file://{store}", str(file.relative_to(store)))
    cloud.job("deleteTemplate", user="ann", id=ready)
    with reading() as session:
        assert links.target_of(session, token_of(told["url"])) is None


def test_who_may_have_a_link(cloud, ready):
    asked = {"id": ready, "mode": "HTTP_DOWNLOAD"}
    with pytest.raises(Refused) as no:
        cloud.job("extractTemplate", user="bob", **asked)
    assert "entity does not exist" in no.value.text
    cloud.ask("updateTemplatePermissions", user="ann", id=ready, op="add", accounts="bob")
    assert cloud.job("extractTemplate", user="bob", **asked)["template"]["url"]
    with reading() as session:
        accounts = {row.account_id for row in session.scalars(select(ExtractLink))}
    assert len(accounts) == 1
    cloud.ask("updateTemplatePermissions", user="ann", id=ready, isextractable=False)
    for user in ("ann", "bob"):
        with pytest.raises(Refused) as no:
            cloud.job("extractTemplate", user=user, **asked)
        assert "is not extractable" in no.value.text
    assert cloud.job("extractTemplate", **asked)["template"]["url"]
    for wrong, words in (({"mode": "FTP_UPLOAD"}, "FTP_UPLOAD is not supported"), ({"mode": "x"}, "none of")):
        with pytest.raises(Refused) as no:
            cloud.job("extractTemplate", **{**asked, **wrong})
        assert words in no.value.text
    cloud.ask("updateConfiguration", name="disable.extraction", value="true")
    with pytest.raises(Refused) as no:
        cloud.job("extractTemplate", **asked)
    assert "disable.extraction" in no.value.text


def test_a_simulated_iso_has_a_link_too(cloud):
    zone = build()["zone"]
    iso = cloud.ask("registerIso", name="d", url="http://h.example/d.iso", zoneid=zone, bootable=False)["iso"][0]
    told = cloud.job("extractIso", id=iso["id"], zoneid=zone, mode="HTTP_DOWNLOAD")["iso"]
    with reading() as session:
        assert links.target_of(session, token_of(told["url"])).content is not None
    with pytest.raises(Refused) as no:
        cloud.job("extractTemplate", id=iso["id"], mode="HTTP_DOWNLOAD")
    assert "entity does not exist" in no.value.text


def send(told, content):
    """What the server's door does with a form."""
    coming = tickets.open_ticket(told["id"], told["signature"])
    coming.file.write_bytes(content)
    tickets.progress(coming, 40)
    return tickets.complete(coming)


def form(cloud, sent, user="ann", **more):  # noqa: F811
    asked = {k: v for k, v in sent.items() if k != "url"} | more
    return cloud.ask("getUploadParamsForTemplate", user=user, **asked)["getuploadparams"]


def seen_by_ann(cloud):
    (found,) = cloud.ask("listTemplates", user="ann", templatefilter="self")["template"]
    return found


def test_a_template_comes_by_a_form(cloud, store, sent):  # noqa: F811
    cloud.account("ann")
    told = form(cloud, sent)
    assert set(told) == {"id", "postURL", "metadata", "expires", "signature"}
    assert seen_by_ann(cloud)["status"] == "0% Downloaded; waiting for the upload"
    assert send(told, qcow2()).error == ""
    assert (seen_by_ann(cloud)["isready"], seen_by_ann(cloud)["status"]) == (True, "Download Complete")
    assert files(store)[0].read_bytes() == qcow2()
    with pytest.raises(ApiError, match="upload"):
        send(told, qcow2())


def test_a_bad_upload_is_told_and_leaves_nothing(cloud, store, sent):  # noqa: F811
    cloud.account("ann")
    told = form(cloud, sent)
    assert "could make a host read other files" in send(told, qcow2(b"/etc/shadow")).error
    assert "read other files" in seen_by_ann(cloud)["status"] and files(store) == []


def test_an_upload_that_never_comes_is_given_up(cloud, store, sent):  # noqa: F811
    cloud.account("ann")
    told = form(cloud, sent)
    assert tickets.abandon_expired(now() + timedelta(days=1)) == 1
    assert "nothing was sent" in seen_by_ann(cloud)["status"]
    cloud.job("deleteTemplate", user="ann", id=told["id"])
    assert cloud.ask("listTemplates", user="ann", templatefilter="self") == {}


def test_an_upload_beyond_its_limit_is_taken_away(cloud, store, sent):  # noqa: F811
    cloud.account("ann")
    root = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    told = form(cloud, sent)
    cloud.ask("updateResourceLimit", resourcetype=11, max=0, account="ann", domainid=root)
    assert send(told, qcow2()).error and files(store) == []
    assert "isready" in seen_by_ann(cloud) and seen_by_ann(cloud)["isready"] is False


def test_an_iso_comes_by_a_form(cloud):
    zone = build()["zone"]
    write(lambda tx: [setattr(s, "readonly", False) for s in tx.scalars(select(ImageStore))])
    asked = {"name": "d", "format": "ISO", "zoneid": zone, "bootable": False}
    told = cloud.ask("getUploadParamsForIso", **asked)["getuploadparams"]
    assert send(told, b"x" * 5000).error == ""
    (seen,) = cloud.ask("listIsos", isofilter="self")["iso"]
    assert (seen["status"], seen["size"]) == ("Successfully Installed", 5000)
    with reading() as session:
        assert session.scalar(select(TemplateOnStore.state).join(Zone, Zone.id == TemplateOnStore.zone_id)) == "Ready"
    with pytest.raises(Refused) as no:
        cloud.ask("getUploadParamsForIso", **asked | {"format": "QCOW2"})
    assert "none of ISO" in no.value.text
