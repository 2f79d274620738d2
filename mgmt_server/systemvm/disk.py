"""A disk that boots by itself under SeaBIOS: a FAT partition with syslinux, kernel and initramfs, and an ext4 one.

No loop device is needed, and the same input gives the same bytes: fixed identifiers, one date for everything.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mgmt_server.systemvm.debian import MBR, BuildError, run

SECTOR = 512
BOOT_START = 2048  # sectors
BOOT_SECTORS = 65536  # 32 MiB
ROOT_START = BOOT_START + BOOT_SECTORS

EXT4_MAGIC = 0xEF53
# named one by one, for each release of mke2fs has its own defaults; no metadata_csum: checksums would have to be made
# anew when the times are settled
FEATURES = (
    "none,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,"
    "dir_nlink,extra_isize"
)


@dataclass(frozen=True)
class Disk:
    """What makes a disk; `seed` (a UUID) and `label` identify its ext4 file system, `mib` is the size of that."""

    kernel: Path
    initramfs: Path
    command_line: str
    label: str
    mib: int
    seed: str
    epoch: int
    tree: Path | None = None  # folder that fills the ext4 file system
    journal: bool = True
    compression: str = "zstd"


def settle_times(tree: Path, epoch: int) -> None:
    """Nothing below the folder is younger than `epoch`, and no time has a fraction."""
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files, "."):
            path = os.path.join(folder, name)
            when = min(int(os.lstat(path).st_mtime), epoch)
            os.utime(path, (when, when), follow_symlinks=False)


def make_initramfs(tree: Path, output: Path, epoch: int) -> None:
    """Pack a folder as the kernel wants it: files of root, sorted, numbered anew."""
    settle_times(tree, epoch)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    packed = run(
        *("cpio", "--quiet", "--create", "--format=newc", "--owner=0:0", "--reproducible", "--null"),
        *("--directory", tree),
        data="\0".join([".", *names]).encode(),
    )
    output.write_bytes(gzip.compress(packed, 9, mtime=0))


def copy_modules(files: Iterable[Path], tree: Path) -> None:
    """Kernel modules into /modules of an initramfs, with /modules/order as the loading order."""
    folder = tree / "modules"
    folder.mkdir()
    names = []
    for file in files:
        shutil.copy(file, folder / file.name)
        names.append(file.name)
    (folder / "order").write_text("".join(f"{name}\n" for name in names))


def make_disk(disk: Disk, output: Path) -> None:
    """Write the disk as a compressed qcow2. Raises BuildError."""
    with tempfile.TemporaryDirectory(prefix="cloudwright-disk-") as scratch:
        raw = Path(scratch) / "disk.raw"
        root_sectors = disk.mib * 2048
        with raw.open("wb") as file:
            file.truncate((ROOT_START + root_sectors) * SECTOR)
        table = (
            f"label: dos\nlabel-id: 0x{disk.seed[:8]}\n"
            f"start={BOOT_START}, size={BOOT_SECTORS}, type=c, bootable\n"
            f"start={ROOT_START}, size={root_sectors}, type=83\n"
        )
        run("sfdisk", "--quiet", raw, data=table.encode())
        with raw.open("r+b") as file:
            file.write(Path(MBR).read_bytes()[:440])
        _boot_partition(disk, raw, Path(scratch))
        _root_partition(disk, raw)
        form = [] if disk.compression == "zlib" else ["-o", f"compression_type={disk.compression}"]
        run("qemu-img", "convert", "-q", "-c", "-O", "qcow2", *form, raw, output)


def _boot_partition(disk: Disk, raw: Path, scratch: Path) -> None:
    config = scratch / "syslinux.cfg"
    config.write_text(
        "DEFAULT cloudwright\nPROMPT 0\nTIMEOUT 0\nLABEL cloudwright\n"
        f" KERNEL vmlinuz\n INITRD initrd.gz\n APPEND {disk.command_line}\n"
    )
    for source, name in ((disk.kernel, "vmlinuz"), (disk.initramfs, "initrd.gz")):
        shutil.copy(source, scratch / name)
    files = [scratch / name for name in ("vmlinuz", "initrd.gz", "syslinux.cfg")]
    used = sum(file.stat().st_size for file in files)
    if used > (BOOT_SECTORS - 2048) * SECTOR:
        raise BuildError(f"kernel and initramfs take {used >> 20} MiB, more than the boot partition has")
    at = f"{raw}@@{BOOT_START * SECTOR}"
    env = {"SOURCE_DATE_EPOCH": str(disk.epoch), "MTOOLS_SKIP_CHECK": "1"}
    shape = ("-T", str(BOOT_SECTORS), "-h", "16", "-s", "63", "-H", str(BOOT_START))
    run("mformat", "-i", at, *shape, "-N", disk.seed[:8], "-v", "BOOT", "::", env=env)
    run("mcopy", "-i", at, *files, "::", env=env)
    run("syslinux", "--install", "-t", str(BOOT_START * SECTOR), raw, env=env)


def _root_partition(disk: Disk, raw: Path) -> None:
    offset = ROOT_START * SECTOR
    fill = ("-d", disk.tree) if disk.tree else ()
    extended = f"offset={offset},lazy_itable_init=0,lazy_journal_init=0,hash_seed={disk.seed},root_owner=0:0"
    run(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", disk.label, "-U", disk.seed, "-m", "0"),
        *("-O", FEATURES + (",has_journal" if disk.journal else ""), *(("-J", "size=8") if disk.journal else ())),
        *("-E", extended, *fill, raw, f"{disk.mib * 1024}k"),
        env={"E2FSPROGS_FAKE_TIME": str(disk.epoch), "SOURCE_DATE_EPOCH": str(disk.epoch)},
    )
    settle_inodes(raw, offset, disk.epoch)


def settle_inodes(raw: Path, offset: int, epoch: int) -> None:
    """Give every inode of an ext4 file system (one without checksums) the same access, change and birth times.

    mke2fs takes a file's change time from the file it copies, and nobody can set that one.
    """
    with raw.open("r+b") as file:
        file.seek(offset + 1024)
        block = file.read(1024)
        magic, inode_size = struct.unpack_from("<H", block, 56)[0], struct.unpack_from("<H", block, 88)[0]
        if magic != EXT4_MAGIC:
            raise BuildError(f"no ext4 file system at byte {offset} of {raw}")
        inodes, per_group = struct.unpack_from("<I", block, 0)[0], struct.unpack_from("<I", block, 40)[0]
        block_size = 1024 << struct.unpack_from("<I", block, 24)[0]
        wide = struct.unpack_from("<I", block, 96)[0] & 0x80  # 64bit: group descriptors are longer
        size = struct.unpack_from("<H", block, 254)[0] if wide else 32
        groups = -(-inodes // per_group)
        file.seek(offset + max(block_size, 2048))
        descriptors = file.read(groups * size)
        for group in range(groups):
            low = struct.unpack_from("<I", descriptors, group * size + 8)[0]
            high = struct.unpack_from("<I", descriptors, group * size + 40)[0] if wide else 0
            start = offset + (low | high << 32) * block_size
            file.seek(start)
            table = bytearray(file.read(per_group * inode_size))
            if not any(table):
                continue
            _settle_table(table, inode_size, epoch)
            file.seek(start)
            file.write(table)


def _settle_table(table: bytearray, inode_size: int, epoch: int) -> None:
    for at in range(0, len(table), inode_size):
        if not struct.unpack_from("<H", table, at + 26)[0]:  # no links: not in use
            continue
        struct.pack_into("<II", table, at + 8, epoch, epoch)  # access, change
        if inode_size >= 160 and struct.unpack_from("<H", table, at + 128)[0] >= 28:
            struct.pack_into("<I", table, at + 132, 0)  # fractions of change, modification, access
            struct.pack_into("<II", table, at + 136, 0, 0)
            struct.pack_into("<II", table, at + 144, epoch, 0)  # birth
