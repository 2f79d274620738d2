"""Settings of what hosts are asked: each is turned, and the request is looked at."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from uuid import uuid4

import pytest
from cryptography import x509

from mgmt_server import serve
from mgmt_server.agents import ca
from mgmt_server.agents.server import Link
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.kvm import START, Kvm
from mgmt_server.drivers.storage.kvm import KvmStorage
from mgmt_server.model.settings import settings
from mgmt_server.protocol.codec import plain
from mgmt_server.protocol.machine import Disk, File, Image, Machine, MachineState, Pool, Saved, Store
from mgmt_server.resources.host import link
from tests.api.test_setting_effects import turn

HOST = HostRef("h1", "kvm1", "KVM", "a1")
POOL = Pool("p", "Filesystem", "/pool")
DISK = Disk("root", POOL, 1 << 30)
STORE = Store("nfs://nfs/export")
GUEST = Machine("i-2-3-VM", str(uuid4()), "User", 1, 500, 1 << 28, (DISK,), ())


class Spy:
    """A link that notes what is asked, and answers like a host that has done it."""

    def __init__(self):
        self.asked = {}

    def ask(self, agent, type, body=None, *, timeout=0, **more):
        self.asked[type] = SimpleNamespace(body=body, timeout=timeout)
        if type in ("received", "revert"):
            return plain(MachineState(GUEST.name, GUEST.uuid, "Running"))
        return {"cache_template": "name", "copy_disk": 1, "load_disk": 1}.get(type, plain(Saved(1, 1)))


def image(path):
    return Image("i", STORE, path, "QCOW2", 1, 1)


@pytest.mark.parametrize(
    ("name", "asked", "ask"),
    [
        ("vmsnapshot.create.wait", "snapshot", lambda k, s: k.snapshot(uuid4(), HOST, "i", "p", True)),
        ("vmsnapshot.create.wait", "delete_snapshot", lambda k, s: k.delete_snapshot(uuid4(), HOST, "i", "p")),
        ("vmsnapshot.create.wait", "revert", lambda k, s: k.revert(uuid4(), HOST, GUEST, "p")),
        (
            "primary.storage.download.wait", "cache_template",
            lambda k, s: s.cache_template(uuid4(), HOST, POOL, image("template/tmpl/2/201/x.qcow2")),
        ),
        ("kvm.storage.offline.migration.wait", "copy_disk", lambda k, s: s.copy_disk(uuid4(), HOST, DISK, DISK)),
        ("kvm.storage.online.migration.wait", "move_disk", lambda k, s: s.move_disk(uuid4(), HOST, DISK, DISK, "i")),
        (
            "backup.snapshot.wait", "save_disk",
            lambda k, s: s.save_disk(uuid4(), HOST, DISK, "", File(STORE, "snapshots/2/7/x.qcow2"), "", ""),
        ),
        (
            "backup.snapshot.wait", "save_point",
            lambda k, s: s.save_point(uuid4(), HOST, DISK, "", File(STORE, "snapshots/2/7/x.qcow2"), ""),
        ),
        (
            "create.private.template.from.volume.wait", "save_disk",
            lambda k, s: s.save_disk(uuid4(), HOST, DISK, "", File(STORE, "template/tmpl/2/9/x.qcow2"), "", ""),
        ),
        (
            "copy.volume.wait", "save_disk",
            lambda k, s: s.save_disk(uuid4(), HOST, DISK, "", File(STORE, "volumes/2/9/x.qcow2"), "", ""),
        ),
        (
            "copy.volume.wait", "load_disk",
            lambda k, s: s.load_disk(uuid4(), HOST, DISK, (image("volumes/2/9/x.qcow2"),)),
        ),
        (
            "create.volume.from.snapshot.wait", "load_disk",
            lambda k, s: s.load_disk(uuid4(), HOST, DISK, (image("snapshots/2/7/x.qcow2"),)),
        ),
    ],
)  # fmt: skip
def test_work_of_hosts_is_waited_for_as_long_as_its_setting_says(cloud, name, asked, ask):
    spy = Spy()
    ask(Kvm(spy), KvmStorage(spy))
    assert spy.asked[asked].timeout == int(settings[name].default)
    turn(cloud, name, 77)
    ask(Kvm(spy), KvmStorage(spy))
    assert spy.asked[asked].timeout == 77


def test_a_migration_has_its_time_and_slows_the_guest_down_where_that_is_on(cloud):
    spy = Spy()
    Kvm(spy).migrate(uuid4(), HOST, HOST, GUEST, ())
    told = spy.asked["migrate"]
    assert (told.body["seconds"], told.body["converge"], told.timeout) == (3600, False, 3600 + START)
    turn(cloud, "migratewait", 60)
    turn(cloud, "kvm.auto.convergence", "true")
    Kvm(spy).migrate(uuid4(), HOST, HOST, GUEST, ())
    told = spy.asked["migrate"]
    assert (told.body["seconds"], told.body["converge"], told.timeout) == (60, True, 60 + START)


def test_hosts_are_measured_as_often_as_the_setting_says(cloud, monkeypatch):
    turn(cloud, "host.stats.interval", 4000)
    waited = []
    watcher = link.Watcher(SimpleNamespace(connected=list))
    monkeypatch.setattr(watcher, "ended", SimpleNamespace(wait=lambda seconds: bool(waited.append(seconds)) or True))
    watcher.run()
    assert waited == [4]


def test_an_agent_is_lost_after_as_many_intervals_as_the_setting_says():
    found = Link(None, ping_interval=10, silence=4)
    found._sessions["a1"] = SimpleNamespace(heard=100.0)
    assert (found.silent(139.0), found.silent(141.0)) == ([], ["a1"])


def test_a_server_takes_the_silence_of_the_setting(cloud, monkeypatch, config):
    made = {}
    ca.create()
    config.agents_listen = "127.0.0.1:8250"
    monkeypatch.setattr("mgmt_server.agents.server.Link", lambda authority, **more: made.update(more) or Spy())
    monkeypatch.setattr(link, "attach", lambda link: None)
    monkeypatch.setattr(Spy, "start", lambda self: None, raising=False)
    turn(cloud, "ping.timeout", "3.5")
    turn(cloud, "ping.interval", "20")
    serve.Server._start_link(SimpleNamespace(config=config, link=None))
    assert (made["silence"], made["ping_interval"]) == (3.5, 20)


def test_certificates_of_servers_are_good_for_the_names_of_the_setting(cloud):
    ca.create()
    turn(cloud, "ca.framework.cert.management.custom.san", "cloud.example.org, 192.0.2.9")
    found = Link(ca.load(), listen=("127.0.0.1", 0))
    found.start()
    try:
        told = x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", found.port)).encode())
    finally:
        found.stop()
    names = told.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cloud.example.org"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.9"]
