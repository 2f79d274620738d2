"""Images that a host fetches from where they were registered: a web server on loopback. No libvirt is needed."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from mgmt_server.agent import config, stores
from mgmt_server.agent.storage import Storage
from mgmt_server.errors import Failed
from mgmt_server.protocol.codec import build, plain
from mgmt_server.protocol.machine import Authority, Direct, Disk, Image, Pool, Store
from tests.certificates import authority, web_server

MIB = 1 << 20


class Pages(BaseHTTPRequestHandler):
    content = b""
    cut: list[int] = []  # of the next answers: bytes after which each breaks off
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.2:9/secret")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: self.cut.pop(0)] if self.cut else self.content)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture()
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    file = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(file), "8M"], check=True)
    Pages.content, Pages.cut, Pages.asked = file.read_bytes(), [], []
    monkeypatch.setattr(stores, "PAUSE", 0.0)
    return Pages.content


@pytest.fixture()
def site(content: bytes) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture()
def pool(tmp_path: Path) -> Pool:
    return Pool(str(uuid4()), "Filesystem", str(tmp_path / "pool"))


@pytest.fixture()
def storage(tmp_path: Path, pool: Pool) -> Storage:
    nowhere = tmp_path / "x"
    settings = config.Config(("m:8250",), "me", "h", nowhere, nowhere, nowhere, state=tmp_path / "state")
    storage = Storage(settings)
    storage.add_pool(pool)
    return storage


def image(url: str, checksum: str = "", **more: object) -> Image:
    direct = replace(Direct(url, ("127.0.0.1/32",)), **more)  # type: ignore[arg-type]
    return Image(str(uuid4()), Store(url), "", "QCOW2", 0, 8 * MIB, checksum, direct)


def names(pool: Pool) -> list[str]:
    return sorted(p.name for p in Path(pool.path).iterdir())


def test_the_image_is_checked_and_disks_stand_on_it(storage: Storage, pool: Pool, site: str, content: bytes) -> None:
    told = image(f"{site}/t.qcow2", f"{{SHA-256}}{hashlib.sha256(content).hexdigest()}")
    told = build(Image, plain(told))  # as it comes over the wire
    name = storage.cache_template(pool, told)
    assert names(pool) == [name] and (Path(pool.path) / name).read_bytes() == content
    assert storage.cache_template(pool, told) == name and Pages.asked == ["/t.qcow2"]
    storage.create_disk(Disk("root", pool, 16 * MIB, backing=name))
    assert names(pool) == sorted([name, "root"])


def test_an_image_with_another_checksum_or_size_is_not_kept(storage: Storage, pool: Pool, site: str) -> None:
    for wrong, why in (
        (image(f"{site}/t", "ab" * 32), "the checksum is wrong"),
        (image(f"{site}/t", largest=1000), "at most 1000"),
        (replace(image(f"{site}/t"), virtual_size=4 * MIB), "was registered with less"),
        (replace(image(f"{site}/t"), format="RAW"), "its content is qcow2"),
    ):
        with pytest.raises(Failed, match=why):
            storage.cache_template(pool, wrong)
        assert names(pool) == []


def test_an_image_that_names_another_file_is_not_kept(storage: Storage, pool: Pool, site: str, tmp_path: Path) -> None:
    file = tmp_path / "bad"
    argv = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", str(file), "8M"]
    subprocess.run(argv, check=True)
    Pages.content = file.read_bytes()
    with pytest.raises(Failed, match="is refused"):
        storage.cache_template(pool, image(f"{site}/t"))
    assert names(pool) == []


def test_a_redirect_to_a_forbidden_address_is_not_followed(storage: Storage, pool: Pool, site: str) -> None:
    for told, why in ((image(f"{site}/inside"), "127.0.0.2, a loopback"), (image(site, allowed=()), "a loopback")):
        with pytest.raises(Failed, match=why):
            storage.cache_template(pool, told)
    assert names(pool) == [] and Pages.asked == ["/inside"]
    with pytest.raises(Failed, match=r"leads to http://127\.0\.0\.2.*store\.download\.follow\.redirects"):
        storage.cache_template(pool, image(f"{site}/inside", redirects=False))


def test_what_is_cut_off_is_fetched_again_from_its_beginning(storage: Storage, pool: Pool, site: str) -> None:
    Pages.cut[:] = [1000, 70_000]
    name = storage.cache_template(pool, image(f"{site}/t"))
    assert (Path(pool.path) / name).read_bytes() == Pages.content and len(Pages.asked) == 3
    Pages.cut[:] = [1000] * 3
    with pytest.raises(Failed, match=r"was cut after 1000 of \d+ bytes \(tried 3 times\)"):
        storage.cache_template(pool, image(f"{site}/t"))
    assert names(pool) == [name]


def test_what_a_killed_agent_left_is_replaced(storage: Storage, pool: Pool, site: str) -> None:
    told = image(f"{site}/t")
    (Path(pool.path) / f"template-{told.uuid}.qcow2.0123abcd.part").write_bytes(b"half")
    storage.cache_template(pool, told)
    assert names(pool) == [f"template-{told.uuid}.qcow2"]


def test_https_needs_a_certificate_that_this_host_was_told_of(
    storage: Storage, pool: Pool, content: bytes, tmp_path: Path
) -> None:
    certificate, key = authority()
    other, _ = authority()
    with web_server(Pages, key, tmp_path) as address:
        for told in ((), (Authority(other),), (Authority(certificate, ("somebody else",)),)):
            with pytest.raises(Failed, match="certificate is not trusted"):
                storage.cache_template(pool, image(f"{address}/t", authorities=told))
        for told in ((Authority(other), Authority(certificate)), (Authority(certificate, ("me",)),)):
            storage.cache_template(pool, image(f"{address}/t", authorities=told))
    assert len(names(pool)) == 2


def test_a_disc_is_kept_as_it_is_and_found_by_machines(storage: Storage, pool: Pool, site: str, disc: bytes) -> None:
    Pages.content = disc
    told = replace(image(f"{site}/d.iso"), format="ISO", virtual_size=len(disc))
    name = storage.cache_template(pool, told)
    assert (Path(pool.path) / name).read_bytes() == disc
    assert storage.iso_source(name, pool) == f"{pool.path}/{name}" and name.endswith(".iso")
    with pytest.raises(Failed, match="is not in the pool"):
        storage.iso_source("template-none.iso", pool)
    for wrong, why in ((b"x" * 100_000, "its content is raw"), (QCOW2 + disc[512:], r"content is iso\+qcow2")):
        Pages.content = wrong
        with pytest.raises(Failed, match=why):
            storage.cache_template(pool, replace(told, uuid=str(uuid4())))
    assert names(pool) == [name]


QCOW2 = struct.pack(">4sIQIIQIIQQ", b"QFI\xfb", 2, 0, 0, 16, 1 << 20, 0, 1, 0x30000, 0x10000).ljust(512, b"\0")


@pytest.fixture(params=["plain", "with a partition table"])
def disc(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """A disc, and one as most installers come: it starts from disks too, and its length is of no whole sectors."""
    (tmp_path / "words").write_text("on a disc")
    subprocess.run(["genisoimage", "-quiet", "-o", str(tmp_path / "d.iso"), str(tmp_path / "words")], check=True)
    found = (tmp_path / "d.iso").read_bytes()
    if request.param == "plain":
        return found
    entry = struct.pack("<BBBBBBBBII", 0x80, 0, 2, 0, 0x17, 0, 2, 0, 0, len(found) // 512).ljust(64, b"\0")
    return found[:446] + entry + b"\x55\xaa" + found[512:] + b"\0" * 100
