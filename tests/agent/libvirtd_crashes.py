"""libvirtd killed -9 at what it does to a guest, and started again. Part of crashes.py.

It has no part in a template's copy, nor in the making of disks: the agent does those with files alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import real_host
from conftest import eventually

from mgmt_server.errors import Unavailable
from mgmt_server.protocol.machine import File, Machine

if TYPE_CHECKING:
    from crashes import Crashes
    from daemon import Daemon

STARTS = ("defineXML before", "defineXML after", "create before", "create after")
# what the agent asks for, and when libvirtd dies: before, amid or after
SAVES = ("query-block before", "backupBegin before", "backupBegin amid", "backupBegin after", "jobStats before")
SAVES += ("listAllCheckpoints before", "listAllCheckpoints after")
SINCE = ("checkpointCreateXML before", "checkpointCreateXML after", "backupBegin amid", "backupBegin after")
KEEPS = ("snapshotCreateXML before", "snapshotCreateXML amid", "snapshotCreateXML after", "getXMLDesc after")
KEEPS += ("delete after",)
GOES = ("blockdev-snapshot-delete-internal-sync before", "blockdev-snapshot-delete-internal-sync after")
DISKS_ONLY = ("transaction before", "transaction after")
RESIZES = ("blockInfo before", "blockResize before", "blockResize after")
FORGETS = ("block-dirty-bitmap-remove before", "block-dirty-bitmap-remove after")


class LibvirtdCrashes:
    def __init__(self, crashes: Crashes, machine: Machine, daemon: Daemon) -> None:
        self.crashes, self.story, self.machine, self.daemon = crashes, crashes.story, machine, daemon
        self.host, self.name, self.disk = self.story.host, machine.name, machine.disks[1]
        self.pool = self.story.folder / "pool"
        self.pid = 0

    def all(self) -> None:
        for disk in self.machine.disks:
            self.story.disks.create_disk(uuid4(), self.host, disk)
        real_host.sh("qemu-io", "-c", "write -P 0x5a 0 1M", str(self.pool / self.disk.name))
        self.starts()
        self.saves()
        self.keeps()
        self.resizes()
        self.ends()

    def survives(self, command: str, moment: str, ask: Callable[[Any], Any]) -> Any:
        """What is answered although libvirtd dies there once: at once, or when it is asked again with the same id."""
        file, call, began = self.crashes.keeper.file, uuid4(), time.monotonic()
        before = self.daemon.process
        file.write_text(f"libvirtd {moment}")
        said = "ended as asked"
        try:
            answer = ask(call)
        except Unavailable as error:
            assert "libvirt" in str(error), error
            said = str(error)
            answer = eventually(lambda: self._again(lambda: [ask(call)]), 60)[0]
        assert not file.exists() and before.wait(10) == -9, (command, moment)
        print(f"{command}, libvirtd killed {moment}: {said}; {time.monotonic() - began:.1f} s", flush=True)
        self.sound()
        return answer

    @staticmethod
    def _again(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Unavailable as error:
            assert "libvirt" in str(error), error
            return None

    def sound(self) -> None:
        """The guest runs on, libvirt is at nothing and notes nothing, and nothing lies about."""
        eventually(lambda: self.crashes._quietly(self.crashes.states) == {self.name: "Running"}, 30)
        assert self.crashes.pid(self.machine) == (self.pid or self.crashes.pid(self.machine)), "it was started anew"
        virsh = self.crashes.virsh
        assert virsh("domjobinfo", self.name).split() == ["Job", "type:", "None"]
        assert not virsh("checkpoint-list", self.name, "--name").strip(), "a note would keep it from migrating"
        assert not virsh("snapshot-list", self.name, "--name").strip(), "a note would keep it from migrating"
        assert self.asked("query-status")["status"] == "running", "it is left paused"
        assert self.asked("query-block-jobs") == []
        nodes = [n["file"] for n in self.asked("query-named-block-nodes")]
        assert not [n for n in nodes if "/snapshots/" in n], "QEMU holds a file that is gone"
        sources = [line.split()[1] for line in virsh("domblklist", self.name).splitlines() if "/pool/" in line]
        assert sources == [str(self.pool / d.name) for d in self.machine.disks], "a disk stands on another file"
        assert not list((self.story.folder / "store").rglob("*.part"))

    def asked(self, command: str) -> Any:
        told = self.crashes.virsh("qemu-monitor-command", self.name, json.dumps({"execute": command}))
        return json.loads(told)["return"]

    def bitmaps(self) -> list[str]:
        """Points that the disk follows, as QEMU has them."""
        found = [b["inserted"] for b in self.asked("query-block") if b.get("inserted")]
        mine = next(i for i in found if i["file"] == str(self.pool / self.disk.name))
        return sorted(b["name"] for b in mine.get("dirty-bitmaps", ()))

    def starts(self) -> None:
        for moment in STARTS:
            if self.pid:
                self.story.kvm.stop(uuid4(), self.host, self.name, True)
                self.pid = 0
            self.survives("start", moment, lambda c: self.story.kvm.start(c, self.host, self.machine))
            self.pid = self.crashes.pid(self.machine)

    def saves(self) -> None:
        """A disk's snapshots: whole, then since the one before; each point stands, and none but those."""
        since = ""
        for kind, moments in (("whole", SAVES), ("since", SINCE)):
            for number, moment in enumerate(moments):
                point = f"{kind}-{number}"
                if kind == "whole":
                    since = ""
                file = File(self.crashes.store, f"snapshots/{point}.qcow2")
                asked = (self.host, self.disk, self.name, file, since, point)
                saved = self.survives("save_disk", moment, lambda c, a=asked: self.story.disks.save_disk(c, *a))
                there = self.story.folder / "store" / file.path
                assert saved.physical_size == there.stat().st_size
                assert self.bitmaps() == sorted(p for p in (since, point) if p), self.bitmaps()
                assert saved.whole == (kind == "whole"), "all is saved again although the disk knows what changed"
                if saved.whole:
                    real_host.sh("qemu-img", "compare", "-U", str(self.pool / self.disk.name), str(there))
                old = since if kind == "since" else point if number < len(moments) - 1 else ""
                if old:
                    self.story.disks.forget_point(uuid4(), self.host, self.disk, self.name, old)
                since = point
        self.forgets(since)

    def forgets(self, point: str) -> None:
        """A point goes, and is followed anew in between."""
        file = File(self.crashes.store, "snapshots/again.qcow2")
        asked = (self.host, self.disk, self.name)
        for moment in FORGETS:
            assert self.bitmaps() == [point]
            self.survives("forget_point", moment, lambda c: self.story.disks.forget_point(c, *asked, point))
            assert self.bitmaps() == []
            self.story.disks.save_disk(uuid4(), *asked, file, "", point)
        self.story.disks.forget_point(uuid4(), *asked, point)

    def keeps(self) -> None:
        """The machine's own snapshots, with memory and without."""
        kvm = self.story.kvm
        for memory, moments in ((True, KEEPS), (False, DISKS_ONLY)):
            for number, moment in enumerate(moments):
                point = f"{'memory' if memory else 'disks'}-{number}"
                asked = (self.host, self.name, point, memory)
                self.survives("snapshot", moment, lambda c, a=asked: kvm.snapshot(c, *a))
                self.held([point])
                notes = [p.name for p in self.pool.glob(f"*.{point}.xml")]
                assert notes == ([f"{self.machine.disks[0].name}.{point}.xml"] if memory else [])
                going = GOES[number % len(GOES)]
                self.survives(
                    "delete_snapshot", going, lambda c, p=point: kvm.delete_snapshot(c, self.host, self.name, p)
                )
                self.held([])
                assert not list(self.pool.glob("*.xml*"))

    def held(self, points: list[str]) -> None:
        for disk in self.machine.disks:
            assert self.crashes.points(str(self.pool / disk.name)) == points, disk.name

    def resizes(self) -> None:
        size = 16 << 20
        for moment in RESIZES:
            size += 4 << 20
            asked = (self.host, self.disk, size, self.name)
            assert self.survives("resize_disk", moment, lambda c, a=asked: self.story.disks.resize_disk(c, *a)) == size
            assert str(size) in self.crashes.virsh("domblkinfo", self.name, str(self.pool / self.disk.name))

    def ends(self) -> None:
        """Its data is what it was, and the files are whole."""
        kvm = self.story.kvm
        kvm.stop(uuid4(), self.host, self.name, True)
        kvm.forget(uuid4(), self.host, self.name)
        for disk in self.machine.disks:
            real_host.sh("qemu-img", "check", "-q", str(self.pool / disk.name))
        said = real_host.sh("qemu-io", "-r", "-c", "read -P 0x5a 0 1M", str(self.pool / self.disk.name))
        assert "verification failed" not in said, said
        for disk in self.machine.disks:
            self.story.disks.delete_disk(uuid4(), self.host, disk)
