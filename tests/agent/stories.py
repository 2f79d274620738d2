"""What is done with guests on two hosts; each function is one test of test_guests.py, run by two_hosts.py."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace
from uuid import uuid4

from conftest import eventually
from real_host import sh
from sqlalchemy.orm import Session
from two_hosts import MIB, Cloud, Guest, Pulse

from mgmt_server import db
from mgmt_server.errors import Failed
from mgmt_server.model.host import Host
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.protocol.machine import Disk, File, Machine, Move, Nic, Saved

STEPS = 4096
# a block every 64 KiB, so that the disk's file grows with each; the guest tells how many there are
WRITER = f"""(i=0; while [ ! -e /run/stop ] && [ $i -lt {STEPS} ]; do
printf %08d $i | dd of=/dev/vdc bs=512 seek=$((i * 128)) conv=sync,fsync,notrunc 2>/dev/null
i=$((i + 1)); echo $i > /run/count.new; mv /run/count.new /run/count; done; echo $i > /run/stopped) >/dev/null 2>&1 &
while [ ! -e /run/count ]; do usleep 50000; done"""


def said(words: str, began: float) -> None:
    print(f"{words}: {time.monotonic() - began:.1f} s", flush=True)


def refused(words: str, call: object, *arguments: object) -> None:
    try:
        call(*arguments)  # type: ignore[operator]
    except Failed as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"not refused: {words}")


def changes(cloud: Cloud) -> None:
    """Disks, NICs, a CD, CPUs, memory and limits of a running guest."""
    host = cloud.hosts[0]
    began = time.monotonic()
    guest = cloud.guest("i-2-1-VM", host)
    guest.ready()
    said("the guest is ready", began)
    _described(cloud, guest)
    _disks(cloud, guest)
    _nics(cloud, guest)
    _scaled(cloud, guest)
    _cd(cloud, guest)


def _described(cloud: Cloud, guest: Guest) -> None:
    (found,) = cloud.kvm.describe(guest.host.ref)
    assert (found.name, found.state, found.cpus, found.memory) == (guest.machine.name, "Running", 1, 192 * MIB)
    (disk,) = found.disks
    assert (disk.pool, disk.name, disk.size) == (cloud.pool.uuid, guest.machine.disks[0].name, 256 * MIB)
    (nic,) = found.nics
    assert (nic.mac, nic.bridge, nic.model) == (guest.machine.nics[0].mac, "cloudbr0", "virtio")


def _disks(cloud: Cloud, guest: Guest) -> None:
    kvm, disks, host, name = cloud.kvm, cloud.disks, guest.host.ref, guest.machine.name
    data = cloud.blank("data", guest.host)
    began = time.monotonic()
    kvm.attach_disk(uuid4(), host, name, data)
    kvm.attach_disk(uuid4(), host, name, data)
    guest.sees(lambda s: guest.disk("data"))
    said("a disk is seen", began)
    guest.write("vdb", "alpha")
    assert disks.resize_disk(uuid4(), host, data, 128 * MIB, name) == 128 * MIB
    assert disks.resize_disk(uuid4(), host, data, 128 * MIB, name) == 128 * MIB
    guest.sees(lambda s: guest.disk("data")["bytes"] == 128 * MIB)
    refused("while i-2-1-VM is stopped", disks.resize_disk, uuid4(), host, data, 64 * MIB, name)
    limited = replace(data, operations_per_second=50, limits={"bytes_read": 4096, "bytes_read_max": 8192})
    disks.limit_disk(uuid4(), host, limited, name)
    assert _limits(guest, "total_iops_sec", "read_bytes_sec", "read_bytes_sec_max") == [50, 4096, 8192]
    disks.limit_disk(uuid4(), host, data, name)
    assert _limits(guest, "total_iops_sec", "read_bytes_sec", "read_bytes_sec_max") == [0, 0, 0]
    assert guest.read("vdb") == "alpha"
    began = time.monotonic()
    disks.move_disk(uuid4(), host, data, replace(data, pool=guest.host.local), name)
    said("a disk is moved", began)
    disks.delete_disk(uuid4(), host, data)
    data = replace(data, pool=guest.host.local)
    assert guest.read("vdb") == "alpha"
    guest.write("vdb", "beta")
    began = time.monotonic()
    kvm.detach_disk(uuid4(), host, name, data)
    kvm.detach_disk(uuid4(), host, name, data)
    said("a disk is let go", began)
    assert guest.disk("data") is None
    small = cloud.disks.copy_disk(uuid4(), host, data, replace(data, name="copy", pool=cloud.pool))
    assert 0 < small < 8 * MIB
    assert disks.resize_disk(uuid4(), host, data, 32 * MIB, "") == 32 * MIB
    kvm.attach_disk(uuid4(), host, name, replace(data, name="copy", pool=cloud.pool))
    guest.sees(lambda s: guest.disk("data"))
    assert guest.read("vdb") == "beta"


def _limits(guest: Guest, *names: str) -> list[int]:
    told = guest.host.virsh("blkdeviotune", guest.machine.name, "vdb")
    found = {
        k.strip(): int(v) for k, _, v in (line.partition(":") for line in told.splitlines()) if v.strip().isdigit()
    }
    return [found[n] for n in names]


def _nics(cloud: Cloud, guest: Guest) -> None:
    host, name = guest.host.ref, guest.machine.name
    nic = Nic("02:00:00:00:00:22", 1, "Guest", broadcast="vxlan://77")
    cloud.kvm.attach_nic(uuid4(), host, name, nic)
    cloud.kvm.attach_nic(uuid4(), host, name, nic)
    guest.sees(lambda s: nic.mac in [n["mac"] for n in s["nics"]])
    assert "brvx-77" in guest.host.run("ip", "link")
    cloud.kvm.detach_nic(uuid4(), host, name, nic)
    cloud.kvm.detach_nic(uuid4(), host, name, nic)
    assert len(guest.status()["nics"]) == 1
    assert "brvx-77" not in guest.host.run("ip", "link")


def _scaled(cloud: Cloud, guest: Guest) -> None:
    before = guest.status()
    assert before["cpus"] == 1
    cloud.kvm.scale(uuid4(), guest.host.ref, guest.machine.name, 2, 500, 256 * MIB)
    guest.sees(lambda s: s["cpus"] == 2 and s["memory_kib"] > before["memory_kib"] + 50_000)
    refused("started for up to 2 CPUs", cloud.kvm.scale, uuid4(), guest.host.ref, guest.machine.name, 4, 500, 256 * MIB)


def _cd(cloud: Cloud, guest: Guest) -> None:
    iso = cloud.folder / "store/words.iso"
    (cloud.folder / "words").write_text("written on a CD")
    sh("genisoimage", "-quiet", "-o", str(iso), str(cloud.folder / "words"))
    for _ in range(2):
        cloud.kvm.change_iso(uuid4(), guest.host.ref, guest.machine.name, f"{cloud.store.url}/words.iso")
    eventually(
        lambda: "written on a CD" in guest.does("mkdir -p /cd; mount -t iso9660 -o ro /dev/sr0 /cd && cat /cd/*; true")
    )
    cloud.kvm.change_iso(uuid4(), guest.host.ref, guest.machine.name, "")  # though it is mounted
    assert "words.iso" not in guest.host.virsh("dumpxml", guest.machine.name)


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


def moves(cloud: Cloud) -> None:
    """A guest goes from host to host while it answers, with a disk that only one host has; and what breaks."""
    one, two = cloud.hosts
    guest = cloud.guest("i-2-3-VM", one)
    guest.ready()
    data = cloud.blank("data", one, one.local)
    cloud.kvm.attach_disk(uuid4(), one.ref, guest.machine.name, data)
    guest.sees(lambda s: guest.disk("data"))
    guest.write("vdb", "alpha")
    root = guest.machine.disks[0]
    file = File(cloud.store, "snapshots/root.qcow2")
    cloud.disks.save_disk(uuid4(), one.ref, root, guest.machine.name, file, "", "r1")
    there = replace(data, pool=two.local)
    stays = cloud.blank("stays", one, size=STEPS << 16, device=2)
    cloud.kvm.attach_disk(uuid4(), one.ref, guest.machine.name, stays)
    guest.sees(lambda s: guest.disk("stays"))
    guest.does(WRITER)
    eventually(lambda: int(guest.does("cat /run/count")) > 50, 30)
    machine = replace(guest.machine, disks=(root, there, stays))
    began = time.monotonic()
    with Pulse(guest) as pulse:
        state = cloud.kvm.migrate(uuid4(), one.ref, two.ref, machine, (Move(data, there),))
        said("migrated with a disk", began)
        pulse.beats_on()
    print(f"longest silence {pulse.gap:.2f} s", flush=True)
    assert state.state == "Running" and pulse.gap < 2
    _runs_on(cloud, guest, machine, 2)
    guest.write("vdb", "beta")
    assert guest.read("vdb") == "beta" and guest.status()["boots"] == 1
    cloud.disks.delete_disk(uuid4(), one.ref, data)
    _kept_up(guest)
    cloud.kvm.detach_disk(uuid4(), two.ref, machine.name, stays)
    machine = replace(machine, disks=(root, there))
    # the moment that was noted on the other host
    file = File(cloud.store, "snapshots/root-2.qcow2")
    assert not cloud.disks.save_disk(uuid4(), two.ref, root, machine.name, file, "r1", "").whole
    _fails(cloud, guest, machine)
    _interrupted(cloud, guest, machine)
    _beats(cloud)


def _kept_up(guest: Guest) -> None:
    """What was written before, amid and after a migration is there to the last block."""
    guest.does("touch /run/stop")
    count = int(eventually(lambda: guest.does("cat /run/stopped 2>/dev/null; true"), 30))
    told = guest.does("echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/vdc").split()[0]
    blocks = (f"{n:08d}".encode().ljust(1 << 16, b"\0") if n < count else bytes(1 << 16) for n in range(STEPS))
    digest = hashlib.md5(usedforsecurity=False)
    for block in blocks:
        digest.update(block)
    assert told == digest.hexdigest(), f"of {count} blocks some are lost"
    print(f"{count} blocks written amid the migration", flush=True)


def _runs_on(cloud: Cloud, guest: Guest, machine: Machine, number: int) -> None:
    found = {h.name: [m.name for m in cloud.kvm.machines(h.ref)] for h in cloud.hosts}
    assert found == {h.name: [machine.name] if h.name == f"kvm{number}" else [] for h in cloud.hosts}
    guest.host = cloud.hosts[number - 1]


def _fails(cloud: Cloud, guest: Guest, machine: Machine) -> None:
    """A host that cannot take it: it goes on where it is, and nothing of it stays there."""
    one, two = cloud.hosts
    back = replace(machine.disks[1], pool=one.local)
    (one.folder / "etc/pki/qemu/server-cert.pem").rename(one.folder / "etc/pki/qemu/away")
    wanted = replace(machine, disks=(machine.disks[0], back))
    refused("stays on this host", cloud.kvm.migrate, uuid4(), two.ref, one.ref, wanted, (Move(machine.disks[1], back),))
    (one.folder / "etc/pki/qemu/away").rename(one.folder / "etc/pki/qemu/server-cert.pem")
    _runs_on(cloud, guest, machine, 2)
    assert list((one.folder / "pool").iterdir()) == []
    assert guest.read("vdb") == "beta" and guest.status()["boots"] == 1


def _interrupted(cloud: Cloud, guest: Guest, machine: Machine) -> None:
    """The agent is killed amid a migration: libvirt goes on, and the repeat finds out how it ended."""
    one, two = cloud.hosts
    back = replace(machine.disks[1], pool=one.local)
    wanted = replace(machine, disks=(machine.disks[0], back))
    two.virsh("migrate-setspeed", machine.name, "10")
    call, answers = uuid4(), []

    def go() -> None:
        answers.append(cloud.kvm.migrate(call, two.ref, one.ref, wanted, (Move(machine.disks[1], back),)))

    thread = threading.Thread(target=go)
    thread.start()
    eventually(lambda: "Unbounded" in two.virsh("domjobinfo", machine.name), 30)
    two.kill_agent()
    thread.join(120)
    assert answers and answers[0].state == "Running"
    _runs_on(cloud, guest, wanted, 1)
    assert guest.read("vdb") == "beta" and guest.status()["boots"] == 1


def _beats(cloud: Cloud) -> None:
    """Each host sees the other live, and one that is silent grow old."""
    one, two = cloud.hosts

    def known(tx: Session) -> None:
        zone = Zone(name="z", network_type="Advanced", dns1="", internal_dns1="")
        tx.add(zone)
        tx.flush()
        pod = Pod(name="p", zone_id=zone.id, gateway="", netmask="")
        tx.add(pod)
        tx.flush()
        tx.add(Cluster(name="c", zone_id=zone.id, pod_id=pod.id, hypervisor="KVM"))
        tx.flush()
        for host in cloud.hosts:
            plain = {"name": host.name, "zone_id": 1, "pod_id": 1, "cluster_id": 1, "hypervisor": "KVM", "url": ""}
            tx.add(Host(uuid=host.ref.uuid, agent=host.ref.agent, address=host.address, guid=host.name, **plain))

    db.write(known)
    ages = eventually(lambda: len(a := cloud.disks.beats(one.ref, cloud.pool)) == 2 and a, 30)
    assert set(ages) == {one.ref.uuid, two.ref.uuid} and all(age < 11 for age in ages.values()), ages
    two.agent.kill()
    eventually(lambda: cloud.disks.beats(one.ref, cloud.pool)[two.ref.uuid] > 9, 30)
    assert cloud.disks.beats(one.ref, cloud.pool)[one.ref.uuid] < 9


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


def firmwares(cloud: Cloud) -> None:
    """UEFI speaks on the serial console, with and without secure boot."""
    host = cloud.hosts[0]
    for number, mode in enumerate(("LEGACY", "SECURE")):
        disk = cloud.blank(f"root-{number}", host, device=0)
        machine = Machine(
            *(f"i-2-{number}-VM", str(uuid4()), "User", 1, 500, 192 * MIB, (disk,), ()),
            boot_type="UEFI",
            boot_mode=mode,
        )
        began = time.monotonic()
        assert cloud.kvm.start(uuid4(), host.ref, machine).state == "Running"
        log = host.folder / "logs" / machine.name / "console.log"
        eventually(lambda log=log: b"BdsDxe" in log.read_bytes(), 90)
        said(f"UEFI {mode} looks for a system", began)
        data = cloud.blank(f"data-{number}", host)
        cloud.kvm.attach_disk(uuid4(), host.ref, machine.name, data)
        refused("firmware", cloud.kvm.snapshot, uuid4(), host.ref, machine.name, "s1", True)
        cloud.kvm.snapshot(uuid4(), host.ref, machine.name, "s1", False)
        cloud.kvm.stop(uuid4(), host.ref, machine.name, True)
        cloud.kvm.forget(uuid4(), host.ref, machine.name)
