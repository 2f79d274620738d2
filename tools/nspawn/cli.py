"""Throw-away systemd machines for role tests and the lab, without a container engine.

Each machine is a `systemd-nspawn --boot` of an overlay over a cached `mmdebstrap` root file system. All machines
hang on bridges inside a network namespace that belongs to the run, so firewall rules, bridges and listening ports of
a role under test never touch the network of the machine they run on.

    nspawnctl.py up    --state DIR NAME=ADDRESS[:SUITE][,OPTION...] ...   create and boot
    nspawnctl.py reset --state DIR NAME ...                               throw away, create and boot anew
    nspawnctl.py down  --state DIR                                        stop and remove all
    nspawnctl.py base  SUITE [KIND]                                       build one image only
    nspawnctl.py run   --state DIR COMMAND ...                            run inside the namespace

Options of a machine: image=KIND (base or full), nic=BRIDGE (eth1, eth2, ... in the order given; needs
--bridge BRIDGE=ADDRESS/LENGTH), bind=SOURCE:TARGET, data=FOLDER (a folder of the machine that lies on the file
system of the state folder, not on overlayfs: for NFS exports), shared=FOLDER (the same, and one for all machines that
name it: as if each had mounted it from a storage server).

`up`, `reset` and `down` print one JSON object with a `changed` key; `up` and `down` are idempotent. Needs root. Needs
nothing of PID 1: no machined, no dbus.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from nspawn import network, proxy
from nspawn.image import image
from nspawn.machine import Machine, Run, boot, remove, supervise, wait_for_ssh
from nspawn.processes import alive, kill_cgroup, locked, run, spawn, stop


def parse_machine(text: str) -> Machine:
    head, *options = text.split(",")
    name, equals, rest = head.partition("=")
    address, _, suite = rest.partition(":")
    if not (name and equals and address):
        raise SystemExit(f"{text!r}: a machine is given as NAME=ADDRESS[:SUITE][,OPTION...]")
    values: dict[str, list[str]] = {"image": [], "nic": [], "bind": [], "data": [], "shared": []}
    for option in options:
        key, _, value = option.partition("=")
        if key not in values or not value:
            raise SystemExit(f"{text!r}: {option!r} is none of image=, nic=, bind=, data=, shared=")
        values[key].append(value)
    kind = values["image"][-1] if values["image"] else "base"
    folders = {"nics": values["nic"], "binds": values["bind"], "data": values["data"], "shared": values["shared"]}
    return Machine(name, address, suite or "bookworm", kind, **folders)


def write_run(run_: Run) -> None:
    told = {"gateway": run_.gateway, "bridges": run_.bridges}
    told["machines"] = [asdict(machine) for machine in run_.machines.values()]
    (run_.state / "run.json").write_text(json.dumps(told, indent=1))


def read_run(state: Path) -> Run:
    try:
        told = json.loads((state / "run.json").read_text())
    except OSError:
        raise SystemExit(f"no machines in {state}: `up --state {state}` makes them") from None
    machines = {each["name"]: Machine(**each) for each in told["machines"]}
    return Run(state, told["gateway"], told["bridges"], machines)


def answer(run_: Run, changed: bool) -> dict:
    addresses = {name: machine.address for name, machine in run_.machines.items()}
    told = {"changed": changed, "netns": run_.netns, "identity_file": str(run_.key)}
    return told | {"control_path": str(control_path(run_.netns)), "machines": addresses}


def control_path(netns: str) -> Path:
    """Where SSH keeps its masters.

    Short, as it becomes a socket's path, and its own for each run, as different runs have machines of the same address.
    """
    return Path("/run/cloudwright", netns)


def up(run_: Run, timeout: int) -> dict:
    run_.state.mkdir(parents=True, exist_ok=True)
    if not run_.key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", run_.netns, "-f", run_.key)
    if (run_.state / "run.json").exists():
        for name in read_run(run_.state).machines.keys() - run_.machines.keys():
            remove(read_run(run_.state), name)
    write_run(run_)
    for suite, kind in sorted({(machine.suite, machine.image) for machine in run_.machines.values()}):
        image(suite, kind)
    network.up(run_.netns, {network.MANAGEMENT: f"{run_.gateway}/24", **run_.bridges})
    if not alive(run_.state / "proxy.pid", "nspawnctl"):
        tool = Path(__file__).resolve().parent.parent / "nspawnctl.py"
        command = [sys.executable, str(tool), "proxy", run_.netns, run_.gateway]
        spawn(command, run_.state / "proxy.pid", run_.state / "proxy.log")
    control_path(run_.netns).mkdir(parents=True, exist_ok=True, mode=0o700)
    return answer(run_, start(run_, list(run_.machines), timeout))


def start(run_: Run, names: list[str], timeout: int) -> bool:
    with ThreadPoolExecutor() as pool:
        changed = list(pool.map(lambda name: boot(run_, name), names))
        list(pool.map(lambda name: wait_for_ssh(run_, name, timeout), names))
    return any(changed)


def reset(run_: Run, names: list[str], timeout: int) -> dict:
    for name in names:
        if name not in run_.machines:
            raise SystemExit(f"no machine {name!r}: there are {', '.join(run_.machines)}")
    for name in names:
        remove(run_, name)
    return answer(run_, start(run_, names, timeout))


def down(state: Path) -> dict:
    if not state.exists():
        return {"changed": False}
    netns = network.namespace(state)
    if (state / "run.json").exists():
        run_ = read_run(state)
        for name in run_.machines:
            remove(run_, name)
    if pid := alive(state / "proxy.pid", "nspawnctl"):
        stop(pid)
    kill_cgroup(netns)
    network.down(netns)
    shutil.rmtree(control_path(netns), ignore_errors=True)
    with contextlib.suppress(OSError):
        control_path(netns).parent.rmdir()
    shutil.rmtree(state)
    return {"changed": True}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True)
    each = {name: commands.add_parser(name) for name in ("up", "reset", "down", "run", "supervise")}
    for command in each.values():
        command.add_argument("--state", type=Path, required=True)
    for name in ("up", "reset"):
        each[name].add_argument("--timeout", type=int, default=90, help="seconds until a machine must answer")
    each["up"].add_argument("--gateway", default="198.18.0.1", help="the namespace's address among the machines (/24)")
    each["up"].add_argument("--bridge", action="append", default=[], metavar="NAME=ADDRESS/LENGTH")
    each["up"].add_argument("machines", nargs="+", type=parse_machine)
    each["reset"].add_argument("names", nargs="+")
    each["run"].add_argument("argv", nargs=argparse.REMAINDER)
    each["supervise"].add_argument("name")
    base = commands.add_parser("base")
    base.add_argument("suite")
    base.add_argument("kind", nargs="?", default="base")
    inner = commands.add_parser("proxy")
    inner.add_argument("netns")
    inner.add_argument("address")
    return top


def main() -> None:
    top = parser()
    args = top.parse_args()
    if os.geteuid():
        top.error("needs root")
    if args.command == "base":
        print(image(args.suite, args.kind))
        return
    if args.command == "proxy":
        proxy.serve(args.netns, args.address)
        return
    state = args.state.resolve()
    if args.command == "run":
        command = [*network.enter(network.namespace(state)), *args.argv]
        os.execvp(command[0], command)  # noqa: S606
    elif args.command == "supervise":
        sys.exit(supervise(read_run(state), args.name))
    with locked(network.namespace(state)):
        if args.command == "up":
            bridges = dict(item.partition("=")[::2] for item in args.bridge)
            machines = {machine.name: machine for machine in args.machines}
            told = up(Run(state, args.gateway, bridges, machines), args.timeout)
        elif args.command == "reset":
            told = reset(read_run(state), args.names, args.timeout)
        else:
            told = down(state)
    print(json.dumps(told))
