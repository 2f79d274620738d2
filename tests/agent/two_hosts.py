"""Run by test_guests.py in namespaces of its own: two hosts, each with a libvirtd and the real agent, a server's link
and its drivers, and the tiny guest, which tells from inside what became of it.

Usage: unshare --net --mount --uts --pid --fork --mount-proc --kill-child python two_hosts.py FOLDER TINY STORY [nfs]
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from conftest import eventually
from daemon import Daemon, have_systemctl
from real_host import FOLDERS, QEMU, nfs_server, sh

from mgmt_server import db
from mgmt_server.agent.config import store
from mgmt_server.agents import ca, tokens
from mgmt_server.agents.server import Link
from mgmt_server.db import secrets
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.kvm import Kvm
from mgmt_server.drivers.storage.kvm import KvmStorage
from mgmt_server.errors import Failed
from mgmt_server.model import everything
from mgmt_server.protocol.machine import Disk, Image, Machine, Nic, Pool, Store

MIB = 1 << 20
GATEWAY = "10.99.0.254"
LIBVIRTD = 'listen_tls = 1\nlisten_addr = "0.0.0.0"\nauth_unix_rw = "none"\nauth_tls = "none"\nhost_uuid = "{}"\n'
CERTIFICATES = {
    "CA/cacert.pem": "ca",
    "libvirt/servercert.pem": "certificate",
    "libvirt/clientcert.pem": "certificate",
    "libvirt/private/serverkey.pem": "key",
    "libvirt/private/clientkey.pem": "key",
    "qemu/ca-cert.pem": "ca",
    "qemu/server-cert.pem": "certificate",
    "qemu/client-cert.pem": "certificate",
    "qemu/server-key.pem": "key",
    "qemu/client-key.pem": "key",
}


class Host:
    """A namespace with a bridge on the common network, its own libvirt, and an agent."""

    def __init__(self, folder: Path, number: int, link: Link, shared: Path, nfs: bool) -> None:
        self.name, self.address, self.link = f"kvm{number}", f"10.99.0.{number}", link
        self.folder = folder / self.name
        self.folder.mkdir()
        self.keeper = subprocess.Popen(["unshare", "--net", "--mount", "--uts", "sleep", "infinity"])
        eventually(lambda: self._apart("net") and self._apart("uts") and self._apart("mnt"))
        eventually(lambda: Path(f"/proc/{self.keeper.pid}/comm").read_text() == "sleep\n")
        self._network(number)
        self._files(shared, nfs)
        self.libvirtd = Daemon(self._libvirtd, self._libvirtd())
        self.agent = self._agent()
        who = eventually(lambda: [a for a in link.connected() if a.name == self.name], 60)[0]
        self.ref = HostRef(str(uuid4()), self.name, "KVM", who.uuid)
        self.local = Pool(str(uuid4()), "Filesystem", str(self.folder / "pool"))

    def _apart(self, kind: str) -> bool:
        return os.readlink(f"/proc/{self.keeper.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")

    def argv(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self.keeper.pid), "-m", "-n", "-u", *words]

    def run(self, *words: str) -> str:
        return sh(*self.argv(*words))

    def virsh(self, *words: str) -> str:
        return self.run("virsh", "-q", "-c", "qemu:///system", *words)

    def _network(self, number: int) -> None:
        sh("ip", "link", "add", f"h{number}", "type", "veth", "peer", "name", "eth0", "netns", str(self.keeper.pid))
        sh("ip", "link", "set", f"h{number}", "master", "br0", "up")
        for words in (
            "link set lo up",
            # with an address of its own: else, one time in 64, it takes that of the guest's tap, which the tap on the
            # other host has as well, and the hosts no longer hear each other
            f"link add cloudbr0 address 02:00:00:99:00:0{number} type bridge forward_delay 0",
            "link set eth0 master cloudbr0 up",
            f"address add {self.address}/24 dev cloudbr0",
            "link set cloudbr0 up",
        ):
            self.run("ip", *words.split())

    def _files(self, shared: Path, nfs: bool) -> None:
        self.run("mount", "--make-rprivate", "/")
        self.run("mount", "-t", "sysfs", "sysfs", "/sys")
        self.run("mount", "--bind", str(shared), str(shared))
        for each in [*FOLDERS.split(), "etc/pki"]:
            (self.folder / each).mkdir(parents=True)
            Path("/", each).mkdir(parents=True, exist_ok=True)
            self.run("mount", "--bind", str(self.folder / each), f"/{each}")
        (self.folder / "etc/libvirt/libvirtd.conf").write_text(LIBVIRTD.format(uuid4()))
        (self.folder / "etc/libvirt/qemu.conf").write_text(QEMU + 'default_tls_x509_cert_dir = "/etc/pki/qemu"\n')
        self.run("hostname", self.name)
        self._enroll(nfs)

    def _enroll(self, nfs: bool) -> None:
        path, authority = self.folder / "agent.toml", self.link.authority
        words = ([f"{GATEWAY}:{self.link.port}"], tokens.issue(self.name), authority.fingerprint, str(path), "qemu")
        self.run(sys.executable, "-c", f"from mgmt_server.agent.enroll import enroll; enroll(*{words!r})")
        own = {name: self.folder / name for name in ("state", "logs", "run")}
        own |= {"nfs": "libnfs"} if nfs else {"unsafe_migration": True}
        store(path, own | {"address": self.address})
        for name, source in CERTIFICATES.items():
            target = self.folder / "etc/pki" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((self.folder / f"{source}.pem").read_bytes())

    def _libvirtd(self) -> subprocess.Popen[bytes]:
        argv = self.argv("libvirtd", "--listen", "--pid-file", "/run/libvirt/libvirtd.pid")
        socket = self.folder / "run/libvirt/libvirt-sock"
        socket.unlink(missing_ok=True)
        process = subprocess.Popen(argv, stderr=(self.folder / "libvirtd.log").open("ab"))
        eventually(socket.exists, 30)
        return process

    def _agent(self) -> subprocess.Popen[bytes]:
        code = f"from mgmt_server.agent.main import run; run({str(self.folder / 'agent.toml')!r})"
        return subprocess.Popen(self.argv(sys.executable, "-c", code), stderr=(self.folder / "agent.log").open("ab"))

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.wait()
        self.agent = self._agent()

    def end(self) -> None:
        self.libvirtd.end()
        for process in (self.agent, self.keeper):
            process.terminate()
        for process in (self.agent, self.keeper):
            process.wait(20)


class Guest:
    """The tiny guest, seen from inside."""

    def __init__(self, cloud: Cloud, machine: Machine, host: Host) -> None:
        self.cloud, self.machine, self.host = cloud, machine, host
        self.address = ""

    def ready(self) -> None:
        log = self.host.folder / "logs" / self.machine.name / "console.log"
        told = re.compile(r"READY .* ip=(\S+) ")  # what stands behind it: the line is written in pieces
        self.address = eventually(lambda: told.findall(log.read_text(errors="replace")), 120)[-1]

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.address}/cgi-bin/status", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def sees(self, condition: Callable[[dict[str, Any]], Any], seconds: float = 90) -> Any:
        def look() -> Any:
            try:
                return condition(self.status())
            except (OSError, ValueError):
                return None  # it boots, or tells but a part yet

        return eventually(look, seconds)

    def disk(self, serial: str) -> dict[str, Any] | None:
        return next((d for d in self.status()["disks"] if d["serial"] == serial), None)

    def does(self, script: str, seconds: float = 90) -> str:
        """A shell's output inside the guest."""
        command = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
        pid = self._ask("guest-exec", command)["pid"]
        done = eventually(lambda: (a := self._ask("guest-exec-status", {"pid": pid}))["exited"] and a, seconds)
        assert done["exitcode"] == 0, done
        return base64.b64decode(done.get("out-data", "")).decode(errors="replace").strip("\0\n ")

    def _ask(self, command: str, arguments: dict[str, Any]) -> Any:
        body = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(self.host.virsh("qemu-agent-command", self.machine.name, body))["return"]

    def write(self, device: str, words: str) -> None:
        self.does(f"printf '%s' '{words}' | dd of=/dev/{device} bs=512 seek=2048 conv=sync 2>/dev/null; sync")

    def read(self, device: str) -> str:
        script = (
            f"echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/{device} bs=512 skip=2048 count=1 2>/dev/null | tr -d '\\0'"
        )
        return self.does(script)


class Cloud:
    def __init__(self, folder: Path, tiny: Path, nfs: bool) -> None:
        self.folder = folder
        shared = folder / "shared"
        (folder / "store").mkdir(parents=True)
        shared.mkdir()
        sh("mount", "--make-rprivate", "/")
        for words in (
            "link set lo up",
            "link add br0 address 02:00:00:99:00:fe type bridge forward_delay 0",
            f"address add {GATEWAY}/24 dev br0",
            "link set br0 up",
        ):
            sh("ip", *words.split())
        self.link = self._serve()
        argv = "dnsmasq --no-daemon --port=0 --interface=br0 --bind-interfaces --no-ping --dhcp-option=3 --leasefile-ro"
        argv += " --dhcp-range=10.99.0.100,10.99.0.150,1h --no-hosts --no-resolv -q"
        self.dhcp = subprocess.Popen(argv.split(), stderr=(folder / "dnsmasq.log").open("wb"))
        self.server = nfs_server(folder) if nfs else None
        self.hosts = [Host(folder, n, self.link, shared, nfs) for n in (1, 2)]
        self.kvm, self.disks = Kvm(self.link), KvmStorage(self.link)
        self.pool = Pool(str(uuid4()), "SharedMountPoint", str(shared))
        self.store = Store(f"file://{folder}/store")
        if nfs:
            self.pool = Pool(str(uuid4()), "NetworkFilesystem", str(shared), GATEWAY)
            self.store = Store(f"nfs://{GATEWAY}{folder}/store")
        for host in self.hosts:
            for pool in (self.pool, host.local):
                self.disks.add_pool(uuid4(), host.ref, pool)
        sh("cp", str(tiny), str(folder / "store/tiny.qcow2"))

    def _serve(self) -> Link:
        engine = db.connect(f"sqlite:///{self.folder}/cloud.db")
        secrets.unlock(b"k" * 32)
        everything()
        db.Base.metadata.create_all(engine)
        ca.create()
        link = Link(ca.load(), listen=(GATEWAY, 0), node="n1", ping_interval=2.0)
        link.start()
        return link

    def image(self, path: str, format: str = "QCOW2") -> Image:
        size = (self.folder / "store" / path).stat().st_size
        return Image(str(uuid4()), self.store, path, format, size, 0)

    def guest(self, name: str, host: Host, image: Image | None = None, **changes: Any) -> Guest:
        backing = self.disks.cache_template(uuid4(), host.ref, self.pool, image or self.image("tiny.qcow2"))
        # with all that makes it quick: nothing done to a guest here must suffer by that
        quick = {"io": "threads", "threaded": True}
        root = Disk(f"{name}-root", self.pool, 256 * MIB, backing=backing, serial="root", **quick)
        self.disks.create_disk(uuid4(), host.ref, root)
        nics = (Nic("02:00:00:00:00:01", 0, "Guest", queues=2, packed=True),)
        machine = Machine(
            name, str(uuid4()), "User", 1, 500, 192 * MIB, (root,), nics, most_cpus=2, most_memory=256 * MIB
        )
        guest = Guest(self, replace(machine, **changes), host)
        assert self.kvm.start(uuid4(), host.ref, guest.machine).state == "Running"
        return guest

    def blank(self, name: str, host: Host, pool: Pool | None = None, size: int = 64 * MIB, device: int = 1) -> Disk:
        disk = Disk(name, pool or self.pool, size, device=device, serial=name, threaded=True)
        self.disks.create_disk(uuid4(), host.ref, disk)
        return disk

    def end(self) -> None:
        for host in self.hosts:
            for name in host.virsh("list", "--name").split():
                host.virsh("destroy", name)
            host.end()
        for process in (self.dhcp, *([self.server] if self.server else [])):
            process.terminate()
            process.wait(20)
        self.link.stop()


class Pulse:
    """Asks the guest again and again; the longest time without an answer."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.answers, self._stop = guest, [time.monotonic()], threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            try:
                with urllib.request.urlopen(f"http://{self.guest.address}/", timeout=0.5):
                    self.answers.append(time.monotonic())
            except OSError:
                continue

    def beats_on(self) -> None:
        heard = len(self.answers)
        eventually(lambda: len(self.answers) > heard + 5, 20)

    @property
    def gap(self) -> float:
        return max(b - a for a, b in zip(self.answers, self.answers[1:], strict=False))


def said(words: str, began: float) -> None:
    print(f"{words}: {time.monotonic() - began:.1f} s", flush=True)


def refused(words: str, call: object, *arguments: object) -> None:
    try:
        call(*arguments)  # type: ignore[operator]
    except Failed as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"not refused: {words}")


def main(folder: Path, tiny: Path, story: str, nfs: bool) -> None:
    import breaking
    import fetching
    import keeping
    import stories

    began = time.monotonic()
    have_systemctl(folder)
    cloud = Cloud(folder, tiny, nfs)
    print(f"two hosts after {time.monotonic() - began:.1f} s", flush=True)
    try:
        next(getattr(told, story) for told in (stories, keeping, fetching, breaking) if hasattr(told, story))(cloud)
    finally:
        cloud.end()
    print("done")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], nfs=sys.argv[4:] == ["nfs"])
