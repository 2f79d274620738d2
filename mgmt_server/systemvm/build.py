"""Build the system VM image from Debian packages: `systemvm.qcow2`, which boots by itself under SeaBIOS."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from mgmt_server.systemvm import debian, disk
from mgmt_server.systemvm.debian import BuildError, say

CACHE = Path("/var/cache/cloudwright/systemvm")
HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent

ROOT_MIB = 2048
LABEL = "cloudwright-root"
SEED = "7b1d3c52-5f0e-4c59-9d0a-3f6f6e1c7a01"  # identifies the file system; fixed, so that two builds are equal
COMMAND_LINE = (
    "console=tty0 console=ttyS0,115200 quiet rw net.ifnames=0 "
    # this machine runs nothing but its own programs, and these three are slow where there is no KVM
    "mitigations=off apparmor=0 selinux=0 audit=0 random.trust_cpu=on systemd.show_status=0"
)

# what the agent needs of the project, copied as it is
AGENT_FILES = (
    "__init__.py",
    "protocol/__init__.py",
    "protocol/dhcp.py",
    "protocol/router.py",
    "systemvm/__init__.py",
    "systemvm/agent.py",
    "systemvm/boot.py",
    "systemvm/document.py",
    "systemvm/journal.py",
    "systemvm/metadata.py",
    "systemvm/render.py",
    "systemvm/router.py",
)

BOOT_MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "virtio_console", "virtio_rng", "virtio_net"),
    *("crc32c_generic", "ext4"),
)
UNUSED_MODULES = (
    *("drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/iio", "drivers/staging", "drivers/md"),
    *("drivers/nvme", "drivers/usb", "drivers/hid", "drivers/input/mouse", "drivers/ata", "drivers/target", "sound"),
    *("fs/xfs", "fs/btrfs", "fs/ocfs2", "fs/gfs2", "fs/f2fs", "fs/reiserfs", "fs/jfs", "fs/ceph", "fs/dlm", "fs/ntfs3"),
    *("fs/afs", "fs/orangefs", "fs/ubifs", "fs/nilfs2", "fs/hfsplus", "fs/udf", "fs/ecryptfs", "fs/smbfs_common"),
    *("fs/cifs", "net/sunrpc", "net/ceph", "net/rxrpc", "net/tipc", "net/rds", "net/sctp", "net/batman-adv"),
    *("drivers/net/ethernet", "drivers/net/wireless", "drivers/net/hyperv", "drivers/hv", "virt", "arch/x86/kvm"),
)

# nothing that a system VM needs, all of it slow under emulation
MASKED_UNITS = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("e2scrub_reap.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"),
    *("systemd-timesyncd.service", "systemd-networkd.service", "systemd-pstore.service", "systemd-binfmt.service"),
    *("systemd-random-seed.service", "systemd-journal-flush.service", "systemd-udev-settle.service"),
    *("systemd-machine-id-commit.service", "systemd-firstboot.service", "systemd-sysusers.service"),
    *("systemd-hwdb-update.service", "ldconfig.service", "systemd-journal-catalog-update.service"),
    *("systemd-update-done.service", "systemd-logind.service", "systemd-user-sessions.service", "man-db.timer"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "modprobe@drm.service", "modprobe@loop.service"),
    *("modprobe@efi_pstore.service", "modprobe@dm_mod.service", "modprobe@configfs.service", "modprobe@fuse.service"),
    *(
        "getty.target",
        "getty-static.service",
        "serial-getty@ttyS0.service",
        "logrotate.timer",
        "ssh.service",
        "ssh.socket",
        "nftables.service",
    ),
)
GENERATORS = ("cryptsetup", "debug", "getty", "gpt-auto", "hibernate-resume", "integritysetup", "rc-local", "run")
MORE_GENERATORS = ("fstab", "system-update", "sysv", "veritysetup")
WANTED = {"sysinit.target.wants": "cloudwright-agent.service", "multi-user.target.wants": "power-button.service"}
# written while packages were installed, different each time, or secret
LEFTOVERS = (
    *("var/log/*", "var/cache/*", "var/lib/apt/*", "var/lib/dpkg/*-old", "etc/*-", "etc/ssh/ssh_host_*"),
    *("var/lib/systemd/random-seed", "var/lib/dbus/machine-id", "root/.bash_history", "usr/share/fonts"),
    *("boot/*", "usr/lib/systemd/catalog", "var/lib/systemd/catalog", "usr/share/python3/debpython/__pycache__"),
    # brought by packages whose scripts need them; nothing here does
    *("usr/share/perl", "usr/lib/x86_64-linux-gnu/perl", "usr/lib/udev/hwdb.d", "usr/lib/udev/hwdb.bin"),
)


def packages() -> tuple[str, ...]:
    """Names in image/packages.txt."""
    lines = (line.partition("#")[0].strip() for line in (HERE / "image/packages.txt").read_text().splitlines())
    return tuple(sorted(line for line in lines if line))


def build(output: Path, cache: Path = CACHE, *, sources: Path | None = None, refresh: bool = False) -> Path:
    """Make `output`/systemvm.qcow2 and give its path; a second build of the same things copies the first's.

    cache: what is kept between builds (0.5 GiB). sources: an apt sources.list for Debian 12, where the public mirrors
    are out of reach. refresh: take packages as they are now, not those in the cache. Raises BuildError.
    """
    debian.check_tools()
    output, cache = Path(output), Path(cache)
    output.mkdir(parents=True, exist_ok=True)
    with debian.locked(cache):
        if refresh:
            say(f"forgetting the packages in {cache}")
            _remove([*cache.glob("parts-*"), *cache.glob("root-*"), *cache.glob("systemvm-*")])
        made = _made(cache, sources)
        fresh = output / ".systemvm.qcow2.new"
        shutil.copyfile(made, fresh)
    return fresh.rename(output / "systemvm.qcow2")


def _made(cache: Path, sources: Path | None) -> Path:
    """The image in the cache, built if it is not there; those of other contents go."""
    began = time.monotonic()
    parts = debian.extracted((debian.KERNEL,), cache, sources)
    archive = debian.root_archive(packages(), cache, debian.kernel_date(parts), sources)
    made = cache / f"systemvm-{_content(parts, archive)}.qcow2"
    if made.is_file():
        say(f"nothing changed since {made} was built")
    else:
        _assemble(parts, archive, made)
        _remove([old for old in cache.glob("systemvm-*") if old != made])
        say(f"built in {time.monotonic() - began:.0f} s, {made.stat().st_size >> 20} MiB")
    return made


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _content(parts: Path, archive: Path) -> str:
    """Hash of everything that the image is made of."""
    scripts = [HERE / name for name in ("build.py", "disk.py", "debian.py", "image")]
    return debian.digest([parts.name, archive.name, *scripts, *(PACKAGE / name for name in AGENT_FILES)])


def _assemble(parts: Path, archive: Path, made: Path) -> None:
    epoch = debian.kernel_date(parts)
    with tempfile.TemporaryDirectory(prefix="cloudwright-systemvm-") as folder:
        scratch = Path(folder)
        root = scratch / "root"
        root.mkdir(mode=0o755)
        say("unpacking the root file system")
        debian.run("tar", "--extract", "--numeric-owner", "--file", archive, "--directory", root, "--xattrs")
        _add_modules(parts, root)
        _add_files(root)
        _set_units(root)
        _clean(root)
        disk.settle_times(root, epoch)
        _initramfs(parts, root, scratch / "initramfs.gz", scratch / "initramfs", epoch)
        say("making the disk")
        fresh = made.with_suffix(".new")
        kernel = debian.kernel_image(parts)
        whole = disk.Disk(kernel, scratch / "initramfs.gz", COMMAND_LINE, LABEL, ROOT_MIB, SEED, epoch, root)
        disk.make_disk(whole, fresh)
        fresh.rename(made)


def _add_modules(parts: Path, root: Path) -> None:
    release = debian.kernel_release(parts)
    target = root / "usr/lib/modules" / release
    shutil.copytree(parts / "lib/modules" / release, target, symlinks=True)
    for unused in UNUSED_MODULES:
        shutil.rmtree(target / "kernel" / unused, ignore_errors=True)
    debian.run("depmod", "-b", root, release)


def _add_files(root: Path) -> None:
    """The image's own files, and the agent with the part of this package that it imports."""
    for source in sorted((HERE / "image/root").rglob("*")):
        target = root / source.relative_to(HERE / "image/root")
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755 if source.read_bytes()[:2] == b"#!" else 0o644)
    package = root / "usr/lib/cloudwright/mgmt_server"
    for name in AGENT_FILES:
        target = package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / name, target)
        target.chmod(0o644)
    debian.run(
        *("chroot", root, "python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"),
        "/usr/lib/cloudwright/mgmt_server",
        env={"PYTHONHASHSEED": "0"},
    )
    for name, text in (
        ("hostname", "systemvm\n"),
        ("hosts", "127.0.0.1 localhost\n"),
        ("fstab", ""),
        ("machine-id", ""),
    ):
        (root / "etc" / name).write_text(text)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("")
    _lock_root(root / "etc/shadow")


def _lock_root(shadow: Path) -> None:
    """No password opens this account: SSH takes keys."""
    lines = shadow.read_text().splitlines()
    locked = [":".join(["root", "*", *line.split(":")[2:]]) if line.startswith("root:") else line for line in lines]
    shadow.write_text("\n".join(locked) + "\n")


def _set_units(root: Path) -> None:
    units = root / "etc/systemd/system"
    for unit in MASKED_UNITS:
        _link(units / unit, "/dev/null")
    generators = root / "etc/systemd/system-generators"
    for name in GENERATORS + MORE_GENERATORS:
        _link(generators / f"systemd-{name}-generator", "/dev/null")
    for folder, unit in WANTED.items():
        _link(units / folder / unit, f"/etc/systemd/system/{unit}")
    _link(units / "default.target", "/lib/systemd/system/multi-user.target")


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _clean(root: Path) -> None:
    for pattern in LEFTOVERS:
        _remove(list(root.glob(pattern)))


def _initramfs(parts: Path, root: Path, output: Path, tree: Path, epoch: int) -> None:
    for folder in ("bin", "dev", "proc", "sys", "root"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox" if (root / "usr/bin/busybox").exists() else root / "bin/busybox", tree / "bin")
    shutil.copyfile(HERE / "image/initramfs-init", tree / "init")
    (tree / "init").chmod(0o755)
    disk.copy_modules(debian.modules_for(parts, BOOT_MODULES), tree)
    disk.make_initramfs(tree, output, epoch)


def main() -> int:
    """`python -m mgmt_server.systemvm.build DIR [CACHE]`."""
    try:
        print(build(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else CACHE))
    except BuildError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
