#!/usr/bin/python3
"""One guarded change of this host's network: applied, proved, and kept only if somebody confirms it.

    network_change.py begin DIR     save what change.json is about to replace
    network_change.py apply DIR     put the new files in place, load them, prove them; take them back if they fail
    network_change.py keep DIR      the controller has reached the host again: confirm
    network_change.py restore DIR   take the change back, unless it was kept (a timer calls this)
    network_change.py boot DIR      as restore, before the network is up: files only
    network_change.py state DIR     print {"state": ..., "problem": ...}

DIR/change.json: {"backend": "networkd"|"ifupdown", "files": {PATH: TEXT or null for gone}, "seconds": TO_PROVE,
"bridges": [{"name": N, "port": P or "", "addresses": [CIDR], "gateway": G or ""}]}
States: none, prepared, applying, applied, kept, restoring, restored.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

SYSFS = Path("/sys/class/net")


@contextmanager
def locked(folder: Path):
    with open(folder / "lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


def read(path: Path, default: object = None) -> object:
    return json.loads(path.read_text()) if path.exists() else default


def write(path: Path, text: str) -> None:
    """Atomic, and on the disk before it counts: a power cut leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with open(new, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    new.chmod(0o644)
    new.replace(path)


def state(folder: Path) -> dict:
    return read(folder / "state.json", {"state": "none", "problem": ""})


def note(folder: Path, name: str, problem: str = "") -> None:
    write(folder / "state.json", json.dumps({"state": name, "problem": problem}))


def put(files: dict[str, str | None]) -> None:
    for name, text in files.items():
        if text is None:
            Path(name).unlink(missing_ok=True)
        else:
            write(Path(name), text)


def default_routes() -> list[dict]:
    return json.loads(run("ip", "-j", "-4", "route", "show", "default") or "[]")


def exists(link: str) -> bool:
    return (SYSFS / link).exists()


def master(link: str) -> str:
    target = SYSFS / link / "master"
    return target.resolve().name if target.exists() else ""


def addresses(link: str) -> set[str]:
    if not exists(link):
        return set()
    found = json.loads(run("ip", "-j", "-4", "addr", "show", "dev", link))
    return {f"{a['local']}/{a['prefixlen']}" for entry in found for a in entry.get("addr_info", [])}


# ---------------------------------------------------------------- what loads the files


def named(files: dict[str, str | None], kinds: tuple[str, ...], gone: bool = False) -> list[str]:
    """The links that files of ours speak of; with `gone` only those of files that are to be taken away."""
    found = [Path(name) for name, text in files.items() if not gone or text is None]
    prefix = "05-cloudwright-"
    return sorted({f.stem[len(prefix) :] for f in found if f.name.startswith(prefix) and f.suffix in kinds})


def touched(change: dict) -> list[str]:
    """All links that the change makes, takes away, or configures."""
    names = {b["port"] for b in change["bridges"]} | {b["name"] for b in change["bridges"]}
    return sorted((names | set(named(change["files"], (".network", ".netdev")))) - {""})


def load_networkd(change: dict, delete: list[str]) -> None:
    # before the bridges go: a port whose file still names a bridge that is gone ends as "failed"
    run("networkctl", "reload")
    for bridge in delete:  # networkd leaves the device when its .netdev goes
        if exists(bridge):
            run("ip", "link", "delete", bridge)
    reconfigure(change)


def reconfigure(change: dict) -> None:
    for link in touched(change):
        if exists(link):
            # reload alone leaves a link that it has configured before as it was, and a failed one failed
            run("networkctl", "reconfigure", link, check=False)


def down_ifupdown(change: dict) -> None:
    for bridge in change["bridges"]:
        for link in filter(None, (bridge["name"], bridge["port"])):
            run("ifdown", "--force", link, check=False)


def up_ifupdown(change: dict, delete: list[str]) -> None:
    for bridge in delete:
        if exists(bridge):
            run("ip", "link", "delete", bridge)
    run("ifup", "-a")
    for bridge in change["bridges"]:
        if bridge["name"] not in delete:
            run("ifup", bridge["name"])


# ---------------------------------------------------------------- steps


def begin(folder: Path) -> None:
    change = read(folder / "change.json")
    before = {
        "files": {name: Path(name).read_text() if Path(name).exists() else None for name in change["files"]},
        "links": {link: as_is(link) for link in touched(change) if exists(link)},
        "default": bool(default_routes()),
    }
    write(folder / "before.json", json.dumps(before))
    (folder / "before.json").chmod(0o600)
    note(folder, "prepared")


def as_is(link: str) -> dict:
    return {"master": master(link), "addresses": sorted(addresses(link))}


def settled(before: dict, seconds: float) -> bool:
    """Whether the links are what they were, within some time."""
    deadline = time.monotonic() + seconds
    while True:
        wrong = [n for n, was in before["links"].items() if not exists(n) or as_is(n) != was]
        if not wrong and (default_routes() or not before["default"]):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)


def problems(change: dict, before: dict) -> list[str]:
    found = []
    for bridge in change["bridges"]:
        name, port = bridge["name"], bridge["port"]
        if not exists(name):
            found.append(f"bridge {name} is not there")
            continue
        if port and master(port) != name:
            found.append(f"{port} is not a port of {name} but of {master(port) or 'nothing'}")
        if missing := sorted(set(bridge["addresses"]) - addresses(name)):
            found.append(f"{name} has no {', '.join(missing)}")
    if before["default"] and not default_routes():
        found.append("there is no default route any more")
    return found


def apply(folder: Path) -> None:
    change, before = read(folder / "change.json"), read(folder / "before.json")
    try:
        with locked(folder):
            if state(folder)["state"] != "prepared":
                raise SystemExit(f"the change in {folder} is not prepared but {state(folder)['state']}")
            note(folder, "applying")
            if change["backend"] == "ifupdown":
                down_ifupdown(change)
            put(change["files"])
            if change["backend"] == "networkd":
                load_networkd(change, named(change["files"], (".netdev",), gone=True))
            else:
                up_ifupdown(change, [])
        deadline = time.monotonic() + change["seconds"]
        while found := problems(change, before):
            if time.monotonic() > deadline:
                raise RuntimeError("; ".join(found))
            time.sleep(0.5)
    except (RuntimeError, OSError) as error:
        restore(folder, str(error))
        raise SystemExit(str(error)) from error
    with locked(folder):
        if state(folder)["state"] == "applying":
            note(folder, "applied")


def restore(folder: Path, problem: str = "nobody reached the host through the new network", files_only: bool = False):
    with locked(folder):
        if state(folder)["state"] not in ("prepared", "applying", "applied", "restoring"):
            return
        change, before = read(folder / "change.json"), read(folder / "before.json")
        note(folder, "restoring", problem)
        if change["backend"] == "ifupdown" and not files_only:
            down_ifupdown(change)
        put(before["files"])
        if not files_only:
            bring_back(change, before)
        note(folder, "restored", problem)


def bring_back(change: dict, before: dict) -> None:
    """Load the old files, by harder means each time, until the links are what they were."""
    new = [b["name"] for b in change["bridges"] if b["name"] not in before["links"]]
    if change["backend"] == "networkd":
        means = [
            lambda: load_networkd(change, new),
            lambda: reconfigure(change),
            lambda: run("systemctl", "restart", "systemd-networkd.service"),
        ]
    else:
        means = [
            lambda: up_ifupdown(change, new),
            lambda: run("systemctl", "restart", "networking.service"),
        ]
    for attempt in means:
        try:
            attempt()
        except RuntimeError as error:
            print(error, file=sys.stderr)
        if settled(before, 10):
            return


def keep(folder: Path) -> None:
    with locked(folder):
        now = state(folder)
        if now["state"] != "applied":
            raise SystemExit(f"cannot keep a change that is {now['state']}: {now['problem'] or 'not applied yet'}")
        note(folder, "kept")
    run("systemctl", "stop", "cloudwright-network-rollback.timer", check=False)


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    verb, folder = sys.argv[1], Path(sys.argv[2])
    if verb == "state":
        print(json.dumps(state(folder)))
    elif verb == "boot":
        restore(folder, "the host was started again before the change was confirmed", files_only=True)
    elif verb in ("begin", "apply", "keep", "restore"):
        {"begin": begin, "apply": apply, "keep": keep, "restore": restore}[verb](folder)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
