"""What lies in a pool, whoever put it there: listed, looked into, checked and repaired. No libvirt is needed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from mgmt_server.agent import browsing
from mgmt_server.agent.storage import Storage
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Disk, DiskFile, Pool, PoolFile, Unmanaged, UnmanagedDisk
from tests.agent import test_disks
from tests.agent.test_disks import MIB, qemu_img, qemu_io

settings, pool, storage, disk = test_disks.settings, test_disks.pool, test_disks.storage, test_disks.disk


def look(storage: Storage, pool: Pool, name: str, *machines: Unmanaged) -> DiskFile:
    (found,) = browsing.look(storage, list(machines), pool, [name])
    return found


def test_a_pool_tells_what_lies_in_it(storage: Storage, pool: Pool, disk: Disk) -> None:
    folder = Path(pool.path)
    (folder / "sub").mkdir()
    (folder / "sub/note").write_text("abc")
    os.utime(folder / "sub/note", (1000, 1000))
    assert [(f.name, f.folder) for f in browsing.files(storage, pool, "")] == [("data", False), ("sub", True)]
    assert browsing.files(storage, pool, "/sub/") == [PoolFile("note", 3, 1000)]
    (folder / "away").symlink_to("/etc")
    for wrong in ("..", "sub/../..", "away", "none", "data", "/etc"):
        with pytest.raises(Failed, match="there is no folder"):
            browsing.files(storage, pool, wrong)


def test_a_disk_image_is_told_with_its_size(storage: Storage, pool: Pool, disk: Disk) -> None:
    found = look(storage, pool, "data")
    assert (found.format, found.virtual_size, found.refused) == ("qcow2", 8 * MIB, "") and found.size > 0


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda p: qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", p, "1M"), "refused"),
        (lambda p: qemu_img("create", "-f", "qcow2", "-o", f"data_file={p}.raw,data_file_raw=on", p, "1M"), "refused"),
        (lambda p: p.write_bytes(b"text"), "registered as QCOW2, and its content is raw"),
        (lambda p: qemu_img("create", "-f", "vmdk", p, "1M"), "registered as QCOW2, and its content is vmdk"),
        (lambda p: p.symlink_to("/etc/passwd"), "no plain file"),
        (lambda p: p.mkdir(), "no plain file"),
        (lambda p: None, "not there"),
    ],
)
def test_what_must_not_become_a_disk_is_refused(storage: Storage, pool: Pool, made, why: str) -> None:  # type: ignore[no-untyped-def]
    made(Path(pool.path) / "x")
    assert why in look(storage, pool, "x").refused


def test_a_name_does_not_lead_out_of_the_pool(storage: Storage, pool: Pool) -> None:
    (Path(pool.path) / "a disk").write_bytes(b"text")
    for name in ("../x", "a disk", ".x"):
        assert "no name for a disk" in look(storage, pool, name).refused


def test_the_disk_of_another_machine_is_refused(storage: Storage, pool: Pool, disk: Disk) -> None:
    mine = UnmanagedDisk("vda", f"{pool.path}/data", 1)
    machine = Unmanaged("foreign", "u", "Stopped", 1, 1, disks=(mine,))
    assert look(storage, pool, "data", machine).refused == "the machine foreign of this host has it"


def test_lost_space_is_found_and_given_back(storage: Storage, disk: Disk) -> None:
    path = Path(disk.pool.path) / disk.name
    qemu_io(path, "write -P 5 0 64k")
    assert "leaks" not in browsing.check(storage, disk, "")
    with open(path, "r+b") as file:
        file.seek(40)
        (table,) = struct.unpack(">Q", file.read(8))
        file.seek(table)
        file.write(bytes(8))  # nothing refers to the written cluster and its table any more
    told = browsing.check(storage, disk, "")
    assert told["leaks"] == "2" and "filename" not in told
    assert browsing.check(storage, disk, "leaks")["leaks-fixed"] == "2"
    assert "leaks" not in browsing.check(storage, disk, "")
    with pytest.raises(Failed, match="no kind of repair"):
        browsing.check(storage, disk, "some")


def test_a_file_that_is_no_disk_cannot_be_checked(storage: Storage, pool: Pool) -> None:
    (Path(pool.path) / "x").write_bytes(b"text")
    with pytest.raises(Failed, match="qemu-img check"):
        browsing.check(storage, Disk("x", pool, 1), "")
