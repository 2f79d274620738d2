"""Where pools and stores are on this host: a directory, or an NFS export without the kernel's client."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mgmt_server.agent import libnfs
from mgmt_server.agent.config import Config
from mgmt_server.agent.run import run
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import Pool, PoolFile

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}|\[[0-9a-fA-F:]+\]")
POOLS = ("Filesystem", "NetworkFilesystem", "SharedMountPoint")
MOUNTING = 60.0  # seconds
_mounting = threading.Lock()


def safe_name(name: str) -> str:
    """The name of a file in a pool. Raises Failed for anything that could leave it."""
    if not NAME.fullmatch(name):
        raise Failed(f"{name[:80]!r} is no name for a disk: letters, digits, dot, dash and underscore only")
    return name


def safe_path(path: str) -> str:
    """An absolute path without steps upwards. Raises Failed."""
    if not path.startswith("/") or ".." in path.split("/") or any(ord(c) < 32 for c in path):
        raise Failed(f"{path[:80]!r} is no absolute path")
    return path.rstrip("/") or "/"


@dataclass(frozen=True)
class Directory:
    """A pool as a folder of this host."""

    path: Path

    def where(self, name: str) -> str:
        return str(self.path / safe_name(name))

    def size(self, name: str) -> tuple[int, int] | None:
        """(size, bytes taken) of a file; None where there is none."""
        try:
            found = os.stat(self.path / safe_name(name))
        except FileNotFoundError:
            return None
        return found.st_size, found.st_blocks * 512

    def rename(self, old: str, new: str) -> None:
        (self.path / safe_name(old)).rename(self.path / safe_name(new))

    def unlink(self, name: str) -> None:
        (self.path / safe_name(name)).unlink(missing_ok=True)

    def names(self, start: str) -> list[str]:
        """Files whose names begin so."""
        return [n for n in os.listdir(self.path) if n.startswith(start)]

    def files(self, folder: str = "") -> list[PoolFile]:
        """What lies in a folder. Raises Failed for one that is not there, or not in the pool."""
        root = self.path.resolve()
        where = (root / folder.strip("/")).resolve()
        if not where.is_relative_to(root) or not where.is_dir():
            raise Failed(f"there is no folder {folder[:200]} in the pool")
        found = []
        with os.scandir(where) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
                size = 0 if is_folder else about.st_size
                found.append(PoolFile(entry.name, size, int(about.st_mtime), is_folder))
        return sorted(found, key=lambda f: f.name)

    def read(self, name: str, limit: int = 1 << 16) -> bytes:
        """A small file; empty where there is none."""
        try:
            with open(self.path / safe_name(name), "rb") as file:
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def write(self, name: str, data: bytes) -> None:
        """A small file, in place of what was there."""
        handle = os.open(self.path / safe_name(name), os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def space(self) -> tuple[int, int]:
        """(bytes used, bytes there)."""
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize


@dataclass(frozen=True)
class Remote:
    """A pool that QEMU reaches by nfs:// itself."""

    host: str
    path: str

    def where(self, name: str) -> str:
        return f"nfs://{self.host}{self.path}/{safe_name(name)}"

    def size(self, name: str) -> tuple[int, int] | None:
        with libnfs.export(self.host, self.path) as export:
            return export.size(safe_name(name))

    def rename(self, old: str, new: str) -> None:
        with libnfs.export(self.host, self.path) as export:
            export.rename(safe_name(old), safe_name(new))

    def unlink(self, name: str) -> None:
        with libnfs.export(self.host, self.path) as export:
            export.unlink(safe_name(name))

    def lengthen(self, name: str, virtual_size: int) -> None:
        """Have the file of a disk end behind anything that its machine may write to it.

        QEMU's NFS asks for a file's length once, when it opens it. A machine that migrates has its disk open on both
        hosts: what the one writes at the end, the other would read as zeros.
        """
        with libnfs.export(self.host, self.path) as export:
            found = export.size(safe_name(name))
            if found is not None:
                export.extend(name, found[0] + virtual_size + virtual_size // 50 + (64 << 20))

    def names(self, start: str) -> list[str]:
        with libnfs.export(self.host, self.path) as export:
            return [n for n in export.names() if n.startswith(start)]

    def files(self, folder: str = "") -> list[PoolFile]:
        with libnfs.export(self.host, self.path) as export:
            return export.files(folder)

    def read(self, name: str, limit: int = 1 << 16) -> bytes:
        with libnfs.export(self.host, self.path) as export:
            return export.read(safe_name(name), limit)

    def write(self, name: str, data: bytes) -> None:
        with libnfs.export(self.host, self.path) as export:
            export.write(safe_name(name), data)

    def space(self) -> tuple[int, int]:
        with libnfs.export(self.host, self.path) as export:
            return export.space()


Place = Directory | Remote


def nfs_mode(config: Config) -> str:
    """mount or libnfs: what the configuration says, or what this kernel can."""
    if config.nfs != "auto":
        return config.nfs
    known = Path("/proc/filesystems").read_text()
    if "\tnfs\n" not in known and "\tnfs4\n" not in known:
        try:
            run(["modprobe", "nfs"], 10)
        except Failed:
            return "libnfs"
        known = Path("/proc/filesystems").read_text()
    return "mount" if "\tnfs" in known else "libnfs"


def pool_place(config: Config, pool: Pool, *, look: bool = False) -> Place:
    """Where the pool is, mounted if need be, unless we only `look`. Raises Failed, Unavailable."""
    if pool.type == "Filesystem":
        return Directory(Path(safe_path(pool.path)))
    if pool.type == "SharedMountPoint":
        return _shared(config, Path(safe_path(pool.path)))
    if pool.type != "NetworkFilesystem":
        raise Failed(f"a KVM host cannot use pools of type {pool.type}: {', '.join(POOLS)} work")
    host, path = safe_host(pool.host), safe_path(pool.path)
    if nfs_mode(config) == "libnfs":
        return Remote(host, path)
    if look:
        return Directory(mount_point(config, host, path))
    return Directory(mounted(config, host, path, pool.details.get("nfsmountopts", "")))


def _shared(config: Config, path: Path) -> Directory:
    # where nothing is mounted, disks would go to the host's own file system, and be missing on the others
    if not config.unmounted_pools and not is_mounted(path):
        raise Unavailable(
            f"nothing is mounted on {path} of this host: mount the shared file system there. Where it is shared in "
            "another way, set unmounted_pools = true in agent.toml"
        )
    if not path.is_dir():
        raise Unavailable(f"there is no directory {path} on this host")
    return Directory(path)


def safe_host(host: str) -> str:
    if not HOST.fullmatch(host):
        raise Failed(f"{host[:80]!r} is no host name or address")
    return host


def mount_point(config: Config, host: str, path: str) -> Path:
    return config.state / "mnt" / hashlib.sha256(f"{host}:{path}".encode()).hexdigest()[:16]


def mounted(config: Config, host: str, path: str, options: str = "", *, read_only: bool = False) -> Path:
    """The folder where the export is mounted, now if it was not."""
    where = mount_point(config, host, path)
    with _mounting:
        if is_mounted(where):
            return where
        where.mkdir(parents=True, exist_ok=True)
        words = [w for w in options.split(",") if re.fullmatch(r"[a-z0-9]+(=[A-Za-z0-9.:_-]+)?", w)]
        # hard, as disks need it; retrans and timeo only bound the first mount
        words += ["ro"] if read_only else []
        argv = ["mount", "-t", "nfs", *(["-o", ",".join(words)] if words else []), f"{host}:{path}", str(where)]
        try:
            run(argv, MOUNTING)
        except Failed as error:
            raise Unavailable(f"{host}:{path} cannot be mounted on this host: {error}") from None
    return where


def is_mounted(where: Path) -> bool:
    # not os.path.ismount: it would hang on an export whose server is away
    name = str(where).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
    return any(line.split(" ", 2)[1] == name for line in Path("/proc/self/mounts").read_text().splitlines())


def unmount(config: Config, host: str, path: str) -> None:
    where = mount_point(config, host, path)
    with _mounting:
        if is_mounted(where):
            run(["umount", str(where)], MOUNTING)


def store_parts(url: str) -> tuple[str, str, str]:
    """(scheme, host, path) of a store's URL. Raises Failed for schemes that a host does not fetch from."""
    parts = urlsplit(url)
    if parts.scheme not in ("nfs", "file", "http", "https"):
        raise Failed(f"a host cannot fetch from {parts.scheme}:// stores: nfs, file, http and https work")
    return parts.scheme, parts.netloc, parts.path
