#!/usr/bin/env python3
"""The lab: a small data centre of systemd-nspawn machines in a network namespace of its own.

    tools/lab.py up [HOST ...]     boot it (all hosts, or some)
    tools/lab.py status            what runs, and where
    tools/lab.py ssh HOST [CMD]    log in
    tools/lab.py env               shell lines that tell clients (cs, Ansible) where the API is and who they are
    tools/lab.py exec -- CMD       run a command of this machine on the lab's networks
    tools/lab.py reset HOST ...    throw hosts away and boot them anew
    tools/lab.py power HOST VERB   on, off (as if the plug were pulled), press (the button), hang (power, but no life)
    tools/lab.py down              remove it without a trace

CLOUDWRIGHT_LAB names the lab (default: lab); each name and each checkout has machines, networks and a port of its own,
so that several labs live side by side. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import sys
import zlib
from pathlib import Path

import kvm
from nspawn import forward, network, proxy
from nspawn import machine as machines
from nspawn.cli import control_path, read_run, reset
from nspawn.cli import down as machines_down
from nspawn.cli import up as machines_up
from nspawn.machine import Machine, Run
from nspawn.processes import CGROUP_TOP, CGROUPS, alive, cgroup_pids, locked, run, spawn, stop

ROOT = Path(__file__).resolve().parent.parent
CACHE = proxy.CACHE.parent  # of all checkouts: images of the hosts, packages
GATEWAY = "10.91.0.1"
GUESTS = "10.92.0.1/24,10.93.0.1/24"  # of guests, and of what the zone calls public
API_PORT = 8080
HOSTS = {
    "mgmt": Machine("mgmt", "10.91.0.10", image="full"),
    "kvm1": Machine("kvm1", "10.91.0.11", image="full", nics=["guests"], shared=["/mnt/shared"]),
    "kvm2": Machine("kvm2", "10.91.0.12", image="full", nics=["guests"], shared=["/mnt/shared"]),
    "store": Machine("store", "10.91.0.13", image="full", data=["/srv/export"]),
}
# management controllers, which have power when their host has none
CONTROLLERS = {"kvm1": "10.91.0.21", "kvm2": "10.91.0.22"}
IPMI_PORT = 623
VERBS = ("on", "off", "press", "hang")


def lab_name() -> str:
    name = os.environ.get("CLOUDWRIGHT_LAB") or "lab"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}", name):
        raise SystemExit(f"CLOUDWRIGHT_LAB={name!r}: a lab's name has letters, digits, '-', '_' and '.', 41 at most")
    return name


def folder() -> Path:
    return ROOT / ".lab" / lab_name()


def machine_state() -> Path:
    return folder() / "machines"


def facts() -> dict:
    """What the inventory and `make cloud` need to know; SystemExit where the lab is not up."""
    try:
        return json.loads((folder() / "facts.json").read_text())
    except OSError:
        raise SystemExit(f"the lab {lab_name()!r} is not up: `tools/lab.py up` boots it") from None


def free_port() -> int:
    """A port on loopback: the same for a lab every time, unless something else has taken it."""
    first = 18000 + zlib.crc32(str(folder()).encode()) % 2000
    for port in range(first, first + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"no free port on 127.0.0.1 from {first} to {first + 199}")


def up(names: list[str]) -> dict:
    """Boot the lab; `changed` says whether anything was not there yet."""
    unknown = set(names) - HOSTS.keys()
    if unknown:
        raise SystemExit(f"no host {', '.join(sorted(unknown))} in the lab: there are {', '.join(HOSTS)}")
    chosen = {name: HOSTS[name] for name in HOSTS if not names or name in names}
    state = machine_state()
    if names and (state / "run.json").exists():
        running = read_run(state).machines
        chosen = {name: HOSTS[name] for name in HOSTS if name in chosen or name in running}
    with locked(network.namespace(state)):
        told = machines_up(Run(state, GATEWAY, {"guests": GUESTS}, chosen), timeout=120)
    if kvm.works():
        hosts = [told["machines"][name] for name in ("kvm1", "kvm2") if name in chosen]
        kvm.offer([ssh_command(told, host if isinstance(host, str) else host["address"]) for host in hosts])
    known = folder() / "facts.json"
    port = json.loads(known.read_text())["port"] if known.exists() else free_port()
    told["changed"] |= start_forward(port, told["netns"])
    for name in CONTROLLERS.keys() & chosen.keys():
        told["changed"] |= start_controller(name, told["netns"])
    said = {"name": lab_name(), "folder": str(folder()), "port": port, "url": f"http://127.0.0.1:{port}/client/api"}
    said |= {key: told[key] for key in ("netns", "identity_file", "control_path", "machines")}
    said["controllers"] = {name: CONTROLLERS[name] for name in CONTROLLERS if name in chosen}
    if not known.exists() or json.loads(known.read_text()) != said:
        known.write_text(json.dumps(said, indent=1))
    return said | {"changed": told["changed"]}


def start_forward(port: int, netns: str) -> bool:
    """False if it runs already."""
    pidfile = folder() / "forward.pid"
    if alive(pidfile, "forward"):
        return False
    spawn(
        [sys.executable, str(Path(__file__).resolve()), "forward", str(port), netns], pidfile, folder() / "forward.log"
    )
    return True


def controller_users(name: str) -> Path:
    """The file of a controller's users. It is theirs to change: {name: password}."""
    return folder() / "controllers" / f"{name}.json"


def start_controller(name: str, netns: str) -> bool:
    """False if it runs already."""
    users = controller_users(name)
    pidfile = users.with_suffix(".pid")
    if alive(pidfile, "controller"):
        return False
    python = ROOT / ".venv/bin/python"
    if not python.exists():
        raise SystemExit("the hosts' management controllers need .venv: `make venv` makes it")
    if not users.exists():
        users.parent.mkdir(mode=0o700, exist_ok=True)
        users.touch(mode=0o600)
        users.write_text(json.dumps({"operator": secrets.token_urlsafe(12)}))  # IPMI takes 20 characters at most
    run("ip", "-n", netns, "addr", "replace", f"{CONTROLLERS[name]}/32", "dev", network.MANAGEMENT)
    command = [*network.enter(netns), str(python), str(Path(__file__).resolve()), "controller", name, str(users)]
    spawn(command, pidfile, users.with_suffix(".log"))
    return True


class Plug:
    """A host's power, as its controller has it in its hand."""

    def __init__(self, name: str) -> None:
        self.name, self.run = name, read_run(machine_state())

    def is_on(self) -> bool:
        # off only when nothing of it runs: guests start elsewhere on this word
        return machines.is_up(self.run, self.name) or bool(cgroup_pids(self.run.cgroup(self.name)))

    def on(self) -> None:
        with locked(self.run.netns):
            machines.boot(self.run, self.name)

    def off(self) -> None:
        machines.cut(self.run, self.name)

    def press(self) -> None:
        machines.shut_down(self.run, self.name)

    def hang(self) -> None:
        machines.hang(self.run, self.name)


def serve_controller(name: str, users: Path) -> None:
    from nspawn import bmc  # here alone: it needs more than the standard library

    bmc.serve(CONTROLLERS[name], IPMI_PORT, users, Plug(name))


def down() -> dict:
    if not folder().exists():
        return {"changed": False}
    if pid := alive(folder() / "forward.pid", "forward"):
        stop(pid)
    for name in CONTROLLERS:
        if pid := alive(controller_users(name).with_suffix(".pid"), "controller"):
            stop(pid)
    with locked(network.namespace(machine_state())):
        machines_down(machine_state())
    shutil.rmtree(folder())
    return {"changed": True}


def leftovers(netns: str) -> list[str]:
    """What of a lab is still on this machine: namespaces, mounts, cgroups, processes, folders."""
    where = str(folder())
    found = [f"namespace {netns}"] if network.exists(netns) else []
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if f"{where}/" in line or netns in line]
    found += [f"cgroup {path}" for tree in CGROUPS for path in tree.glob(f"{CGROUP_TOP}/{netns}")]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if netns in words or f"{where}/" in words:
                found.append(f"process {entry.parent.name} {words}")
    return found + [f"folder {path}" for path in (folder(), control_path(netns)) if path.exists()]


def status() -> dict:
    told = facts()
    run_ = read_run(machine_state())
    told["machines"] = {
        name: {"address": each.address, "up": machines.is_up(run_, name)} for name, each in run_.machines.items()
    }
    told["port_open"] = bool(alive(folder() / "forward.pid", "forward"))
    return told


def ssh_command(told: dict, address: str, user: str = "root", key: str | None = None) -> list[str]:
    command = ["ssh", "-i", key or told["identity_file"], "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    command += ["-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=10", "-o", "IdentitiesOnly=yes"]
    # a host that reboots or is thrown away does not say good-bye
    command += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2"]
    return [*command, "-o", f"ProxyCommand=nsenter --net=/run/netns/{told['netns']} nc %h %p", f"{user}@{address}"]


def client_environment() -> str:
    """Lines for a shell. They hold the secret of the API: for `eval`, not for a log."""
    try:
        found = json.loads((folder() / "credentials.json").read_text())
    except OSError:
        raise SystemExit(f"the lab {lab_name()!r} has no cloud: `make cloud` makes it") from None
    values = {"ENDPOINT": facts()["url"], "KEY": found["api_key"], "SECRET": found["api_secret"]}
    lines = [f"export CLOUDSTACK_{name}={shlex.quote(value)}" for name, value in values.items()]
    values = {"API_URL": facts()["url"], "API_CREDENTIALS_FILE": str(folder() / "credentials.json")}
    values |= {"API_KEY": found["api_key"], "API_SECRET": found["api_secret"]}
    return "\n".join(lines + [f"export CLOUDWRIGHT_{name}={shlex.quote(value)}" for name, value in values.items()])


def replace_by(command: list[str]) -> None:
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from None


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("hosts", nargs="*")
    commands.add_parser("reset").add_argument("hosts", nargs="+")
    commands.add_parser("down")
    commands.add_parser("status")
    commands.add_parser("env")
    ssh = commands.add_parser("ssh")
    ssh.add_argument("host")
    ssh.add_argument("argv", nargs=argparse.REMAINDER)
    commands.add_parser("exec").add_argument("argv", nargs=argparse.REMAINDER)
    power = commands.add_parser("power")
    power.add_argument("host", choices=list(HOSTS))
    power.add_argument("verb", choices=VERBS)
    inner = commands.add_parser("controller")
    inner.add_argument("host", choices=list(CONTROLLERS))
    inner.add_argument("users", type=Path)
    inner = commands.add_parser("forward")
    inner.add_argument("port", type=int)
    inner.add_argument("netns")
    return top


def main() -> None:
    top = parser()
    args = top.parse_args()
    if os.geteuid():
        top.error("needs root")
    if args.command == "up":
        print(json.dumps(up(args.hosts)))
    elif args.command == "down":
        print(json.dumps(down()))
    elif args.command == "status":
        print(json.dumps(status(), indent=1))
    elif args.command == "reset":
        with locked(network.namespace(machine_state())):
            print(json.dumps(reset(read_run(machine_state()), args.hosts, timeout=120)))
    elif args.command == "forward":
        forward.serve(args.port, args.netns, (HOSTS["mgmt"].address, API_PORT))
    elif args.command == "controller":
        serve_controller(args.host, args.users)
    elif args.command == "power":
        facts()
        getattr(Plug(args.host), args.verb)()
    elif args.command == "env":
        print(client_environment())
    elif args.command == "ssh":
        told = facts()
        if args.host not in told["machines"]:
            raise SystemExit(f"no host {args.host!r} in the lab: there are {', '.join(told['machines'])}")
        replace_by([*ssh_command(told, told["machines"][args.host]), *args.argv])
    else:
        argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
        if not argv:
            top.error("exec needs a command: tools/lab.py exec -- curl http://10.91.0.10:8080/")
        replace_by([*network.enter(facts()["netns"]), *argv])


if __name__ == "__main__":
    main()
