"""Which value a setting may have, for whom, and how it is written down."""

from __future__ import annotations

import ipaddress
import math
import re
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server.db import after_commit, changed
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.event import SettingValue
from mgmt_server.model.scopes import FOR_DOMAINS, of_account, of_domain
from mgmt_server.model.settings import Scope, Setting, forget, settings, unused
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.zone import Cluster, Zone

WIDEST = {"Integer": 2**31 - 1, "Long": 2**63 - 1}
LONGEST = 4096
NETWORKS = ("api.allowed.source.cidr.list", "management.network.cidr", "proxy.cidr")
TABLES: dict[str, Any] = {
    "Zone": Zone, "Cluster": Cluster, "StoragePool": Pool, "ImageStore": ImageStore, "Domain": Domain,
    "Account": Account,
}  # fmt: skip


def named(name: str) -> Setting:
    """The setting of that name. Hidden ones are as if they were not there."""
    found = settings.get(name.strip()) or unused(name.strip())
    if found is None or found.category == "Hidden":
        raise InvalidValue(f"Config parameter with name {name[:100]} doesn't exist: listConfigurations names all")
    return found


def scope_of(setting: Setting | None, **entities: Any) -> Scope | None:
    """The scope that a call names, None for the whole installation. Raises InvalidValue for two, or for the wrong one.

    entities: Zone=row, Cluster=row and so on, None for what was not sent
    """
    given = [(kind, row) for kind, row in entities.items() if row is not None]
    if len(given) > 1:
        raise InvalidValue(f"a value has one scope: choose one of {', '.join(kind for kind, _ in given)}")
    if not given:
        return None
    kind, row = given[0]
    if setting is not None and not has_scope(setting, kind):
        may = ", ".join(s for s in setting.scopes if s != "Global") or "the whole installation only"
        raise InvalidValue(f"{setting.name} has no value for one {kind}: its scope is {may}")
    return Scope(kind, row.id)


def has_scope(setting: Setting, kind: str) -> bool:
    """Whether the setting may have a value for one of these. What accounts may have, domains may, where that is on."""
    return kind in setting.scopes or (kind == "Domain" and "Account" in setting.scopes and FOR_DOMAINS.flag())


def chain(session: Session, scope: Scope | None) -> tuple[Scope, ...]:
    """The scopes whose values hold in one, nearest first: a cluster has its zone's, an account its domain's."""
    if scope is None:
        return ()
    if scope.kind == "Account":
        return of_account(session, scope.id)
    if scope.kind == "Domain":
        return of_domain(session, scope.id)
    found = [scope]
    if scope.kind != "Zone":
        row = session.get_one(TABLES[scope.kind], scope.id)
        if getattr(row, "cluster_id", None) is not None:
            found.append(Scope("Cluster", row.cluster_id))
        if row.zone_id is not None:
            found.append(Scope("Zone", row.zone_id))
    return tuple(found)


def spoken(session: Session, scope: Scope | None) -> str:
    """of account alice (ID): for events."""
    if scope is None:
        return ""
    row = session.get_one(TABLES[scope.kind], scope.id)
    return f" of {scope.kind.lower()} {row.name} ({row.uuid})"


def checked(setting: Setting, value: str) -> str:
    """The value as it is kept. Raises InvalidValue naming what it should be."""
    text = value.strip()
    if len(text) > LONGEST:
        raise InvalidValue(f"the value of {setting.name} has {len(text)} characters: at most {LONGEST}")
    if setting.type == "Boolean":
        if text.lower() not in ("true", "false"):
            raise InvalidValue(f"Value [{text[:100]}] is not valid for {setting.name}: it is true or false")
        return text.lower()
    if setting.type in ("Integer", "Long", "Float", "Double"):
        _number(setting, text)
    chosen = text.split() if "List" in setting.kind else [text]
    if not text and not setting.default:
        return text  # as it was before anybody gave it a value
    if setting.options and not set(chosen) <= set(setting.options):
        raise InvalidValue(f"Value [{text[:100]}] is not valid for {setting.name}: choose {', '.join(setting.options)}")
    if setting.name in NETWORKS:
        _networks(setting, text)
    if setting.name == "instance.name" and not re.fullmatch(r"[A-Za-z0-9]{1,20}", text):
        raise InvalidValue(f"Value [{text[:100]}] is not valid for {setting.name}: it has 1 to 20 letters and digits")
    if setting.name.endswith(".regex"):
        _pattern(setting, text)
    return text


def _networks(setting: Setting, text: str) -> None:
    """A slip in a list of networks would shut out everybody, root included."""
    for word in text.replace(",", " ").split():
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            told = f"{word[:50]} is no network such as 192.0.2.0/24 or 2001:db8::/32"
            raise InvalidValue(f"Value [{text[:100]}] is not valid for {setting.name}: {told}") from None


def _pattern(setting: Setting, text: str) -> None:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as wrong:
        raise InvalidValue(f"Value [{text[:100]}] is not valid for {setting.name}: {wrong}") from None


def _number(setting: Setting, text: str) -> None:
    whole = setting.type in WIDEST
    try:
        number = int(text, 10) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise InvalidValue(f"Value [{text[:100]}] is not valid for {setting.name}: it is {kind}") from None
    widest = WIDEST.get(setting.type, math.inf)
    least = setting.least if setting.least is not None else -widest
    most = setting.most if setting.most is not None else widest
    if not math.isfinite(number) or not least <= number <= most:
        told = f"at least {_told(least)}" if most in (widest, math.inf) else f"{_told(least)} to {_told(most)}"
        raise InvalidValue(f"Value [{text[:100]}] is out of range for {setting.name}: {told}")


def _told(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def keep(tx: Session, setting: Setting, scope: Scope | None, value: str) -> str | None:
    """Write a value down; what stood there before, None for nothing."""
    kind, number = (scope.kind, scope.id) if scope else ("Global", 0)
    mine = (SettingValue.name == setting.name, SettingValue.scope == kind, SettingValue.scope_id == number)
    before: str | None = tx.scalar(select(SettingValue.value).where(*mine))
    change = update(SettingValue).where(*mine).values(value=value).execution_options(synchronize_session=False)
    if changed(tx.execute(change)) == 0:
        try:
            with tx.begin_nested():
                tx.add(SettingValue(name=setting.name, scope=kind, scope_id=number, value=value))
        except IntegrityError:  # it is there and was equal, or another call wrote it meanwhile
            tx.execute(change)
    after_commit(forget)
    return before


def drop(tx: Session, setting: Setting, scope: Scope | None) -> str | None:
    """Take a value back; what stood there, None for nothing."""
    kind, number = (scope.kind, scope.id) if scope else ("Global", 0)
    mine = (SettingValue.name == setting.name, SettingValue.scope == kind, SettingValue.scope_id == number)
    before: str | None = tx.scalar(select(SettingValue.value).where(*mine))
    tx.execute(delete(SettingValue).where(*mine))
    after_commit(forget)
    return before
