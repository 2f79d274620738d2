"""The agent and libvirtd killed -9 on a real host with a real guest, in namespaces of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LONG = [pytest.param(b, marks=pytest.mark.long) for b in ("told", "noted")]


@pytest.mark.guests
@pytest.mark.timeout(600)
@pytest.mark.parametrize("boundary", ["begun", "done", "libvirtd", *LONG])
def test_agent_and_libvirtd_die(tmp_path: Path, boundary: str) -> None:
    words = f"{sys.executable} {Path(__file__).with_name('crashes.py')} {tmp_path} {boundary}; exit $?"
    argv = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
    argv += ["bash", "-c", words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=580, check=False)
    log = tmp_path / "agent.log"
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text()[-6000:] if log.exists() else "")
    assert done.stdout.endswith("done\n")
