"""Templates made here: of a disk, or of a snapshot of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted, Job
from mgmt_server.model.account import ACCOUNT_TYPES, Account, Domain, Project
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import one_of
from mgmt_server.resources.snapshot.rows import lock_of, usable_in
from mgmt_server.resources.template import flows as templates
from mgmt_server.resources.template.adding import add, store_for
from mgmt_server.resources.template.rules import ARCHITECTURES, check_visibility
from mgmt_server.resources.templatemaking import flows
from mgmt_server.resources.templatemaking.views import made_template_view
from mgmt_server.resources.volume.places import place_of

Text = Annotated[str, Length(4096)]


@command(
    "createTemplate",
    roles=EVERYONE,
    answers=made_template_view,
    event="TEMPLATE.CREATE",
    unsupported=("url", "virtualmachineid"),
)
def create(
    ctx: Context,
    name: str,
    ostypeid: Use[OsType],
    displaytext: Text | None = None,
    volumeid: Operate[Volume] | None = None,
    snapshotid: Operate[Snapshot] | None = None,
    zoneid: Use[Zone] | None = None,
    ispublic: bool = False,
    isfeatured: bool = False,
    passwordenabled: bool = False,
    sshkeyenabled: bool = False,
    requireshvm: bool = True,
    isdynamicallyscalable: bool = False,
    arch: str | None = None,
    bits: int | None = None,
    templatetag: str | None = None,
    details: dict[str, str] | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Accepted:
    """Make a template of the disk of a stopped machine, of a disk that is on none, or of a snapshot.

    name: its name
    ostypeid: the guest's operating system
    displaytext: what users read; the name by default
    volumeid: the disk
    snapshotid: the snapshot
    zoneid: where the snapshot is read, and the template shall be; the snapshot's own zone by default
    ispublic: whether everybody may use it
    isfeatured: whether it is shown first
    passwordenabled: whether its guests take passwords
    sshkeyenabled: whether its guests take SSH keys
    requireshvm: whether it needs hardware virtualisation
    isdynamicallyscalable: whether its guests may be resized while they run
    arch: x86_64 or aarch64
    bits: accepted; the operating system tells
    templatetag: tag of the hosts that run it
    details: free key-value pairs for the hypervisor
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    source = _source(ctx, volumeid, snapshotid, zoneid)
    named = account is not None or projectid is not None or domainid is not None
    whose = owner(ctx, account, domainid, projectid) if named else _own(ctx, source)
    check_visibility(ctx, whose, ispublic, isfeatured)
    template = add(
        ctx,
        whose,
        name=name,
        display_text=displaytext,
        format="QCOW2",
        hypervisor=source.hypervisor,
        os_type_id=ostypeid.id,
        public=ispublic,
        featured=isfeatured,
        requires_hvm=requireshvm,
        password_enabled=passwordenabled,
        ssh_key_enabled=sshkeyenabled,
        dynamically_scalable=isdynamicallyscalable,
        arch=one_of("arch", arch, ARCHITECTURES),
        tag=templatetag,
        details=details,
        size=source.row.size,
        source_volume_id=volumeid and volumeid.id,
        source_snapshot_id=snapshotid and snapshotid.id,
    )
    on_store = _room(ctx, template, source.zone)
    ctx.describe(f"making template {name} of {source.row.name}")
    return ctx.start(source.flow, template, on_store, source.row.id, lock=source.lock)


@dataclass(frozen=True)
class _Source:
    """What a template is made of, and by which flow."""

    row: Volume | Snapshot
    zone: Zone
    hypervisor: str
    lock: str
    flow: Callable[[Job, int, int, int], None]


def _source(ctx: Context, volume: Volume | None, snapshot: Snapshot | None, zone: Zone | None) -> _Source:
    tx = ctx.session
    if volume is not None and snapshot is None:
        flows.check_idle(tx, volume)
        hypervisor = place_of(tx, volume).host.hypervisor
        return _Source(volume, tx.get_one(Zone, volume.zone_id), hypervisor, lock_of(volume), flows.of_volume)
    if snapshot is not None and volume is None:
        zone = zone or tx.get_one(Zone, snapshot.zone_id)
        usable_in(tx, snapshot, zone.id)
        lock = lock_of(tx.get_one(Volume, snapshot.volume_id))
        return _Source(snapshot, zone, snapshot.hypervisor, lock, flows.of_snapshot)
    raise InvalidValue("Send either volumeid or snapshotid: what the template is to be made of")


def _own(ctx: Context, source: _Source) -> Account:
    """The project that the source belongs to; of others the caller."""
    account = ctx.session.get_one(Account, source.row.account_id)
    return account if account.type == ACCOUNT_TYPES["Project"] else owner(ctx)


def _room(ctx: Context, template: Template, zone: Zone) -> int:
    """The row of the image that is to come."""
    templates.in_zone(ctx.session, template, zone.id)
    row = templates.on_store(ctx.session, template, store_for(ctx, zone), zone.id, "Creating")
    if row is None:
        raise RuntimeError(f"template {template.id} is new and has an image")
    ctx.session.flush()
    return row.id
