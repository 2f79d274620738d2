"""Disks that no machine runs with, images of more formats, shared pools and signs of life. No libvirt is needed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from mgmt_server.agent import config, images
from mgmt_server.agent.devices import disk_element, limits, source_of
from mgmt_server.agent.disks import Disks
from mgmt_server.agent.domain import Surroundings, build
from mgmt_server.agent.firmware import able, choose
from mgmt_server.agent.heartbeat import Heartbeat
from mgmt_server.agent.saving import Saving
from mgmt_server.agent.storage import Storage
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import Disk, File, Image, Machine, Pool, Store

MIB = 1 << 20


def qemu_img(*words: object) -> str:
    return subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True, text=True).stdout


def qemu_io(path: str | Path, *commands: str) -> str:
    words = [w for c in commands for w in ("-c", c)]
    done = subprocess.run(["qemu-io", "-f", "qcow2", *words, str(path)], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture()
def settings(tmp_path: Path) -> config.Config:
    nowhere = tmp_path / "x"
    return config.Config(("m:8250",), "me", "h", nowhere, nowhere, nowhere, state=tmp_path / "state", nfs="libnfs")


@pytest.fixture()
def pool(tmp_path: Path) -> Pool:
    return Pool(str(uuid4()), "Filesystem", str(tmp_path / "pool"))


@pytest.fixture()
def storage(settings: config.Config, pool: Pool) -> Storage:
    storage = Storage(settings)
    storage.add_pool(pool)
    return storage


@pytest.fixture()
def disks(storage: Storage) -> Disks:
    return Disks(storage, None)  # type: ignore[arg-type]  # nothing runs here


@pytest.fixture()
def saving(storage: Storage) -> Saving:
    return Saving(storage, None)  # type: ignore[arg-type]


@pytest.fixture()
def disk(storage: Storage, pool: Pool) -> Disk:
    disk = Disk("data", pool, 8 * MIB, device=1)
    storage.create_disk(disk)
    return disk


def image_of(path: Path, format: str = "QCOW2") -> Image:
    return Image(str(uuid4()), Store(f"file://{path.parent}"), path.name, format, path.stat().st_size, 0)


def size_of(disk: Disk) -> int:
    return int(images.described(f"{disk.pool.path}/{disk.name}")["virtual-size"])


def names(pool: Pool) -> list[str]:
    return sorted(p.name for p in Path(pool.path).iterdir())


# --- content ----------------------------------------------------------------------------------------------------------


def test_a_stopped_disk_grows_and_shrinks(disks: Disks, disk: Disk) -> None:
    assert disks.resize(disk, 16 * MIB, "") == disks.resize(disk, 16 * MIB, "") == size_of(disk) == 16 * MIB
    assert disks.resize(disk, 4 * MIB + 1, "") == size_of(disk) == 4 * MIB + 512
    with pytest.raises(Failed, match="is not in the pool"):
        disks.resize(replace(disk, name="none"), MIB, "")


def test_what_shrank_is_saved_whole_again(disks: Disks, saving: Saving, disk: Disk, tmp_path: Path) -> None:
    """A bitmap knows nothing of what comes back as zeros when a disk shrinks and grows."""
    path = f"{disk.pool.path}/{disk.name}"
    saved = saving.save(disk, "", File(Store(f"file://{tmp_path}"), "s/1.qcow2"), "", "p1")
    assert saved.whole and saved.point == "p1" and images.bitmaps(path) == ["p1"]
    disks.resize(disk, 16 * MIB, "")
    assert images.bitmaps(path) == ["p1"]
    disks.resize(disk, 4 * MIB, "")
    assert images.bitmaps(path) == []


def test_what_a_snapshot_within_a_disk_holds_is_saved(saving: Saving, disk: Disk, tmp_path: Path) -> None:
    path = f"{disk.pool.path}/{disk.name}"
    qemu_io(path, "write -P 1 0 64k")
    qemu_img("snapshot", "-c", "i-2-3-VM_VS_1", path)
    qemu_io(path, "write -P 2 0 64k")
    file = File(Store(f"file://{tmp_path}"), "s/1.qcow2")
    saved = saving.save_point(disk, file, "i-2-3-VM_VS_1")
    assert saved.whole and saved.size == 8 * MIB and saved.physical_size == (tmp_path / "s/1.qcow2").stat().st_size
    assert "failed" not in qemu_io(tmp_path / "s/1.qcow2", "read -P 1 0 64k")
    assert "failed" not in qemu_io(path, "read -P 2 0 64k")
    for name, why in (("none", "has no snapshot none"), ("a,b=c", "no name")):
        with pytest.raises(Failed, match=why):
            saving.save_point(disk, file, name)


def test_a_copy_stands_on_the_template_that_both_pools_have(
    disks: Disks, storage: Storage, pool: Pool, tmp_path: Path
) -> None:
    base = tmp_path / "base.qcow2"
    qemu_img("create", "-f", "qcow2", base, "8M")
    qemu_io(base, "write -P 1 0 4M")
    image, other = image_of(base), Pool(str(uuid4()), "Filesystem", str(tmp_path / "other"))
    storage.add_pool(other)
    backing = storage.cache_template(pool, image)
    root = Disk("root", pool, 16 * MIB, backing=backing)
    storage.create_disk(root)
    qemu_io(f"{pool.path}/root", "write -P 2 1M 64k")
    whole = disks.copy(root, replace(root, pool=other))
    assert not images.backing_of(f"{other.path}/root") and whole > 4 * MIB
    storage.delete_disk(replace(root, pool=other))
    storage.cache_template(other, image)
    thin = disks.copy(root, replace(root, pool=other, size=32 * MIB))
    assert thin == disks.copy(root, replace(root, pool=other, size=32 * MIB)) < MIB  # as often as it is told
    assert (
        images.backing_of(f"{other.path}/root") == f"{other.path}/{backing}"
        and size_of(replace(root, pool=other)) == 32 * MIB
    )
    qemu_img("compare", f"{pool.path}/root", f"{other.path}/root")


def test_a_copy_is_not_what_the_disk_once_left_in_that_pool(
    disks: Disks, storage: Storage, pool: Pool, tmp_path: Path
) -> None:
    other = Pool(str(uuid4()), "Filesystem", str(tmp_path / "other"))
    storage.add_pool(other)
    disk = Disk("data", pool, 8 * MIB)
    storage.create_disk(disk)
    qemu_io(f"{pool.path}/data", "write -P 1 0 1M")
    disks.copy(disk, replace(disk, pool=other))
    qemu_io(f"{pool.path}/data", "write -P 2 0 1M")
    disks.copy(disk, replace(disk, pool=other))
    qemu_img("compare", f"{pool.path}/data", f"{other.path}/data")


def test_a_disk_is_made_of_a_chain_in_place_of_the_old(disks: Disks, disk: Disk, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    for number, at in ((1, "0 1M"), (2, "512k 1M")):
        qemu_img("create", "-f", "qcow2", store / f"{number}.qcow2", "8M")
        qemu_io(store / f"{number}.qcow2", f"write -P {number} {at}")
    before = {p.name: p.read_bytes() for p in store.iterdir()}
    qemu_io(f"{disk.pool.path}/data", "write -P 9 0 8M")
    Path(disk.pool.path, "data.0123abcd.part").write_bytes(b"of a try that was killed")
    disks.load(replace(disk, size=16 * MIB), (image_of(store / "1.qcow2"), image_of(store / "2.qcow2")))
    path = f"{disk.pool.path}/data"
    said = qemu_io(path, "read -P 1 0 512k", "read -P 2 512k 1M", "read -P 0 1536k 1M")
    assert "verification failed" not in said and not images.backing_of(path) and size_of(disk) == 16 * MIB
    assert names(disk.pool) == ["data"]
    assert {p.name: p.read_bytes() for p in store.iterdir()} == before  # the store's files are as they were
    assert not list((tmp_path / "state" / "scratch").iterdir())


def test_a_chain_with_a_hostile_link_changes_nothing(disks: Disks, disk: Disk, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "secret").write_bytes(b"s" * 65536)
    qemu_img("create", "-f", "qcow2", store / "1.qcow2", "8M")
    qemu_img("create", "-f", "qcow2", "-b", store / "secret", "-F", "raw", store / "2.qcow2")
    before = hashlib.sha256(Path(disk.pool.path, "data").read_bytes()).digest()
    with pytest.raises(Failed, match="backing file"):
        disks.load(disk, (image_of(store / "1.qcow2"), image_of(store / "2.qcow2")))
    with pytest.raises(Failed, match="one file"):
        disks.load(disk, ())
    assert hashlib.sha256(Path(disk.pool.path, "data").read_bytes()).digest() == before and names(disk.pool) == ["data"]


@pytest.mark.parametrize("format", ["QCOW2", "RAW"])
def test_a_stopped_disk_is_saved_whole(saving: Saving, disk: Disk, tmp_path: Path, format: str) -> None:
    qemu_io(f"{disk.pool.path}/data", "write -P 7 1M 64k")
    store = tmp_path / "store"
    store.mkdir()
    file = File(Store(f"file://{store}"), "snapshots/2/17/x", format)
    for _ in range(2):  # a repeat takes the place of the first
        saved = saving.save(disk, "", file, "", "p1")
    assert saved.whole and saved.size == 8 * MIB and saved.physical_size == (store / file.path).stat().st_size
    qemu_img("compare", "-f", format.lower(), "-F", "qcow2", store / file.path, f"{disk.pool.path}/data")
    assert [p.name for p in (store / "snapshots/2/17").iterdir()] == ["x"]
    for _ in range(2):
        saving.forget(disk, "", "p1")
    assert images.bitmaps(f"{disk.pool.path}/data") == []
    saving.forget(replace(disk, name="gone"), "", "p1")


def test_files_of_a_store_stay_in_it(saving: Saving, disk: Disk, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "out").symlink_to(tmp_path)
    for path, words in (("../x", "no absolute path"), ("out/x", "leads out of its store")):
        with pytest.raises(Failed, match=words):
            saving.save(disk, "", File(Store(f"file://{store}"), path), "", "")
    with pytest.raises(Unavailable, match="is not there"):
        saving.save(disk, "", File(Store(f"file://{tmp_path}/none"), "x"), "", "")
    with pytest.raises(Failed, match="is no name"):
        saving.save(disk, "", File(Store(f"file://{store}"), "x"), "", "a b")


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "kind"), [("VHD", "vpc"), ("VHDX", "vhdx"), ("VMDK", "vmdk")])
def test_formats_become_qcow2(storage: Storage, pool: Pool, tmp_path: Path, format: str, kind: str) -> None:
    source = tmp_path / f"image.{kind}"
    qemu_img("create", "-f", kind, source, "8M")
    name = storage.cache_template(pool, image_of(source, format))
    assert name.endswith(".qcow2") and names(pool) == [name]
    assert json.loads(qemu_img("info", "--output=json", f"{pool.path}/{name}"))["format"] == "qcow2"


def ova(path: Path, disk: Path, name: str = "disk1.vmdk") -> Path:
    with tarfile.open(path, "w") as tar:
        tar.add(disk, arcname=name)
    return path


def test_an_appliance_gives_its_disk(storage: Storage, pool: Pool, tmp_path: Path) -> None:
    disk = tmp_path / "d.vmdk"
    qemu_img("create", "-f", "vmdk", "-o", "subformat=streamOptimized", disk, "8M")
    name = storage.cache_template(pool, image_of(ova(tmp_path / "a.ova", disk, "../../etc/d.vmdk"), "OVA"))
    assert names(pool) == [name] and images.described(f"{pool.path}/{name}")["virtual-size"] == 8 * MIB


def test_bad_appliances_are_refused(storage: Storage, pool: Pool, tmp_path: Path) -> None:
    link = tmp_path / "l.vmdk"
    link.symlink_to("/etc/passwd")
    text = tmp_path / "t.vmdk"
    text.write_text('# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 16 FLAT "/etc/passwd" 0\n')
    for number, inside in enumerate((link, text)):
        with pytest.raises(Failed):
            storage.cache_template(pool, image_of(ova(tmp_path / f"{number}.ova", inside), "OVA"))
    with pytest.raises(Failed, match="no disk"):
        storage.cache_template(pool, image_of(ova(tmp_path / "n.ova", text, "x.txt"), "OVA"))
    with pytest.raises(Failed):
        storage.cache_template(pool, image_of(text, "VMDK"))
    assert names(pool) == []


# --- shared pools -----------------------------------------------------------------------------------------------------


def test_a_shared_pool_must_be_mounted(settings: config.Config, tmp_path: Path) -> None:
    shared = Pool(str(uuid4()), "SharedMountPoint", str(tmp_path))
    with pytest.raises(Unavailable, match="nothing is mounted"):
        Storage(settings).add_pool(shared)
    used, there = Storage(replace(settings, unmounted_pools=True)).add_pool(shared)
    assert 0 < used < there
    Storage(settings).add_pool(replace(shared, path="/proc"))  # which is one


def test_a_file_is_in_the_pool_that_was_told_last_of_its_place(
    storage: Storage, pool: Pool, settings: config.Config
) -> None:
    """A host that was removed and added again gets another pool in the same folder, and so does a pool."""
    path = f"{pool.path}/root"
    assert storage.pool_of(path) == (pool.uuid, "root")
    again = replace(pool, uuid=str(uuid4()))
    storage.add_pool(again)
    assert storage.pool_of(path) == (again.uuid, "root") == Storage(settings).pool_of(path)
    assert list(storage.spaces()) == [again.uuid]


def test_a_host_is_as_old_as_its_last_change(settings: config.Config, tmp_path: Path) -> None:
    pool = Pool(str(uuid4()), "SharedMountPoint", str(tmp_path))
    settings = replace(settings, unmounted_pools=True)
    moment = [1000.0]
    me, other = (Heartbeat(replace(settings, uuid=u), pool, clock=lambda: moment[0]) for u in ("me", "other"))
    other.beat()
    me.beat()
    assert me.ages() == {"me": 0.0, "other": 0.0}
    for _ in range(3):
        moment[0] += 5
        me.beat()
    assert me.ages() == {"me": 0.0, "other": 15.0}
    other.beat()
    me.beat()
    assert me.ages()["other"] == 0.0
    # an agent that starts anew is a change, also when it counts from the beginning
    moment[0] += 5
    Heartbeat(replace(settings, uuid="other"), pool).beat()
    me.beat()
    assert me.ages()["other"] == 0.0


def test_who_cannot_look_sees_nobody_die(settings: config.Config, tmp_path: Path) -> None:
    where = tmp_path / "shared"
    where.mkdir()
    pool = Pool(str(uuid4()), "SharedMountPoint", str(where))
    settings = replace(settings, unmounted_pools=True)
    moment = [1000.0]
    me, other = (Heartbeat(replace(settings, uuid=u), pool, clock=lambda: moment[0]) for u in ("me", "other"))
    other.beat()
    me.beat()
    where.rename(tmp_path / "away")
    moment[0] += 300
    with pytest.raises(Unavailable):
        me.beat()
    assert me.ages() == {"me": 300.0, "other": 0.0}


# --- XML --------------------------------------------------------------------------------------------------------------


def test_limits_of_libvirt() -> None:
    disk = Disk("d", Pool("p", "Filesystem", "/p"), MIB, bytes_per_second=5, operations_per_second=6)
    assert limits(disk) == {"total_bytes_sec": 5, "total_iops_sec": 6}
    own = {"bytes_read": 1, "bytes_read_max": 2, "iops_write_max": 3, "nonsense": 4, "bytes_write": 0}
    # the total of bytes gives way to reading's own; a burst without its limit is dropped
    assert limits(replace(disk, limits=own)) == {"read_bytes_sec": 1, "read_bytes_sec_max": 2, "total_iops_sec": 6}
    bursts = {
        "iops_write": 5,
        "iops_write_max": 9,
        "iops_write_max_length": 4,
        "iops_read": 3,
        "iops_read_max_length": 4,
    }
    told = {"total_bytes_sec": 5, "write_iops_sec": 5, "write_iops_sec_max": 9, "write_iops_sec_max_length": 4}
    assert limits(replace(disk, limits=bursts)) == told | {"read_iops_sec": 3}


def test_caches() -> None:
    disk = Disk("d", Pool("p", "Filesystem", "/p"), MIB)
    for cache, source, found in (
        ("", "/p/d", "none"),
        ("", "nfs://h/p/d", "writeback"),
        ("writethrough", "/p/d", "writethrough"),
        ("'/><x", "/p/d", "none"),
    ):
        element = disk_element(replace(disk, cache=cache), source, "virtio", "vda")
        assert element.find("driver").get("cache") == found  # type: ignore[union-attr]
        assert source_of(element) == source


def test_room_to_grow_and_firmware(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine("m", str(uuid4()), "User", 1, 500, 128 * MIB, (), (), most_cpus=4, most_memory=512 * MIB)
    host = Surroundings("qemu", "/q", (), (), "/log")
    root = ElementTree.fromstring(build(machine, host))  # noqa: S314  ours
    assert (root.findtext("memory"), root.findtext("currentMemory")) == ("524288", "131072")
    assert root.findtext("vcpu") == "4" and root.find("vcpu").get("current") == "1"  # type: ignore[union-attr]
    assert choose("BIOS", "LEGACY") is None
    monkeypatch.setattr("mgmt_server.agent.firmware.Path.exists", lambda self: False)
    with pytest.raises(Failed, match="install ovmf"):
        choose("UEFI", "LEGACY")
    assert able() == []
    monkeypatch.setattr("mgmt_server.agent.firmware.Path.exists", lambda self: True)
    secure = choose("UEFI", "SECURE")
    assert able() == ["uefi", "secureboot"]
    root = ElementTree.fromstring(build(machine, replace(host, firmware=secure)))  # noqa: S314  ours
    assert root.find("os/type").get("machine") == "q35"  # type: ignore[union-attr]
    assert root.find("os/loader").get("secure") == "yes"  # type: ignore[union-attr]
