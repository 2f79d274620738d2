"""What accounts and domains may have: counted and limited by one conditional statement, in the creating transaction.

    limits.take(tx, account_id, user_vm=1, cpu=2, memory=512)      amounts in the unit of the API, storage in bytes
    limits.give(tx, account_id, user_vm=1, cpu=2, memory=512)

What a transaction takes and gives is added up and written last, so that the counts that everybody of a domain shares
are locked for as short as can be. It counts for the account and for its domain and those above, but ROOT.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, bindparam, case, func, insert, or_, select, update
from sqlalchemy.orm import Session

from mgmt_server.db import Again, after_commit, before_commit, cache_of_rows, new_uuid, now, reading
from mgmt_server.db.kept import Kept
from mgmt_server.db.prepared import Sent
from mgmt_server.errors import LimitExceeded
from mgmt_server.model.account import ACCOUNT_TYPES, ROOT_DOMAIN, SYSTEM_ACCOUNT, Account, Domain
from mgmt_server.model.limit import (
    IN_BYTES,
    MOST,
    NO_LIMIT,
    SOME_LIMIT,
    TYPES,
    UNLIMITED,
    USED,
    ResourceCount,
    most_of,
)
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import ancestors

log = logging.getLogger("cloudwright.limits")
STANDS = 3.0  # seconds that the place of an account among the domains stands
GIB = 1 << 30
SPOKEN = {
    "user_vm": "user.vms", "public_ip": "public.ips", "volume": "volumes", "snapshot": "snapshots",
    "template": "templates", "project": "projects", "network": "networks", "vpc": "vpcs", "cpu": "cpus",
    "memory": "memory", "primary_storage": "primary.storage", "secondary_storage": "secondary.storage",
}  # fmt: skip


def _defaults(kind: str) -> dict[str, Setting]:
    whose = {"account": "an account", "project": "a project", "domain": "a domain"}[kind]
    found = {}
    for type, name in SPOKEN.items():
        if (kind, type) != ("project", "project"):
            text = f"How many {TYPES[type][1]} {whose} has at most; -1: any number"
            found[type] = Setting(f"max.{kind}.{name}", text, least=-1)
    return found


HOST_TAGS = Setting(
    "resource.limit.host.tags", "Tags of hosts, comma separated, for which machines, cores and memory are limited apart"
)
STORAGE_TAGS = Setting(
    "resource.limit.storage.tags",
    "Tags of storage, comma separated, for which volumes and their size are limited apart",
)
COUNTED_TAGS = {
    "user_vm": HOST_TAGS, "cpu": HOST_TAGS, "memory": HOST_TAGS,
    "volume": STORAGE_TAGS, "primary_storage": STORAGE_TAGS,
}  # fmt: skip
DEFAULTS = {kind: _defaults(kind) for kind in ("account", "project", "domain")}


@dataclass(frozen=True)
class Owner:
    """An account or a domain: `kind` says which settings give its limits, "free" that it has none."""

    key: str  # as in ResourceCount.owner
    kind: str  # account, project, domain, free
    account_id: int | None = None
    domain_id: int | None = None
    depth: int = 0  # of a domain below ROOT
    inherits: tuple[tuple[str, str, int], ...] = ()  # (type, tag, most) that hold for a domain that has none of its own


_lock = threading.Lock()
_known: dict[int, tuple[float, tuple[Owner, ...]]] = {}
_there: set[str] = set()  # keys of rows that are in the database


@cache_of_rows
def forget() -> None:
    """Read anew whose accounts are whose, and what domains have for those below: something was moved or changed."""
    with _lock:
        _known.clear()
        _there.clear()
    _of_domains.forget()


def owners_of(account_id: int, tx: Session | None = None) -> tuple[Owner, ...]:
    """The account and the domains that it counts for."""
    found = _known.get(account_id)
    if found and found[0] > time.monotonic():
        return found[1]
    if tx is not None:  # it may be as new as the transaction
        owners = _read(tx, account_id)
    else:
        with reading() as session:
            owners = _read(session, account_id)
    with _lock:
        if len(_known) > 50_000:
            _known.clear()
        _known[account_id] = (time.monotonic() + STANDS, owners)
    return owners


def _read(session: Session, account_id: int) -> tuple[Owner, ...]:
    rows = select(Account.type, Domain.path).join(Domain, Domain.id == Account.domain_id)
    kind, path = session.execute(rows.where(Account.id == account_id)).one()
    free = account_id == SYSTEM_ACCOUNT or kind == ACCOUNT_TYPES["Admin"]
    what = "free" if free else "project" if kind == ACCOUNT_TYPES["Project"] else "account"
    above = select(Domain.id, Domain.level, Domain.path)
    above = above.where(Domain.path.in_(ancestors(path)), Domain.id != ROOT_DOMAIN).order_by(Domain.id)
    domains = session.execute(above).all() if path != "/" else ()
    return (
        Owner(f"account:{account_id}", what, account_id=account_id),
        *(
            Owner(f"domain:{d}", "domain", None, d, level, tuple((*what, most) for what, most in inherited(p).items()))
            for d, level, p in domains
        ),
    )


Set = dict[tuple[str, str], int]  # limits that somebody set, as they are kept, by type and tag


def _read_domains(session: Session) -> dict[str, Set]:
    """The limits that were set for domains, by their paths."""
    rows = select(Domain.path, ResourceCount).join(Domain, Domain.id == ResourceCount.domain_id).where(SOME_LIMIT)
    held: dict[str, Set] = {}
    for path, row in session.execute(rows):
        held.setdefault(path, {}).update({(type, row.tag): most for type, most in most_of(row).items()})
    return held


_of_domains = Kept(_read_domains)


def inherited(path: str) -> Set:
    """What holds for a domain as far as it has no limit of its own: that of the nearest domain above that has one."""
    held = _of_domains()
    found: Set = {}
    for above in ancestors(path)[1:-1] if held else ():
        found |= held.get(above, {})
    return found


def unit_of(type: str) -> int:
    return GIB if type in IN_BYTES else 1


def kept(limit: int, type: str) -> int:
    """A limit of the API as ResourceCount.most holds it."""
    return NO_LIMIT if limit < 0 else min(limit * unit_of(type), NO_LIMIT)


def spoken(most: int, type: str) -> int:
    """What ResourceCount.most holds as the API says it; -1: no limit."""
    return UNLIMITED if most >= NO_LIMIT else most // unit_of(type)


def default(kind: str, type: str) -> int:
    """The limit of whom nobody has set one, in the unit of the API; -1: none."""
    setting = DEFAULTS.get(kind, {}).get(type)
    return setting.number() if setting else UNLIMITED


def take(tx: Session, account_id: int, *, tags: Iterable[str] = (), **amounts: int) -> None:
    """Count what the account gets. The transaction fails with LimitExceeded, at its end, when a limit is met.

    amounts: by TYPES, storage in bytes
    tags: of hosts or storage, for which the same is counted apart
    """
    taken = _ledger(tx)
    for type, amount in amounts.items():
        counted = COUNTED_TAGS.get(type)
        apart = [t for t in tags if t in counted.words()] if counted and tags else []
        for tag in ("", *apart):
            taken[account_id, type, tag] += amount


def give(tx: Session, account_id: int, *, tags: Iterable[str] = (), **amounts: int) -> None:
    """Count what the account has no more."""
    take(tx, account_id, tags=tags, **{type: -amount for type, amount in amounts.items()})


def move(tx: Session, before: int, after: int, *, tags: Iterable[str] = (), **amounts: int) -> None:
    """Count what goes from one account to another."""
    give(tx, before, tags=tags, **amounts)
    take(tx, after, tags=tags, **amounts)


def _ledger(tx: Session) -> Counter[tuple[int, str, str]]:
    found: Counter[tuple[int, str, str]] | None = tx.info.get("limits")
    if found is None:
        found = tx.info["limits"] = Counter()
        before_commit(tx, _settle)
    return found


def settle(tx: Session) -> None:
    """Write down now what was taken so far, for whoever wants to meet a LimitExceeded inside the transaction.

    Call it in a savepoint, with nothing taken before that began.
    """
    _settle(tx)


@dataclass(frozen=True)
class _Growth:
    """What one column of one row of ResourceCount is to grow by."""

    owner: Owner
    type: str
    tag: str
    amount: int

    @property
    def key(self) -> str:
        return key_of(self.owner.key, self.tag)

    @property
    def most(self) -> int:
        """What holds where the row has no limit of its own, as the row would have it."""
        for type, tag, most in self.owner.inherits:
            if (type, tag) == (self.type, self.tag):
                return most
        return NO_LIMIT if self.tag else kept(default(self.owner.kind, self.type), self.type)

    @property
    def limited(self) -> bool:
        return self.amount > 0 and self.owner.kind != "free"


def key_of(owner: str, tag: str = "") -> str:
    """The key of the row that counts for an owner, or apart for a tag."""
    return f"{owner}/{tag}"


def _settle(tx: Session) -> None:
    """Write down what the transaction took and gave: one statement, where all rows are there."""
    taken: Counter[tuple[int, str, str]] = tx.info.pop("limits", Counter())
    tx.flush()
    added: dict[tuple[Owner, str, str], int] = {}
    for (account_id, type, tag), amount in taken.items():
        for owner in owners_of(account_id, tx):
            added[owner, type, tag] = added.get((owner, type, tag), 0) + amount
    wanted = [_Growth(*what, amount) for what, amount in added.items() if amount]
    if not wanted:
        return
    rows: dict[str, list[_Growth]] = {}
    for growth in sorted(wanted, key=lambda g: (g.key, g.type)):
        rows.setdefault(growth.key, []).append(growth)
    missing = [growths[0] for key, growths in rows.items() if key not in _there]
    if missing:
        make_rows(tx, [(g.owner, g.tag) for g in missing])
    shape = tuple(tuple((g.type, g.amount, g.most if g.limited else None) for g in gs) for gs in rows.values())
    if _change(shape)(tx, {f"row_{n}": key for n, key in enumerate(rows)}).rowcount != len(rows):
        raise _refusal(rows)


Shape = tuple[tuple[tuple[str, int, int | None], ...], ...]  # by row: what of it grows, how much, up to what


@lru_cache(maxsize=500)
def _change(shape: Shape) -> Sent:
    """Each row grows, if all of it fits. Their keys are sent as row_0, row_1 and so on."""
    key = ResourceCount.key
    keys = [bindparam(f"row_{n}") for n in range(len(shape))]
    fits = []
    amounts: dict[str, dict[int, int]] = {}  # by type and row
    for number, growths in enumerate(shape):
        limited = [USED[t] + amount <= func.coalesce(MOST[t], most) for t, amount, most in growths if most is not None]
        fits.append(and_(key == keys[number], *limited))
        for type, amount, _ in growths:
            amounts.setdefault(type, {})[number] = amount
    change = update(ResourceCount.__table__).where(key.in_(keys), or_(*fits))  # type: ignore[arg-type]
    return Sent(change.values({USED[type]: USED[type] + _grown(by_row, keys) for type, by_row in amounts.items()}))


def _grown(by_row: dict[int, int], keys: list[Any]) -> Any:
    """Most transactions concern one account, whose amount is that of all domains above it."""
    if len(by_row) == len(keys) and len(set(by_row.values())) == 1:
        return next(iter(by_row.values()))
    return case(*((ResourceCount.key == keys[number], amount) for number, amount in by_row.items()), else_=0)


def make_rows(tx: Session, wanted: Iterable[tuple[Owner, str]]) -> None:
    """See that there are rows to count in, by owner and tag; those that are there stay as they are."""
    rows = [
        {"key": key_of(owner.key, tag), "uuid": new_uuid(), "created": now(), "account_id": owner.account_id,
         "domain_id": owner.domain_id, "tag": tag}
        for owner, tag in wanted
    ]  # fmt: skip
    words = "OR IGNORE" if tx.get_bind().dialect.name == "sqlite" else "IGNORE"
    tx.execute(insert(ResourceCount.__table__).prefix_with(words), rows)  # type: ignore[arg-type]
    after_commit(lambda: _there.update(str(r["key"]) for r in rows))


def _refusal(wanted: dict[str, list[_Growth]]) -> LimitExceeded | Again:
    """Why not all rows could grow, by what others have committed: this transaction's own part may be half done."""
    with reading() as session:
        rows = session.scalars(select(ResourceCount).where(ResourceCount.key.in_(list(wanted))))
        found = {row.key: row for row in rows}
        for growth in (g for growths in wanted.values() for g in growths):
            row = found.get(growth.key)
            used, most = (getattr(row, growth.type), getattr(row, f"most_{growth.type}")) if row else (0, None)
            limit = growth.most if most is None else most
            if growth.limited and used + growth.amount > limit:
                return _told(session, growth, used, limit, _lowest(wanted))
    _there.difference_update(key for key in wanted if key not in found)
    return Again("the use of resources changed meanwhile")


def _lowest(wanted: dict[str, list[_Growth]]) -> set[int | None]:
    """The domains whose own accounts take: those whose figures the accounts may know."""
    depth: dict[int, int] = {}
    for growth in (growths[0] for growths in wanted.values()):
        if growth.owner.domain_id is not None:
            depth[growth.owner.domain_id] = max(depth.get(growth.owner.domain_id, 0), growth.owner.depth)
    deepest = max(depth.values(), default=0)
    return {domain for domain, level in depth.items() if level == deepest}


def _told(session: Session, growth: _Growth, used: int, limit: int, own: set[int | None]) -> LimitExceeded:
    """Which limit of whom, its value and its use. Of a domain above the account's own, its name alone is told."""
    owner, unit = growth.owner, unit_of(growth.type)
    if owner.domain_id is not None:
        who = f"domain {session.scalar(select(Domain.path).where(Domain.id == owner.domain_id))}"
    else:
        rows = select(Account.name, Domain.path).join(Domain, Domain.id == Account.domain_id)
        name, path = session.execute(rows.where(Account.id == owner.account_id)).one()
        who = f"{owner.kind} {name} in domain {path}"
    tagged = f" with tag {growth.tag}" if growth.tag else ""
    what = TYPES[growth.type][1]
    begun = f"Maximum amount of resources of type {growth.type}{tagged} for the {who} is exceeded"
    asked = f"{_number(growth.amount, unit)} more were asked for"
    figures = f"its limit is {_number(limit, unit)} {what}, {_number(used, unit)} are used"
    if owner.domain_id is not None and owner.domain_id not in own:
        log.info("%s: %s, %s", begun, figures, asked)
        return LimitExceeded(f"{begun}: {asked} of {what}. Ask an administrator of that domain")
    return LimitExceeded(f"{begun}: {figures}, {asked}. Free some, or have the limit raised (updateResourceLimit)")


def _number(amount: int, unit: int) -> str:
    return str(amount) if unit == 1 else f"{amount / unit:.2f}".rstrip("0").rstrip(".")
