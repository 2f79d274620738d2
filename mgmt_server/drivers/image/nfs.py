"""Secondary storage as this server reaches it: a folder, an NFS export that the kernel mounts, or one through libnfs.

A store is named by its URL, nfs://server/path or file:///path; a file in it by its path below the store. Files appear
under their name whole: written aside, then renamed. Raises InvalidValue for a URL that names no store, Unavailable when
its server does not answer or refuses, Failed when something else went wrong.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from mgmt_server.agent import libnfs
from mgmt_server.agent.places import Directory
from mgmt_server.agent.run import run
from mgmt_server.errors import Failed, InvalidValue, Unavailable
from mgmt_server.protocol.download import shown
from mgmt_server.protocol.machine import PoolFile

MOUNTS = Path("/run/cloudwright/mounts")
MOUNTING, COPYING = 60.0, 7200.0  # seconds
SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9a-fA-F:]+\]")

_access: Callable[[], str] = lambda: "auto"  # noqa: E731  replaced by `use_access`
_version: Callable[[str], str] = lambda url: ""  # noqa: E731  replaced by `use_versions`


def use_access(told: Callable[[], str]) -> None:
    """Who says how NFS is reached: auto, mount or libnfs."""
    global _access
    _access = told


def use_versions(told: Callable[[str], str]) -> None:
    """Who says with which version of NFS the store of a URL is mounted."""
    global _version
    _version = told


def how() -> str:
    """mount or libnfs. Raises Failed where neither is possible."""
    told = _access()
    if told in ("mount", "libnfs"):
        return told
    if _can_mount():
        return "mount"
    if libnfs.available() and shutil.which("nfs-cp"):
        return "libnfs"
    raise Failed(
        "this server cannot reach NFS: install nfs-common (where the kernel has an NFS client and the server runs as "
        "root), or libnfs with its tools (libnfs-utils)"
    )


def _can_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("mount.nfs") is None:
        return False
    known = Path("/proc/filesystems").read_text().split()
    return "nfs4" in known or "nfs" in known


def parts(url: str) -> tuple[str, str, str]:
    """(scheme, server, path) of a store's URL. `nfs://server:/path` is the same as `nfs://server/path`."""
    found = urlsplit(url.strip())
    path = unquote(found.path)
    server = found.netloc.rpartition("@")[2]
    server = server[:-1] if server.endswith(":") else server
    if found.scheme not in ("nfs", "file"):
        raise InvalidValue(f"url={shown(url)} is no store: write nfs://SERVER/PATH")
    if found.scheme == "nfs" and not SERVER.fullmatch(server):
        raise InvalidValue(f"url={shown(url)} names no NFS server: write nfs://SERVER/PATH")
    if not path.startswith("/") or ".." in path.split("/") or any(ord(c) < 32 for c in path) or path.strip("/") == "":
        raise InvalidValue(f"url={shown(url)} names no path: write nfs://SERVER/PATH")
    return found.scheme, server, path.rstrip("/")


def space(url: str) -> tuple[int, int]:
    """(bytes used, bytes there)."""
    with _open(url) as place:
        return place.space()


def check(url: str) -> tuple[int, int]:
    """That a file can be written, read and deleted: (bytes used, bytes there)."""
    with tempfile.TemporaryDirectory(prefix="cloudwright-") as folder, _open(url) as place:
        probe, name = Path(folder) / "probe", f".cloudwright-{uuid4().hex}"
        probe.write_bytes(b"probe")
        try:
            place.put(probe, name)
            if place.size(name) != 5:
                raise Failed(f"{url}: what was written cannot be read again")
        finally:
            place.remove(name)
        return place.space()


def stat(url: str, path: str) -> int | None:
    """Bytes of a file; None where there is none."""
    with _open(url) as place:
        return place.size(_below(path))


def put(file: Path, url: str, path: str) -> None:
    """Copy a file of this server to the store, folders made as needed."""
    with _open(url) as place:
        place.put(file, _below(path))


def get(url: str, path: str, file: Path) -> None:
    """Copy a file of the store to this server."""
    with _open(url) as place:
        place.get(_below(path), file)


def read(url: str, path: str, limit: int = 1 << 20) -> bytes | None:
    """A small file's content; None where there is none."""
    with tempfile.TemporaryDirectory(prefix="cloudwright-") as folder, _open(url) as place:
        size = place.size(_below(path))
        if size is None:
            return None
        if size > limit:
            raise Failed(f"{url}/{path} has {size} bytes: at most {limit} are read")
        file = Path(folder) / "file"
        place.get(_below(path), file)
        return file.read_bytes()


@contextmanager
def opened(url: str, path: str) -> Iterator[BinaryIO | None]:
    """A file of the store to read from at any place; None where there is none. Through libnfs it is copied first."""
    with _open(url) as place:
        if place.size(_below(path)) is None:
            yield None
            return
        if isinstance(place, Folder):
            with open(place.inside(_below(path)), "rb") as file:
                yield file
            return
        with tempfile.TemporaryDirectory(prefix="cloudwright-link-", dir=large_files()) as folder:
            copy = Path(folder) / "image"  # not there yet: nfs-cp writes over nothing
            place.get(_below(path), copy)
            with open(copy, "rb") as file:
                yield file


def large_files() -> Path:
    """A place that holds large files, which /tmp on many systems does not."""
    return Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108


def remove(url: str, path: str) -> None:
    """Delete a file. One that is not there is fine."""
    with _open(url) as place:
        place.remove(_below(path))


def names(url: str, path: str) -> list[str]:
    """What is in a folder of the store, sorted; nothing where there is no such folder."""
    with _open(url) as place:
        return sorted(n for n in place.names(_below(path)) if n not in (".", ".."))


def files(url: str, folder: str) -> list[PoolFile]:
    """What lies in a folder of the store, empty for its top one. Raises Failed for one that is not there."""
    with _open(url) as place:
        return place.files(folder)


class Place(Protocol):
    def space(self) -> tuple[int, int]: ...
    def size(self, path: str) -> int | None: ...
    def put(self, file: Path, path: str) -> None: ...
    def get(self, path: str, file: Path) -> None: ...
    def remove(self, path: str) -> None: ...
    def names(self, path: str) -> list[str]: ...
    def files(self, folder: str) -> list[PoolFile]: ...


class Folder:
    """A store as a folder of this server: file:///, or a mounted export."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def space(self) -> tuple[int, int]:
        found = os.statvfs(self.root)
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize

    def size(self, path: str) -> int | None:
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    def put(self, file: Path, path: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            with open(file, "rb") as source, open(aside, "xb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
                sink.flush()
                os.fsync(sink.fileno())
            aside.rename(target)
        finally:
            aside.unlink(missing_ok=True)

    def get(self, path: str, file: Path) -> None:
        shutil.copyfile(self.inside(path), file)

    def inside(self, path: str) -> Path:
        """Where a file of the store is. Raises Failed for a link that leads out of it."""
        if not (self.root / path).resolve().is_relative_to(self.root.resolve()):
            raise Failed(f"{path} leads out of its store: it is a link")
        return self.root / path

    def files(self, folder: str) -> list[PoolFile]:
        return Directory(self.root).files(folder)

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def names(self, path: str) -> list[str]:
        try:
            return os.listdir(self.root / path)
        except (FileNotFoundError, NotADirectoryError):
            return []


class Remote:
    """A store through libnfs: names by the library, contents by nfs-cp."""

    def __init__(self, export: libnfs.Export) -> None:
        self.export = export

    def space(self) -> tuple[int, int]:
        return self.export.space()

    def size(self, path: str) -> int | None:
        found = self.export.size(path)
        return None if found is None else found[0]

    def put(self, file: Path, path: str) -> None:
        folder = PurePosixPath(path).parent
        for each in (*reversed(folder.parents), folder):
            if str(each) != ".":
                self.export.mkdir(str(each))
        aside = f"{path}.{uuid4().hex}"
        try:
            run(["nfs-cp", str(file), f"{self.export.url}/{aside}"], COPYING)
            if self.size(aside) != file.stat().st_size:
                raise Failed(f"{self.export.url}/{path}: it was written in part only; is the store full?")
            self.export.rename(aside, path)
        finally:
            self.export.unlink(aside)

    def get(self, path: str, file: Path) -> None:
        run(["nfs-cp", f"{self.export.url}/{path}", str(file)], COPYING)

    def remove(self, path: str) -> None:
        self.export.unlink(path)

    def names(self, path: str) -> list[str]:
        return self.export.names(path)

    def files(self, folder: str) -> list[PoolFile]:
        return self.export.files(folder)


@contextmanager
def _open(url: str) -> Iterator[Place]:
    scheme, server, path = parts(url)
    try:
        if scheme == "file":
            if not Path(path).is_dir():
                raise Failed(f"{url}: there is no folder {path} on this server: make it first")
            yield Folder(Path(path))
        elif how() == "mount":
            yield Folder(_mounted(server, path, _version(url)))
        else:
            with libnfs.export(server, path) as export:
                yield Remote(export)
    except OSError as error:
        raise Failed(f"{url}: {error.strerror or error}") from None


def _mounted(server: str, path: str, version: str = "") -> Path:
    """Where an export is mounted; mounted now where it was not. Raises Unavailable."""
    place = MOUNTS / sha256(f"{server}:{path}".encode()).hexdigest()[:16]
    if os.path.ismount(place):
        return place
    place.mkdir(parents=True, exist_ok=True)
    options = "soft,timeo=100,retrans=3,nosuid,nodev" + (f",vers={version}" if version else "")
    try:
        run(["mount", "-t", "nfs", "-o", options, f"{server}:{path}", str(place)], MOUNTING)
    except Failed as error:
        raise Unavailable(
            f"nfs://{server}{path} cannot be mounted: {error}. Check the export's path and that it is exported to this "
            "server"
        ) from None
    return place


def _below(path: str) -> str:
    clean = path.strip("/")
    if not clean or ".." in clean.split("/") or any(ord(c) < 32 for c in clean):
        raise Failed(f"{path[:200]!r} is no path below a store")
    return clean
