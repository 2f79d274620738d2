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
from two_hosts import MIB, Cloud, Guest, Pulse, refused, said

from mgmt_server import db
from mgmt_server.model.host import Host
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.protocol.machine import File, Machine, Move, Nic

STEPS = 4096
# a block every 64 KiB, so that the disk's file grows with each; the guest tells how many there are
WRITER = f"""(i=0; while [ ! -e /run/stop ] && [ $i -lt {STEPS} ]; do
printf %08d $i | dd of=/dev/vdc bs=512 seek=$((i * 128)) conv=sync,fsync,notrunc 2>/dev/null
i=$((i + 1)); echo $i > /run/count.new; mv /run/count.new /run/count; done; echo $i > /run/stopped) >/dev/null 2>&1 &
while [ ! -e /run/count ]; do usleep 50000; done"""


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
    told = guest.host.virsh("dumpxml", guest.machine.name)
    own = () if "protocol='nfs'" in told else ("io='threads'",)  # QEMU's own NFS knows no such choice
    for word in ("iothread='1'", "queues='2'", "packed='on'", *own):
        assert word in told, told
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
    rates = {"bytes_read": 4096, "bytes_read_max": 8192, "bytes_read_max_length": 3}
    limited = replace(data, operations_per_second=50, limits=rates)
    disks.limit_disk(uuid4(), host, limited, name)
    assert _limits(guest, "total_iops_sec", "read_bytes_sec", "read_bytes_sec_max") == [50, 4096, 8192]
    assert _limits(guest, "read_bytes_sec_max_length") == [3]
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
    eventually(lambda: int(guest.does("cat /run/count")) > 50, 90)
    machine = replace(guest.machine, disks=(root, there, stays))
    began = time.monotonic()
    with Pulse(guest) as pulse:
        state = cloud.kvm.migrate(uuid4(), one.ref, two.ref, machine, (Move(data, there),))
        said("migrated with a disk", began)
        amid = sum(1 for moment in pulse.answers if moment > began)
        pulse.beats_on()
    print(f"longest silence {pulse.gap:.2f} s, {amid} answers amid the migration", flush=True)
    assert state.state == "Running" and amid
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
    count = int(eventually(lambda: guest.does("cat /run/stopped 2>/dev/null; true"), 90))
    told = guest.does("echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/vdc", 180).split()[0]
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
    eventually(lambda: "Unbounded" in two.virsh("domjobinfo", machine.name), 90)
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
    ages = eventually(lambda: len(a := cloud.disks.beats(one.ref, cloud.pool)) == 2 and a, 90)
    assert set(ages) == {one.ref.uuid, two.ref.uuid} and all(age < 11 for age in ages.values()), ages
    two.agent.kill()
    eventually(lambda: cloud.disks.beats(one.ref, cloud.pool)[two.ref.uuid] > 9, 90)
    assert cloud.disks.beats(one.ref, cloud.pool)[one.ref.uuid] < 9


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
