"""Disks that change: larger, elsewhere, or with another content. Disks in use are worked on through their machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import libvirt

from mgmt_server.agent.devices import disk_at, put_source, target_of
from mgmt_server.agent.guests import WATCH, Guests, text, tree
from mgmt_server.agent.images import backing_of, described, forget_changes
from mgmt_server.agent.places import Directory, pool_place
from mgmt_server.agent.run import run
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.stores import COPYING, scratch
from mgmt_server.agent.virt import told
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Disk, Image

SECTOR = 512


class Disks:
    def __init__(self, storage: Storage, guests: Guests) -> None:
        self.storage, self.guests = storage, guests
        self.config = storage.config

    def resize(self, disk: Disk, size: int, machine: str) -> int:
        size = -(-size // SECTOR) * SECTOR
        return self._resize_live(disk, size, machine) if machine else self._resize(self.storage.source(disk), size)

    def _resize_live(self, disk: Disk, size: int, machine: str) -> int:
        domain, element = self.guests.disk_of(machine, disk)
        device = target_of(element)
        with told():
            now = domain.blockInfo(device)[0]
            if size < now:
                raise Failed(f"the disk {disk.name} of {now} bytes can be made smaller only while {machine} is stopped")
            if size > now:
                domain.blockResize(device, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
            return int(domain.blockInfo(device)[0])

    @staticmethod
    def _resize(path: str, size: int) -> int:
        now = int(described(path)["virtual-size"])
        if size < now:
            # what is cut off may come back as zeros, which no bitmap knows of
            forget_changes(path)
            run(["qemu-img", "resize", "-q", "-f", "qcow2", "--shrink", path, str(size)], COPYING)
        elif size > now:
            run(["qemu-img", "resize", "-q", "-f", "qcow2", path, str(size)], COPYING)
        return size

    def copy(self, source: Disk, target: Disk) -> int:
        """Whole, unless both pools have the template that the disk stands on.

        Always anew: a file of that name may be what the disk left behind when it was in that pool before.
        """
        place = pool_place(self.config, target.pool)
        old = self.storage.source(source)
        below = backing_of(old).rpartition("/")[2]
        argv = ["qemu-img", "convert", "-q", "-f", "qcow2", "-O", "qcow2"]
        if below and below == target.backing and place.size(below) is not None:
            name = below if isinstance(place, Directory) else place.where(below)
            argv += ["-B", name, "-F", "qcow2" if below.endswith(".qcow2") else "raw"]
        with self.storage.made_aside(place, target.name) as aside:
            run([*argv, old, place.where(aside)], COPYING)
            if target.size > int(described(place.where(aside))["virtual-size"]):
                self._resize(place.where(aside), target.size)
        there = place.size(target.name)
        return there[1] if there else 0

    def delete(self, disk: Disk) -> None:
        """Raises Failed for a file that a machine of this host runs with: whoever wants it gone is mistaken."""
        user = self.guests.user_of(self.storage.where(disk))
        if user:
            raise Failed(f"{user} runs with the disk {disk.name} of the pool {disk.pool.uuid}: it is not deleted")
        self.storage.delete_disk(disk)

    # --- while the machine runs -------------------------------------------------------------------------------------

    def move(self, source: Disk, target: Disk, machine: str) -> None:
        """Copy into another pool and go on there. A copy that an earlier agent began is joined, or begun anew."""
        domain = self.guests.running(machine)
        old, new = self.storage.where(source), self.storage.where(target)
        root = tree(domain)
        if disk_at(root, new) is not None:
            return
        element = disk_at(root, old)
        if element is None:
            raise Failed(f"{machine} does not have the disk {source.name}")
        device = target_of(element)
        if element.find("mirror") is not None:
            self._end(domain, device, old)
        with told():
            self.storage.create_blank(target, int(domain.blockInfo(device)[0]))
            flags = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
            domain.blockCopy(device, text(_copied_to(new)), {}, flags)
        try:
            self._until_equal(domain, device)
            with told():
                domain.blockJobAbort(device, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
            if not _wait(60, lambda: disk_at(tree(domain), new) is not None):
                raise Failed(f"{machine} did not go over to the copy of its disk {source.name}")
        except Failed:
            if domain.isActive() and disk_at(tree(domain), new) is None:
                self._end(domain, device, old)
                if disk_at(tree(domain), old) is not None:  # else it went over while it was told to stay
                    pool_place(self.config, target.pool).unlink(target.name)
            raise

    def settle(self, source: Disk, target: Disk, machine: str) -> bool:
        """Whether the machine has its disk in the target, after all that was begun: in its lane, so after `move`.

        A copy that is still made is nobody's then, and ends. One that does not run any more is known by its definition:
        libvirt writes there what a disk went over to.
        """
        domain = self.guests.virt.free(machine)
        if domain is None:
            raise Failed(f"this host does not know {machine}")
        root, old = tree(domain), self.storage.where(source)
        if disk_at(root, self.storage.where(target)) is not None:
            return True
        element = disk_at(root, old)
        if element is None:
            raise Failed(f"{machine} does not have the disk {source.name}")
        if element.find("mirror") is not None:
            self._end(domain, target_of(element), old)
            return disk_at(tree(domain), self.storage.where(target)) is not None
        return False

    def _end(self, domain: Any, device: str, old: str) -> None:
        """No copy any more: the machine stays on the disk that it has."""
        with told((libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_INVALID_ARG)):
            domain.blockJobAbort(device, 0)

        def over() -> bool:
            element = disk_at(tree(domain), old)
            return element is None or element.find("mirror") is None

        if not _wait(60, over):
            raise Failed(f"{domain.name()}: the copying of its disk {device} does not end")

    @staticmethod
    def _until_equal(domain: Any, device: str) -> None:
        def equal() -> bool:
            with told():
                if not domain.isActive():
                    raise Failed(f"{domain.name()} stopped while its disk was copied")
                if not domain.blockJobInfo(device, 0):
                    raise Failed(f"{domain.name()}: the copying of {device} ended early; is the pool full?")
            mirror = tree(domain).find(f"devices/disk/target[@dev='{device}']/../mirror")
            return mirror is not None and mirror.get("ready") == "yes"

        if not _wait(COPYING, equal):
            raise Failed(f"{domain.name()} writes faster to {device} than it can be copied")

    # --- from secondary storage -------------------------------------------------------------------------------------

    def load(self, disk: Disk, chain: tuple[Image, ...]) -> int:
        """Each file is inspected by itself, then stands on the one before; the disk is one whole file."""
        if not chain:
            raise Failed("a disk is made of one file of secondary storage at least")
        place = pool_place(self.config, disk.pool)
        with ExitStack() as stack:
            top, format = "", ""
            for image in chain:
                if image.format == "OVA":
                    raise Failed("a disk cannot be made of an OVA: make a template of it")
                fetched = str(stack.enter_context(scratch(self.config)))
                found = self.storage.fetch_checked(image, fetched)
                if top:
                    if found.format != "qcow2":
                        raise Failed(f"{image.path} stands on another file, so it must be QCOW2")
                    run(["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", top, "-F", format, fetched])
                top, format = fetched, found.format
            with self.storage.made_aside(place, disk.name) as aside:
                argv = ["qemu-img", "convert", "-q", "-f", format, "-O", "qcow2", top, place.where(aside)]
                run(argv, COPYING)
                if disk.size > int(described(place.where(aside))["virtual-size"]):
                    self._resize(place.where(aside), -(-disk.size // SECTOR) * SECTOR)
        there = place.size(disk.name)
        return there[1] if there else 0


def _copied_to(path: str) -> Element:
    element = Element("disk", type="file", device="disk")
    SubElement(element, "driver", name="qemu", type="qcow2")
    put_source(element, path)
    return element


def _wait(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(WATCH)
    return True
