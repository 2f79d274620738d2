"""Run by test_guests.py in namespaces of its own: a libvirtd started by hand, a server's link, the real agent as a
process, and a guest of one boot sector that says a word on its serial console.

Usage: unshare --net --mount --uts --pid --fork --mount-proc --kill-child python real_host.py FOLDER [nfs]
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from conftest import eventually

from mgmt_server import db
from mgmt_server.agent import config
from mgmt_server.agent.accelerator import emulator
from mgmt_server.agent.domain import Surroundings, build
from mgmt_server.agent.enroll import enroll
from mgmt_server.agents import ca, tokens
from mgmt_server.agents.server import Link
from mgmt_server.db import secrets
from mgmt_server.drivers.hypervisor import HostRef
from mgmt_server.drivers.hypervisor.kvm import Kvm
from mgmt_server.drivers.storage.kvm import KvmStorage
from mgmt_server.errors import Failed, Unavailable
from mgmt_server.model import agent as model
from mgmt_server.model import everything
from mgmt_server.model.event import SettingValue
from mgmt_server.model.host import Host
from mgmt_server.protocol.machine import Disk, Image, Machine, Nic, Pool, Store

FOLDERS = "etc/libvirt var/lib/libvirt var/log/libvirt var/cache/libvirt run/libvirt"
WORD = b"GUEST-IS-HERE\r\n"
# SI points at the word; OUT to COM1 (0x3f8) byte by byte; then halt for good
CODE = bytes.fromhex("fa31c08ed8be207cbaf803ac84c07403eeebf8f4ebfd")
LIBVIRTD = 'listen_tls = 0\nauth_unix_rw = "none"\nhost_uuid = "{}"\nlog_outputs = "3:stderr"\n'
QEMU = """user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
seccomp_sandbox = 0
stdio_handler = "file"
"""


def boot_sector() -> bytes:
    sector = CODE.ljust(0x20, b"\x90") + WORD + b"\0"
    return sector.ljust(510, b"\0") + b"\x55\xaa"


def sh(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def prepare(folder: Path) -> subprocess.Popen[bytes]:
    sh("mount", "--make-rprivate", "/")
    sh("mount", "-t", "sysfs", "sysfs", "/sys")
    for each in FOLDERS.split():
        (folder / each).mkdir(parents=True)
        Path("/", each).mkdir(parents=True, exist_ok=True)
        sh("mount", "--bind", str(folder / each), f"/{each}")
    Path("/etc/libvirt/libvirtd.conf").write_text(LIBVIRTD.format(uuid4()))
    Path("/etc/libvirt/qemu.conf").write_text(QEMU)
    sh("hostname", "kvm1")
    for words in (
        "set lo up",
        "add eth0 type veth peer name uplink",
        "add cloudbr0 type bridge",
        "set eth0 master cloudbr0",
    ):
        sh("ip", "link", *words.split())
    for name in ("eth0", "cloudbr0"):
        sh("ip", "link", "set", name, "up")
    sh("ip", "address", "add", "10.99.0.1/24", "dev", "cloudbr0")
    return start_libvirtd(folder)


def start_libvirtd(folder: Path) -> subprocess.Popen[bytes]:
    Path("/run/libvirt/libvirt-sock").unlink(missing_ok=True)
    argv = ["libvirtd", "--pid-file", "/run/libvirt/libvirtd.pid"]
    libvirtd = subprocess.Popen(argv, stderr=(folder / "libvirtd.log").open("ab"))
    eventually(Path("/run/libvirt/libvirt-sock").exists, 30)
    return libvirtd


def serve(folder: Path) -> Link:
    engine = db.connect(f"sqlite:///{folder}/cloud.db")
    secrets.unlock(b"k" * 32)
    models = (model.Agent, model.AgentCommand, model.AgentToken, model.CertificateAuthority, SettingValue, Host)
    everything()  # what their columns refer to
    tables = [m.__table__ for m in models]
    db.Base.metadata.create_all(engine, tables=tables)
    ca.create()
    link = Link(ca.load(), listen=("127.0.0.1", 0), node="n1", ping_interval=2.0)
    link.start()
    return link


def start_agent(folder: Path) -> subprocess.Popen[bytes]:
    code = f"from mgmt_server.agent.main import run; run({str(folder / 'agent.toml')!r})"
    return subprocess.Popen([sys.executable, "-c", code], stderr=(folder / "agent.log").open("ab"))


def configure(folder: Path, link: Link, nfs: bool) -> None:
    token = tokens.issue("kvm1")
    servers = [f"127.0.0.1:{link.port}"]
    path = folder / "agent.toml"
    assert enroll(servers, token, link.authority.fingerprint, str(path), accelerator="qemu")
    own = {"state": folder / "state", "logs": folder / "logs", "run": folder / "run", "address": "10.99.0.1"}
    own |= {"nfs": "libnfs"} if nfs else {}
    config.store(path, own)


def template(folder: Path) -> Image:
    raw, store = folder / "boot.raw", folder / "store" / "template"
    raw.write_bytes(boot_sector().ljust(1 << 20, b"\0"))
    store.mkdir(parents=True)
    sh("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(store / "t.qcow2"))
    size = (store / "t.qcow2").stat().st_size
    where = Store(f"file://{folder}/store")
    return Image(str(uuid4()), where, "template/t.qcow2", "QCOW2", size, 1 << 20)


class Story:
    def __init__(self, folder: Path, link: Link, nfs: bool) -> None:
        self.folder, self.link, self.reports = folder, link, []
        link.on_report.append(lambda agent, type, body: self.reports.extend(body if type == "machines" else ()))
        self.agent = start_agent(folder)
        who = eventually(link.connected, 60)[0]
        self.host = HostRef("h", "kvm1", "KVM", who.uuid)
        self.kvm = Kvm(link)
        self.disks = KvmStorage(link)
        self.facts = who.facts
        self.nfs = nfs
        self.pool = Pool(str(uuid4()), "Filesystem", str(folder / "pool"))
        if nfs:
            (folder / "pool").mkdir()
            self.pool = Pool(str(uuid4()), "NetworkFilesystem", str(folder / "pool"), "127.0.0.1")

    def told(self, name: str, state: str, seconds: float = 30) -> None:
        eventually(lambda: [r for r in self.reports if (r["name"], r["state"]) == (name, state)], seconds)
        self.reports.clear()

    def joined(self) -> None:
        assert (self.facts.name, self.facts.address, self.facts.accelerator) == ("kvm1", "10.99.0.1", "qemu")
        assert self.facts.bridges == ("cloudbr0",) and self.facts.cpus > 0 and self.facts.memory > 1 << 28
        assert "169.254.0.1/16" in sh("ip", "address", "show", "dev", "cloud0")
        # its MAC is its own, not that of a guest's tap
        assert Path("/sys/class/net/cloud0/addr_assign_type").read_text() == "3\n"

    def stored(self) -> Machine:
        used, there = self.disks.add_pool(uuid4(), self.host, self.pool)
        assert 0 < used < there
        image = template(self.folder)
        if self.nfs:
            image = replace(image, store=Store(f"nfs://127.0.0.1{self.folder}/store"))
        name = self.disks.cache_template(uuid4(), self.host, self.pool, image)
        assert name == self.disks.cache_template(uuid4(), self.host, self.pool, image)
        disk = Disk("root-1", self.pool, 4 << 20, backing=name, serial="root1")
        assert 0 < self.disks.create_disk(uuid4(), self.host, disk) < 4 << 20
        assert self.disks.create_disk(uuid4(), self.host, disk) > 0
        data = Disk("data-1", self.pool, 8 << 20, device=1)
        self.disks.create_disk(uuid4(), self.host, data)
        nics = (
            Nic("02:00:00:00:00:01", 0, "Guest", broadcast="vxlan://5001"),
            Nic("0e:00:a9:fe:00:05", 1, "Control"),
        )
        return Machine(
            "r-1-VM", str(uuid4()), "DomainRouter", 1, 500, 64 << 20, (disk, data), nics,
            vnc_password="secret12", boot_arguments="type=router name=r-1-VM eth1ip=169.254.0.5",
        )  # fmt: skip

    def validated(self, machine: Machine) -> None:
        """libvirt's own schema takes what a machine's details can lead to."""
        details = {"rootDiskController": "ide", "dataDiskController": "scsi", "cpu.corespersocket": "2"}
        more = {"keyboard": "de", "video.hardware": "qxl", "nicAdapter": "e1000"}
        for number, each in enumerate(
            (
                replace(machine, kind="User", cpus=4, details=details | more),
                replace(machine, boot_arguments="key=value " * 200, details={"rootDiskController": "sata"}),
            )
        ):
            sources = ("/pool/root", "nfs://10.99.0.9/export/pool/data")
            host = Surroundings("qemu", emulator(), sources, ("cloudbr0", "cloud0"), "/log", "nfs://10.99.0.9/a/b.iso")
            path = self.folder / "domain.xml"
            path.write_text(build(replace(each, name=f"v-{number}", uuid=str(uuid4())), host))
            sh("virsh", "-q", "-c", "qemu:///system", "define", "--validate", str(path))
            sh("virsh", "-q", "-c", "qemu:///system", "undefine", f"v-{number}")

    def started(self, machine: Machine) -> None:
        began = time.monotonic()
        call = uuid4()
        state = self.kvm.start(call, self.host, machine)
        print(f"started in {time.monotonic() - began:.1f} s")
        assert (state.state, state.uuid) == ("Running", machine.uuid) and state.vnc_port >= 5900
        assert self.kvm.start(call, self.host, machine) == state
        assert self.kvm.start(uuid4(), self.host, machine) == state
        log = self.folder / "logs" / machine.name / "console.log"
        eventually(lambda: WORD in log.read_bytes(), 60)
        print(f"the guest speaks after {time.monotonic() - began:.1f} s")
        assert Path("/sys/class/net/brvx-5001/brif").is_dir()
        self.told(machine.name, "Running")
        clash = Machine(machine.name, str(uuid4()), "User", 1, 500, 64 << 20, (), ())
        try:
            self.kvm.start(uuid4(), self.host, clash)
            raise AssertionError("two machines of one name")
        except Failed as error:
            assert "another machine named" in str(error)

    def counted(self, machine: Machine) -> None:
        (statistics,) = self.kvm.machine_statistics(self.host, [machine.name], 15)
        print(statistics)
        assert statistics.disk_reads > 0 and statistics.memory == 64 << 10
        assert self.kvm.statistics(self.host, 15).pools[self.pool.uuid][1] > 0

    def restarted(self, machine: Machine) -> None:
        self.agent.send_signal(signal.SIGTERM)
        assert self.agent.wait(10) == 0
        eventually(lambda: not self.link.connected())
        self.agent = start_agent(self.folder)
        eventually(self.link.connected, 30)
        assert [(m.name, m.state) for m in self.kvm.machines(self.host)] == [(machine.name, "Running")]
        self.told(machine.name, "Running")  # a server that it just met is told everything

    def outlived(self, machine: Machine, libvirtd: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """libvirtd ends, and comes again: the agent says so meanwhile, and finds the guest after."""
        libvirtd.terminate()
        libvirtd.wait(20)
        try:
            self.kvm.machines(self.host)
            raise AssertionError("machines without libvirt")
        except Unavailable as error:
            assert "libvirt" in str(error)
        libvirtd = start_libvirtd(self.folder)
        assert [(m.name, m.state) for m in self.kvm.machines(self.host)] == [(machine.name, "Running")]
        return libvirtd

    def found(self, machine: Machine) -> None:
        """What happens behind the agent's back is told."""
        sh("virsh", "-q", "-c", "qemu:///system", "destroy", machine.name)
        self.told(machine.name, "Stopped", 5)
        assert self.kvm.start(uuid4(), self.host, machine).state == "Running"

    def defined(self, machine: Machine) -> None:
        """A machine that does not run is known without being started, as large as it is told last."""
        call, larger = uuid4(), replace(machine, memory=96 << 20)
        try:
            self.kvm.define(uuid4(), self.host, larger)
            raise AssertionError("defined anew while it runs")
        except Failed as error:
            assert "must be stopped" in str(error)
        self.kvm.stop(uuid4(), self.host, machine.name, True)
        for _ in range(2):
            self.kvm.define(call, self.host, larger)
        (found,) = self.kvm.describe(self.host)
        assert (found.state, found.uuid, found.memory, len(found.disks)) == ("Stopped", machine.uuid, 96 << 20, 2)
        self.kvm.forget(uuid4(), self.host, machine.name)
        self.kvm.define(uuid4(), self.host, machine)
        assert self.kvm.start(uuid4(), self.host, machine).state == "Running"

    def ended(self, machine: Machine) -> None:
        # libvirt 9.0 now and then loses a guest at its own restart: this makes sure that there is one
        self.kvm.start(uuid4(), self.host, machine)
        self.kvm.reboot(uuid4(), self.host, machine.name)  # it is deaf: reset
        self.kvm.stop(uuid4(), self.host, machine.name, True)
        self.kvm.stop(uuid4(), self.host, machine.name, True)
        assert not Path("/sys/class/net/brvx-5001").exists() and not Path("/sys/class/net/vxlan5001").exists()
        self.kvm.forget(uuid4(), self.host, machine.name)
        self.kvm.forget(uuid4(), self.host, machine.name)
        assert self.kvm.machines(self.host) == []
        for disk in machine.disks:
            self.disks.delete_disk(uuid4(), self.host, disk)
            self.disks.delete_disk(uuid4(), self.host, disk)
        left = [p.name for p in (self.folder / "pool").iterdir() if not p.name.startswith("heartbeat-")]
        assert left == [machine.disks[0].backing]


GANESHA = """NFS_CORE_PARAM {{ Protocols = 3,4; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false; }}
NFS_KRB5 {{ Active_krb5 = false; }}
NFSv4 {{ Grace_Period = 2; Lease_Lifetime = 10; RecoveryBackend = fs; }}
EXPORT_DEFAULTS {{ Access_Type = RW; Squash = No_Root_Squash; SecType = sys; }}
EXPORT {{ Export_Id = 1; Path = {0}; Pseudo = {0}; FSAL {{ Name = VFS; }} }}
"""


def nfs_server(folder: Path) -> subprocess.Popen[bytes]:
    for each in ("/run/ganesha", "/var/lib/nfs/ganesha"):
        Path(each).mkdir(parents=True, exist_ok=True)
        sh("mount", "-t", "tmpfs", "tmpfs", each)
    sh("rpcbind")
    path = folder / "ganesha.conf"
    path.write_text(GANESHA.format(folder))
    argv = ["ganesha.nfsd", "-F", "-f", str(path), "-L", str(folder / "ganesha.log"), "-p", str(folder / "ganesha.pid")]
    process = subprocess.Popen(argv)
    eventually(lambda: subprocess.run(["nfs-ls", f"nfs://127.0.0.1{folder}"], capture_output=True).returncode == 0, 30)
    return process


def main(folder: Path, nfs: bool) -> None:
    libvirtd = prepare(folder)
    helpers = [libvirtd, nfs_server(folder)] if nfs else [libvirtd]
    link = serve(folder)
    configure(folder, link, nfs)
    story = Story(folder, link, nfs)
    try:
        story.joined()
        machine = story.stored()
        story.validated(machine)
        story.started(machine)
        story.counted(machine)
        story.restarted(machine)
        story.found(machine)
        helpers[0] = story.outlived(machine, libvirtd)
        story.defined(machine)
        story.ended(machine)
    finally:
        for process in (story.agent, *helpers):
            process.terminate()
            process.wait(20)
        link.stop()
    print("done")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    main(Path(sys.argv[1]), nfs=sys.argv[2:] == ["nfs"])
