"""Processes that outlive the command that started them, and the cgroups they live in."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CGROUPS = [
    tree
    for tree in (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    if (tree / "cgroup.procs").exists()
]
CGROUP_TOP = "cloudwright"


def run(*argv: str | Path, **kwargs) -> subprocess.CompletedProcess[str]:
    """Run to the end; a failure raises CalledProcessError."""
    return subprocess.run([str(arg) for arg in argv], check=True, text=True, **kwargs)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One holder on this machine at a time; the lock lies in /run, never in a work tree."""
    folder = Path("/run/lock")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"cloudwright-{name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def alive(pidfile: Path, word: str) -> int:
    """The pid in the file if that process still runs and has `word` on its command line, else 0."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pidfile.read_text())
        # the pid may have been reused since: look at what it runs
        if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return 0


def spawn(argv: list[str], pidfile: Path, log: Path) -> None:
    """Start a process in a session of its own, so that it survives the terminal of its starter."""
    with open(log, "ab") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    pidfile.write_text(str(process.pid))


def stop(pid: int, seconds: float = 5) -> None:
    """Ask to end, insist after `seconds`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: not running(pid), seconds):
            return


def running(pid: int) -> bool:
    """False for a zombie too: nobody waits for it but its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], seconds: float, pause: float = 0.05) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def enter_cgroup(name: str) -> None:
    """Move the calling process into a cgroup of that name, in every hierarchy.

    Machines started with --keep-unit stay in the cgroup of their starter; two in one cgroup would manage, and
    kill, each other's services.
    """
    for tree in CGROUPS:
        folder = tree / CGROUP_TOP / name

        def entered(folder: Path = folder) -> bool:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "cgroup.procs").write_text(str(os.getpid()))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
                return False  # another run that ends has just removed the empty folder above
            return True

        if not wait_until(entered, 5, pause=0.001):
            raise OSError(f"cannot make the cgroup {folder}")


def cgroup_pids(name: str) -> list[int]:
    found = []
    for tree in CGROUPS:
        for procs in (tree / CGROUP_TOP / name).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in procs.read_text().split()]
    return found


def kill_cgroup(name: str, seconds: float = 10) -> None:
    """End every process in a cgroup and remove it.

    Killing the nspawn process alone would leave the machine's PID 1 running. No orderly shutdown: the machine is
    thrown away.
    """
    deadline = time.monotonic() + seconds
    while (pids := cgroup_pids(name)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for tree in CGROUPS:
        top = tree / CGROUP_TOP / name
        for folder in sorted([top, *top.rglob("*")], reverse=True):
            if folder.is_dir():
                wait_until(lambda folder=folder: removed(folder), 2)
        if "/" not in name:  # of a whole run, not of one machine of it
            removed(tree / CGROUP_TOP)


def removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
