"""Machines that go from one host to another while they run. libvirt talks to libvirt, both with their certificates.

Whatever breaks in between, the machine runs on one of the two: a repeat looks on both, and tells where.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

import libvirt

from mgmt_server.agent.devices import disk_at, disk_elements, is_remote, nic_with, put_source, source_of, target_of
from mgmt_server.agent.guests import WATCH, Guests, text, tree
from mgmt_server.agent.places import Remote, pool_place
from mgmt_server.agent.saving import forget_notes
from mgmt_server.agent.snapshots import localise
from mgmt_server.agent.virt import told, undefine
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import Machine, MachineState, Move

log = logging.getLogger(__name__)

LONGEST = 7000.0  # seconds, where nobody says how many
ARRIVAL = 30.0  # seconds from the end of a migration to a machine that runs there
XML = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE


@dataclass(frozen=True)
class Ready:
    """What a host has prepared for a machine that comes to it. Lists stand in the order of the machine's own."""

    address: str
    disks: tuple[str, ...]
    bridges: tuple[str, ...]
    console_log: str
    vnc_listen: str
    iso: str = ""
    backings: dict[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"qemu+tls://{host}/system"


@dataclass(frozen=True)
class Manner:
    """How a machine moves: within how many seconds, and whether it is slowed down where it changes too fast."""

    seconds: float = LONGEST
    converge: bool = False


class Migration:
    def __init__(self, guests: Guests, address: str) -> None:
        self.guests, self.address = guests, address
        self.virt, self.storage, self.network = guests.virt, guests.storage, guests.network

    # --- the host to which it goes ----------------------------------------------------------------------------------

    def receive(self, machine: Machine, moves: tuple[Move, ...], console_log: str, listen: str) -> Ready:
        here = self._here(machine)
        if not here:
            with told():
                self.virt.own(machine.name, machine.uuid)
        new = {m.target.name: m.target for m in moves}
        disks = []
        for disk in machine.disks:
            if disk.name in new and not here:
                disks.append(self.storage.create_blank(new[disk.name], disk.size))
            else:
                disks.append(self.storage.source(disk))
        bridges = self.network.hold(machine.name, machine.nics)
        iso = self.storage.iso_source(machine.iso, machine.iso_pool) if machine.iso else ""
        backings = self.storage.backings(d for d in disks if d.rpartition("/")[2] not in new)
        return Ready(self.address, tuple(disks), tuple(bridges), console_log, listen, iso, backings)

    def unreceive(self, machine: Machine, moves: tuple[Move, ...]) -> bool:
        """It did not come: nothing of it stays here. False, and nothing done, where it runs here after all."""
        if self._here(machine):
            return False
        domain = self.virt.mended(machine.name)
        if domain is not None and domain.UUIDString() == machine.uuid:
            with told((libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)):
                if domain.isActive():
                    domain.destroy()
                undefine(domain)
        self.network.release(machine.name)
        for move in moves:
            pool_place(self.storage.config, move.target.pool).unlink(move.target.name)
        return True

    def received(self, machine: Machine) -> MachineState:
        end = time.monotonic() + ARRIVAL
        while not self._here(machine):
            if time.monotonic() >= end:
                raise Failed(f"{machine.name} has not arrived on this host")
            time.sleep(WATCH)
        self.network.release(machine.name)
        return self.virt.state(machine.name)

    def _here(self, machine: Machine) -> bool:
        """Whether it is here, and not only on its way."""
        domain = self.virt.find(machine.name)
        if domain is None or domain.UUIDString() != machine.uuid or not domain.isActive():
            return False
        return _settled(domain)

    # --- the host that it leaves ------------------------------------------------------------------------------------

    def migrate(
        self,
        machine: Machine,
        moves: tuple[Move, ...],
        target: Ready,
        how: Manner = Manner(),  # noqa: B008  frozen
    ) -> None:
        domain = self.virt.free(machine.name)
        if domain is None or domain.UUIDString() != machine.uuid or not domain.isActive():
            self._left(machine, target)
            return
        if _busy(domain):
            self._join(domain)
            if not self._still_here(machine):
                self._left(machine, target)
                return
        forget_notes(domain)
        try:
            self._go(domain, machine, moves, target, how)
        except libvirt.libvirtError as error:
            if self._still_here(machine):
                raise Failed(f"{machine.name} stays on this host: {error}{_advice(error, target)}") from None
            if not self._there(machine, target):
                raise Failed(f"{machine.name} runs neither here nor on {target.address}: {error}") from None
            log.warning("%s is on %s, though libvirt said: %s", machine.name, target.address, error)
        self._gone(machine)

    def _go(self, domain: Any, machine: Machine, moves: tuple[Move, ...], target: Ready, how: Manner) -> None:
        flags = (
            libvirt.VIR_MIGRATE_LIVE
            | libvirt.VIR_MIGRATE_PEER2PEER
            | libvirt.VIR_MIGRATE_TLS
            | libvirt.VIR_MIGRATE_PERSIST_DEST
            | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
        )
        if how.converge:
            flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
        root = tree(domain, XML)
        old = self._old_places(machine, moves)
        moved = [target_of(d) for d in disk_elements(root) if source_of(d) in {old[m.target.name] for m in moves}]
        if len(moved) < len(moves):
            raise Failed(f"{machine.name} does not have all the disks that are to move with it")
        staying = [source_of(d) for d in disk_elements(root) if target_of(d) not in moved]
        # libvirt cannot know that a file is shared which QEMU reaches by itself, or which is in a test bed's folder
        if self.storage.config.unsafe_migration or (staying and all(is_remote(s) for s in staying)):
            flags |= libvirt.VIR_MIGRATE_UNSAFE
        host = f"[{target.address}]" if ":" in target.address else target.address
        there = text(self._as_there(root, machine, old, target))
        parameters: dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: there,
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: there,
            libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{host}",
        }
        if moved:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
            parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = moved
        self._lengthen(domain, machine, moves)
        late = threading.Timer(how.seconds, _give_up, (domain,))
        late.daemon = True
        late.start()
        try:
            domain.migrateToURI3(target.uri, parameters, flags)
        finally:
            late.cancel()

    def _lengthen(self, domain: Any, machine: Machine, moves: tuple[Move, ...]) -> None:
        moved = {m.target.name for m in moves}
        for disk in machine.disks:
            place = pool_place(self.storage.config, disk.pool)
            if disk.name not in moved and isinstance(place, Remote):
                element = disk_at(tree(domain), place.where(disk.name))
                if element is not None:
                    place.lengthen(disk.name, int(domain.blockInfo(target_of(element))[0]))

    def _old_places(self, machine: Machine, moves: tuple[Move, ...]) -> dict[str, str]:
        """Name that a disk will have -> where it is now."""
        sources = {m.target.name: m.source for m in moves}
        return {d.name: self.storage.where(sources.get(d.name, d)) for d in machine.disks}

    @staticmethod
    def _as_there(root: Element, machine: Machine, old: dict[str, str], target: Ready) -> Element:
        for disk, path in zip(machine.disks, target.disks, strict=True):
            for element in disk_elements(root):
                if source_of(element) == old[disk.name]:
                    put_source(element, path, target.backings.get(path, ""))
                    break
        drive = root.find("devices/disk[@device='cdrom']")
        if drive is not None and source_of(drive):
            put_source(drive, target.iso)
        for nic, bridge in zip(machine.nics, target.bridges, strict=True):
            found = nic_with(root, nic.mac)
            source = found.find("source") if found is not None else None
            if source is not None:
                source.set("bridge", bridge)
        localise(root, target.console_log, target.vnc_listen)
        return root

    def _left(self, machine: Machine, target: Ready) -> None:
        """It is not here: fine where it went to the target, and whoever asked did not hear of it."""
        if not self._there(machine, target):
            raise Failed(f"{machine.name} runs neither on this host nor on {target.address}")
        self._gone(machine)

    def _join(self, domain: Any) -> None:
        """A migration that an earlier agent of this host began goes on in libvirtd: see it through."""
        end = time.monotonic() + LONGEST
        while _busy(domain):
            if time.monotonic() >= end:
                raise Failed(f"{domain.name()} is busy with something else")
            time.sleep(WATCH)

    def _still_here(self, machine: Machine) -> bool:
        domain = self.virt.find(machine.name)
        return domain is not None and domain.UUIDString() == machine.uuid and bool(domain.isActive())

    @staticmethod
    def _there(machine: Machine, target: Ready) -> bool:
        try:
            connection = libvirt.open(target.uri)
        except libvirt.libvirtError as error:
            raise Unavailable(f"the libvirt of {target.address} does not answer this host: {error}") from None
        try:
            domain = connection.lookupByUUIDString(machine.uuid)
            return bool(domain.isActive()) and _settled(domain)
        except libvirt.libvirtError:
            return False
        finally:
            connection.close()

    def _gone(self, machine: Machine) -> None:
        """A definition that stayed would be a second machine of that name."""
        domain = self.virt.find(machine.name)
        if domain is not None and domain.UUIDString() == machine.uuid and not domain.isActive():
            with told((libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)):
                undefine(domain)


def _give_up(domain: Any) -> None:
    with told((libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)):  # it has just gone, or come to its end
        domain.abortJob()


def _advice(error: libvirt.libvirtError, target: Ready) -> str:
    if error.get_error_domain() == libvirt.VIR_FROM_RPC:
        return (
            f". The two hosts' libvirts lost each other: see whether TCP port 16514 of {target.address} can be reached"
            " from here all the time, and `journalctl -u libvirtd` on both hosts"
        )
    if error.get_error_code() == libvirt.VIR_ERR_MIGRATE_UNSAFE:
        return ". Where both hosts have the same files, and libvirt cannot know, set unsafe_migration in agent.toml"
    return ""


def _busy(domain: Any) -> bool:
    try:
        return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)
    except libvirt.libvirtError:
        return False  # it has gone


def _settled(domain: Any) -> bool:
    """Whether it is a machine of that host, and not one whose memory is still coming."""
    try:
        state, reason = domain.state()[:2]
    except libvirt.libvirtError:
        return False
    paused = state == libvirt.VIR_DOMAIN_PAUSED
    return not (paused and reason in (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP))
