#!/usr/bin/env python3
"""Runs every check that needs no machine: all of them, even after one failed; what failed is printed, and a summary.

tools/lint.py            all checks
tools/lint.py NAME ...   some of them
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv/bin"
COLLECTION = ROOT / "collections/ansible_collections/cloudwright/cloud"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# the name that ansible-core 2.19 looks for
GET_PIP = Path("~/.ansible/test/cache/get_pip_24_2.py").expanduser()

CHECKS: dict[str, tuple[list[str], Path]] = {
    "ruff check": (["ruff", "check"], ROOT),
    "ruff format": (["ruff", "format", "--check"], ROOT),
    "mypy": (["mypy"], ROOT),
    "lint-imports": (["lint-imports"], ROOT),
    "roles": (["pytest", "tests/unit/test_roles.py"], ROOT),
    "ansible-lint": (["ansible-lint", "--offline", "--strict", "roles", "playbooks", "molecule", "inventories"], ROOT),
    "collection sanity": (["ansible-test", "sanity", "--venv", "--python", PYTHON, "--color", "no"], COLLECTION),
    "collection units": (["ansible-test", "units", "--local", "--python", PYTHON, "--color", "no"], COLLECTION),
}


def prepare() -> dict[str, str]:
    """The environment of the checks."""
    if not GET_PIP.exists():
        GET_PIP.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tools/get_pip.py", GET_PIP)
    return os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "PY_COLORS": "0", "NO_COLOR": "1"}


def main() -> int:
    wanted = sys.argv[1:] or list(CHECKS)
    if unknown := set(wanted) - set(CHECKS):
        print(f"no check {', '.join(sorted(unknown))}: there are {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    environment, failed, lines = prepare(), [], []
    for name in wanted:
        command, folder = CHECKS[name]
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        verdict = "ok" if done.returncode == 0 else f"FAILED ({done.returncode})"
        lines.append(f"{name:20} {time.monotonic() - started:6.1f} s  {verdict}")
        print(lines[-1], flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout, flush=True)
    if failed:
        print("\n".join(["", *lines]))
        print(f"failed: {', '.join(failed)}. One alone: .venv/bin/python tools/lint.py {failed[0]!r}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
