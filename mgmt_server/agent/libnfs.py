"""NFS without the kernel's client: what libnfs offers, for hosts whose kernel cannot mount. QEMU uses the same library.

Only names and sizes are handled here; contents move through qemu-img and nfs-cp.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import PoolFile

ENOENT, EEXIST = -2, -17


class _Stat(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in [
            "dev",
            "ino",
            "mode",
            "nlink",
            "uid",
            "gid",
            "rdev",
            "size",
            "blksize",
            "blocks",
            "atime",
            "mtime",
            "ctime",
            "atime_nsec",
            "mtime_nsec",
            "ctime_nsec",
            "used",
        ]
    ]


class _Statvfs(ctypes.Structure):
    # struct statvfs of glibc on 64 bits
    _fields_ = [
        (name, ctypes.c_ulong)
        for name in [
            "bsize",
            "frsize",
            "blocks",
            "bfree",
            "bavail",
            "files",
            "ffree",
            "favail",
            "fsid",
            "flag",
            "namemax",
        ]
    ] + [("spare", ctypes.c_int * 6)]


class _Entry(ctypes.Structure):
    _fields_ = [("next", ctypes.c_void_p), ("name", ctypes.c_char_p)]  # and more that nobody here reads


@cache
def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("nfs")
    if name is None:
        raise Failed(
            "libnfs is not installed on this host: install libnfs13 (Debian) or libnfs, or nfs-common to mount"
        )
    library = ctypes.CDLL(name)
    library.nfs_init_context.restype = ctypes.c_void_p
    library.nfs_get_error.restype = ctypes.c_char_p
    return library


def available() -> bool:
    return ctypes.util.find_library("nfs") is not None


class Export:
    """A mounted export of a server, from `export`."""

    def __init__(self, url: str, context: ctypes.c_void_p) -> None:
        self.url, self._context = url, context

    def _call(self, function: str, name: str, *args: object, allowed: tuple[int, ...] = ()) -> int:
        path = f"/{name}".encode()
        result: int = getattr(_library(), function)(self._context, path, *args)
        if result < 0 and result not in allowed:
            words = (_library().nfs_get_error(self._context) or b"").decode(errors="replace")
            raise Failed(f"{function} {self.url}/{name}: {words or os.strerror(-result)}")
        return result

    def size(self, name: str) -> tuple[int, int] | None:
        """(size, bytes taken) of a file; None where there is none."""
        found = _Stat()
        if self._call("nfs_stat64", name, ctypes.byref(found), allowed=(ENOENT,)) == ENOENT:
            return None
        return found.size, found.used or found.blocks * 512

    def about(self, name: str) -> PoolFile | None:
        """What a name stands for, a link for itself; None where there is nothing."""
        found = _Stat()
        if self._call("nfs_lstat64", name, ctypes.byref(found), allowed=(ENOENT,)) == ENOENT:
            return None
        is_folder = stat.S_ISDIR(found.mode)
        return PoolFile(name.rpartition("/")[2], 0 if is_folder else found.size, found.mtime, is_folder)

    def rename(self, old: str, new: str) -> None:
        self._call("nfs_rename", old, f"/{new}".encode())

    def extend(self, name: str, size: int) -> None:
        """Have a file end at `size` or later; what is added takes no room."""
        found = self.size(name)
        if found is not None and found[0] < size:
            self._call("nfs_truncate", name, ctypes.c_uint64(size))

    def mkdir(self, name: str) -> None:
        """Nothing where there is one already."""
        self._call("nfs_mkdir", name, allowed=(EEXIST,))

    def unlink(self, name: str) -> None:
        self._call("nfs_unlink", name, allowed=(ENOENT,))

    def names(self, below: str = "") -> list[str]:
        """Everything in a folder, the export's top one by default; nothing where there is no such folder."""
        folder = ctypes.c_void_p()
        if self._call("nfs_opendir", below, ctypes.byref(folder), allowed=(ENOENT,)) == ENOENT:
            return []
        found = []
        try:
            read = _library().nfs_readdir
            read.restype = ctypes.POINTER(_Entry)
            while entry := read(self._context, folder):
                found.append((entry.contents.name or b"").decode(errors="replace"))
        finally:
            _library().nfs_closedir(self._context, folder)
        return found

    def files(self, folder: str = "") -> list[PoolFile]:
        """What lies in a folder. Raises Failed for one that is not there, or not in the export."""
        below = folder.strip("/")
        known = None if ".." in below.split("/") else PoolFile("", folder=True) if not below else self.about(below)
        if known is None or not known.folder:
            raise Failed(f"there is no folder {folder[:200]} in {self.url}")
        names = sorted(n for n in self.names(below) if n not in (".", ".."))
        found = (self.about(f"{below}/{name}" if below else name) for name in names)
        return [one for one in found if one is not None]

    def read(self, name: str, limit: int) -> bytes:
        """The beginning of a file; empty where there is none."""
        handle = ctypes.c_void_p()
        if self._call("nfs_open", name, os.O_RDONLY, ctypes.byref(handle), allowed=(ENOENT,)) == ENOENT:
            return b""
        try:
            buffer = ctypes.create_string_buffer(limit)
            got: int = _library().nfs_pread(
                self._context, handle, ctypes.c_uint64(0), ctypes.c_uint64(limit), ctypes.byref(buffer)
            )
        finally:
            _library().nfs_close(self._context, handle)
        if got < 0:
            raise Failed(f"{self.url}/{name} cannot be read: {os.strerror(-got)}")
        return buffer.raw[:got]

    def write(self, name: str, data: bytes) -> None:
        """A small file, in place of what was there."""
        handle = ctypes.c_void_p()
        self._call("nfs_creat", name, 0o600, ctypes.byref(handle))
        try:
            done: int = _library().nfs_pwrite(
                self._context, handle, ctypes.c_uint64(0), ctypes.c_uint64(len(data)), data
            )
        finally:
            _library().nfs_close(self._context, handle)
        if done != len(data):
            raise Failed(f"{self.url}/{name} cannot be written: {os.strerror(-done) if done < 0 else 'no room'}")

    def space(self) -> tuple[int, int]:
        """(bytes used, bytes there)."""
        found = _Statvfs()
        self._call("nfs_statvfs", "", ctypes.byref(found))
        unit = found.frsize or found.bsize
        return (found.blocks - found.bfree) * unit, found.blocks * unit


@contextmanager
def export(server: str, path: str) -> Iterator[Export]:
    """Raises Unavailable when the server does not answer or refuses the mount."""
    library = _library()
    context = ctypes.c_void_p(library.nfs_init_context())
    try:
        if library.nfs_mount(context, server.encode(), path.encode()) != 0:
            words = (library.nfs_get_error(context) or b"").decode(errors="replace")
            raise Unavailable(f"nfs://{server}{path} cannot be reached from this host: {words}")
        yield Export(f"nfs://{server}{path.rstrip('/')}", context)
    finally:
        library.nfs_destroy_context(context)
