"""Templates that are really fetched: from a web server of the test's own onto a store that is a folder."""

import bz2
import hashlib
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select

from mgmt_server.db import write
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.zone import Zone
from tests.certificates import authority, web_server
from tests.cloud import Refused

ZONE = {"networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54", "allocationstate": "Enabled"}
DISK = 5 << 30


def qcow2(backing: bytes = b"") -> bytes:
    """An empty disk of 5 GiB; with `backing`, one that names another file."""
    at = 112 if backing else 0
    numbers = (3, at, len(backing), 16, DISK, 0, 10, 0x30000, 0x10000, 1, 0, 0, 0, 0, 0, 4, 104)
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", *numbers)
    return (header + b"\0" * 8 + backing).ljust(4 << 16, b"\0")


class Pages(BaseHTTPRequestHandler):
    pages: dict[str, bytes | str] = {}

    def do_GET(self):
        content = self.pages.get(self.path)
        if isinstance(content, str):  # where it is instead
            self.send_response(302)
            self.send_header("Location", content)
            content = b""
        else:
            self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    """Pages to be set, and the address of their server."""
    Pages.pages = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Pages.pages, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def sent(cloud, web, store):
    zone = cloud.ask("createZone", name="east", **ZONE)["zone"]["id"]
    write(_add_store, f"file://{store}", zone)
    cloud.ask("updateConfiguration", name="secstorage.allowed.internal.sites", value="127.0.0.0/8")
    os_type = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    return {
        "name": "t", "url": f"{web[1]}/t.qcow2", "format": "QCOW2", "hypervisor": "KVM", "ostypeid": os_type,
        "zoneid": zone,
    }  # fmt: skip


def _add_store(tx, url, zone):
    number = tx.scalar(select(Zone.id).where(Zone.uuid == zone))
    tx.add(ImageStore(name="s", url=url, protocol="file", zone_id=number))


def state(cloud):
    (seen,) = cloud.ask("listTemplates", templatefilter="self")["template"]
    return seen


def files(store):
    return [f for f in store.rglob("*") if f.is_file()]


def test_an_image_is_fetched_checked_and_put(cloud, web, store, sent, tmp_path):
    web[0]["/t.qcow2"] = qcow2()
    digest = hashlib.sha1(qcow2(), usedforsecurity=False).hexdigest()
    made = cloud.ask("registerTemplate", **sent, checksum=digest)["template"][0]
    assert (made["isready"], made["status"]) == (False, "0% Downloaded")
    cloud.work()
    seen = state(cloud)
    assert (seen["isready"], seen["status"], seen["size"]) == (True, "Download Complete", DISK)
    assert seen["physicalsize"] == len(qcow2()) and seen["checksum"] == digest
    assert [(d["datastore"], d["downloadState"]) for d in seen["downloaddetails"]] == [("s", "DOWNLOADED")]
    (file,) = files(store)
    assert file.read_bytes() == qcow2() and file.relative_to(store).parts[:3] == ("template", "tmpl", "2")
    assert list((tmp_path / "scratch").iterdir()) == []
    cloud.job("deleteTemplate", id=made["id"])
    assert files(store) == []


@pytest.mark.parametrize("more", [{}, {"directdownload": True}])
def test_what_is_at_another_url_is_fetched_where_the_setting_says_so(cloud, web, sent, more):
    web[0].update({"/t.qcow2": "/there.qcow2", "/there.qcow2": qcow2()})
    made = cloud.ask("registerTemplate", **sent, **more)["template"][0]
    cloud.work()
    assert "store.download.follow.redirects" in state(cloud)["status"] and "/there.qcow2" in state(cloud)["status"]
    cloud.job("deleteTemplate", id=made["id"])
    cloud.ask("updateConfiguration", name="store.download.follow.redirects", value="true")
    cloud.ask("registerTemplate", **sent, **more)
    cloud.work()
    assert state(cloud)["isready"] is True


@pytest.mark.parametrize("pack", [bz2.compress, __import__("gzip").compress, __import__("lzma").compress])
def test_a_packed_image_is_unpacked(cloud, web, store, sent, pack):
    web[0]["/t.qcow2"] = pack(qcow2())
    cloud.ask("registerTemplate", **sent)
    cloud.work()
    assert state(cloud)["isready"] is True and files(store)[0].read_bytes() == qcow2()


@pytest.mark.parametrize(
    ("content", "more", "told"),
    [
        (None, {}, "answered 404"),
        (b"", {}, "empty"),
        (b"<html>" * 20000, {}, "its content is raw"),
        (qcow2(), {"checksum": "0" * 64}, "the checksum is wrong"),
        (qcow2(b"/etc/shadow"), {}, "refused"),
        (bz2.compress(qcow2())[:-20], {}, "cannot be unpacked"),
    ],
)
def test_what_went_wrong_is_told_and_nothing_stays(cloud, web, store, sent, content, more, told, tmp_path):
    if content is not None:
        web[0]["/t.qcow2"] = content
    cloud.ask("registerTemplate", **sent, **more)
    cloud.work()
    seen = state(cloud)
    assert seen["isready"] is False and told in seen["status"]
    assert files(store) == [] and list((tmp_path / "scratch").iterdir()) == []
    assert cloud.ask("listTemplates", templatefilter="selfexecutable") == {}


def test_a_web_server_is_believed_whose_authority_the_system_trusts(cloud, web, store, sent, tmp_path, monkeypatch):
    web[0]["/t.qcow2"] = qcow2()
    certificate, key = authority()
    cloud.ask("updateConfiguration", name="template.download.retries", value="0")
    with web_server(Pages, key, tmp_path) as address:
        there = sent | {"url": f"{address}/t.qcow2"}
        refused = cloud.ask("registerTemplate", **there)["template"][0]["id"]
        cloud.work()
        assert "its certificate is not trusted" in state(cloud)["status"]
        assert not state(cloud)["isready"] and files(store) == []
        cloud.job("deleteTemplate", id=refused)
        (tmp_path / "trusted.pem").write_text(certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
        cloud.ask("registerTemplate", **there)
        cloud.work()
        assert state(cloud)["isready"] is True and files(store)[0].read_bytes() == qcow2()
        named = sent | {"url": f"{address.replace('127.0.0.1', 'localhost')}/t.qcow2", "name": "named"}
        cloud.ask("registerTemplate", **named)
        cloud.work()
        told = {t["name"]: t["status"] for t in cloud.ask("listTemplates", templatefilter="self")["template"]}
        assert "not trusted: Hostname mismatch" in told["named"], told


def test_an_image_may_be_too_large(cloud, web, store, sent):
    cloud.ask("updateConfiguration", name="max.template.iso.size", value="4")
    web[0]["/t.qcow2"] = qcow2()
    cloud.ask("registerTemplate", **sent)
    cloud.work()
    assert "at most" in state(cloud)["status"] and files(store) == []


def test_a_store_that_is_gone_is_named(cloud, web, store, sent):
    web[0]["/t.qcow2"] = qcow2()
    store.rmdir()
    cloud.ask("registerTemplate", **sent)
    cloud.work()
    assert "there is no folder" in state(cloud)["status"]


def test_a_template_deleted_before_its_download_is_not_fetched(cloud, web, store, sent):
    web[0]["/t.qcow2"] = qcow2()
    made = cloud.ask("registerTemplate", **sent)["template"][0]
    assert cloud.job("deleteTemplate", id=made["id"]) == {"success": True}
    assert files(store) == [] and cloud.ask("listTemplates", templatefilter="self") == {}


def test_addresses_of_the_inside_are_refused_at_once(cloud, sent):
    cloud.ask("resetConfiguration", name="secstorage.allowed.internal.sites")
    with pytest.raises(Refused) as no:
        cloud.ask("registerTemplate", **sent)
    assert no.value.status == 431 and "Illegal host specified in URL" in no.value.text
