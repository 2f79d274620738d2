"""What owners really have, counted from the rows of things; and ResourceCount put right by it.

A transaction that makes something writes its counts last and keeps them locked until it commits. Whoever has locked
the counts of an owner and then counts its things therefore sees all that is counted, and nothing that is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select, true, update
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted, limits
from mgmt_server.allocation.counted import words
from mgmt_server.allocation.limits import Owner, key_of
from mgmt_server.db import write
from mgmt_server.model.account import ROOT_DOMAIN, SYSTEM_ACCOUNT, Account, Domain, Project, ProjectMember
from mgmt_server.model.limit import SOME_USED, TYPES, USED, ResourceCount
from mgmt_server.model.network import Network
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ancestors
from mgmt_server.model.transfer import VolumeOnStore
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Address, VlanRange

Found = Counter[tuple[int, str, str]]  # account, type, tag
UNCOUNTED = ("vpc",)  # of which there are none to count yet
COUNTED = tuple(type for type in TYPES if type not in UNCOUNTED)
AT_ONCE = 400  # keys in one statement
PART = 100  # accounts of one transaction, whose counts are locked so long


@dataclass(frozen=True)
class Repair:
    """A count that was not what it should have been."""

    owner: Owner
    type: str
    tag: str
    told: int
    real: int


def count(session: Session, accounts: Sequence[int] | None = None) -> Found:
    """What accounts have; None: all. One statement for each kind of thing."""
    found: Found = Counter()
    _machines(session, found, accounts)
    _volumes(session, found, accounts)
    one = func.count()
    owned = (
        ("public_ip", Address, one, Address.account_id != SYSTEM_ACCOUNT, Address.state != "Free",
         Address.range_id.in_(select(VlanRange.id).where(VlanRange.type == "VirtualNetwork"))),
        ("network", Network, one, Network.traffic_type == "Guest", ~Network.is_system, Network.acl_type == "Account"),
        ("template", Template, one, Template.type.in_(counted.TENANTS)),
        ("snapshot", Snapshot, one, Snapshot.state.not_in(counted.UNKEPT)),
    )  # fmt: skip
    for type, table, what, *conditions in owned:
        rows = select(table.account_id, what).where(table.removed.is_(None), *conditions)
        _add(session, found, type, rows.where(_of(table.account_id, accounts)).group_by(table.account_id))
    images = select(Template.account_id, func.sum(TemplateOnStore.physical_size))
    images = images.join(TemplateOnStore, TemplateOnStore.template_id == Template.id)
    images = images.where(Template.type.in_(counted.STORED))
    images = images.where(_of(Template.account_id, accounts)).group_by(Template.account_id)
    _add(session, found, "secondary_storage", images)
    kept = select(Snapshot.account_id, func.sum(SnapshotOnStore.physical_size))
    kept = kept.join(SnapshotOnStore, SnapshotOnStore.snapshot_id == Snapshot.id)
    kept = kept.where(_of(Snapshot.account_id, accounts)).group_by(Snapshot.account_id)
    _add(session, found, "secondary_storage", kept)
    sent = select(Volume.account_id, func.sum(VolumeOnStore.physical_size))
    sent = sent.join(VolumeOnStore, VolumeOnStore.volume_id == Volume.id)
    sent = sent.where(_of(Volume.account_id, accounts)).group_by(Volume.account_id)
    _add(session, found, "secondary_storage", sent)
    member = ProjectMember
    projects = select(member.account_id, func.count(Project.id.distinct())).join(
        Project, Project.id == member.project_id
    )
    projects = projects.where(Project.removed.is_(None), member.role == "Admin", member.removed.is_(None))
    projects = projects.where(_of(member.account_id, accounts)).group_by(member.account_id)
    _add(session, found, "project", projects)
    return found


def _of(column: Any, accounts: Sequence[int] | None) -> ColumnElement[bool]:
    return true() if accounts is None else column.in_(accounts)


def _add(session: Session, found: Found, type: str, rows: Any) -> None:
    for account, amount in session.execute(rows):
        if amount:
            found[account, type, ""] += int(amount)


def _machines(session: Session, found: Found, accounts: Sequence[int] | None) -> None:
    counts = Vm.reserved if counted.RUNNING_ONLY.flag() else Vm.state.not_in(counted.GONE)
    apart = (Vm.account_id, ServiceOffering.host_tag, Template.tag)
    rows = select(*apart, func.count(), func.sum(Vm.cpus), func.sum(Vm.memory))
    rows = rows.join(ServiceOffering, ServiceOffering.id == Vm.service_offering_id)
    rows = rows.outerjoin(Template, Template.id == Vm.template_id).where(
        Vm.kind == "User", Vm.removed.is_(None), counts, _of(Vm.account_id, accounts)
    )
    limited = set(limits.HOST_TAGS.words())
    for account, of_offering, of_template, *sums in session.execute(rows.group_by(*apart)):
        for tag in ("", *(t for t in counted.both_tags(of_offering, of_template) if t in limited)):
            for type, amount in zip(("user_vm", "cpu", "memory"), sums, strict=True):
                found[account, type, tag] += int(amount or 0)


def _volumes(session: Session, found: Found, accounts: Sequence[int] | None) -> None:
    columns = (Volume.account_id, DiskOffering.tags, func.count(), func.sum(Volume.size))
    rows = select(*columns).outerjoin(DiskOffering, DiskOffering.id == Volume.disk_offering_id)
    rows = rows.outerjoin(Vm, Vm.id == Volume.vm_id).where(Vm.id.is_(None) | (Vm.kind == "User"))
    rows = rows.where(Volume.removed.is_(None), Volume.state.not_in(counted.LEFT), _of(Volume.account_id, accounts))
    limited = set(limits.STORAGE_TAGS.words())
    for account, tags, number, size in session.execute(rows.group_by(Volume.account_id, DiskOffering.tags)):
        for tag in ("", *(t for t in words(tags) if t in limited)):
            found[account, "volume", tag] += number
            found[account, "primary_storage", tag] += int(size or 0)


@dataclass(frozen=True)
class _Places:
    """Who is where: accounts with their domain's path, domains by path."""

    accounts: dict[int, str]
    domains: dict[str, int]

    def above(self, account: int) -> list[int]:
        """The domains that an account counts for."""
        path = self.accounts.get(account, "/")
        found = (self.domains.get(p) for p in ancestors(path))
        return [d for d in found if d is not None and d != ROOT_DOMAIN]


def _places(session: Session, accounts: Sequence[int] | None) -> _Places:
    rows = select(Account.id, Domain.path).join(Domain, Domain.id == Account.domain_id)
    mine = {number: path for number, path in session.execute(rows.where(_of(Account.id, accounts)))}  # noqa: C416
    paths = {path: number for number, path in session.execute(select(Domain.id, Domain.path))}
    return _Places(mine, paths)


def wrong(session: Session) -> tuple[list[int], list[int]]:
    """Accounts and domains whose counts do not seem right. Work that goes on meanwhile may make some seem so."""
    real = count(session)
    kept: dict[tuple[int, str, str], int] = {}
    above: dict[tuple[int, str, str], int] = {}
    columns = [USED[type] for type in COUNTED]
    rows = select(ResourceCount.account_id, ResourceCount.domain_id, ResourceCount.tag, *columns).where(SOME_USED)
    for account, domain, tag, *amounts in session.execute(rows):
        whose, number = (kept, account) if account is not None else (above, domain)
        whose.update({(number, type, tag): used for type, used in zip(COUNTED, amounts, strict=True) if used})
    places = _places(session, None)
    sums: Found = Counter()
    for (account, type, tag), used in kept.items():
        for domain in places.above(account):
            sums[domain, type, tag] += used
    accounts = {w[0] for w in real.keys() | kept.keys() if real[w] != kept.get(w, 0) and _shown(w[1], w[2])}
    domains = {w[0] for w in sums.keys() | above.keys() if sums[w] != above.get(w, 0)}
    return sorted(accounts), sorted(domains)


def _shown(type: str, tag: str) -> bool:
    """Whether a tag is counted still: its setting may have changed."""
    return not tag or (type in limits.COUNTED_TAGS and tag in limits.COUNTED_TAGS[type].words())


def repair(
    tx: Session,
    accounts: Sequence[int],
    domains: Sequence[int] = (),
    types: Iterable[str] | None = None,
    tag: str | None = None,
) -> list[Repair]:
    """Count anew what these accounts have, and put it right: for them, for the domains above them, and for these.

    types: these alone
    tag: what is counted for this tag alone
    """
    places = _places(tx, accounts)
    mine = [Owner(f"account:{a}", "account", account_id=a) for a in sorted(places.accounts)]
    concerned = {domain for account in places.accounts for domain in places.above(account)} | set(domains)
    above = [Owner(f"domain:{d}", "domain", domain_id=d) for d in sorted(concerned)]
    wanted = set(COUNTED if types is None else types) - set(UNCOUNTED)
    while True:
        rows = _locked(tx, mine, above)
        real, sums = count(tx, sorted(places.accounts)), Counter[tuple[int, str, str]]()
        lacking = _lacking(mine, rows, real, wanted)
        if not lacking:
            sums = _sums(tx, places)
            lacking = _lacking(above, rows, sums, wanted)
        if not lacking:
            break
        limits.make_rows(tx, lacking)  # and once more, with these locked
    found = _repairs(mine, rows, real, wanted, tag)
    _write(tx, found)
    more = _repairs(above, rows, _sums(tx, places) if found else sums, wanted, tag)
    _write(tx, more)
    return found + more


def repair_all(
    accounts: Sequence[int], domains: Sequence[int], types: Iterable[str] | None = None, tag: str | None = None
) -> list[Repair]:
    """`repair` in transactions of some accounts each, so that nobody waits long for a count."""
    found = []
    for start in range(0, len(accounts), PART):
        found += write(repair, accounts[start : start + PART], (), types, tag)
    return found + (write(repair, (), domains, types, tag) if domains else [])


Rows = dict[tuple[str, str], dict[str, int]]  # owner's key, tag: used of each type


def _lacking(owners: Sequence[Owner], rows: Rows, real: Found, wanted: set[str]) -> list[tuple[Owner, str]]:
    """Owners and tags that there is no row for."""
    by_id = {o.account_id or o.domain_id or 0: o for o in owners}
    there = {(by_id[n], tag) for (n, type, tag), amount in real.items() if n in by_id and type in wanted and amount}
    return sorted(((o, tag) for o, tag in there if (o.key, tag) not in rows), key=lambda what: (what[0].key, what[1]))


def _repairs(owners: Sequence[Owner], rows: Rows, real: Found, wanted: set[str], tag: str | None) -> list[Repair]:
    found = []
    by_key = {o.key: o for o in owners}
    for (key, each), amounts in rows.items():
        owner = by_key.get(key)
        if owner is None or tag not in (None, each):
            continue
        for type in COUNTED:
            right = real[owner.account_id or owner.domain_id or 0, type, each]
            if type in wanted and _shown(type, each) and amounts[type] != right:
                found.append(Repair(owner, type, each, amounts[type], right))
    return found


def _locked(tx: Session, mine: Sequence[Owner], above: Sequence[Owner]) -> Rows:
    """The counts of owners, locked until the transaction ends, in the order in which everybody locks them."""
    row = ResourceCount
    keys: list[str] = []
    for column, ids in ((row.account_id, [o.account_id for o in mine]), (row.domain_id, [o.domain_id for o in above])):
        for start in range(0, len(ids), AT_ONCE):
            keys += tx.scalars(select(row.key).where(column.in_(ids[start : start + AT_ONCE])))
    keys.sort()
    found: Rows = {}
    for start in range(0, len(keys), AT_ONCE):
        part = select(row.key, row.tag, *USED.values()).where(row.key.in_(keys[start : start + AT_ONCE]))
        for key, tag, *amounts in tx.execute(part.order_by(row.key).with_for_update()):
            found[key.split("/", 1)[0], tag] = dict(zip(USED, amounts, strict=True))
    return found


def _write(tx: Session, repairs: Sequence[Repair]) -> None:
    rows: dict[str, dict[str, int]] = {}
    for r in repairs:
        rows.setdefault(key_of(r.owner.key, r.tag), {})[r.type] = r.real
    for key, real in rows.items():
        change = update(ResourceCount).where(ResourceCount.key == key).values(real)
        tx.execute(change.execution_options(synchronize_session=False))


def _sums(tx: Session, places: _Places) -> Found:
    """What the accounts in and below each domain are counted for."""
    found: Found = Counter()
    sums = [func.sum(USED[type]) for type in COUNTED]
    rows = select(Domain.path, ResourceCount.tag, *sums).select_from(ResourceCount).where(SOME_USED)
    rows = rows.join(Account, Account.id == ResourceCount.account_id).join(Domain, Domain.id == Account.domain_id)
    for path, tag, *amounts in tx.execute(rows.group_by(Domain.path, ResourceCount.tag)):
        for each in ancestors(path):
            for type, used in zip(COUNTED, amounts, strict=True):
                found[places.domains.get(each, ROOT_DOMAIN), type, tag] += int(used or 0)
    return found
