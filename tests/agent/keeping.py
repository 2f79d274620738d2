"""Disks and machines kept as they were, and back; tests of test_guests.py like those in stories.py."""

from __future__ import annotations

import time
from dataclasses import replace
from uuid import uuid4

from conftest import eventually
from real_host import sh
from two_hosts import MIB, Cloud, Guest, refused, said

from mgmt_server.protocol.machine import Disk, File, Saved


def keeps(cloud: Cloud) -> None:
    """A disk saved whole and in part while the guest runs, and made anew; the machine kept as it was, and back."""
    guest = cloud.guest("i-2-2-VM", cloud.hosts[0], vnc_password="geheim12")
    guest.ready()
    _saved(cloud, guest)
    _reverted(cloud, guest)
    _stopped(cloud, guest)


def _saved(cloud: Cloud, guest: Guest) -> None:
    host, name = guest.host.ref, guest.machine.name
    data = cloud.blank("data", guest.host)
    cloud.kvm.attach_disk(uuid4(), host, name, data)
    guest.sees(lambda s: guest.disk("data"))

    def save(number: int, since: str, point: str, disk: Disk = data, machine: str = name) -> Saved:
        began = time.monotonic()
        file = File(cloud.store, f"snapshots/2/7/{number}.qcow2")
        saved = cloud.disks.save_disk(uuid4(), host, disk, machine, file, since, point)
        said(f"saved {'whole' if saved.whole else 'in part'} with {saved.physical_size} bytes", began)
        assert saved.physical_size == (cloud.folder / "store" / file.path).stat().st_size
        return saved

    guest.does("dd if=/dev/urandom of=/dev/vdb bs=1M seek=20 count=8 2>/dev/null; sync")
    guest.write("vdb", "alpha")
    first = save(1, "", "p1")
    assert first.whole and first.size == 64 * MIB and first.physical_size > 8 * MIB
    guest.write("vdb", "beta")
    second = save(2, "p1", "p2")
    assert not second.whole and second.physical_size < 2 * MIB
    guest.write("vdb", "gamma")
    assert not save(3, "p2", "p3").whole
    assert save(4, "never-seen", "").whole
    chain = tuple(cloud.image(f"snapshots/2/7/{n}.qcow2") for n in (1, 2, 3))
    for count, words in ((1, "alpha"), (2, "beta"), (3, "gamma")):
        again = Disk("again", cloud.pool, 64 * MIB, device=2, serial="again")
        assert cloud.disks.load_disk(uuid4(), host, again, chain[:count]) > 8 * MIB
        cloud.kvm.attach_disk(uuid4(), host, name, again)
        guest.sees(lambda s: guest.disk("again"))
        assert guest.read("vdc") == words
        same = guest.does("cmp -s /dev/vdb /dev/vdc && echo same; true")  # all the rest of it too
        assert same == ("same" if count == 3 else "")
        cloud.kvm.detach_disk(uuid4(), host, name, again)
    cloud.disks.forget_point(uuid4(), host, data, name, "p1")
    cloud.disks.forget_point(uuid4(), host, data, name, "p1")
    assert save(5, "p1", "").whole
    # a moment is the disk's own: it holds while nothing runs with it, and when something does again
    cloud.kvm.detach_disk(uuid4(), host, name, data)
    assert save(6, "", "p6", machine="").whole
    cloud.kvm.attach_disk(uuid4(), host, name, data)
    guest.sees(lambda s: guest.disk("data"))
    guest.write("vdb", "delta")
    assert not save(7, "p6", "").whole
    root = guest.machine.disks[0]
    assert save(8, "", "r1", disk=root).physical_size > 10 * MIB  # with what its template holds
    assert not save(9, "r1", "", disk=root).whole
    cloud.kvm.detach_disk(uuid4(), host, name, data)
    # the disk itself goes back to what it was
    cloud.disks.load_disk(uuid4(), host, data, chain[:2])
    cloud.kvm.attach_disk(uuid4(), host, name, data)
    guest.sees(lambda s: guest.disk("data"))
    assert guest.read("vdb") == "beta"
    assert save(10, "p6", "").whole, "what is noted of the disk before means nothing for this one"
    cloud.kvm.detach_disk(uuid4(), host, name, data)


def _reverted(cloud: Cloud, guest: Guest) -> None:
    host, machine = guest.host.ref, guest.machine
    guest.does("echo then > /run/mark; echo then > /state/mark; sync")
    began = time.monotonic()
    cloud.kvm.snapshot(uuid4(), host, machine.name, "s1", True)
    cloud.kvm.snapshot(uuid4(), host, machine.name, "s1", True)
    said("kept with its memory", began)
    guest.does("echo now > /run/mark; echo now > /state/mark; sync")
    cloud.kvm.snapshot(uuid4(), host, machine.name, "s2", False)
    began = time.monotonic()
    assert cloud.kvm.revert(uuid4(), host, machine, "s1").state == "Running"
    assert eventually(lambda: guest.does("cat /run/mark /state/mark").split(), 30) == ["then", "then"]
    said("back", began)
    assert "passwd='geheim12'" in guest.host.virsh("dumpxml", "--security-info", machine.name)
    assert not [p for p in (cloud.folder / "shared").glob("*.xml") if "geheim12" in p.read_text()]
    assert guest.status()["boots"] == 1
    cloud.kvm.delete_snapshot(uuid4(), host, machine.name, "s1")
    cloud.kvm.delete_snapshot(uuid4(), host, machine.name, "s1")
    refused("no snapshot s1", cloud.kvm.revert, uuid4(), host, machine, "s1")
    assert cloud.kvm.revert(uuid4(), host, machine, "s2").state == "Stopped"
    cloud.kvm.start(uuid4(), host, machine)
    assert eventually(lambda: _mark(guest), 90) == "now"
    guest.sees(lambda s: s["boots"] == 2)


def _mark(guest: Guest, script: str = "cat /state/mark") -> str:
    try:
        return guest.does(script)
    except AssertionError:
        return ""


def _stopped(cloud: Cloud, guest: Guest) -> None:
    """The same without a guest: snapshots of what is stopped, and a host that keeps no notes of it."""
    host, machine = guest.host.ref, guest.machine
    cloud.kvm.stop(uuid4(), host, machine.name, False)
    cloud.kvm.snapshot(uuid4(), host, machine.name, "s3", False)
    cloud.kvm.delete_snapshot(uuid4(), host, machine.name, "s2")
    assert cloud.kvm.revert(uuid4(), host, machine, "s3").state == "Stopped"
    cloud.kvm.delete_snapshot(uuid4(), host, machine.name, "s3")
    told = sh("qemu-img", "info", str(cloud.folder / "shared" / machine.disks[0].name))
    assert "Snapshot list" not in told
    cloud.kvm.forget(uuid4(), host, machine.name)
    cloud.disks.delete_disk(uuid4(), host, machine.disks[0])
    left = [p.name for p in (cloud.folder / "shared").iterdir() if not p.name.startswith(("heartbeat-", "template-"))]
    assert sorted(left) == ["again", "data"]


def leftovers(cloud: Cloud) -> None:
    """What an agent that was killed left under way is ended, and done anew."""
    host = cloud.hosts[0]
    guest = cloud.guest("i-2-4-VM", host)
    guest.ready()
    name, data = guest.machine.name, cloud.blank("data", host)
    cloud.kvm.attach_disk(uuid4(), host.ref, name, data)
    guest.sees(lambda s: guest.disk("data"))
    guest.write("vdb", "alpha")
    # a save: one that waits to be pulled lasts for as long as it is let
    begun, noted = cloud.folder / "backup.xml", cloud.folder / "checkpoint.xml"
    begun.write_text(
        f"<domainbackup mode='pull'><server transport='unix' socket='{cloud.folder}/nbd'/><disks>"
        f"<disk name='vdb' type='file'><scratch file='{cloud.folder}/scratch'/></disk></disks></domainbackup>"
    )
    noted.write_text(
        "<domaincheckpoint><name>p1</name><disks><disk name='vdb' checkpoint='bitmap'/></disks></domaincheckpoint>"
    )
    host.virsh("backup-begin", name, str(begun), str(noted))
    file = File(cloud.store, "snapshots/1.qcow2")
    assert cloud.disks.save_disk(uuid4(), host.ref, data, name, file, "", "p1").whole
    guest.write("vdb", "beta")
    assert not cloud.disks.save_disk(uuid4(), host.ref, data, name, file, "p1", "").whole
    # a move that was never finished
    there = replace(data, pool=host.local)
    path = f"{host.local.path}/data"
    sh("qemu-img", "create", "-q", "-f", "qcow2", path, "64M")
    host.virsh("blockcopy", name, "vdb", path, "--transient-job", "--reuse-external", "--format", "qcow2")
    cloud.disks.move_disk(uuid4(), host.ref, data, there, name)
    cloud.disks.move_disk(uuid4(), host.ref, data, there, name)
    assert path in host.virsh("domblklist", name) and guest.read("vdb") == "beta"
    # a snapshot that one disk has, and the other not
    cloud.disks.delete_disk(uuid4(), host.ref, data)
    cloud.kvm.stop(uuid4(), host.ref, name, True)
    sh("qemu-img", "snapshot", "-c", "s1", path)
    machine = replace(guest.machine, disks=(*guest.machine.disks, there))
    cloud.kvm.start(uuid4(), host.ref, machine)
    eventually(lambda: _mark(guest, "echo alive") == "alive", 90)
    cloud.kvm.snapshot(uuid4(), host.ref, name, "s1", True)
    guest.write("vdb", "gamma")
    host.kill_agent()
    assert cloud.kvm.revert(uuid4(), host.ref, machine, "s1").state == "Running"
    assert eventually(lambda: guest.read("vdb"), 30) == "beta"
