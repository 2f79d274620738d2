"""Disks copied to secondary storage as they are at one moment, also of machines that run; and what changed since.

A moment is a persistent bitmap in the disk's file, under the name that the server gave it. libvirt's own note of it is
made anew where it is needed, so that it also holds after a migration, a stop, and on another host.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import libvirt

from mgmt_server.agent.devices import disk_elements, target_of
from mgmt_server.agent.guests import WATCH, Guests, monitor, node_of, text, tree
from mgmt_server.agent.images import bitmaps, described, snapshots
from mgmt_server.agent.places import safe_name
from mgmt_server.agent.run import run
from mgmt_server.agent.storage import Storage
from mgmt_server.agent.stores import COPYING, appearing
from mgmt_server.agent.virt import told
from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Disk, File, Saved

ENDING = 60.0  # seconds for QEMU to end what it is at
FORMATS = {"QCOW2": "qcow2", "RAW": "raw"}


class Saving:
    def __init__(self, storage: Storage, guests: Guests) -> None:
        self.storage, self.guests = storage, guests

    def save(self, disk: Disk, machine: str, file: File, since: str, point: str) -> Saved:
        if file.format not in FORMATS:
            raise Failed(f"a disk is saved as {' or '.join(FORMATS)}, not as {file.format}")
        for name in (since, point):
            if name:
                safe_name(name)
        if file.format != "QCOW2":
            since = ""
        with appearing(self.storage.config, file) as (local, told_):
            if machine:
                size, whole = self._running(disk, machine, local, FORMATS[file.format], since, point)
            else:
                size, whole = self._stopped(disk, local, FORMATS[file.format], point), True
        return Saved(size, told_["size"], whole, point)

    def save_point(self, disk: Disk, file: File, point: str) -> Saved:
        """What a snapshot within the disk holds. Nobody writes to that, even while the machine runs on."""
        path = self.storage.source(disk)
        if safe_name(point) not in snapshots(path):
            raise Failed(f"the disk {disk.name} has no snapshot {point}")
        with appearing(self.storage.config, file) as (local, told_):
            argv = ["qemu-img", "convert", "-q", "-U", "-f", "qcow2", "-l", f"snapshot.name={point}"]
            run([*argv, "-O", FORMATS["QCOW2"], path, local], COPYING)
            size = int(described(local)["virtual-size"])
        return Saved(size, told_["size"])

    def _stopped(self, disk: Disk, local: str, format: str, point: str) -> int:
        path = self.storage.source(disk)
        run(["qemu-img", "convert", "-q", "-f", "qcow2", "-O", format, path, local], COPYING)
        if point:
            self._forget_stopped(path, point)
            run(["qemu-img", "bitmap", "--add", "-f", "qcow2", path, point])
        return int(described(path)["virtual-size"])

    def _running(self, disk: Disk, machine: str, local: str, format: str, since: str, point: str) -> tuple[int, bool]:
        domain, element = self.guests.disk_of(machine, disk)
        self._end_old(domain)
        node, known = node_of(domain, element)
        # of a try that was killed: what it saved is gone. The other one is libvirt's own for as long as it saves
        for name in {point, f"backup-{target_of(element)}"}.intersection(known):
            monitor(domain, "block-dirty-bitmap-remove", node=node, name=name)
        known = [name for name in known if name != point]
        whole = not (since in known and self._told_of(domain, element, since))
        device = target_of(element)
        backup = _backup(domain, device, local, format, "" if whole else since)
        with told():
            domain.backupBegin(backup, _checkpoint(domain, device, point) if point else None, 0)
            size = int(domain.blockInfo(device)[0])
        try:
            self._until_done(domain)
            if not whole:
                # libvirt has it stand on the running disk, which it does not: on the store it follows another file
                run(["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", "", local])
        except Failed:
            if point and domain.isActive():
                self._forget_running(domain, element, point)
            raise
        finally:
            forget_notes(domain)
        return size, whole

    @staticmethod
    def _told_of(domain: Any, element: Element, since: str) -> bool:
        """Have libvirt know of a moment that the disk has noted; whether the note can be used."""
        note = Element("domaincheckpoint")
        SubElement(note, "name").text = since
        SubElement(note, "creationTime").text = str(int(time.time()))
        disks = SubElement(note, "disks")
        for each in disk_elements(tree(domain)):
            mine = target_of(each) == target_of(element)
            how = {"checkpoint": "bitmap", "bitmap": since} if mine else {"checkpoint": "no"}
            SubElement(disks, "disk", name=target_of(each), **how)
        note.append(tree(domain))
        flags = libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
        try:
            domain.checkpointCreateXML(text(note), flags | libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE)
        except libvirt.libvirtError:
            return False  # the machine was cut off from its power: the bitmap knows only a part
        return True

    def _end_old(self, domain: Any) -> None:
        """A save that went on without the agent which began it has nowhere to go."""
        with told():
            if domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                try:
                    domain.backupGetXMLDesc()
                except libvirt.libvirtError:
                    raise Failed(f"{domain.name()} is busy with something else; try again") from None
                domain.abortJob()
                while domain.isActive() and domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                    time.sleep(WATCH)
        self._end_unknown(domain)
        forget_notes(domain)

    def _end_unknown(self, domain: Any) -> None:
        """libvirt died before it wrote down that QEMU saves a disk, or with which files: it adds those anew."""
        end = time.monotonic() + ENDING
        while jobs := [j for j in monitor(domain, "query-jobs") if j["type"] == "backup"]:
            if time.monotonic() >= end:
                raise Failed(f"{domain.name()}: the saving of its disk does not end")
            for job in jobs:
                with suppress(Failed):  # it went on meanwhile
                    command = "job-dismiss" if job["status"] == "concluded" else "job-cancel"
                    monitor(domain, command, id=job["id"])
            time.sleep(WATCH)
        nodes = [n for n in monitor(domain, "query-named-block-nodes") if self._written_to(n["file"])]
        for node in sorted(nodes, key=lambda n: str(n["drv"]) == "file"):  # the file itself is used by the other
            monitor(domain, "blockdev-del", **{"node-name": node["node-name"]})

    def _written_to(self, path: str) -> bool:
        """Whether it is a file that `appearing` told to write to."""
        file = Path(path)
        return file.match(".*.part") or file.parent == self.storage.config.state / "scratch"

    @staticmethod
    def _until_done(domain: Any) -> None:
        end = time.monotonic() + COPYING
        with told():
            while domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                if time.monotonic() >= end:
                    domain.abortJob()
                    raise Failed(f"{domain.name()}: its disk was not saved within {COPYING:g} s")
                time.sleep(WATCH)
            if not domain.isActive():
                raise Failed(f"{domain.name()} stopped while its disk was saved")
            how = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        if not how.get("success", True) or how.get("type") not in (None, libvirt.VIR_DOMAIN_JOB_COMPLETED):
            raise Failed(f"{domain.name()}: its disk could not be saved: {how.get('errmsg') or 'is the store full?'}")

    # --- moments ----------------------------------------------------------------------------------------------------

    def forget(self, disk: Disk, machine: str, point: str) -> None:
        safe_name(point)
        if machine:
            domain, element = self.guests.disk_of(machine, disk)
            with told():
                idle = domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE
            if idle:
                self._end_unknown(domain)
            self._forget_running(domain, element, point)
        else:
            try:
                path = self.storage.source(disk)
            except Failed:
                return  # with its disk
            self._forget_stopped(path, point)

    @staticmethod
    def _forget_running(domain: Any, element: Element, point: str) -> None:
        node, known = node_of(domain, element)
        if point in known:
            monitor(domain, "block-dirty-bitmap-remove", node=node, name=point)

    @staticmethod
    def _forget_stopped(path: str, point: str) -> None:
        if point in bitmaps(path):
            run(["qemu-img", "bitmap", "--remove", "-f", "qcow2", path, point])


def forget_notes(domain: Any) -> None:
    """Only libvirt's notes: they would keep a machine from migrating. The bitmaps stay."""
    try:
        for each in domain.listAllCheckpoints():
            each.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
    except libvirt.libvirtError as error:
        if domain.isActive():
            raise Failed(f"{domain.name()}: {error}") from None


def _backup(domain: Any, device: str, local: str, format: str, since: str) -> str:
    root = Element("domainbackup", mode="push")
    if since:
        SubElement(root, "incremental").text = since
    disks = SubElement(root, "disks")
    for each in disk_elements(tree(domain)):
        if target_of(each) != device:
            SubElement(disks, "disk", name=target_of(each), backup="no")
            continue
        mine = SubElement(disks, "disk", name=device, backup="yes", type="file")
        SubElement(mine, "driver", type=format)
        SubElement(mine, "target", file=local)
    return text(root)


def _checkpoint(domain: Any, device: str, point: str) -> str:
    root = Element("domaincheckpoint")
    SubElement(root, "name").text = point
    disks = SubElement(root, "disks")
    for each in disk_elements(tree(domain)):
        mine = target_of(each) == device
        SubElement(disks, "disk", name=target_of(each), checkpoint="bitmap" if mine else "no")
    return text(root)
