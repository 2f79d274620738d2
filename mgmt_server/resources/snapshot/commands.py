"""Snapshots of disks: what may be asked."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, narrowed
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.jobs import Accepted, Asker, enqueue
from mgmt_server.model.account import Domain
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore, SnapshotPolicy, VmSnapshot
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.offering.rules import absent
from mgmt_server.resources.snapshot import extracting, flows
from mgmt_server.resources.snapshot.going import check_delete
from mgmt_server.resources.snapshot.make import add
from mgmt_server.resources.snapshot.rows import copies_of, lock_of, usable_in
from mgmt_server.resources.snapshot.views import extracted_view, snapshot_alone_view, snapshot_view
from mgmt_server.resources.tag import flows as tags_flows
from mgmt_server.resources.transfer.links import check_extraction

INTERVALS = ("MANUAL", "HOURLY", "DAILY", "WEEKLY", "MONTHLY")


@command(
    "createSnapshot",
    roles=EVERYONE,
    answers=snapshot_alone_view,
    event="SNAPSHOT.CREATE",
    unsupported=("storageids", "usestoragereplication"),
)
def create(
    ctx: Context,
    volumeid: Operate[Volume],
    name: str | None = None,
    policyid: Use[SnapshotPolicy] | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    quiescevm: bool = False,
    asyncbackup: bool = False,
    locationtype: str | None = None,
    tags: dict[str, str] | None = None,
    zoneids: list[Use[Zone]] | None = None,
) -> Accepted:
    """Keep a disk as it is now. Its machine runs on meanwhile.

    volumeid: the disk
    name: what to call the snapshot
    policyid: a policy of this disk, to whose snapshots this one counts
    account: must be the disk's; with domainid
    domainid: that account's domain
    quiescevm: not supported; false is accepted
    asyncbackup: whether the job ends at once; the snapshot is BackedUp when the disk is copied
    locationtype: SECONDARY: snapshots are on secondary storage
    tags: tags to put on it: tags[0].key and tags[0].value
    zoneids: zones to copy it to when it is taken; by jobs of their own
    """
    absent(quiescevm=quiescevm)
    if (one_of("locationtype", locationtype, ("PRIMARY", "SECONDARY")) or "SECONDARY") != "SECONDARY":
        raise InvalidValue("locationtype=PRIMARY is not supported in this version: snapshots are on secondary storage")
    if account is not None and owner(ctx, account, domainid).id != volumeid.account_id:
        raise InvalidValue(f"The disk {volumeid.name} does not belong to the account {account[:100]}")
    if policyid is not None and policyid.volume_id != volumeid.id:
        raise InvalidValue("policyid names a policy of another disk: see listSnapshotPolicies")
    check_active(ctx.session, volumeid)
    snapshot = add(ctx.session, volumeid, name, policyid)
    if tags:
        tags_flows.put(ctx.session, "Snapshot", [snapshot.uuid], list(tags.items()), None)
    zones = [z.id for z in zoneids or [] if z.id != volumeid.zone_id]
    ctx.describe(f"creating snapshot {snapshot.name} of disk {volumeid.name}")
    if not asyncbackup:
        return ctx.start(flows.take, snapshot, zones, lock=lock_of(volumeid))
    asker = Asker("", snapshot.account_id, snapshot.domain_id, ctx.caller.user_id, ctx.correlation)
    enqueue(
        ctx.session, flows.take, (snapshot.id, zones), lock=lock_of(volumeid), instance=("Snapshot", snapshot.uuid),
        asker=asker,
    )  # fmt: skip
    return ctx.start(flows.wait_for_copy, snapshot)


@command("createSnapshotFromVMSnapshot", roles=EVERYONE, answers=snapshot_alone_view, event="SNAPSHOT.CREATE")
def create_from_machine(
    ctx: Context, volumeid: Operate[Volume], vmsnapshotid: Use[VmSnapshot], name: str | None = None
) -> Accepted:
    """Make a snapshot of a disk as it was when its machine was kept. The machine may run.

    volumeid: the disk
    vmsnapshotid: the machine's snapshot
    name: what to call the new snapshot
    """
    check_active(ctx.session, volumeid)
    kept = flows.check_kept(ctx.session, volumeid, vmsnapshotid.id)
    snapshot = add(ctx.session, volumeid, name)
    snapshot.vm_snapshot_id = kept.id
    ctx.describe(f"creating snapshot {snapshot.name} of disk {volumeid.name} as it was in {kept.display_name}")
    return ctx.start(flows.take, snapshot, [], lock=lock_of(volumeid))


@command("listSnapshots", roles=EVERYONE, answers=snapshot_view)
def list_snapshots(
    ctx: Context,
    id: Use[Snapshot] | None = None,
    ids: list[Use[Snapshot]] | None = None,
    name: str | None = None,
    volumeid: Use[Volume] | None = None,
    zoneid: Use[Zone] | None = None,
    imagestoreid: Use[ImageStore] | None = None,
    storageid: Use[Pool] | None = None,
    intervaltype: str | None = None,
    snapshottype: str | None = None,
    locationtype: str | None = None,
    showunique: bool = False,
) -> Rows:
    """List snapshots of disks, each in every zone that has it.

    id: this snapshot alone
    ids: these snapshots alone
    name: those of this name
    volumeid: those of this disk
    zoneid: those in this zone
    imagestoreid: those on this secondary storage
    storageid: those on this primary storage: there are none
    intervaltype: MANUAL, or those of policies: HOURLY, DAILY, WEEKLY, MONTHLY
    snapshottype: MANUAL, RECURRING, or an interval
    locationtype: SECONDARY; there are none on PRIMARY
    showunique: list each snapshot once, whatever zones have it
    """
    kind = one_of("intervaltype", intervaltype, INTERVALS)
    sort = one_of("snapshottype", snapshottype, (*INTERVALS, "RECURRING"))
    place = one_of("locationtype", locationtype, ("PRIMARY", "SECONDARY"))
    file = SnapshotOnStore
    rows = Rows(snapshot_view, scope=Snapshot.usable_by(ctx.caller), narrow=False)
    rows = rows.where(*narrowed(ctx, ctx.session, Snapshot))
    rows = rows.where(Snapshot.removed.is_(None), file.state.not_in(("Hidden", "Destroying")))
    wanted: dict[Any, Any] = {
        Snapshot.id: id and id.id, Snapshot.name: name, Snapshot.volume_id: volumeid and volumeid.id,
        Snapshot.kind: kind, file.zone_id: zoneid and zoneid.id, file.store_id: imagestoreid and imagestoreid.id,
    }  # fmt: skip
    rows = rows.where(*(column == value for column, value in wanted.items() if value is not None))
    if ids:
        rows = rows.where(Snapshot.id.in_([s.id for s in ids]))
    if sort == "RECURRING":
        rows = rows.where(Snapshot.kind != "MANUAL")
    elif sort is not None:
        rows = rows.where(Snapshot.kind == sort)
    if showunique:
        shown = select(func.min(file.id)).where(file.state.not_in(("Hidden", "Destroying"))).group_by(file.snapshot_id)
        if zoneid is not None:
            shown = shown.where(file.zone_id == zoneid.id)
        if imagestoreid is not None:
            shown = shown.where(file.store_id == imagestoreid.id)
        rows = rows.where(file.id.in_(shown))
    return rows.where(file.id == -1) if place == "PRIMARY" or storageid is not None else rows


@command("deleteSnapshot", roles=EVERYONE, event="SNAPSHOT.DELETE")
def delete(ctx: Context, id: Operate[Snapshot], zoneid: Use[Zone] | None = None) -> Accepted:
    """Delete a snapshot. What stands on it is not touched by that.

    id: the snapshot
    zoneid: in this zone alone
    """
    check_delete(ctx.session, id)
    ctx.describe(f"deleting snapshot {id.name}")
    volume = ctx.session.get_one(Volume, id.volume_id)
    return ctx.start(flows.delete, id, zoneid and zoneid.id, lock=lock_of(volume))


@command("revertSnapshot", roles=EVERYONE, answers=snapshot_alone_view, event="SNAPSHOT.REVERT")
def revert(ctx: Context, id: Operate[Snapshot]) -> Accepted:
    """Make a disk what it was when a snapshot was taken. A machine that has it must be stopped.

    id: the snapshot
    """
    volume = flows.check_revert(ctx.session, id)
    ctx.describe(f"going back to snapshot {id.name} with disk {volume.name}")
    return ctx.start(flows.revert, id, lock=lock_of(volume))


@command(
    "copySnapshot",
    roles=EVERYONE,
    answers=snapshot_alone_view,
    event="SNAPSHOT.COPY",
    unsupported=("storageids", "usestoragereplication"),
)
def copy(
    ctx: Context,
    id: Operate[Snapshot],
    destzoneid: Use[Zone] | None = None,
    destzoneids: list[Use[Zone]] | None = None,
    sourcezoneid: Use[Zone] | None = None,
) -> Accepted:
    """Copy a snapshot to other zones, where disks and templates can be made of it then.

    id: the snapshot
    destzoneid: the zone to copy it to
    destzoneids: the zones to copy it to
    sourcezoneid: the zone to copy it from
    """
    if destzoneid is not None and destzoneids:
        raise InvalidValue("destzoneid and destzoneids exclude each other: send one of them")
    zones = [destzoneid] if destzoneid is not None else destzoneids or []
    if not zones:
        raise ParameterError("Say where to copy it to: send destzoneid or destzoneids")
    if id.state not in ("BackedUp", "Copying"):
        raise InvalidValue(f"The snapshot {id.name} is {id.state}: only one that is BackedUp can be copied")
    if sourcezoneid is not None and not copies_of(ctx.session, id.id, sourcezoneid.id):
        raise InvalidValue(f"The snapshot {id.name} is not in the zone {sourcezoneid.name}: see listSnapshots")
    check_active(ctx.session, id)
    ctx.describe(f"copying snapshot {id.name} to {', '.join(z.name for z in zones)}")
    source = sourcezoneid and sourcezoneid.id
    return ctx.start(flows.copy, id, id.volume_id, [z.id for z in zones], source)


@command("extractSnapshot", roles=ROOT, answers=extracted_view, event="SNAPSHOT.EXTRACT")
def extract(ctx: Context, id: Operate[Snapshot], zoneid: Use[Zone]) -> Accepted:
    """Make a link from which a snapshot's content can be fetched for some time, as one whole file.

    id: the snapshot
    zoneid: a zone that has it
    """
    check_extraction("HTTP_DOWNLOAD")
    usable_in(ctx.session, id, zoneid.id)
    ctx.describe(f"making a link to snapshot {id.name}")
    volume = ctx.session.get_one(Volume, id.volume_id)
    return ctx.start(extracting.extract, id, zoneid.id, lock=lock_of(volume))
