"""Policies of snapshots: what may be asked."""

from __future__ import annotations

from sqlalchemy import delete as delete_rows
from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import UUID_TEXT, Operate, Use
from mgmt_server.api.projects import check_active
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.jobs import Accepted
from mgmt_server.model.event import Tag
from mgmt_server.model.settings import Setting
from mgmt_server.model.snapshot import SnapshotPolicy
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import alone
from mgmt_server.resources.snapshotpolicy import flows
from mgmt_server.resources.snapshotpolicy.schedule import kind_of, parsed, zone_of
from mgmt_server.resources.snapshotpolicy.views import snapshot_policy_view
from mgmt_server.resources.tag import flows as tags_flows

MOST = {
    kind: Setting(
        f"snapshot.max.{kind.lower()}", f"How many {kind.lower()} snapshots of a disk a policy keeps at most", least=1
    )
    for kind in ("HOURLY", "DAILY", "WEEKLY", "MONTHLY")
}
GONE = ("Destroy", "Expunging", "Expunged", "NotUploaded", "UploadOp", "UploadAbandoned", "UploadError")


@command(
    "createSnapshotPolicy",
    roles=EVERYONE,
    answers=snapshot_policy_view,
    event="SNAPSHOTPOLICY.CREATE",
    unsupported=("storageids", "usestoragereplication"),
)
def create(
    ctx: Context,
    volumeid: Operate[Volume],
    intervaltype: str,
    schedule: str,
    timezone: str,
    maxsnaps: int,
    fordisplay: bool = True,
    tags: dict[str, str] | None = None,
    zoneids: list[Use[Zone]] | None = None,
) -> SnapshotPolicy:
    """Have snapshots of a disk taken again and again. A disk has one policy of each interval: another one replaces it.

    volumeid: the disk
    intervaltype: HOURLY, DAILY, WEEKLY or MONTHLY
    schedule: MM, MM:HH, MM:HH:DD with the day of the week (1 is Sunday), or MM:HH:DD with the day of the month
    timezone: where the schedule's clock is, such as GMT or Europe/Zurich
    maxsnaps: how many snapshots to keep; the oldest beyond are deleted
    fordisplay: whether users see it
    tags: tags for it and for its snapshots: tags[0].key and tags[0].value
    zoneids: zones to copy the snapshots to
    """
    volume = volumeid
    kind = kind_of(intervaltype)
    parsed(kind, schedule)
    zone_of(timezone)
    most = MOST[kind].number()
    if maxsnaps < 1:
        raise InvalidValue(f"maxsnaps={maxsnaps}: a policy keeps one snapshot at least")
    if maxsnaps > most:
        raise InvalidValue(
            f"maxSnaps [{maxsnaps}] for volume {volume.name} exceeds limit [{most}] for interval type [{kind}] "
            f"(setting {MOST[kind].name})"
        )
    if volume.state in GONE:
        raise InvalidValue(f"The disk {volume.name} is {volume.state}: no snapshots can be taken of it")
    if volume.vm_id is not None and ctx.session.get_one(Vm, volume.vm_id).kind != "User":
        raise InvalidValue(f"The disk {volume.name} belongs to a system VM: it is made anew, never restored")
    check_active(ctx.session, volume)
    alone(ctx, volume)
    same = select(SnapshotPolicy).where(
        SnapshotPolicy.volume_id == volume.id, SnapshotPolicy.kind == kind, SnapshotPolicy.removed.is_(None)
    )
    policy = ctx.session.scalar(same)
    if policy is None:
        policy = SnapshotPolicy(volume_id=volume.id, kind=kind)
        ctx.session.add(policy)
    policy.account_id, policy.domain_id = volume.account_id, volume.domain_id
    policy.schedule, policy.timezone, policy.keep = schedule.strip(), timezone.strip(), maxsnaps
    policy.display = fordisplay
    policy.details = {"zones": [z.id for z in zoneids or [] if z.id != volume.zone_id]}
    flows.plan(policy)
    ctx.session.flush()
    if tags:
        mine = delete_rows(Tag).where(Tag.resource_type == "SnapshotPolicy", Tag.resource_uuid == policy.uuid)
        ctx.session.execute(mine.execution_options(synchronize_session=False))
        tags_flows.put(ctx.session, "SnapshotPolicy", [policy.uuid], list(tags.items()), None)
    ctx.describe(f"creating {kind.lower()} snapshot policy of disk {volume.name}")
    return policy


@command("listSnapshotPolicies", roles=EVERYONE, answers=snapshot_policy_view)
def list_policies(
    ctx: Context,
    id: Use[SnapshotPolicy] | None = None,
    volumeid: Use[Volume] | None = None,
    fordisplay: bool | None = None,
) -> Rows:
    """List policies of snapshots.

    id: this policy alone
    volumeid: those of this disk
    fordisplay: those that users see, or not
    """
    shown = fordisplay if ctx.caller.is_root else True
    rows = Rows(snapshot_policy_view).where(Volume.removed.is_(None))  # others go when their time comes
    return rows.where(id=id and id.id, volume_id=volumeid, display=shown)


@command("updateSnapshotPolicy", roles=EVERYONE, answers=snapshot_policy_view, event="SNAPSHOTPOLICY.UPDATE")
def update(
    ctx: Context, id: Operate[SnapshotPolicy] | None = None, fordisplay: bool | None = None, customid: str | None = None
) -> Accepted:
    """Change who sees a policy. What it does is changed by createSnapshotPolicy.

    id: the policy
    fordisplay: whether users see it
    customid: another uuid for it
    """
    if id is None:
        raise ParameterError("Say which policy: send id")
    if fordisplay is not None:
        id.display = fordisplay
    if customid:
        _rename(ctx, id, customid)
    ctx.describe(f"changing a {id.kind.lower()} snapshot policy")
    return ctx.start(flows.changed, id)


def _rename(ctx: Context, policy: SnapshotPolicy, uuid: str) -> None:
    if not UUID_TEXT.fullmatch(uuid):
        raise ParameterError(f"customid={uuid[:100]} is no uuid")
    if ctx.session.scalar(select(SnapshotPolicy.id).where(SnapshotPolicy.uuid == uuid)) is not None:
        raise InvalidValue(f"customid={uuid} is another policy's already")
    mine = select(Tag).where(Tag.resource_type == "SnapshotPolicy", Tag.resource_uuid == policy.uuid)
    for tag in ctx.session.scalars(mine):
        tag.resource_uuid = uuid
    policy.uuid = uuid


@command("deleteSnapshotPolicies", roles=EVERYONE, event="SNAPSHOTPOLICY.DELETE")
def delete(
    ctx: Context, id: Operate[SnapshotPolicy] | None = None, ids: list[Operate[SnapshotPolicy]] | None = None
) -> None:
    """Delete policies. Snapshots that were taken stay.

    id: this policy
    ids: these policies
    """
    found = {p.id: p for p in [*([id] if id is not None else []), *(ids or [])]}
    if not found:
        raise ParameterError("Say which policies: send id or ids")
    for policy in found.values():
        flows.remove(ctx.session, policy)
    ctx.describe(f"deleting {len(found)} snapshot policies")
