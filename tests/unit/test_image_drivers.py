"""Stores, the fetcher and its guard, inspection, the system VM image."""

import contextlib
import ipaddress
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mgmt_server.drivers.image import nfs
from mgmt_server.drivers.image.inspect import inspect
from mgmt_server.drivers.image.system import find, install_system
from mgmt_server.errors import Failed, InvalidValue, Unavailable
from mgmt_server.protocol import download
from mgmt_server.protocol.download import Limits, fetch, refuse

HERE = Limits(allowed=("127.0.0.0/8",))


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return f"file://{folder}"


@pytest.fixture
def site():
    """A web server whose pages tests choose: path -> (status, headers, body)."""
    pages, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Host"]))
            status, headers, body = pages.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.pages, server.asked, server.url = pages, asked, f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()


def image(path, *options):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "8M"], check=True)
    return path


def test_a_store_takes_gives_and_loses_files(store, tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    nfs.put(file, store, "template/tmpl/2/201/a.qcow2")
    assert nfs.stat(store, "template/tmpl/2/201/a.qcow2") == 5
    nfs.get(store, "template/tmpl/2/201/a.qcow2", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"12345" == nfs.read(store, "/template/tmpl/2/201/a.qcow2")
    nfs.remove(store, "template/tmpl/2/201/a.qcow2")
    nfs.remove(store, "template/tmpl/2/201/a.qcow2")
    assert nfs.stat(store, "template/tmpl/2/201/a.qcow2") is None
    used, there = nfs.check(store)
    assert 0 < used <= there and not list((tmp_path / "store").glob(".cloud*"))


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "nfs:///y", "nfs://x", "file://x", "nfs://x/../y", "nfs://-o/y", "nonsense"]
)
def test_urls_that_name_no_store_are_refused(url):
    with pytest.raises(InvalidValue, match="write nfs://SERVER/PATH"):
        nfs.parts(url)


def test_stores_are_told_apart_from_other_places(store, tmp_path):
    assert nfs.parts("nfs://192.0.2.1:/export/a/") == ("nfs", "192.0.2.1", "/export/a")
    with pytest.raises(Failed, match="no path below a store"):
        nfs.stat(store, "../../etc/passwd")
    with pytest.raises(Failed, match="there is no folder"):
        nfs.check(f"file://{tmp_path}/nowhere")


def test_an_nfs_server_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(nfs, "_access", lambda: "libnfs")
    with pytest.raises(Unavailable, match="nfs://127.0.0.1/export cannot be reached"):
        nfs.check("nfs://127.0.0.1/export")


def test_a_file_is_read_through_libnfs_whose_tool_writes_over_nothing(monkeypatch, tmp_path):
    class Export:
        url = "nfs://127.0.0.1/export"

        def size(self, path):
            return 5, 5

    def copies(argv, seconds):
        assert argv[:2] == ["nfs-cp", "nfs://127.0.0.1/export/a.qcow2"]
        with open(argv[2], "xb") as file:
            file.write(b"12345")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(nfs, "_open", lambda url: contextlib.nullcontext(nfs.Remote(Export())))
    monkeypatch.setattr(nfs, "run", copies)
    with nfs.opened("nfs://127.0.0.1/export", "a.qcow2") as file:
        assert file.read() == b"12345"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"), ("169.254.169.254", "link-local"), ("10.1.2.3", "private"),
        ("192.168.0.1", "private"), ("100.64.0.1", "private"), ("224.0.0.1", "multicast"), ("::", "unspecified"),
        ("::1", "loopback"), ("fe80::1", "link-local"), ("fd00::1", "private"), ("::ffff:10.0.0.1", "private"),
        ("8.8.8.8", ""), ("2606:4700::1111", ""),
    ],
)  # fmt: skip
def test_addresses_of_our_own_are_not_dialled(address, kind):
    assert refuse(ipaddress.ip_address(address), ()) == kind


def test_what_is_allowed_is_dialled():
    assert refuse(ipaddress.ip_address("10.1.2.3"), ("10.1.0.0/16",)) == ""
    with pytest.raises(Failed, match=r"secstorage\.allowed\.internal\.sites"):
        refuse(ipaddress.ip_address("10.1.2.3"), ("nonsense",))


def test_a_file_is_fetched_with_its_progress(site, tmp_path):
    site.pages["/x?y=1"] = (200, {"Content-Length": "6"}, b"abcdef")
    seen = []
    found = fetch(site.url + "/x?y=1", tmp_path / "f", HERE, lambda done, total: seen.append((done, total)))
    assert (tmp_path / "f").read_bytes() == b"abcdef" and found.size == 6 and seen[-1] == (6, 6)


def test_each_redirect_is_looked_at(site, tmp_path, monkeypatch):
    site.pages["/ok"] = (302, {"Location": "/x"}, b"")
    site.pages["/x"] = (200, {}, b"abc")
    assert fetch(site.url + "/ok", tmp_path / "f", HERE).url == site.url + "/x"
    site.pages["/in"] = (302, {"Location": "http://169.254.169.254/latest"}, b"")
    with pytest.raises(InvalidValue, match="169.254.169.254, a link-local address"):
        fetch(site.url + "/in", tmp_path / "f", HERE)
    site.pages["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(InvalidValue, match="no http or https URL"):
        fetch(site.url + "/file", tmp_path / "f", HERE)
    site.pages["/loop"] = (302, {"Location": "/loop"}, b"")
    with pytest.raises(Failed, match="redirects"):
        fetch(site.url + "/loop", tmp_path / "f", HERE)


def test_the_address_that_was_looked_at_is_dialled(site, tmp_path, monkeypatch):
    site.pages["/x"] = (200, {}, b"abc")
    answers = iter([[(2, 1, 6, "", ("127.0.0.1", 0))]])
    monkeypatch.setattr(download.socket, "getaddrinfo", lambda *a, **k: next(answers))
    port = site.server_address[1]
    real = download.socket.create_connection
    monkeypatch.setattr(download.socket, "create_connection", lambda where, timeout: _dial(real, where, timeout))
    assert fetch(f"http://images.example:{port}/x", tmp_path / "f", HERE).size == 3
    assert site.asked == [("/x", f"images.example:{port}")]


def _dial(real, where, timeout):
    assert where[0] == "127.0.0.1"  # an address, never the name: it would be resolved again
    import socket

    link = socket.socket()
    link.connect(where)
    return link


def test_limits_and_cuts_are_told(site, tmp_path):
    site.pages["/big"] = (200, {"Content-Length": "100"}, b"x" * 100)
    with pytest.raises(Failed, match="at most 10"):
        fetch(site.url + "/big", tmp_path / "f", Limits(HERE.allowed, size=10))
    site.pages["/endless"] = (200, {}, b"x" * 100)
    with pytest.raises(Failed, match="more than 10"):
        fetch(site.url + "/endless", tmp_path / "f", Limits(HERE.allowed, size=10))
    site.pages["/cut"] = (200, {"Content-Length": "100"}, b"x" * 50)
    with pytest.raises(Unavailable, match="cut|IncompleteRead"):
        fetch(site.url + "/cut", tmp_path / "f", HERE)
    with pytest.raises(Failed, match="answered 404"):
        fetch(site.url + "/nothing", tmp_path / "f", HERE)
    with pytest.raises(InvalidValue, match="loopback address"):
        fetch(site.url + "/big", tmp_path / "f", Limits())
    with pytest.raises(InvalidValue, match="user name or password"):
        fetch("http://a:b@192.0.2.1/", tmp_path / "f", HERE)


def test_images_are_what_they_say(tmp_path):
    good = image(tmp_path / "good")
    assert (inspect(good, "QCOW2").format, inspect(good, "QCOW2").virtual_size) == ("qcow2", 8 << 20)
    with pytest.raises(Failed, match="its content is qcow2"):
        inspect(good, "RAW")
    with pytest.raises(Failed, match="at most 1048576"):
        inspect(good, "QCOW2", 1 << 20)
    based = image(tmp_path / "based", "-b", str(good), "-F", "qcow2")
    with pytest.raises(Failed, match="could make a host read other files"):
        inspect(based, "QCOW2")
    outside = image(tmp_path / "outside", "-o", f"data_file={tmp_path}/data,data_file_raw=on")
    with pytest.raises(Failed, match="could make a host read other files"):
        inspect(outside, "QCOW2")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(Failed, match="is empty"):
        inspect(tmp_path / "empty", "RAW")
    (tmp_path / "page").write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(Failed, match="registered as QCOW2"):
        inspect(tmp_path / "page", "QCOW2")
    assert inspect(tmp_path / "page", "RAW").format == "raw"


def test_the_system_image_is_put_once(store, tmp_path):
    first = image(tmp_path / "s1")
    assert find(store) is None
    assert install_system(first, store) is True and install_system(first, store) is False
    found = find(store)
    assert found.path.startswith("template/tmpl/1/3/") and found.size == 8 << 20
    second = image(tmp_path / "s2", "-o", "cluster_size=4096")
    assert install_system(second, store) is True
    assert find(store).checksum != found.checksum and nfs.stat(store, found.path) is None
    with pytest.raises(Failed, match="build the image first"):
        install_system(tmp_path / "nothing", store)


def test_a_firewall_that_drops_packets_is_told_and_the_next_address_is_tried(tmp_path, monkeypatch):
    dialled = []

    def dial(address, timeout):
        dialled.append((address[0], timeout))
        raise TimeoutError

    monkeypatch.setattr(download, "resolve", lambda *_: ["192.0.2.1", "192.0.2.2"])
    monkeypatch.setattr(download.socket, "create_connection", dial)
    with pytest.raises(Unavailable, match=r"192\.0\.2\.1 port 80 does not answer within 15 s.*192\.0\.2\.2"):
        fetch("http://images.example/a", tmp_path / "a", Limits())
    assert dialled == [("192.0.2.1", 15.0), ("192.0.2.2", 15.0)]
