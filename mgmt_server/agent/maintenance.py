"""Scripts that an operator put on a host for its maintenance: each is run once for a call, apart from the agent.

A script may restart the agent, and the host too. What it says and how it ends is in files, so that a repeat of the
call joins the script that runs, or reads how it ended.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path

from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import StageResult

STAGES = ("PreFlight", "PreMaintenance", "Maintenance", "PostMaintenance")
ENDINGS = ("", ".sh", ".py")
KEPT = 7 * 86400  # seconds, as the journal's
TOLD = 4000  # characters of what a script said last
POLL = 0.1  # seconds

# what it is given are arguments, never part of what the shell reads; timeout ends what the script started too
_RUN = """
folder=$1 script=$2 seconds=$3 payload=$4
echo $$ > "$folder/pid"
timeout -k 10 "$seconds" "$script" "$payload" > "$folder/output" 2>&1 < /dev/null
echo $? > "$folder/status.new"
mv "$folder/status.new" "$folder/status"
"""


class Scripts:
    def __init__(self, folder: Path, state: Path, boot_id: str) -> None:
        self.folder, self.state, self.boot_id = folder, state, boot_id

    def stages(self) -> tuple[str, ...]:
        return tuple(stage for stage in STAGES if self._script(stage) is not None)

    def run(self, call: str, stage: str, payload: str, timeout: int) -> StageResult:
        """Run a stage's script, or wait for the one that this call started. Raises Failed."""
        if stage not in STAGES or not re.fullmatch(r"[0-9a-f-]{36}", call):
            raise Failed(f"there is no stage {stage[:50]!r}: they are {', '.join(STAGES)}")
        place = self.state / call
        if not (place / "boot").exists():
            script = self._script(stage)
            if script is None:
                return StageResult(stages=self.stages())
            _refuse_open(script)
            self._start(place, script, payload, timeout)
        return self._joined(place, stage)

    def _start(self, place: Path, script: Path, payload: str, timeout: int) -> None:
        for old in self.state.glob("*-*"):
            if old.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(old, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        (place / "boot").write_text(self.boot_id)
        argv = ["/bin/sh", "-c", _RUN, "maintenance", str(place), str(script), str(timeout), payload]
        child = subprocess.Popen(argv, start_new_session=True, cwd="/", stdin=subprocess.DEVNULL)
        while not (place / "pid").exists() and child.poll() is None:
            time.sleep(POLL)

    def _joined(self, place: Path, stage: str) -> StageResult:
        while not (place / "status").exists():
            if not _lives(place) and not (place / "status").exists():
                break
            time.sleep(POLL)
        said, status = _read(place / "output")[-TOLD:], _read(place / "status").strip()
        if status:
            return StageResult(int(status), said, self.stages())
        if _read(place / "boot") != self.boot_id:
            return StageResult(0, f"{said}\n(the host was started anew while the script ran)".strip(), self.stages())
        raise Failed(f"the script for {stage} was cut off after it had said {said[-500:].strip()!r}")

    def _script(self, stage: str) -> Path | None:
        found = (self.folder / f"{stage}{ending}" for ending in ENDINGS)
        return next((path for path in found if path.is_file()), None)


def _refuse_open(script: Path) -> None:
    """It runs with the agent's rights: nobody else may be able to change it."""
    for path in (script, script.parent):
        found = path.stat()
        if found.st_uid not in (0, os.getuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Failed(f"{path} may be changed by others than root: chown root and chmod go-w it")
    if not os.access(script, os.X_OK):
        raise Failed(f"{script} cannot be run: chmod +x it")


def _lives(place: Path) -> bool:
    """Whether the shell around the script is still there: its command line names the call's folder."""
    pid = _read(place / "pid").strip()
    try:
        return bool(pid) and str(place).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
