"""Policies as clients see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.view import PerPage, View, only, shown
from mgmt_server.model.snapshot import SnapshotPolicy
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import ADMIN, Caller
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.snapshotpolicy.schedule import KINDS
from mgmt_server.resources.views import pending_job

SAME = {"ismultiarch": False, "isnsxenabled": False, "routedmodeenabled": False}  # of every zone, as its own list says


def _places(session: Session, caller: Caller, ids: list[int]) -> Mapping[int, Mapping[str, Any]]:
    """The zones that get the snapshots, the disk's own first, and for root administrators where the disk is."""
    rows = select(SnapshotPolicy.id, SnapshotPolicy.details, Volume.zone_id, Pool.uuid, Pool.name)
    rows = rows.join(Volume, Volume.id == SnapshotPolicy.volume_id).outerjoin(Pool, Pool.id == Volume.pool_id)
    found = session.execute(rows.where(SnapshotPolicy.id.in_(ids))).all()
    wanted = {number: [zone, *details.get("zones", ())] for number, details, zone, _, _ in found}
    named = select(Zone.id, Zone.uuid, Zone.name).where(Zone.id.in_({z for zones in wanted.values() for z in zones}))
    zones = {number: {"id": uuid, "name": name, **SAME} for number, uuid, name in session.execute(named)}
    answers: dict[int, dict[str, Any]] = {}
    for number, _, _, pool, name in found:
        answers[number] = {"zone": [zones[z] for z in wanted[number] if z in zones]}
        if caller.role == ADMIN and pool is not None:
            answers[number]["storage"] = [{"id": pool, "name": name}]
    return answers


snapshot_policy_view = View(
    "snapshotpolicy",
    SnapshotPolicy,
    response="SnapshotPolicyResponse",
    tagged="SnapshotPolicy",
    order=(SnapshotPolicy.id.desc(),),
    joins=((Volume, Volume.id == SnapshotPolicy.volume_id),),
    more=(PerPage(("zone", "storage"), _places),),
    id=SnapshotPolicy.uuid,
    volumeid=Volume.uuid,
    volumename=Volume.name,
    intervaltype=shown(KINDS.get, SnapshotPolicy.kind),
    schedule=SnapshotPolicy.schedule,
    timezone=SnapshotPolicy.timezone,
    maxsnaps=SnapshotPolicy.keep,
    fordisplay=only(ADMIN, SnapshotPolicy.display),
    jobid=pending_job(SnapshotPolicy),
)
