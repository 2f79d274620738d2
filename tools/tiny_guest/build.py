#!/usr/bin/env python3
"""Build the tiny guest: a 17 MiB disk for tests that boots in seconds and says what happens to it.

    python tools/tiny_guest/build.py --output DIR [--cache DIR]

prints the path of DIR/tiny-guest.qcow2. What the guest does is in docs/systemvm.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from mgmt_server.systemvm import debian, disk  # noqa: E402
from mgmt_server.systemvm.debian import BuildError, run, say  # noqa: E402

CACHE = Path("/var/cache/cloudwright/tiny")
PACKAGES = (debian.KERNEL, "busybox-static", "dropbear-bin", "qemu-guest-agent", "patchelf")
PROGRAMS = ("usr/sbin/dropbear", "usr/bin/dropbearkey", "usr/sbin/qemu-ga")
MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "sd_mod", "sr_mod", "ata_piix", "isofs", "vfat"),
    *("nls_ascii", "nls_cp437", "virtio_console", "virtio_balloon", "virtio_rng", "evdev", "button", "qemu_fw_cfg"),
    *("8021q", "ext4", "crc32c_generic"),
)
COMMAND_LINE = "console=tty0 console=ttyS0,115200 quiet mitigations=off random.trust_cpu=on tsc=reliable"
STATE_MIB = 16
SEED = "7469796e-0c1d-4d1f-9b59-6c6f75647772"


def build(output: Path, cache: Path = CACHE, sources: Path | None = None) -> Path:
    """Make `output`/tiny-guest.qcow2 and give its path. Raises BuildError."""
    debian.check_tools()
    output.mkdir(parents=True, exist_ok=True)
    with debian.locked(cache):
        parts = debian.extracted(PACKAGES, cache, sources)
        scripts = (HERE / "build.py", HERE / "files", Path(disk.__file__), Path(debian.__file__))
        made = cache / f"tiny-guest-{debian.digest([parts.name, *scripts])}.qcow2"
        if not made.is_file():
            _assemble(parts, made)
            say(f"tiny guest: {made.stat().st_size >> 20} MiB")
        fresh = output / ".tiny-guest.qcow2.new"
        shutil.copyfile(made, fresh)
    return fresh.rename(output / "tiny-guest.qcow2")


def _assemble(parts: Path, made: Path) -> None:
    epoch = debian.kernel_date(parts)
    with tempfile.TemporaryDirectory(prefix="cloudwright-tiny-") as scratch:
        tree = Path(scratch) / "root"
        for folder in ("bin", "etc", "dev", "proc", "sys", "run", "tmp", "root", "state", "www", "var"):
            (tree / folder).mkdir(parents=True)
        shutil.copy(_find(parts, "bin/busybox"), tree / "bin/busybox")
        _add_programs(parts, tree)
        for source in sorted((HERE / "files").rglob("*")):
            target = tree / source.relative_to(HERE / "files")
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        _add_accounts(tree / "etc")
        for path in (
            tree / "init",
            *(tree / "bin").iterdir(),
            *(tree / "etc").glob("rc*"),
            tree / "www/cgi-bin/status",
        ):
            path.chmod(0o755)
        disk.copy_modules(debian.modules_for(parts, MODULES), tree)
        initramfs = Path(scratch) / "initrd.gz"
        disk.make_initramfs(tree, initramfs, epoch)
        kernel = debian.kernel_image(parts)
        whole = disk.Disk(
            *(kernel, initramfs, COMMAND_LINE, "tinystate", STATE_MIB, SEED, epoch),
            journal=False,
            compression="zlib",
        )
        fresh = made.with_suffix(".new")
        disk.make_disk(whole, fresh)
        fresh.rename(made)


def _find(parts: Path, name: str) -> Path:
    """A file of the packages, wherever they keep it: /bin or /usr/bin."""
    for path in (parts / name, parts / "usr" / name):
        if path.is_file():
            return path
    raise BuildError(f"no {name} in {parts}: remove that folder and build again")


def _add_programs(parts: Path, tree: Path) -> None:
    """Programs with their libraries in a place of their own.

    A static busybox that finds a libc of another build in /lib crashes in its first name look-up.
    """
    loader = _find(parts, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    places = ":".join(str(parts / place) for place in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"))
    foreign = (loader, "--library-path", places)
    (tree / "dyn").mkdir()
    shutil.copy(loader, tree / "dyn/ld-linux-x86-64.so.2")
    for program in PROGRAMS:
        for line in run(*foreign, "--list", parts / program).decode().splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            if arrow and "not found" in rest:
                raise BuildError(f"{program} needs {name}, which no package brought")
            if arrow and not name.startswith("/"):
                shutil.copy(rest.split(" (")[0], tree / "dyn" / name)
        target = tree / "bin" / Path(program).name
        shutil.copy(parts / program, target)
        placed = ("--set-interpreter", "/dyn/ld-linux-x86-64.so.2", "--force-rpath", "--set-rpath", "/dyn")
        run(*foreign, parts / "usr/bin/patchelf", *placed, target)


def _add_accounts(etc: Path) -> None:
    """One account, whose password opens nothing until the router or a config drive sets one."""
    etc.joinpath("passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    etc.joinpath("shadow").write_text("root:*:19000:0:99999:7:::\n")
    etc.joinpath("group").write_text("root:x:0:\n")
    etc.joinpath("shells").write_text("/bin/sh\n")
    etc.joinpath("hostname").write_text("tiny\n")
    etc.joinpath("hosts").write_text("127.0.0.1 localhost\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the tiny guest's disk; prints its path.")
    parser.add_argument("--output", type=Path, required=True, help="folder for tiny-guest.qcow2")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"what is kept between builds (default {CACHE})")
    parser.add_argument("--sources", type=Path, help="apt sources.list for Debian 12 instead of the public mirrors")
    asked = parser.parse_args()
    try:
        print(build(asked.output, asked.cache, asked.sources))
    except BuildError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
