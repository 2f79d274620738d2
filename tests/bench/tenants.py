"""Accounts and domains by the thousand, straight into the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from mgmt_server import db
from mgmt_server.db import new_uuid, now
from mgmt_server.model.account import Account, Domain, Role, User
from mgmt_server.model.limit import TYPES, ResourceCount
from tests.bench.fill import _open

DOMAINS, BESIDE = 2000, 40  # domains, and how many of them are side by side below one


def tenants(url: str, data: Path, count: int) -> None:
    """So many accounts in 2,000 domains, each with a user, and everything that is counted of them."""
    _open(url, data)
    first = db.write(_domains)
    for start in range(0, count, 2500):
        db.write(_accounts, range(start, min(start + 2500, count)), first)
    db.disconnect()


def _domains(tx: Any) -> int:
    """ROOT has some domains, and each of those an equal share of the others."""
    above = {"id": 1, "path": "/", "level": 0}
    first = (tx.scalar(select(Domain.id).order_by(Domain.id.desc()).limit(1)) or 1) + 1
    rows: list[dict[str, Any]] = []
    for n in range(DOMAINS):
        parent = above if n < BESIDE else rows[n % BESIDE]
        rows.append(
            {"id": first + n, "uuid": new_uuid(), "created": now(), "name": f"d{n}", "path": f"{parent['path']}d{n}/",
             "level": parent["level"] + 1, "parent_id": parent["id"], "state": "Active"}
        )  # fmt: skip
    tx.execute(insert(Domain), rows)
    tx.execute(insert(ResourceCount.__table__), [_counts("domain", r["id"]) for r in rows])
    return first


def _accounts(tx: Any, numbers: range, first: int) -> None:
    role = tx.scalar(select(Role.id).where(Role.name == "User"))
    ids = [100_000 + n for n in numbers]
    common = {"created": now(), "state": "enabled"}
    tx.execute(
        insert(Account),
        [
            {"id": i, "uuid": new_uuid(), "name": f"tenant-{i}", "type": 0, "domain_id": first + i % DOMAINS,
             "role_id": role, "details": {}, **common}
            for i in ids
        ],
    )  # fmt: skip
    tx.execute(
        insert(User),
        [
            {"uuid": new_uuid(), "username": f"tenant-{i}", "account_id": i, "firstname": "A", "lastname": "B",
             "email": "a@example.org", **common}
            for i in ids
        ],
    )  # fmt: skip
    tx.execute(insert(ResourceCount.__table__), [_counts("account", i) for i in ids])


def _counts(kind: str, number: int) -> dict[str, Any]:
    row = {"key": f"{kind}:{number}/", "uuid": new_uuid(), "created": now(), f"{kind}_id": number, "tag": ""}
    return row | dict.fromkeys(TYPES, number % 7)
