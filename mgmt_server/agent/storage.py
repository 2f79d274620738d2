"""Pools, templates and disks. Everything appears under its name at once, whole: made aside, then renamed."""

from __future__ import annotations

import shutil
import threading
import urllib.request
from pathlib import Path
from uuid import uuid4

from mgmt_server.agent.config import Config, replace
from mgmt_server.agent.images import FORMATS, information, inspect
from mgmt_server.agent.places import (
    Directory,
    Place,
    mounted,
    nfs_mode,
    pool_place,
    safe_name,
    safe_path,
    store_parts,
    unmount,
)
from mgmt_server.agent.run import run
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.codec import build, dump, parse
from mgmt_server.protocol.machine import Disk, Image, Pool

COPYING = 3600.0  # seconds for one image
CHUNK = 1 << 20


class Storage:
    def __init__(self, config: Config) -> None:
        self.config = config
        self._list = config.state / "pools.json"
        self._lock = threading.Lock()
        self.pools: dict[str, Pool] = {p.uuid: p for p in self._remembered()}

    def _remembered(self) -> list[Pool]:
        try:
            return build(list[Pool], parse(self._list.read_bytes()))
        except (FileNotFoundError, ValueError):
            return []

    def add_pool(self, pool: Pool) -> tuple[int, int]:
        """Bytes used, bytes there."""
        place = pool_place(self.config, pool)
        if isinstance(place, Directory) and pool.type == "Filesystem":
            place.path.mkdir(parents=True, exist_ok=True, mode=0o711)
        with self._lock:
            self.pools[pool.uuid] = pool
            self._remember()
        return place.space()

    def remove_pool(self, pool: Pool) -> None:
        """Its files stay."""
        with self._lock:
            self.pools.pop(pool.uuid, None)
            self._remember()
            shared = any((p.host, p.path) == (pool.host, pool.path) for p in self.pools.values())
        if pool.type == "NetworkFilesystem" and nfs_mode(self.config) == "mount" and not shared:
            unmount(self.config, pool.host, safe_path(pool.path))

    def _remember(self) -> None:
        replace(self._list, dump(list(self.pools.values())), 0o600)

    def spaces(self) -> dict[str, tuple[int, int]]:
        """uuid -> (bytes used, bytes there), of pools that answer."""
        found = {}
        for uuid, pool in list(self.pools.items()):
            try:
                found[uuid] = pool_place(self.config, pool).space()
            except (Failed, Unavailable, OSError):
                continue
        return found

    # --- templates --------------------------------------------------------------------------------------------------

    def cache_template(self, pool: Pool, image: Image) -> str:
        """Have the image in the pool; its name there."""
        if image.format not in FORMATS:
            raise Failed(f"images of the format {image.format} cannot be used on KVM: register QCOW2, RAW or ISO")
        suffix = "iso" if image.format == "ISO" else FORMATS[image.format][1]
        name = safe_name(f"template-{image.uuid}.{suffix}")
        place = pool_place(self.config, pool)
        if place.size(name) is not None:
            return name
        aside = f"{name}.{uuid4().hex[:8]}.part"
        try:
            if isinstance(place, Directory):
                self._fetch_checked(image, place.where(aside))
            else:
                self._through_here(image, place.where(aside))
            place.rename(aside, name)
        finally:
            place.unlink(aside)
        return name

    def _through_here(self, image: Image, target: str) -> None:
        """Into a pool that is no folder: the image is checked on this host's own disk before it goes there."""
        scratch = self.config.state / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        local = scratch / uuid4().hex
        try:
            self._fetch_checked(image, str(local))
            run(["nfs-cp", str(local), target], COPYING)
        finally:
            local.unlink(missing_ok=True)

    def _fetch_checked(self, image: Image, target: str) -> None:
        self._fetch(image, target)
        size = Path(target).stat().st_size
        if image.size and size != image.size:
            raise Failed(f"the image has {size} bytes on the store, and was registered with {image.size}")
        found = inspect(target, image.format)
        if image.virtual_size and found.virtual_size > image.virtual_size:
            raise Failed(f"the image has a virtual size of {found.virtual_size}, and was registered with less")

    def _fetch(self, image: Image, target: str) -> None:
        scheme, host, base = store_parts(image.store.url)
        path = safe_path(f"{base.rstrip('/')}/{image.path}")
        if scheme == "nfs" and nfs_mode(self.config) == "libnfs":
            run(["nfs-cp", f"nfs://{host}{path}", target], COPYING)
        elif scheme == "nfs":
            folder = mounted(self.config, host, safe_path(base), image.store.details.get("nfsmountopts", ""))
            _copy(folder / image.path, target, folder)
        elif scheme == "file":
            _copy(Path(path), target, Path(safe_path(base)))
        else:
            _download(f"{scheme}://{host}{path}", target, image.size)

    # --- disks ------------------------------------------------------------------------------------------------------

    def create_disk(self, disk: Disk) -> int:
        """Bytes that it takes now."""
        place = pool_place(self.config, disk.pool)
        there = place.size(disk.name)
        if there is None:
            aside = f"{disk.name}.{uuid4().hex[:8]}.part"
            try:
                run(self._creating(place, disk, aside), 120)
                place.rename(aside, disk.name)
            finally:
                place.unlink(aside)
            there = place.size(disk.name)
        return there[1] if there else 0

    def _creating(self, place: Place, disk: Disk, name: str) -> list[str]:
        argv = ["qemu-img", "create", "-q", "-f", "qcow2"]
        if disk.backing:
            format = "qcow2" if disk.backing.endswith(".qcow2") else "raw"
            if place.size(disk.backing) is None:
                raise Failed(f"the template {disk.backing} is not in the pool {disk.pool.uuid} (any more)")
            smallest = information(place.where(disk.backing), format).virtual_size
            if disk.size < smallest:
                raise Failed(f"a disk of {disk.size} bytes is smaller than its template of {smallest}")
            # by its bare name, for the pool may be elsewhere on another host; QEMU's NFS finds only whole URLs
            name_or_url = safe_name(disk.backing) if isinstance(place, Directory) else place.where(disk.backing)
            argv += ["-b", name_or_url, "-F", format]
        return [*argv, place.where(name), str(disk.size)]

    def delete_disk(self, disk: Disk) -> None:
        pool_place(self.config, disk.pool).unlink(disk.name)

    def source(self, disk: Disk) -> str:
        """Where QEMU finds the disk: a path, or an nfs:// URL. Raises Failed when it is not there."""
        place = pool_place(self.config, disk.pool)
        if place.size(disk.name) is None:
            raise Failed(f"the disk {disk.name} is not in the pool {disk.pool.uuid}")
        return place.where(disk.name)

    def iso_source(self, iso: str) -> str:
        """Where QEMU finds an ISO that was given as path or URL."""
        if iso.startswith("/"):
            return safe_path(iso)
        scheme, host, path = store_parts(iso)
        path = safe_path(path)
        if scheme == "file":
            return path
        if scheme != "nfs":
            raise Failed("an ISO is attached from the pool or from an nfs:// or file:// store")
        if nfs_mode(self.config) == "libnfs":
            return f"nfs://{host}{path}"
        folder, _, rest = path.partition("/template/")
        return str(mounted(self.config, host, folder or "/") / "template" / rest)


def _copy(source: Path, target: str, root: Path) -> None:
    # a symbolic link on the store must not lead out of it
    if not source.resolve().is_relative_to(root.resolve()):
        raise Failed(f"{source} leads out of its store")
    if not source.is_file():
        raise Failed(f"{source.relative_to(root)} is not on the store")
    run(["cp", "--sparse=always", "--reflink=auto", "--", str(source), target], COPYING)


def _download(url: str, target: str, size: int) -> None:
    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=60) as answer, open(target, "wb") as file:
            left = size or shutil.disk_usage(Path(target).parent).free // 2
            while chunk := answer.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise Failed(f"{url} is larger than registered")
                file.write(chunk)
    except OSError as error:
        raise Unavailable(f"{url} cannot be fetched by this host: {error}") from None
