"""Run by test_crash.py as real_host.py is by test_guests.py: the agent dies at boundaries of what it is told, libvirtd
dies under it, and each comes again as systemd has it.

Usage: python crashes.py FOLDER [BOUNDARY ...]; the boundary libvirtd is what libvirtd_crashes.py tells.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import real_host
from conftest import eventually
from daemon import Daemon, have_systemctl
from libvirtd_crashes import LibvirtdCrashes

from mgmt_server.errors import Failed, Unavailable
from mgmt_server.protocol.machine import Disk, File, Image, Machine, Store


class Keeper(threading.Thread):
    """Has the agent run again when it died; notes how it ended."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.file, self.ends = folder, folder / "boundary", []
        self.stopping = threading.Event()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("dying_agent.py")
        argv = [sys.executable, str(script), str(self.folder / "agent.toml"), str(self.file)]
        return subprocess.Popen(argv, stderr=(self.folder / "agent.log").open("ab"))

    def run(self) -> None:
        while not self.stopping.wait(0.05):
            if self.process.poll() is not None:
                self.ends.append(self.process.returncode)
                self.process = self._start()

    def end(self) -> None:
        self.stopping.set()
        self.join(10)
        self.process.kill()
        self.process.wait()


class Crashes:
    def __init__(self, story: real_host.Story, keeper: Keeper) -> None:
        self.story, self.keeper = story, keeper
        self.store = Store(f"file://{story.folder}/store")

    def survives(self, command: str, boundary: str, ask: Callable[[], Any]) -> Any:
        """What is answered although the agent dies there once."""
        before, began = len(self.keeper.ends), time.monotonic()
        self.keeper.file.write_text(f"{command} {boundary}")
        answer = ask()
        assert self.keeper.ends[before:] == [9] and not self.keeper.file.exists(), (command, boundary)
        print(f"{command} {boundary}: {time.monotonic() - began:.1f} s", flush=True)
        return answer

    def states(self) -> dict[str, str]:
        return {m.name: m.state for m in self.story.kvm.machines(self.story.host)}

    def life(self, machine: Machine, boundary: str) -> None:
        """A machine's whole life; the agent dies in each command."""
        story, host, dies = self.story, self.story.host, self.survives
        for disk in machine.disks:
            dies("create_disk", boundary, lambda d=disk: story.disks.create_disk(uuid4(), host, d))
            assert (story.folder / "pool" / disk.name).exists()
        self.copies(boundary)
        state = dies("start", boundary, lambda: story.kvm.start(uuid4(), host, machine))
        assert (state.state, state.uuid) == ("Running", machine.uuid)
        assert self.states() == {machine.name: "Running"}
        pid = self.pid(machine)
        third = Disk(f"third-{boundary}", story.pool, 4 << 20, device=2)
        story.disks.create_disk(uuid4(), host, third)
        dies("attach_disk", boundary, lambda: story.kvm.attach_disk(uuid4(), host, machine.name, third))
        data = machine.disks[1]
        dies("resize_disk", boundary, lambda: story.disks.resize_disk(uuid4(), host, data, 16 << 20, machine.name))
        sizes = self.virsh("domblklist", machine.name)
        assert sizes.count(third.name) == 1, sizes
        info = self.virsh("domblkinfo", machine.name, str(story.folder / "pool" / data.name))
        assert str(16 << 20) in info, info
        self.saves(machine, data, boundary)
        assert self.pid(machine) == pid, "the guest runs on, whatever becomes of the agent"
        dies("stop", boundary, lambda: story.kvm.stop(uuid4(), host, machine.name, True))
        assert machine.name not in self.virsh("list", "--name").split()
        dies("forget", boundary, lambda: story.kvm.forget(uuid4(), host, machine.name))
        assert self.states() == {}
        for disk in (*machine.disks, third):
            dies("delete_disk", boundary, lambda d=disk: story.disks.delete_disk(uuid4(), host, d))
            assert not (story.folder / "pool" / disk.name).exists()

    def copies(self, boundary: str) -> None:
        """A template gets into the pool, whole and once."""
        story, there = self.story, self.story.folder / "store/template/t.qcow2"
        image = Image(str(uuid4()), self.store, "template/t.qcow2", "QCOW2", there.stat().st_size, 1 << 20)
        before = set((story.folder / "pool").iterdir())
        name = self.survives(
            "cache_template", boundary, lambda: story.disks.cache_template(uuid4(), story.host, story.pool, image)
        )
        (made,) = set((story.folder / "pool").iterdir()) - before
        assert made.name == name and "identical" in real_host.sh("qemu-img", "compare", str(there), str(made))
        story.disks.delete_disk(uuid4(), story.host, Disk(name, story.pool, 1 << 20))

    def saves(self, machine: Machine, disk: Disk, boundary: str) -> None:
        """Snapshots of a running guest: of a disk on a store, whole and since the one before; of disks and memory."""
        story, host, dies = self.story, self.story.host, self.survives
        here = str(story.folder / "pool" / disk.name)
        for since, point in (("", f"p1-{boundary}"), (f"p1-{boundary}", f"p2-{boundary}")):
            file = File(self.store, f"snapshots/{point}.qcow2")
            asked = (host, disk, machine.name, file, since, point)
            saved = dies("save_disk", boundary, lambda a=asked: story.disks.save_disk(uuid4(), *a))
            assert saved.whole == (not since) and saved.size == 16 << 20, saved
            there = story.folder / "store" / file.path
            assert saved.physical_size == there.stat().st_size
            if saved.whole:
                assert "identical" in real_host.sh("qemu-img", "compare", "-U", here, str(there))
        assert self.states() == {machine.name: "Running"}
        point = f"s-{boundary}"
        dies("snapshot", boundary, lambda: story.kvm.snapshot(uuid4(), host, machine.name, point, True))
        held = [here, str(story.folder / "pool" / machine.disks[0].name)]
        assert [self.points(path) for path in held] == [[point], [point]]
        assert self.states() == {machine.name: "Running"}, "it is not left paused"
        dies("delete_snapshot", boundary, lambda: story.kvm.delete_snapshot(uuid4(), host, machine.name, point))
        assert [self.points(path) for path in held] == [[], []]

    def points(self, path: str) -> list[str]:
        """The snapshots in a disk's file."""
        told = json.loads(real_host.sh("qemu-img", "info", "-U", "--output", "json", path))
        return [s["name"] for s in told.get("snapshots", ())]

    def libvirtd_dies(self, machine: Machine, libvirtd: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """kill -9 of libvirtd under a guest: the agent says that it is away, and is right by itself when it is back."""
        story, host = self.story, self.story.host
        for disk in machine.disks:
            story.disks.create_disk(uuid4(), host, disk)
        assert story.kvm.start(uuid4(), host, machine).state == "Running"
        pid = self.pid(machine)
        libvirtd.kill()
        libvirtd.wait()
        for ask in (self.states, lambda: story.kvm.reboot(uuid4(), host, machine.name)):
            try:
                ask()
                raise AssertionError("answered without libvirt")
            except (Unavailable, Failed) as error:
                assert "libvirt" in str(error), error
        libvirtd = real_host.start_libvirtd(story.folder)
        began = time.monotonic()
        assert eventually(lambda: self._quietly(self.states) == {machine.name: "Running"}, 30)
        print(f"libvirtd killed and back: right again after {time.monotonic() - began:.1f} s", flush=True)
        assert self.pid(machine) == pid and not self.keeper.ends[self.before :], "neither guest nor agent ended"
        story.kvm.stop(uuid4(), host, machine.name, True)
        story.kvm.forget(uuid4(), host, machine.name)
        assert self.states() == {}
        return libvirtd

    def libvirtd_dies_amid_start(self, machine: Machine, daemon: Daemon) -> None:
        """kill -9 of libvirtd before it knows of QEMU's process: the next one would hold the machine for good."""
        story, host = self.story, self.story.host
        status = Path("/run/libvirt/qemu") / f"{machine.name}.xml"
        for disk in machine.disks:
            story.disks.create_disk(uuid4(), host, disk)
        for _ in range(60):  # there is no process for a few ms of each start
            daemon.gate.clear()
            starting = threading.Thread(target=lambda: self._quietly(self._starts(machine)))
            starting.start()
            eventually(lambda: b"<domstatus" in _read(status), 30, every=0.001)
            daemon.process.kill()
            daemon.process.wait()
            caught = b"pid='0'" in _read(status)
            daemon.gate.set()
            starting.join(130)
            began = time.monotonic()
            state = eventually(lambda: self._quietly(self._starts(machine)), 60)
            said = f"libvirtd killed amid a start, {'without' if caught else 'with'} a process: runs after"
            print(f"{said} {time.monotonic() - began:.1f} s", flush=True)
            assert (state.state, len(self.qemus(machine))) == ("Running", 1), state
            story.kvm.stop(uuid4(), host, machine.name, True)
            if caught:
                break
        assert caught, "never killed before there was a process"
        assert "is started anew without that" in (story.folder / "agent.log").read_text()
        assert not list(status.parent.glob("*.left")) and self.states() == {machine.name: "Stopped"}

    def _starts(self, machine: Machine) -> Callable[[], Any]:
        return lambda: self.story.kvm.start(uuid4(), self.story.host, machine)

    before = 0

    def _quietly(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except Unavailable:
            return None

    def virsh(self, *words: str) -> str:
        return real_host.sh("virsh", "-q", "-c", "qemu:///system", *words)

    def qemus(self, machine: Machine) -> list[int]:
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                words = (each / "cmdline").read_bytes().split(b"\0") if (each / "cmdline").exists() else []
                if words[0].startswith(b"/usr/bin/qemu") and f"guest={machine.name},debug-threads=on".encode() in words:
                    found.append(int(each.name))
        return found

    def pid(self, machine: Machine) -> int:
        (found,) = self.qemus(machine)
        return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()[:1000]
    except OSError:
        return b""


def main(folder: Path, boundaries: list[str]) -> None:
    libvirtd = real_host.prepare(folder)
    have_systemctl(folder)
    link = real_host.serve(folder)
    real_host.configure(folder, link, False)
    keeper = Keeper(folder)
    real_host.start_agent = lambda _: keeper.process
    story = real_host.Story(folder, link, False)
    keeper.start()
    crashes = Crashes(story, keeper)
    try:
        story.joined()
        machine = story.stored()
        for disk in machine.disks:
            story.disks.delete_disk(uuid4(), story.host, disk)
        if boundaries == ["libvirtd"]:
            daemon = Daemon(partial(real_host.start_libvirtd, folder), libvirtd)
            LibvirtdCrashes(crashes, machine, daemon).all()
            daemon.end()
            libvirtd = real_host.start_libvirtd(folder)
            assert not keeper.ends, "the agent outlives libvirtd"
            print("done")
            return
        for boundary in boundaries:
            crashes.life(replace(machine, uuid=str(uuid4())), boundary)
        crashes.before = len(keeper.ends)
        libvirtd = crashes.libvirtd_dies(machine, libvirtd)
        daemon = Daemon(partial(real_host.start_libvirtd, folder), libvirtd)
        crashes.libvirtd_dies_amid_start(machine, daemon)
        daemon.end()
        libvirtd = real_host.start_libvirtd(folder)
        print(f"{len(keeper.ends)} deaths of the agent")
    finally:
        keeper.end()
        for name in crashes.virsh("list", "--name").split():
            crashes.virsh("destroy", name)
        libvirtd.send_signal(signal.SIGTERM)
        libvirtd.wait(20)
        link.stop()
    print("done")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    main(Path(sys.argv[1]), sys.argv[2:])
