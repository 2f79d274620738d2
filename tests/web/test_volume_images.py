"""A disk's image all the way: fetched from a web server or sent by a form, kept in a folder, fetched by its link."""

import pytest
from sqlalchemy import update

from mgmt_server.db import reading, write
from mgmt_server.model.transfer import ExtractLink
from mgmt_server.resources.limit import recount
from mgmt_server.resources.transfer import links, timers
from tests.api import test_template_download as images
from tests.api.test_template_download import DISK, files, qcow2
from tests.cloud import Refused
from tests.counts import used

web, store, sent = images.web, images.store, images.sent


@pytest.fixture
def cloud(site):
    return site.cloud


@pytest.fixture
def asked(sent):
    return {"name": "up", "url": sent["url"], "format": "QCOW2", "zoneid": sent["zoneid"]}


def shown(cloud):
    (volume,) = cloud.ask("listVolumes")["volume"]
    return volume


def sums():
    with reading() as session:
        assert recount.wrong(session) == ([], [])
    return used(2)


def test_an_image_is_fetched_linked_and_removed(site, cloud, web, store, asked, tmp_path):
    web[0]["/t.qcow2"] = qcow2()
    volume = cloud.job("uploadVolume", **asked)["volume"]
    assert (volume["state"], volume["size"]) == ("Uploaded", DISK)
    assert sums() == {"volume": 1, "primary_storage": DISK, "secondary_storage": len(qcow2())}
    (file,) = files(store)
    assert file.read_bytes() == qcow2() and list((tmp_path / "scratch").iterdir()) == []
    sent = {"id": volume["id"], "zoneid": asked["zoneid"], "mode": "HTTP_DOWNLOAD"}
    url = cloud.job("extractVolume", **sent)["volume"]["url"]
    path = url.removeprefix(links.base())
    assert site.client.get(path).content == qcow2()
    write(lambda tx: tx.execute(update(ExtractLink).values(expires=ExtractLink.created)))
    timers.clean_up()
    assert site.client.get(path).status_code == 404 and files(store) == [file]
    cloud.ask("deleteVolume", id=volume["id"])
    cloud.work()
    assert files(store) == [] and sums() == {}


@pytest.mark.parametrize(
    "content, more, told",
    [
        (qcow2(b"/etc/passwd"), {}, "could make a host read other files"),
        (b"no disk" * 200, {}, "registered as QCOW2"),
        (qcow2(), {"checksum": "0" * 40}, "the checksum is wrong"),
        (None, {}, "answered 404"),
    ],
)
def test_what_is_wrong_with_an_image_is_told(cloud, web, store, asked, content, more, told):
    if content is not None:
        web[0]["/t.qcow2"] = content
    with pytest.raises(Refused, match=told):
        cloud.job("uploadVolume", **asked, **more)
    assert shown(cloud)["state"] == "UploadError" and told in shown(cloud)["status"]
    assert files(store) == [] and sums() == {"volume": 1}


def test_an_image_for_which_there_is_no_room_is_not_kept(cloud, web, store, asked):
    web[0]["/t.qcow2"] = qcow2()
    cloud.account("ann")
    cloud.ask("updateResourceLimit", account="ann", domainid=1, resourcetype=10, max=4)
    with pytest.raises(Refused, match="primary_storage"):
        cloud.job("uploadVolume", user="ann", **asked)
    assert files(store) == []
    assert cloud.ask("listVolumes", user="ann")["volume"][0]["state"] == "UploadError"


def test_an_image_is_sent_by_a_form(site, cloud, store, asked):
    wanted = {"name": "form", "format": "QCOW2", "zoneid": asked["zoneid"]}
    told = cloud.ask("getUploadParamsForVolume", **wanted)["getuploadparams"]
    headers = {"x-signature": told["signature"], "x-expires": told["expires"], "x-metadata": told["metadata"]}
    path = told["postURL"].removeprefix(links.base())
    answer = site.client.post(path, files={"files[]": ("d.qcow2", qcow2())}, headers=headers)
    assert answer.json() == {"success": True}
    assert (shown(cloud)["state"], shown(cloud)["size"]) == ("Uploaded", DISK)
    assert files(store)[0].read_bytes() == qcow2() and sums()["secondary_storage"] == len(qcow2())
