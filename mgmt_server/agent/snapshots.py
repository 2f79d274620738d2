"""Snapshots of whole machines, within the files of their disks.

libvirt's own notes of them would keep a machine from migrating, and stay behind on the host where it was. They are
made anew where they are needed, of a file beside the root disk.
"""

from __future__ import annotations

import time
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import libvirt

from mgmt_server.agent.devices import disk_elements, nic_with, put_source, source_of
from mgmt_server.agent.domain import VNC_PASSWORD
from mgmt_server.agent.guests import Guests, monitor, node_of, text, tree
from mgmt_server.agent.images import forget_changes, snapshots
from mgmt_server.agent.places import Place, pool_place, safe_name
from mgmt_server.agent.run import run
from mgmt_server.agent.saving import forget_notes
from mgmt_server.agent.virt import told, undefine
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Machine, MachineState

APPLYING = 600.0  # seconds
NOTE = 1 << 20  # bytes of a note at most


class Snapshots:
    def __init__(self, guests: Guests) -> None:
        self.guests, self.storage = guests, guests.storage

    def take(self, name: str, point: str, memory: bool) -> None:
        safe_name(point)
        domain = self._known(name)
        disks = disk_elements(tree(domain))
        paths = [source_of(d) for d in disks]
        there = [p for p in paths if point in snapshots(p)]
        running = bool(domain.isActive())
        self._forget_note(domain, point)
        if len(there) == len(paths) and (not (running and memory) or self._noted(paths[0], point)):
            return
        self._delete(domain, point, running)  # what is left of a try that was killed
        if not running:
            self._take_stopped(paths, point)
        elif memory:
            self._take_with_memory(domain, paths, point)
        else:
            nodes = [node_of(domain, d)[0] for d in disks]
            data = [{"device": node, "name": point} for node in nodes]
            actions = [{"type": "blockdev-snapshot-internal-sync", "data": d} for d in data]
            monitor(domain, "transaction", actions=actions)

    def _take_with_memory(self, domain: Any, paths: list[str], point: str) -> None:
        forget_notes(domain)
        root = Element("domainsnapshot")
        SubElement(root, "name").text = point
        SubElement(root, "memory", snapshot="internal")
        with told():
            made = domain.snapshotCreateXML(text(root), 0)
            try:
                note = made.getXMLDesc(0)  # without the password of its screen
                place, file = self._note_of(paths[0], point)
                with self.storage.made_aside(place, file) as aside:
                    place.write(aside, note.encode())
            except (libvirt.libvirtError, OSError, Failed) as error:
                made.delete(0)  # without its note there is no way back to it
                raise Failed(f"the snapshot could not be noted beside its disk: {error}") from None
            made.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)

    @staticmethod
    def _forget_note(domain: Any, point: str) -> None:
        """libvirt's own, which stays where it or the agent died too early to take it away."""
        with told():
            for note in domain.listAllSnapshots():
                if note.getName() == point:
                    note.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)

    @staticmethod
    def _take_stopped(paths: list[str], point: str) -> None:
        try:
            for path in paths:
                run(["qemu-img", "snapshot", "-q", "-c", point, path], APPLYING)
        except Failed:
            for path in paths:
                if point in snapshots(path):
                    run(["qemu-img", "snapshot", "-q", "-d", point, path], APPLYING)
            raise

    def delete(self, name: str, point: str) -> None:
        safe_name(point)
        domain = self._known(name)
        self._delete(domain, point, bool(domain.isActive()))

    def _delete(self, domain: Any, point: str, running: bool) -> None:
        self._forget_note(domain, point)
        disks = disk_elements(tree(domain))
        for element in disks:
            path = source_of(element)
            if point not in snapshots(path):
                continue
            if running:
                node = node_of(domain, element)[0]
                monitor(domain, "blockdev-snapshot-delete-internal-sync", device=node, name=point)
            else:
                run(["qemu-img", "snapshot", "-q", "-d", point, path], APPLYING)
        if disks:
            place, file = self._note_of(source_of(disks[0]), point)
            place.unlink(file)

    def revert(self, machine: Machine, point: str, console_log: str, listen: str) -> MachineState:
        """Running as it was then where its memory was kept, else stopped with its disks as they were."""
        paths = [self.storage.source(d) for d in machine.disks]
        held = [snapshots(p).get(point) for p in paths]
        if not held or held[0] is None:
            raise Failed(f"{machine.name} has no snapshot {point} in its root disk")
        note = None
        if any(held):
            place = pool_place(self.storage.config, machine.disks[0].pool)
            note = place.read(f"{machine.disks[0].name}.{point}.xml", NOTE)
            if not note:
                raise Failed(f"what {machine.name} was like at {point} is not noted beside its root disk any more")
        self.guests.virt.stop(machine.name, forced=True, grace=0)
        for path, size in zip(paths, held, strict=True):
            if size is not None:
                forget_changes(path)
        if note is None:
            for path, size in zip(paths, held, strict=True):
                if size is not None:
                    run(["qemu-img", "snapshot", "-q", "-a", point, path], APPLYING)
            return MachineState(machine.name, machine.uuid, "Stopped")
        with self.guests.network.bridges(machine.nics) as bridges:
            return self._resume(machine, self._here(machine, note, paths, bridges, console_log, listen))

    def _resume(self, machine: Machine, note: Element) -> MachineState:
        virt = self.guests.virt
        with told():
            domain = virt.mended(machine.name)
            if domain is not None:
                undefine(domain)
            was = note.find("domain")
            if was is None:
                raise Failed(f"{machine.name}: the note of its snapshot is no note")
            domain = virt.connection().defineXML(text(was))
            made = domain.snapshotCreateXML(text(note), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
            try:
                domain.revertToSnapshot(made, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING)
            finally:
                made.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)
        return virt.state(machine.name)

    def _here(
        self, machine: Machine, note: bytes, paths: list[str], bridges: list[str], console_log: str, listen: str
    ) -> Element:
        """The note with the paths and bridges of this host: it may have been written on another."""
        root = ElementTree.fromstring(note)  # noqa: S314  libvirt's own, from a pool that only hosts write to
        if root.find("creationTime") is None:
            SubElement(root, "creationTime").text = str(int(time.time()))
        backings = self.storage.backings(paths)
        for domain in (*root.iterfind("domain"), *root.iterfind("inactiveDomain")):
            for disk, path in zip(machine.disks, paths, strict=True):
                for element in disk_elements(domain):
                    if source_of(element).rpartition("/")[2] == disk.name:
                        put_source(element, path, backings.get(path, ""))
            for nic, bridge in zip(machine.nics, bridges, strict=True):
                found = nic_with(domain, nic.mac)
                source = found.find("source") if found is not None else None
                if source is not None:
                    source.set("bridge", bridge)
            localise(domain, console_log, listen)
            for graphics in domain.iterfind("devices/graphics"):
                if machine.vnc_password:
                    graphics.set("passwd", machine.vnc_password[:VNC_PASSWORD])
        return root

    def _known(self, name: str) -> Any:
        domain = self.guests.virt.free(name)
        if domain is None:
            raise Failed(f"{name} is not known on this host: start it here once")
        return domain

    def _noted(self, path: str, point: str) -> bool:
        place, file = self._note_of(path, point)
        return place.size(file) is not None

    def _note_of(self, path: str, point: str) -> tuple[Place, str]:
        uuid, name = self.storage.pool_of(path)
        if not uuid:
            raise Failed(f"{path} is in no pool of this host")
        return pool_place(self.storage.config, self.storage.pools[uuid]), f"{name}.{point}.xml"


def localise(domain: Element, console_log: str, listen: str) -> None:
    """Where a machine's serial console goes and its screen is shown: each host has its own."""
    for element in (*domain.iterfind("devices/serial/source"), *domain.iterfind("devices/console/source")):
        if element.get("path") is not None:
            element.set("path", console_log)
    for graphics in domain.iterfind("devices/graphics"):
        graphics.set("listen", listen)
        for inner in graphics.iterfind("listen"):
            if inner.get("address") is not None:
                inner.set("address", listen)
