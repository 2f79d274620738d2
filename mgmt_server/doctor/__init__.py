"""`cloudwright doctor`: what is wrong with this installation, how that was seen, and what to do about it.

Checks only look: nothing is changed. Each is a function that yields findings; what it needs and cannot have makes it
skipped, with the reason.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import orjson

from mgmt_server import config as bootstrap
from mgmt_server.config import Config, ConfigurationError
from mgmt_server.doctor import hosts, server, zones
from mgmt_server.doctor.finding import Finding, fail, skipped
from mgmt_server.errors import ApiError

Check = Callable[[Config], Iterable[Finding]]

BEFORE: tuple[Check, ...] = (server.files,)
CHECKS: tuple[Check, ...] = (
    server.database,
    server.schema,
    server.clock,
    server.nodes,
    server.ports,
    server.certificate,
    server.authority,
    server.administrator,
    server.settings,
    server.jobs,
    hosts.agents,
    hosts.states,
    hosts.bridges,
    hosts.clocks,
    hosts.certificates,
    hosts.nic_limits,
    hosts.high_availability,
    zones.pools,
    zones.stores,
    zones.system_templates,
    zones.addresses,
)


def report(config_path: Path, as_json: bool) -> int:
    """Run all checks and print what they found: 1 when something fails, else 0."""
    found = examine(config_path)
    failed = any(f.status == "fail" for f in found)
    if as_json:
        content = {"ok": not failed, "checks": [asdict(f) for f in found]}
        sys.stdout.write(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(_table(found))
    return 1 if failed else 0


def examine(config_path: Path) -> list[Finding]:
    try:
        config = bootstrap.read(config_path)
    except ConfigurationError as error:
        return [fail("configuration", str(error), "correct the file, or write it anew with `cloudwright setup`")]
    found = _run(BEFORE, config)
    try:
        _open(config)
    except ConfigurationError as error:
        found.append(fail("database", str(error), "the text says what; then run the doctor again"))
        return [*found, *(skipped(c.__name__.replace("_", " "), "the database cannot be used") for c in CHECKS[1:])]
    return [*found, *_run(CHECKS, config)]


def _open(config: Config) -> None:
    from mgmt_server import install
    from mgmt_server.logs import set_up

    set_up(None, "ERROR")
    install.open_database(config, bootstrap.key_of(config), pool=4)


def _run(checks: Iterable[Check], config: Config) -> list[Finding]:
    found: list[Finding] = []
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            found.extend(check(config))
        except ApiError as error:
            found.append(fail(name, str(error), "the text says what"))
        except Exception as error:  # one check that breaks must not hide what the others see
            found.append(skipped(name, f"the check itself failed: {type(error).__name__}: {error}"))
    return found


def _table(found: list[Finding]) -> str:
    width = max(len(f.name) for f in found)
    lines = []
    for finding in found:
        lines.append(f"{finding.status:<8}{finding.name:<{width + 2}}{finding.evidence}")
        if finding.remedy and finding.status != "ok":
            lines.extend(
                textwrap.wrap(
                    finding.remedy, 100, initial_indent=" " * (width + 10) + "-> ", subsequent_indent=" " * (width + 13)
                )
            )
    count = {s: sum(f.status == s for f in found) for s in ("ok", "warn", "fail", "skipped")}
    lines.append(", ".join(f"{n} {status}" for status, n in count.items()))
    return "\n".join(lines) + "\n"
