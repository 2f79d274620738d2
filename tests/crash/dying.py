"""`cloudwright serve`, which at moments of its jobs does what a test has written into a file: see `Told`.

CLOUDWRIGHT_TOLD=FILE CLOUDWRIGHT_NODE=first python -m tests.crash.dying serve --simulator ...
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mgmt_server import cli, config
from mgmt_server.jobs import moments, worker

WORKERS = 20  # so many that those which are kept for other accounts leave enough for a job of each kind


class Told:
    """The file's content, a JSON object, read anew at each moment:

    idle: take no jobs
    holds: command -> number of the moment at which its job stops; when all do, the process gets the signal `then`
    every, of: at each so-manieth moment of these commands' jobs (empty: of any) kill -9 whose pid stands in `pid_file`
    """

    def __init__(self, file: Path) -> None:
        self.file, self.text = file, ""
        self.lock, self.on = threading.RLock(), threading.Event()
        self.words: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        self.arrived: set[str] = set()

    def read(self) -> dict[str, Any]:
        with self.lock:
            text = self.file.read_text() if self.file.exists() else "{}"
            if text != self.text:
                self.text, self.words = text, json.loads(text)
                self.counts.clear()
                self.arrived.clear()
                self.on.clear()
            return self.words

    def moment(self, command: str) -> None:
        words = self.read()
        if command in words.get("holds", {}):
            self.hold(command, words)
        if words.get("every") and (not words["of"] or command in words["of"]):
            with self.lock:
                self.counts[""] += 1
                if self.counts[""] % words["every"] == 0:
                    kill(int(Path(words["pid_file"]).read_text()))

    def hold(self, command: str, words: dict[str, Any]) -> None:
        with self.lock:
            self.counts[command] += 1
            if self.counts[command] != words["holds"][command]:
                return
            self.arrived.add(command)
            last = self.arrived == set(words["holds"])
        if last:
            os.kill(os.getpid(), getattr(signal, words["then"]))
            self.on.set()  # as a process that goes on: all do
        self.on.wait(120)


def kill(pid: int) -> None:
    """kill -9, and wait until it is gone: its last words may be under way."""
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.005)


def main() -> int:
    told = Told(Path(os.environ["CLOUDWRIGHT_TOLD"]))
    real, claim = config.Config, worker.claim
    name = os.environ.get("CLOUDWRIGHT_NODE", "simulator")
    own = {"node": name, "workers": WORKERS}
    config.Config = lambda **given: real(**{**given, **own})  # type: ignore[assignment,misc]
    worker.claim = lambda *given: None if told.read().get("idle") else claim(*given)  # type: ignore[assignment]
    moments._left = 1
    moments._count_down = told.moment
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
