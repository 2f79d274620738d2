"""One machine: an overlay over an image, booted by systemd-nspawn on the bridges of the run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from nspawn import network
from nspawn.image import image
from nspawn.processes import alive, cgroup_pids, enter_cgroup, kill_cgroup, run, running, spawn, stop, wait_until
from nspawn.proxy import PORT as PROXY_PORT

REBOOT = 133  # what systemd-nspawn ends with when its machine asks for a reboot


@dataclass(frozen=True)
class Machine:
    name: str
    address: str
    suite: str = "bookworm"
    image: str = "base"  # a kind of nspawn.image
    nics: list[str] = field(default_factory=list)  # bridges for eth1, eth2, ...
    binds: list[str] = field(default_factory=list)  # SOURCE:TARGET, from this machine
    data: list[str] = field(default_factory=list)  # folders of the machine that must not lie on overlayfs
    shared: list[str] = field(default_factory=list)  # the same, and one with the other machines that name it


@dataclass(frozen=True)
class Run:
    """All machines of one state folder."""

    state: Path
    gateway: str  # the namespace's own address on the management bridge; /24
    bridges: dict[str, str]  # name -> address/length of the namespace on it; the management bridge is not among them
    machines: dict[str, Machine]

    @property
    def netns(self) -> str:
        return network.namespace(self.state)

    @property
    def key(self) -> Path:
        return self.state / "id_ed25519"

    def pidfile(self, name: str) -> Path:
        return self.state / name / "supervisor.pid"

    def cgroup(self, name: str) -> str:
        return f"{self.netns}/{name}"


def is_up(run_: Run, name: str) -> bool:
    return bool(alive(run_.pidfile(name), "supervise"))


def boot(run_: Run, name: str) -> bool:
    """Start a machine, made if it is new; False if it runs."""
    if is_up(run_, name):
        return False
    machine, where = run_.machines[name], run_.state / name
    kill_cgroup(run_.cgroup(name))  # left by a supervisor that was killed
    # the kernel takes down the network of a machine that was killed in its own time
    network.remove(run_.netns, f"vb-{run_.netns}-{name}", *(extra_link(name, n) for n, _ in enumerate(machine.nics, 1)))
    for part in ("upper", "work", "root"):
        (where / part).mkdir(parents=True, exist_ok=True)
    if not os.path.ismount(where / "root"):
        options = f"lowerdir={image(machine.suite, machine.image)},upperdir={where / 'upper'},workdir={where / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", options, where / "root")
    if not (where / "starts").exists():  # what roles made of it since stays as it is
        prepare(run_, machine, where / "root")
    tool = Path(__file__).resolve().parent.parent / "nspawnctl.py"
    command = [sys.executable, str(tool), "supervise", "--state", str(run_.state), name]
    spawn(command, run_.pidfile(name), where / "console.log")
    return True


def prepare(run_: Run, machine: Machine, root: Path) -> None:
    """What an installer would have asked for: name, address, the administrator's key, the way to packages."""
    etc, proxy = root / "etc", f"http://{run_.gateway}:{PROXY_PORT}"
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(run_.key.with_suffix(".pub").read_text())
    (etc / "hostname").write_text(f"{machine.name}\n")
    known = "".join(f"{other.address} {other.name}\n" for other in run_.machines.values())
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
    (etc / "apt/apt.conf.d/90proxy").write_text(f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\n')
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    (etc / "pip.conf").write_text(f"[global]\nproxy = {proxy}\ncert = {bundle}\ndisable-pip-version-check = true\n")
    units = etc / "systemd/network"
    if not list(units.glob("*.network")):  # a role may have replaced it: a second start keeps that
        text = f"[Match]\nName=host0\n\n[Network]\nAddress={machine.address}/24\nGateway={run_.gateway}\n"
        (units / "10-host0.network").write_text(text + "LinkLocalAddressing=no\nIPv6AcceptRA=no\n")
    for source, _ in folders(run_, machine):
        source.mkdir(parents=True, exist_ok=True)


def folders(run_: Run, machine: Machine) -> list[tuple[Path, str]]:
    """What lies outside of a machine's overlay: where it lies, and where the machine has it."""
    own = [(run_.state / machine.name / "data" / folder.strip("/"), folder) for folder in machine.data]
    return own + [(run_.state / "shared" / folder.strip("/"), folder) for folder in machine.shared]


def extra_link(name: str, number: int) -> str:
    """The namespace's end of a machine's extra NIC: at most 15 characters, its own for each machine."""
    return f"x{zlib.crc32(name.encode()):08x}-{number}"


def nspawn_command(run_: Run, machine: Machine) -> list[str]:
    where = run_.state / machine.name
    command = [*network.enter(run_.netns), "systemd-nspawn", "--quiet", "--boot", f"--directory={where / 'root'}"]
    command += [f"--machine={run_.netns}-{machine.name}", f"--hostname={machine.name}", "--register=no", "--keep-unit"]
    command += ["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe"]
    command += [f"--network-bridge={network.MANAGEMENT}", "--capability=all", "--bind=/dev/net/tun"]
    command += ["--system-call-filter=open_by_handle_at name_to_handle_at"]  # an NFS server in user space needs them
    for number, _ in enumerate(machine.nics, 1):
        command.append(f"--network-veth-extra={extra_link(machine.name, number)}:eth{number}")
    command += [f"--bind={bind}" for bind in machine.binds]
    command += [f"--bind={source}:{folder}" for source, folder in folders(run_, machine)]
    return command


def supervise(run_: Run, name: str) -> int:
    """Run a machine until it is off, and again each time it reboots."""
    machine = run_.machines[name]
    environment = os.environ | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network", "SYSTEMD_NSPAWN_LOCK": "0"}
    starts = run_.state / name / "starts"
    while True:
        with open(starts, "a") as log:
            log.write("start\n")
        process = subprocess.Popen(
            nspawn_command(run_, machine), env=environment, preexec_fn=lambda: enter_cgroup(run_.cgroup(name))
        )
        for number, bridge in enumerate(machine.nics, 1):
            link = extra_link(name, number)
            wait_until(lambda link=link, bridge=bridge: network.attach(run_.netns, link, bridge), 10)
        code = process.wait()
        if code != REBOOT:
            return code


def wait_for_ssh(run_: Run, name: str, seconds: float) -> None:
    address = run_.machines[name].address
    probe = [*network.enter(run_.netns), "nc", "-z", "-w1", address, "22"]
    pid = alive(run_.pidfile(name), "supervise")

    def settled() -> bool:
        return subprocess.run(probe, capture_output=True).returncode == 0 or not running(pid)

    if not wait_until(settled, seconds, pause=0.1) or not is_up(run_, name):
        log = run_.state / name / "console.log"
        raise SystemExit(f"{name} ({address}) did not answer on port 22 in {seconds:.0f} s; its console is in {log}")


def cut(run_: Run, name: str) -> None:
    """As if the plug were pulled: all that runs ends at once, the disk stays."""
    if pid := alive(run_.pidfile(name), "supervise"):
        stop(pid)
    kill_cgroup(run_.cgroup(name))
    if network.exists(run_.netns):
        network.kill_connections(run_.netns, run_.machines[name].address)
    for left in Path("/run/systemd/nspawn").glob(f"*/{run_.netns}-{name}"):
        shutil.rmtree(left, ignore_errors=True)


def shut_down(run_: Run, name: str) -> None:
    """As if the power button were pressed: the machine ends in order, in its own time."""
    for pid in cgroup_pids(run_.cgroup(name)):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd-nspawn":
                os.kill(pid, signal.SIGTERM)


def hang(run_: Run, name: str) -> None:
    """Nothing in the machine goes on, while it has power: neither agent nor guests. Only `cut` helps."""
    stopped: set[int] = set()
    while pids := set(cgroup_pids(run_.cgroup(name))) - stopped:  # what was started meanwhile, too
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= pids


def remove(run_: Run, name: str) -> None:
    """Stop a machine at once and delete all it was."""
    cut(run_, name)
    where = run_.state / name
    if os.path.ismount(where / "root"):
        run("umount", "--lazy", where / "root")
    shutil.rmtree(where, ignore_errors=True)
