"""Groups by their names."""

from __future__ import annotations

from sqlalchemy import select

from mgmt_server.api.context import Context
from mgmt_server.model.userdata import InstanceGroup
from mgmt_server.resources.checks import hold_names


def group_named(ctx: Context, account_id: int, domain_id: int, name: str) -> InstanceGroup:
    """The account's group of this name, made if there is none."""
    tx = ctx.session
    hold_names(ctx)
    rows = select(InstanceGroup).where(
        InstanceGroup.account_id == account_id, InstanceGroup.name == name, InstanceGroup.removed.is_(None)
    )
    found = tx.scalar(rows)
    if found is None:
        found = InstanceGroup(name=name, account_id=account_id, domain_id=domain_id)
        tx.add(found)
        tx.flush()
    return found
