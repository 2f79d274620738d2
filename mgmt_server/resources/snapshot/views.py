"""Snapshots as clients see them: one entry for each zone that has it, or one alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from mgmt_server.api.view import PerPage, View, only, shown
from mgmt_server.model.account import Account
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.template import OsType
from mgmt_server.model.tenancy import ADMIN, Caller
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.views import owner_fields, owner_joins, pending_job

CHAIN_SIZE = Setting(
    "snapshot.show.chain.size", "Whether lists tell how much a snapshot takes with all on which it stands"
)
Below = aliased(SnapshotOnStore, name="below")
Parent = aliased(Snapshot, name="parent")


def _revertable(state: str, on_store: str | None, removed: Any, path: str | None) -> bool:
    return state == "BackedUp" and on_store == "Ready" and removed is None and bool(path)


def _unless_gone(value: Any, removed: Any) -> Any:
    return None if removed is not None else value


def _status(state: str, error: str | None) -> str:
    return error or ("the snapshot could not be made" if state == "Error" else state)


def _chain_sizes(session: Session, rows: dict[int, int]) -> dict[int, int]:
    """Bytes of each file with all on which it stands; `rows`: outer row -> file."""
    known: dict[int, tuple[int | None, int]] = {}
    wanted = set(rows.values())
    columns = (SnapshotOnStore.id, SnapshotOnStore.parent_id, SnapshotOnStore.physical_size)
    while wanted:
        found = session.execute(select(*columns).where(SnapshotOnStore.id.in_(wanted))).all()
        known |= {number: (parent, size) for number, parent, size in found}
        wanted = {parent for _, parent, _ in found if parent is not None and parent not in known}
    sums = {}
    for outer, number in rows.items():
        total, at = 0, number if number in known else None
        while at is not None:
            at, size = known[at]
            total += size
        sums[outer] = total
    return sums


def _told(sums: dict[int, int]) -> Mapping[int, Mapping[str, Any]]:
    return {number: {"chainsize": size} for number, size in sums.items()}


def _by_file(session: Session, caller: Caller, ids: list[int]) -> Mapping[int, Mapping[str, Any]]:
    return _told(_chain_sizes(session, {n: n for n in ids})) if CHAIN_SIZE.flag() else {}


def _by_snapshot(session: Session, caller: Caller, ids: list[int]) -> Mapping[int, Mapping[str, Any]]:
    if not CHAIN_SIZE.flag():
        return {}
    rows = select(Snapshot.id, best()).where(Snapshot.id.in_(ids))
    return _told(_chain_sizes(session, {n: file for n, file in session.execute(rows) if file is not None}))


def best() -> Any:
    """The file that stands for a snapshot where it is shown once: the first."""
    file = aliased(SnapshotOnStore)
    shown_ones = select(file.id).where(file.snapshot_id == Snapshot.id, file.state.not_in(("Hidden", "Destroying")))
    return shown_ones.order_by(file.id).limit(1).correlate(Snapshot).scalar_subquery()


def _joins() -> tuple[tuple[Any, Any], ...]:
    return (
        (Zone, Zone.id == SnapshotOnStore.zone_id),
        (ImageStore, ImageStore.id == SnapshotOnStore.store_id),
        (Below, Below.id == SnapshotOnStore.parent_id),
        (Parent, Parent.id == Below.snapshot_id),
        (Volume, Volume.id == Snapshot.volume_id),
        (OsType, OsType.id == Snapshot.os_type_id),
        *owner_joins(Snapshot),
    )


def _fields() -> dict[str, Any]:
    return {
        "id": Snapshot.uuid,
        "name": Snapshot.name,
        "created": Snapshot.created,
        "state": Snapshot.state,
        "status": shown(_status, Snapshot.state, SnapshotOnStore.error),
        "intervaltype": Snapshot.kind,
        "snapshottype": shown(lambda kind: "MANUAL" if kind == "MANUAL" else "RECURRING", Snapshot.kind),
        "locationtype": shown(lambda state: "SECONDARY" if state == "Ready" else None, SnapshotOnStore.state),
        "volumeid": shown(_unless_gone, Volume.uuid, Volume.removed),
        "volumename": Volume.name,
        "volumetype": Volume.kind,
        "volumestate": Volume.state,
        "physicalsize": SnapshotOnStore.physical_size,
        "virtualsize": Snapshot.size,
        "revertable": shown(_revertable, Snapshot.state, SnapshotOnStore.state, Volume.removed, Volume.path),
        "parent": Parent.uuid,
        "parentname": Parent.name,
        "ostypeid": OsType.uuid,
        "osdisplayname": OsType.name,
        "zoneid": Zone.uuid,
        "zonename": Zone.name,
        "datastoreid": only(ADMIN, ImageStore.uuid),
        "datastorename": only(ADMIN, ImageStore.name),
        "datastoretype": only(ADMIN, shown(lambda name: "Image" if name else None, ImageStore.name)),
        "datastorestate": only(ADMIN, SnapshotOnStore.state),
        "hasannotations": has_annotations("SNAPSHOT", Snapshot.uuid),
        "jobid": pending_job(Snapshot),
        **owner_fields(),
    }


snapshot_view = View(
    "snapshot",
    SnapshotOnStore,
    response="SnapshotResponse",
    tagged="Snapshot",
    tagged_by=Snapshot.uuid,
    keyword=(Snapshot.name,),
    order=(SnapshotOnStore.snapshot_id, SnapshotOnStore.zone_id, SnapshotOnStore.id),
    joins=((Snapshot, Snapshot.id == SnapshotOnStore.snapshot_id), *_joins()),
    more=(PerPage(("chainsize",), _by_file),),
    **_fields(),
)

snapshot_alone_view = View(
    "snapshot",
    Snapshot,
    response="SnapshotResponse",
    tagged="Snapshot",
    keyword=(Snapshot.name,),
    joins=((SnapshotOnStore, (SnapshotOnStore.snapshot_id == Snapshot.id) & (SnapshotOnStore.id == best())), *_joins()),
    more=(PerPage(("chainsize",), _by_snapshot),),
    **_fields(),
)

extracted_view = View(
    "snapshot",
    Snapshot,
    response="ExtractResponse",
    joins=((Zone, Zone.id == Snapshot.zone_id), (Account, Account.id == Snapshot.account_id)),
    id=Snapshot.uuid,
    name=Snapshot.name,
    accountid=Account.uuid,
    created=Snapshot.created,
    zoneid=Zone.uuid,
    zonename=Zone.name,
)
