"""Settings: declared where they are used, changed by updateConfiguration, read without a statement.

    EXPUNGE_DELAY = Setting("expunge.delay", "Seconds after which a destroyed machine is expunged")
    seconds = EXPUNGE_DELAY.number()

Type, default, category and scopes come from the protocol's facts; a setting of our own gives them itself. A setting
without a use does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.db.kept import Kept
from mgmt_server.model.event import SettingValue
from mgmt_server.model.groups import group_of

STANDS = 3.0  # seconds that what was read stands on other nodes
settings: dict[str, Setting] = {}


@cache
def _facts() -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads(files("mgmt_server.data").joinpath("settings-facts.json").read_bytes())
    return loaded["settings"]  # type: ignore[no-any-return]


def unused(name: str) -> Setting | None:
    """A setting of the protocol that nothing here uses: clients set some of them while they build a zone.

    Its value is kept and has no effect; it is not listed.
    """
    if name not in _facts():
        return None
    return Setting(name, "Accepted from clients and kept; this version makes no use of it", used=False)


@dataclass(frozen=True)
class Scope:
    """Whose value: ("Zone", zone.id). The most special one that is set wins."""

    kind: str
    id: int


class Setting:
    def __init__(
        self,
        name: str,
        description: str,
        *,
        type: str | None = None,
        default: str | None = None,
        category: str = "Advanced",
        scopes: tuple[str, ...] | None = None,
        options: tuple[str, ...] = (),
        least: float | None = None,
        most: float | None = None,
        secret: bool = False,
        parent: str = "",
        used: bool = True,
    ) -> None:
        fact = _facts().get(name)
        if fact is None and type is None:
            raise TypeError(f"{name} is no setting of the protocol: give its type, default and scopes")
        fact = fact or {}
        self.name, self.description = name, description
        self.type: str = type or fact["type"]
        self.default: str | None = default if default is not None else fact.get("default")
        self.category: str = fact.get("category", category)
        self.scopes: tuple[str, ...] = scopes or tuple(fact.get("scope", ("Global",)))
        self.dynamic: bool = bool(fact.get("dynamic", True))
        self.component: str = fact.get("component", "management-server")
        self.kind: str = fact.get("kind", "")  # CSV, Select: how a web client asks for it
        self.group, self.subgroup = group_of(name)
        self.parent = parent  # the setting that switches this one on
        self.options, self.least, self.most = options or tuple(o for o in fact.get("options", ()) if o), least, most
        self.secret = secret or self.category in ("Secure", "Hidden")
        self._somewhere: tuple[object, bool] = (None, False)
        if used:
            settings[name] = self

    def text(self, *scopes: Scope) -> str:
        values = _values()
        for scope in scopes:
            value = values.get((self.name, scope.kind, scope.id))
            if value is not None:
                return value
        value = values.get((self.name, "Global", 0))
        return value if value is not None else (self.default or "")

    def own(self, kind: str) -> dict[int, str]:
        """The values that rows of a scope have of their own."""
        return {n: v for (name, scope, n), v in _values().items() if name == self.name and scope == kind and v}

    def by_scope(self, kind: str) -> dict[int, str]:
        """The values of its own that scopes of a kind have: number of the scope -> value."""
        return {number: value for (name, of, number), value in _values().items() if (name, of) == (self.name, kind)}

    def number(self, *scopes: Scope) -> int:
        return int(float(self.text(*scopes) or 0))

    def fraction(self, *scopes: Scope) -> float:
        return float(self.text(*scopes) or 0)

    def flag(self, *scopes: Scope) -> bool:
        return self.text(*scopes).strip().lower() == "true"

    def somewhere(self) -> bool:
        """Whether it is on in any scope at all: for lists, whose rows need not look further where it is not."""
        values, held = _values(), self._somewhere
        if held[0] is not values:
            told = [self.default or "", *(value for (name, _, _), value in values.items() if name == self.name)]
            held = self._somewhere = (values, any(text.strip().lower() == "true" for text in told))
        return held[1]

    def set_anywhere(self) -> bool:
        """Whether anybody gave it a value, for the whole installation or in one scope."""
        return any(name == self.name for name, _, _ in _values())

    def words(self, *scopes: Scope) -> list[str]:
        return [w.strip() for w in self.text(*scopes).split(",") if w.strip()]


def _read(session: Session) -> dict[tuple[str, str, int], str]:
    rows = select(SettingValue.name, SettingValue.scope, SettingValue.scope_id, SettingValue.value)
    return {(name, scope, number): value or "" for name, scope, number, value in session.execute(rows)}


_values = Kept(_read)


def stamp() -> object:
    """Another object whenever a value has changed: for what is made of them and kept."""
    return _values()


def forget() -> None:
    """Read the values anew: one was changed."""
    _values.forget()
