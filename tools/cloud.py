#!/usr/bin/env python3
"""A whole cloud on this machine, from nothing to a guest that answers.

    tools/cloud.py up       make it; a second time: see that all is there, change nothing
    tools/cloud.py down     take it away, but for packages and what was downloaded and built

It stands in the lab (tools/lab.py; CLOUDWRIGHT_LAB names it). Needs root. Uses the standard library alone, since it
also makes the environment that everything else needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import lab

ROOT = lab.ROOT
KEPT = ROOT / ".lab/cache"  # what is built once and outlives the lab
IMAGES = KEPT / "images"
WHEELS = KEPT / "wheels"
PYTHON = ROOT / ".venv/bin/python"
PLAYBOOK = ROOT / ".venv/bin/ansible-playbook"
ERASE = "\r\x1b[K"
AGAIN = "`make cloud` goes on from there, `make cloud-down` removes what is there."


class StepFailed(Exception):
    """A step ended badly; the text is the reason if the log does not have it."""


class Log:
    """What the commands of all steps say goes to a file; the terminal shows what goes on."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file = open(path, "w", buffering=1)  # noqa: SIM115
        self.doing = ""
        self.started = time.monotonic()
        self.live = sys.stdout.isatty()
        self.told = 0.0

    def step(self, title: str) -> None:
        self.doing, self.started, self.told = title, time.monotonic(), 0.0
        self.file.write(f"\n=== {title}\n")
        if self.live:
            self.tick("")
        else:
            print(f"{title} ...", flush=True)

    def tick(self, news: str) -> None:
        """Show that it still works: in place on a terminal, else every half minute."""
        seconds = time.monotonic() - self.started
        if self.live:
            print(f"{ERASE}{self.doing}  {seconds:.0f} s  {news}"[:110], end="", flush=True)
        elif seconds - self.told > 30:
            self.told = seconds
            print(f"    {seconds:.0f} s  {news}"[:110], flush=True)

    def done(self, news: str) -> None:
        seconds = time.monotonic() - self.started
        print(f"{ERASE if self.live else ''}{self.doing:44} {seconds:6.1f} s  {news}", flush=True)

    def run(self, *argv: str | Path, env: dict[str, str] | None = None) -> str:
        """Run a command to its end and give what it printed; StepFailed if it ends badly."""
        command = [str(arg) for arg in argv]
        self.file.write(f"$ {' '.join(command)}\n")
        with open(self.path) as tail:
            tail.seek(0, os.SEEK_END)
            start = tail.tell()
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=self.file,
                stderr=self.file,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | (env or {}),
            )
            news = ""
            try:
                while process.poll() is None:
                    # of a playbook the task is news, of anything else the line
                    for line in tail.read().splitlines():
                        if found := re.match(r"(?:TASK|PLAY|RUNNING HANDLER) \[(.*?)\]", line):
                            news = found[1]
                        elif not re.match(r"(ok|changed|skipping|included)?\W|\s*$", line) and not news:
                            self.tick(line.strip())
                    self.tick(news)
                    time.sleep(0.5)
            except BaseException:
                process.terminate()
                process.wait()
                raise
            tail.seek(start)
            said = tail.read()
        if process.returncode:
            raise StepFailed(f"{Path(command[0]).name} ended with {process.returncode}")
        return said


# ---------------------------------------------------------------- steps; each says what it changed, or nothing


def packages(log: Log) -> str:
    said = log.run(ROOT / "tools/venv.sh")
    return "installed" if "installing" in said else ""


def tiny_guest(log: Log) -> str:
    return built(log, "tiny-guest.qcow2", PYTHON, ROOT / "tools/tiny_guest/build.py", "--output", IMAGES)


def system_vm(log: Log) -> str:
    return built(log, "systemvm.qcow2", ROOT / ".venv/bin/cloudwright", "systemvm", "build", "--output", IMAGES)


def built(log: Log, name: str, *command: str | Path) -> str:
    before = digest([IMAGES / name])
    log.run(*command)
    size = (IMAGES / name).stat().st_size >> 20
    return "" if digest([IMAGES / name]) == before else f"built, {size} MiB"


def digest(paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        if path.is_file():
            total.update(str(path.relative_to(ROOT)).encode() + b"\0")
            with open(path, "rb") as file:
                while chunk := file.read(1 << 20):
                    total.update(chunk)
    return total.hexdigest()


def wheels(log: Log) -> str:
    """The project and all it needs as files, so that a host installs them without any network."""
    needs = digest([ROOT / "pyproject.toml"])
    source = digest(
        [ROOT / "pyproject.toml", *sorted(path for path in (ROOT / "mgmt_server").rglob("*") if shipped(path))]
    )
    stamp = KEPT / "wheels.json"
    told = json.loads(stamp.read_text()) if stamp.exists() else {}
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--wheel-dir", WHEELS]
    if told == {"needs": needs, "source": source}:
        return ""
    stamp.unlink(missing_ok=True)
    same_needs = told.get("needs") == needs
    for old in WHEELS.glob("cloudwright-*.whl" if same_needs else "*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="cloudwright-wheels-") as copy:
        # not in the checkout: setuptools would leave a folder there, and take what is in it next time
        shutil.copytree(ROOT / "mgmt_server", Path(copy) / "mgmt_server", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, copy)
        log.run(*pip, *(["--no-deps"] if same_needs else []), copy)
    stamp.write_text(json.dumps({"needs": needs, "source": source}))
    return "1 wheel" if same_needs else f"{len(list(WHEELS.glob('*.whl')))} wheels"


def shipped(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def hosts(log: Log) -> str:
    said = json.loads(log.run(sys.executable, ROOT / "tools/lab.py", "up").strip().splitlines()[-1])
    return f"{len(said['machines'])} machines" if said["changed"] else ""


def site(log: Log) -> str:
    return play(log, ROOT / "playbooks/site.yml")


def power(log: Log) -> str:
    return play(log, ROOT / "playbooks/lab_power.yml")


def guest(log: Log) -> str:
    return play(log, ROOT / "playbooks/lab_guest.yml")


def play(log: Log, playbook: Path) -> str:
    environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    environment["PATH"] = f"{PLAYBOOK.parent}:{os.environ['PATH']}"
    said = log.run(PLAYBOOK, "-i", ROOT / "inventories/lab", playbook, env=environment)
    changed = sum(int(count) for count in re.findall(r"^\S+ +: ok=\d+ +changed=(\d+)", said, re.MULTILINE))
    return f"changed={changed}" if changed else ""


STEPS: list[tuple[str, Callable[[Log], str]]] = [
    ("Debian packages and Python environment", packages),
    ("image of the guest", tiny_guest),
    ("image of the system VMs", system_vm),
    ("wheels of the server and the agent", wheels),
    ("hosts and networks", hosts),
    ("the cloud: playbooks/site.yml", site),
    ("power of the hosts: playbooks/lab_power.yml", power),
    ("a guest: playbooks/lab_guest.yml", guest),
]


# ---------------------------------------------------------------- the whole


def up() -> int:
    started, changed = time.monotonic(), []
    log = Log(ROOT / ".lab" / f"{lab.lab_name()}.log")
    print(f"A cloud in the lab {lab.lab_name()!r}. What the steps say goes to {log.path}")
    for number, (title, work) in enumerate(STEPS, 1):
        log.step(f"[{number}/{len(STEPS)}] {title}")
        try:
            news = work(log)
        except (StepFailed, OSError, ValueError) as error:
            return explain(log, error)
        except KeyboardInterrupt:
            print(f"\ninterrupted in {log.doing}. {AGAIN}")
            return 130
        log.done(news or "nothing to do")
        changed += [title] if news else []
    seconds = time.monotonic() - started
    print(
        f"\n{seconds:.0f} s. " + (f"Changed: {'; '.join(changed)}." if changed else "Nothing changed: all was there.")
    )
    print(summary())
    return 0


def explain(log: Log, error: Exception) -> int:
    log.done("FAILED")
    log.file.flush()
    with open(log.path, errors="replace") as file:
        tail = deque((line.rstrip() for line in file if line.strip()), maxlen=25)
    print(f"\nStep {log.doing} failed: {error}. The last lines it said:\n")
    print("\n".join(f"    {line}"[:240] for line in tail))
    print(f"\nAll of it: {log.path}\n{AGAIN}")
    return 1


def summary() -> str:
    told, found = lab.facts(), json.loads((lab.folder() / "guest.json").read_text())
    tool = ROOT / "tools/lab.py"
    credentials = lab.folder() / "credentials.json"
    key = lab.folder() / "guest_key"
    play = ".venv/bin/ansible-playbook -i inventories/lab"  # from the root: ansible.cfg there is read
    ssh = shlex.join(lab.ssh_command(told, found["address"], key=str(key)))
    return f"""
API              {told["url"]}   (from this machine; in the lab: http://{told["machines"]["mgmt"]}:8080/client/api)
credentials      {credentials}   (user admin; readable by root only)
guest            {found["name"]}, {found["address"]}: state {found["state"]} on host {found["host"]}
its web page     {tool} exec -- curl -s http://{found["address"]}/
log in to it     {ssh}
log in to a host {tool} ssh mgmt     (mgmt, kvm1, kvm2, store)

What to try next
  the API        eval "$({tool} env)"; {ROOT}/.venv/bin/cs listVirtualMachines
  a playbook     cd {ROOT}; {play} playbooks/lab_guest.yml -e lab_guest_name=second
  a host hangs   {tool} power kvm2 hang     (its guests of the offering tiny-ha run on kvm1 a minute later;
                 {tool} power kvm2 on       brings it back)
  is all well    {tool} ssh mgmt /opt/cloudwright/bin/cloudwright doctor
remove it all    make -C {ROOT} cloud-down
"""


def down() -> int:
    """Remove the lab and look whether anything of it is left."""
    netns = lab.network.namespace(lab.machine_state())
    told = lab.down()
    (ROOT / ".lab" / f"{lab.lab_name()}.log").unlink(missing_ok=True)
    left = lab.leftovers(netns)
    if left:
        print("something is left of the lab:\n" + "\n".join(f"    {each}" for each in left), file=sys.stderr)
        return 1
    done = "removed" if told["changed"] else "was not there"
    print(f"The lab {lab.lab_name()!r} {done}: no namespace, mount, cgroup, process or file of it is left.")
    print(f"Kept: Debian packages, .venv, {KEPT}, {lab.CACHE}.")
    return 0


def main() -> int:
    if sys.argv[1:] not in (["up"], ["down"]):
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid():
        print("needs root: network namespaces, mounts and systemd-nspawn", file=sys.stderr)
        return 1
    return up() if sys.argv[1] == "up" else down()


if __name__ == "__main__":
    sys.exit(main())
