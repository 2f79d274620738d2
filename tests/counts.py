"""What is counted against limits, as tests compare it."""

from __future__ import annotations

from sqlalchemy import select, update

from mgmt_server import db
from mgmt_server.model.limit import MOST, SOME_USED, ResourceCount, used_of


def counts(*conditions) -> dict[str, int]:
    """What is not 0, by owner, type and tag: {"account:7/user_vm/": 2, "domain:3/cpu/gold": 4}."""
    with db.reading() as session:
        rows = session.scalars(select(ResourceCount).where(SOME_USED, *conditions)).all()
        return {
            f"{row.key.removesuffix(row.tag)}{type}/{row.tag}": n for row in rows for type, n in used_of(row).items()
        }


def used(account: int) -> dict[str, int]:
    """What an account has, by type, without what is counted apart for tags."""
    with db.reading() as session:
        mine = (ResourceCount.account_id == account, ResourceCount.tag == "")
        row = session.scalar(select(ResourceCount).where(*mine))
        return used_of(row) if row else {}


def limit(key: str, most: int) -> None:
    """Set what may be had, by a key as in `counts`."""
    owner, type, tag = key.split("/")
    row = update(ResourceCount).where(ResourceCount.key == f"{owner}/{tag}").values({MOST[type]: most})
    db.write(lambda tx: tx.execute(row))
