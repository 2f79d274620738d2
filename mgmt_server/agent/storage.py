"""Pools, templates and disks. Everything appears under its name at once, whole: made aside, then renamed."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from mgmt_server.agent.config import Config, replace
from mgmt_server.agent.devices import is_remote
from mgmt_server.agent.images import (
    AS_THEY_ARE,
    FORMATS,
    Inspected,
    backing_of,
    information,
    inspect,
    to_qcow2,
    unpack_ova,
)
from mgmt_server.agent.places import (
    NAME,
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
from mgmt_server.agent.stores import COPYING, fetch, scratch
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.codec import build, dump, parse
from mgmt_server.protocol.machine import Disk, Image, Pool

CREATING = 120.0  # seconds
SECTOR = 512  # bytes; qemu-img counts in them
PART = re.compile(r"\.[0-9a-f]{8}\.part")
PREALLOCATION = {"sparse": "metadata", "fat": "falloc"}


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
            # one in the same place is of a host, or a pool, that the cloud removed: files there are the new one's now
            former = [
                p.uuid for p in self.pools.values() if (p.type, p.host, p.path) == (pool.type, pool.host, pool.path)
            ]
            for uuid in former:
                del self.pools[uuid]
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
        """Have the image in the pool; its name there. Formats that QEMU is slow with become qcow2."""
        if image.format not in FORMATS:
            raise Failed(f"images of the format {image.format} cannot be used on KVM: register {', '.join(FORMATS)}")
        suffix = "iso" if image.format == "ISO" else "raw" if image.format == "RAW" else "qcow2"
        name = safe_name(f"template-{image.uuid}.{suffix}")
        place = pool_place(self.config, pool)
        if place.size(name) is not None:
            return name
        with self.made_aside(place, name) as aside:
            if image.format in AS_THEY_ARE and isinstance(place, Directory):
                self.fetch_checked(image, place.where(aside))
            else:
                self._through_here(image, place, aside)
        return name

    def _through_here(self, image: Image, place: Place, aside: str) -> None:
        """Checked on this host's own disk before it goes to a pool that is no folder, or into another format."""
        with scratch(self.config) as local:
            found = self.fetch_checked(image, str(local))
            if image.format not in AS_THEY_ARE:
                with scratch(self.config) as disk:
                    if image.format == "OVA":
                        unpack_ova(str(local), disk, shutil.disk_usage(disk.parent).free // 2)
                        found = inspect(str(disk), "OVA")
                    to_qcow2(str(disk if image.format == "OVA" else local), found, place.where(aside))
            else:
                run(["nfs-cp", str(local), place.where(aside)], COPYING)

    def fetch_checked(self, image: Image, target: str) -> Inspected:
        """A file of secondary storage on this host: what it was registered as, and safe to open."""
        fetch(self.config, image, target)
        size = Path(target).stat().st_size
        if image.size and size != image.size:
            raise Failed(f"the image has {size} bytes on the store, and was registered with {image.size}")
        if image.format == "OVA":
            return Inspected("vmdk", 0)  # its disk is looked at once it is unpacked
        found = inspect(target, image.format)
        if image.virtual_size and found.virtual_size > -(-image.virtual_size // SECTOR) * SECTOR:
            raise Failed(f"the image has a virtual size of {found.virtual_size}, and was registered with less")
        return found

    @contextmanager
    def made_aside(self, place: Place, name: str) -> Iterator[str]:
        """The name under which to make a file; at the end it has its own, at once, in place of what had it."""
        for old in place.names(f"{safe_name(name)}."):
            if PART.fullmatch(old.removeprefix(name)):
                place.unlink(old)  # of a try that was killed
        aside = f"{name}.{uuid4().hex[:8]}.part"
        try:
            yield aside
            place.rename(aside, name)
        finally:
            place.unlink(aside)

    # --- disks ------------------------------------------------------------------------------------------------------

    def create_disk(self, disk: Disk) -> int:
        """Bytes that it takes now."""
        place = pool_place(self.config, disk.pool)
        there = place.size(disk.name)
        if there is None:
            with self.made_aside(place, disk.name) as aside:
                run(self._creating(place, disk, aside), CREATING)
            there = place.size(disk.name)
        return there[1] if there else 0

    def create_blank(self, disk: Disk, size: int) -> str:
        """An empty disk for something that copies into it while it runs: where it is. One that is there goes."""
        place = pool_place(self.config, disk.pool)
        with self.made_aside(place, disk.name) as aside:
            run(["qemu-img", "create", "-q", "-f", "qcow2", place.where(aside), str(size)], CREATING)
        return place.where(disk.name)

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
        elif disk.provisioning in PREALLOCATION:
            how = PREALLOCATION[disk.provisioning]
            # libnfs cannot reserve, only write
            argv += ["-o", f"preallocation={'full' if how == 'falloc' and not isinstance(place, Directory) else how}"]
        return [*argv, place.where(name), str(disk.size)]

    def delete_disk(self, disk: Disk) -> None:
        """With the notes of its machine's snapshots."""
        place = pool_place(self.config, disk.pool)
        for name in place.names(f"{safe_name(disk.name)}."):
            if name.endswith(".xml"):
                place.unlink(name)
        place.unlink(disk.name)

    def source(self, disk: Disk) -> str:
        """Where QEMU finds the disk: a path, or an nfs:// URL. Raises Failed when it is not there."""
        place = pool_place(self.config, disk.pool)
        if place.size(disk.name) is None:
            raise Failed(f"the disk {disk.name} is not in the pool {disk.pool.uuid}")
        return place.where(disk.name)

    def where(self, disk: Disk) -> str:
        """Where QEMU finds the disk if it is there."""
        return pool_place(self.config, disk.pool).where(disk.name)

    def backings(self, sources: Iterable[str]) -> dict[str, str]:
        """What disks on nfs:// stand on, which QEMU has to be told."""
        return {source: backing_of(source) for source in sources if is_remote(source)}

    def pool_of(self, source: str) -> tuple[str, str]:
        """(pool, name) of a file, both empty when it is in none of ours."""
        folder, _, name = source.rpartition("/")
        for pool in list(self.pools.values()):
            try:
                if NAME.fullmatch(name) and pool_place(self.config, pool, look=True).where("x") == f"{folder}/x":
                    return pool.uuid, name
            except (Failed, Unavailable):
                continue
        return "", ""

    def iso_source(self, iso: str, pool: Pool | None) -> str:
        """Where QEMU finds an ISO that was given as path or URL, or as a name in a pool."""
        if pool is not None:
            return self.source(Disk(iso, pool, 0))
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
