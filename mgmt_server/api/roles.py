"""What a role allows. Roles that come with the installation follow each command's declaration; one that somebody made
has rules in order, of which the first that fits decides, and never allows more than its type does.

A decision is a look into a dictionary: rules are compiled once per role, and each command is decided once.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.account import Role, RolePermission

STANDS = 3.0  # seconds that the rules stand on other nodes than the one that changed them
RULE = re.compile(r"[A-Za-z0-9*]{1,100}")
FOLLOWING = ("Root Admin", "Resource Admin", "Domain Admin", "User")


class Rules:
    """The rules of one role, in order: (rule, whether it allows)."""

    def __init__(self, rules: Iterable[tuple[str, bool]]) -> None:
        self._named: dict[str, tuple[int, bool]] = {}
        self._patterns: list[tuple[int, list[str], bool]] = []
        self._decided: dict[str, bool] = {}
        for position, (rule, allows) in enumerate(rules):
            if "*" in rule:
                self._patterns.append((position, rule.lower().split("*"), allows))
            else:
                self._named.setdefault(rule.lower(), (position, allows))

    def __call__(self, command: str, _: tuple[str, ...] = ()) -> bool:
        known = self._decided.get(command)
        if known is None:
            known = self._decided[command] = self._decide(command)
        return known

    def _decide(self, command: str) -> bool:
        name = command.lower()
        named, allowed = self._named.get(name, (len(self._named) + len(self._patterns), False))
        for position, parts, allows in self._patterns:
            if position > named:
                break
            if fits(parts, name):
                return allows
        return allowed


def fits(parts: list[str], command: str) -> bool:
    """Whether a command's name, in lower case, is made of these parts with anything between. Takes no backtracking.

    >>> fits(["list", "s"], "listzones"), fits(["list", ""], "getuser")
    (True, False)
    """
    first, *middle, last = parts
    if not command.startswith(first) or not command.endswith(last):
        return False
    at, end = len(first), len(command) - len(last)
    for part in middle:
        found = command.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def nothing(command: str, _: tuple[str, ...] = ()) -> bool:
    """What a disabled role allows."""
    return False


_lock = threading.Lock()
_known: dict[int, tuple[float, Rules]] = {}


def forget() -> None:
    """Read the rules anew: some were changed."""
    with _lock:
        _known.clear()


def follows(role: Role) -> bool:
    """Whether the role came with the installation and follows the declarations."""
    return role.is_default and role.name in FOLLOWING


def rules_of(session: Session, role: Role) -> Rules | None:
    """None for a role that follows the declarations."""
    if follows(role):
        return None
    found = _known.get(role.id)
    if found and found[0] > time.monotonic():
        return found[1]
    rules = read_rules(session, role)
    with _lock:
        _known[role.id] = (time.monotonic() + STANDS, rules)
    return rules


def read_rules(session: Session, role: Role) -> Rules:
    """The rules as they are now, in the session's transaction."""
    rows = select(RolePermission.rule, RolePermission.permission).where(RolePermission.role_id == role.id)
    return Rules((rule, word == "allow") for rule, word in session.execute(rows.order_by(RolePermission.position)))
