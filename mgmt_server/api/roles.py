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


class Rules:
    """The rules of one role, in order: (rule, whether it allows)."""

    def __init__(self, rules: Iterable[tuple[str, bool]]) -> None:
        self._rules = [(_pattern(rule), allows) for rule, allows in rules]
        self._decided: dict[str, bool] = {}

    def __call__(self, command: str, _: tuple[str, ...] = ()) -> bool:
        known = self._decided.get(command)
        if known is None:
            known = next((allows for rule, allows in self._rules if rule.fullmatch(command)), False)
            self._decided[command] = known
        return known


def _pattern(rule: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in rule.split("*")), re.IGNORECASE)


def nothing(command: str, _: tuple[str, ...] = ()) -> bool:
    """What a disabled role allows."""
    return False


_lock = threading.Lock()
_known: dict[int, tuple[float, Rules]] = {}


def forget() -> None:
    """Read the rules anew: some were changed."""
    with _lock:
        _known.clear()


def rules_of(session: Session, role: Role) -> Rules | None:
    """None for a role that came with the installation and follows the declarations."""
    if role.is_default and role.name in FOLLOWING:
        return None
    found = _known.get(role.id)
    if found and found[0] > time.monotonic():
        return found[1]
    rows = select(RolePermission.rule, RolePermission.permission).where(RolePermission.role_id == role.id)
    rules = Rules((rule, word == "allow") for rule, word in session.execute(rows.order_by(RolePermission.position)))
    with _lock:
        _known[role.id] = (time.monotonic() + STANDS, rules)
    return rules


FOLLOWING = ("Root Admin", "Resource Admin", "Domain Admin", "User")
