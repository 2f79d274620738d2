"""Images that hosts fetch from a web server themselves; a test of test_guests.py like those in stories.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

from conftest import eventually
from real_host import sh
from two_hosts import GATEWAY, MIB, Cloud, Guest

from mgmt_server.protocol.machine import Direct, Disk, Image, Pool, Store

asked: list[tuple[str, str]] = []  # (address, path)


class Pages(SimpleHTTPRequestHandler):
    def log_request(self, *_: object) -> None:
        asked.append((self.client_address[0], self.path))


@contextmanager
def site(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer((GATEWAY, 0), partial(Pages, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{GATEWAY}:{server.server_port}"
    server.shutdown()
    server.server_close()


def image(url: str, file: Path, format: str) -> Image:
    size = file.stat().st_size if format == "ISO" else 256 * MIB
    return Image(str(uuid4()), Store(url), "", format, 0, size, direct=Direct(url, ("10.99.0.0/24",)))


def fetches(cloud: Cloud) -> None:
    """A guest stands on a template that its host fetched, and reads a disc that comes with it from host to host."""
    store = cloud.folder / "store"
    (cloud.folder / "words").write_text("fetched by a host")
    sh("genisoimage", "-quiet", "-o", str(store / "words.iso"), str(cloud.folder / "words"))
    with site(store) as address:
        disc = image(f"{address}/words.iso", store / "words.iso", "ISO")
        template = image(f"{address}/tiny.qcow2", store / "tiny.qcow2", "QCOW2")
        name = cloud.disks.cache_template(uuid4(), cloud.hosts[0].ref, cloud.pool, disc)
        for host in cloud.hosts:
            assert cloud.disks.cache_template(uuid4(), host.ref, cloud.pool, disc) == name
        guest = cloud.guest("i-2-5-VM", cloud.hosts[0], template, iso=name, iso_pool=cloud.pool)
        guest.ready()
        assert asked == [("10.99.0.1", "/words.iso"), ("10.99.0.1", "/tiny.qcow2")]
        _reads(guest)
        _moves(cloud, guest, name, cloud.pool)
        for host in cloud.hosts:
            assert cloud.disks.cache_template(uuid4(), host.ref, host.local, disc) == name
        assert asked[2:] == [("10.99.0.1", "/words.iso"), ("10.99.0.2", "/words.iso")]
    _, two = cloud.hosts
    for _ in range(2):
        cloud.kvm.change_iso(uuid4(), two.ref, guest.machine.name, name, two.local)
    _reads(guest)
    cloud.disks.delete_disk(uuid4(), two.ref, Disk(name, cloud.pool, 0))
    _moves(cloud, guest, name, two.local)
    cloud.kvm.change_iso(uuid4(), guest.host.ref, guest.machine.name, "")
    assert name not in guest.host.virsh("dumpxml", guest.machine.name) and guest.status()["boots"] == 1


def _reads(guest: Guest) -> None:
    script = (
        "umount /cd; echo 3 > /proc/sys/vm/drop_caches; mkdir -p /cd; mount -t iso9660 -o ro /dev/sr0 /cd; cat /cd/*"
    )
    eventually(lambda: "fetched by a host" in guest.does(f"({script}) 2>/dev/null; true"))


def _moves(cloud: Cloud, guest: Guest, name: str, pool: Pool) -> None:
    """To the other host, where the disc is in the same pool, or in that host's own."""
    here, there = sorted(cloud.hosts, key=lambda h: h is not guest.host)
    new = there.local if pool == here.local else pool
    guest.machine = replace(guest.machine, iso=name, iso_pool=new)
    assert cloud.kvm.migrate(uuid4(), here.ref, there.ref, guest.machine, ()).state == "Running"
    guest.host = there
    assert f"{new.path}/{name}" in there.virsh("domblklist", guest.machine.name)
    _reads(guest)
