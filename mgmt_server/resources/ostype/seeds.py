"""Guest operating systems as installations and templates elsewhere number them, so that both can be compared."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from mgmt_server.db import new_uuid, now
from mgmt_server.model.template import OsCategory, OsType

ORDER = 10


def seed(tx: Session) -> None:
    """Two statements. Does nothing where there is a category already."""
    if tx.scalar(select(OsCategory.id).limit(1)) is not None:
        return
    known: dict[str, Any] = orjson.loads(files("mgmt_server.data").joinpath("guest-os.json").read_bytes())
    tx.execute(
        insert(OsCategory),
        [
            {
                "id": c["id"],
                "uuid": new_uuid(),
                "name": c["name"],
                "featured": c["featured"],
                "sort_key": c["sortkey"],
                "removed": now() if c["removed"] else None,
            }
            for c in known["categories"]
        ],
    )
    tx.execute(
        insert(OsType),
        [
            {
                "id": t["id"],
                "uuid": new_uuid(),
                "name": t["name"],
                "category_id": t["category"],
                "display": not t.get("hidden", False),
                "platform": t["platform"],
                "details": {},
            }
            for t in known["types"]
        ],
    )
