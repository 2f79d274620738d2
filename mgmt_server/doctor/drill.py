"""The command `cloudwright drill ha`: runs on a management server, beside the servers that it measures."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from mgmt_server import config as bootstrap
from mgmt_server import install
from mgmt_server.db import reading
from mgmt_server.resources import load
from mgmt_server.resources.ha import drill

PATIENCE = 900.0  # seconds until a drill is given up, and the host switched on again


def from_terminal(config: Path, host: str) -> int:
    """Ask, cut the power, and print the time-line as JSON: 0 when all that should run does."""
    found = bootstrap.read(config)
    install.open_database(found, bootstrap.key_of(found), pool=4)
    load()
    with reading() as session:
        asked = drill.plan(session, host)
    _say(f"The power of {asked.name} is cut, with all that runs on it.")
    _say(f"{len(asked.guests)} of its guests should run elsewhere then. Type the host's name to go on:")
    if sys.stdin.readline().strip() != asked.name:
        _say("Nothing was done.")
        return 2
    report = drill.run(host, PATIENCE, _say)
    sys.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0 if report["ok"] else 1


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
