"""Templates in other hypervisors' formats, and downloads that do not come at once."""

import io
import subprocess
import tarfile

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.jobs import enqueue
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import bring, flows
from tests.api.test_template_download import DISK, ZONE, Pages, files, qcow2, sent, state, store, web  # noqa: F401
from tests.cloud import Refused


def image(tmp_path, format, *options):
    file = tmp_path / f"made.{format}"
    subprocess.run(["qemu-img", "create", "-q", "-f", format, *options, str(file), "8M"], check=True)
    return file.read_bytes()


def ova(disk):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in (("m.ovf", b"<Envelope/>"), ("m-disk1.vmdk", disk)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize("format", ["VHD", "VHDX", "VMDK", "OVA"])
def test_disks_of_other_hypervisors_come_as_qcow2(cloud, web, store, sent, tmp_path, format):  # noqa: F811
    content = image(tmp_path, {"VHD": "vpc", "VHDX": "vhdx"}.get(format, "vmdk"))
    web[0]["/t.qcow2"] = ova(content) if format == "OVA" else content
    cloud.ask("registerTemplate", **{**sent, "format": format})
    cloud.work()
    seen = state(cloud)
    assert (seen["isready"], seen["format"]) == (True, format) and seen["size"] >= 8 << 20, seen["status"]
    (file,) = files(store)
    assert file.suffix == ".qcow2" and file.read_bytes()[:4] == b"QFI\xfb"


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(bring, "PAUSE", 0.0)


@pytest.fixture
def moody(monkeypatch):
    """A server that answers 503 or hangs up after so many bytes, as often as the list says: what it was asked for."""
    moods, asked = [], []
    real = Pages.do_GET

    def answer(self):
        asked.append(self.headers.get("Range"))
        content = self.pages.get(self.path, b"")
        if not moods and not asked[-1]:
            real(self)
            return
        mood = moods.pop(0) if moods else len(content)
        if mood == 503:
            self.send_error(503)
            return
        begin = int(asked[-1].removeprefix("bytes=").partition("-")[0]) if asked[-1] else 0
        assert not begin or self.headers["If-Range"] == '"one"'
        self.send_response(206 if begin else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(content) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[begin:mood])
        self.close_connection = True

    monkeypatch.setattr(Pages, "do_GET", answer)
    return moods, asked


def test_a_download_that_is_cut_off_goes_on_where_it_was(cloud, web, store, sent, moody, no_pause):  # noqa: F811
    web[0]["/t.qcow2"] = qcow2()
    moody[0][:] = [100_000, 503, 200_000]
    cloud.ask("registerTemplate", **sent)
    cloud.work()
    assert state(cloud)["isready"] is True and files(store)[0].read_bytes() == qcow2()
    assert moody[1] == [None, "bytes=100000-", "bytes=100000-", "bytes=200000-"]


def test_after_the_last_try_the_cause_is_told(cloud, web, store, sent, moody, no_pause):  # noqa: F811
    cloud.ask("updateConfiguration", name="template.download.retries", value="2")
    moody[0][:] = [503] * 3
    cloud.ask("registerTemplate", **sent)
    cloud.work()
    assert "answered 503" in state(cloud)["status"] and "(tried 3 times)" in state(cloud)["status"]
    assert len(moody[1]) == 3 and files(store) == []
    told = [e for e in cloud.ask("listEvents", listall=True)["event"] if e["type"].startswith("TEMPLATE.DOWNLOAD")]
    assert sorted((e["type"], e["level"]) for e in told) == [
        ("TEMPLATE.DOWNLOAD.FAILED", "ERROR"),
        ("TEMPLATE.DOWNLOAD.START", "INFO"),
    ]
    assert any("answered 503" in e["description"] for e in told)


def test_while_it_waits_the_list_tells_why(cloud, web, sent, moody, no_pause, monkeypatch):  # noqa: F811
    moody[0][:] = [503]
    web[0]["/t.qcow2"] = qcow2()
    told = []
    real = bring._wanted_still
    monkeypatch.setattr(bring, "_wanted_still", lambda *a: (told.append(state(cloud)["status"]), real(*a)))
    cloud.ask("registerTemplate", **sent)
    cloud.work()
    assert "try 1 of 4 failed" in told[0] and "503" in told[0] and told[0].startswith("0% Downloaded")
    assert state(cloud)["status"] == "Download Complete"


def test_what_a_killed_server_left_is_gone_on_with(cloud, web, store, sent, moody, no_pause, tmp_path):  # noqa: F811
    web[0]["/t.qcow2"] = qcow2()
    moody[0][:] = [100_000]
    made = cloud.ask("registerTemplate", **sent)["template"][0]
    real, bring._fetch = bring._fetch, lambda order, file, limits: bring.fetch(order.url, file, limits, resume=True)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(bring.shutil, "rmtree", lambda *a, **k: None)  # it is killed before it cleans up
            cloud.work()
    finally:
        bring._fetch = real
    assert "cut" in state(cloud)["status"]
    with reading() as session:
        number = session.query(TemplateOnStore).one().id
    write(lambda tx: tx.execute(update(TemplateOnStore).values(state="Creating", error=None)))
    write(lambda tx: enqueue(tx, flows.download, (number,), lock="template:again"))
    cloud.work()
    assert state(cloud)["isready"] is True and moody[1] == [None, "bytes=100000-"]
    assert made["id"] and files(store)[0].read_bytes() == qcow2()
    assert list((tmp_path / "scratch").iterdir()) == []


def _add_store(tx, url, zone):
    number = tx.scalar(select(Zone.id).where(Zone.uuid == zone))
    row = ImageStore(name="other", url=url, protocol="file", zone_id=number)
    tx.add(row)
    tx.flush()
    return row.id


def west(cloud, folder):
    """A second zone whose secondary storage is a folder: the zone, and the number of the storage."""
    zone = cloud.ask("createZone", name="west", **ZONE)["zone"]["id"]
    return zone, write(_add_store, f"file://{folder}", zone)


def test_an_image_is_copied_to_another_zones_store(cloud, web, store, sent, tmp_path):  # noqa: F811
    web[0]["/t.qcow2"] = qcow2()
    made = cloud.ask("registerTemplate", **sent)["template"][0]
    cloud.work()
    other = tmp_path / "other"
    zone, _ = west(cloud, other)
    for _ in range(2):  # the folder is missing at first
        with pytest.raises(Refused) as no:
            cloud.job("copyTemplate", id=made["id"], destzoneid=zone)
        assert "The copy failed" in no.value.text and "there is no folder" in no.value.text
    other.mkdir()
    cloud.job("copyTemplate", id=made["id"], destzoneid=zone)
    (file,) = files(other)
    assert file.read_bytes() == qcow2() and file.relative_to(other) == files(store)[0].relative_to(store)
    seen = {t["zonename"]: t for t in cloud.ask("listTemplates", templatefilter="self")["template"]}
    assert seen["west"]["isready"] is True and seen["west"]["size"] == seen["east"]["size"] == DISK
    cloud.job("deleteTemplate", id=made["id"], zoneid=zone)
    assert files(other) == [] and len(files(store)) == 1


def test_a_new_store_gets_what_is_for_all_zones_from_another(cloud, web, store, sent, tmp_path):  # noqa: F811
    web[0]["/t.qcow2"] = qcow2()
    cloud.ask("registerTemplate", **{**sent, "zoneid": -1})
    cloud.work()
    del web[0]["/t.qcow2"]
    (tmp_path / "other").mkdir()
    _, added = west(cloud, tmp_path / "other")
    write(flows.store_added, added)
    cloud.work()
    seen = cloud.ask("listTemplates", templatefilter="self")["template"]
    assert [t["isready"] for t in seen] == [True, True]
