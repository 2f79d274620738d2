"""Deleting disks, and taking that back."""

from __future__ import annotations

from mgmt_server.allocation import counted
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.api.projects import check_active
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted, Asker, enqueue
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import ADMINS, EVERYONE
from mgmt_server.model.vm import VOLUME_STATES, Volume
from mgmt_server.resources.checks import alone
from mgmt_server.resources.volume import flows, stored
from mgmt_server.resources.volume.locks import lock_of
from mgmt_server.resources.volume.views import volume_view

USERS_RECOVER = Setting("allow.user.expunge.recover.volume", "Whether users may expunge and recover their disks")


@command("deleteVolume", roles=EVERYONE, event="VOLUME.DESTROY")
def delete_volume(ctx: Context, id: Operate[Volume]) -> None:
    """Delete a detached disk for good. Its file is removed in the background; its snapshots stay.

    id: the disk
    """
    alone(ctx, id)
    _check(id)
    ctx.describe(f"deleting disk {id.name}")
    if id.state == "Expunging":
        return
    flows.begin_removal(ctx.session, id)
    asker = Asker(
        account_id=id.account_id, domain_id=id.domain_id, user_id=ctx.caller.user_id, correlation=ctx.correlation
    )
    enqueue(ctx.session, flows.expunge, (id.id,), lock=f"volume:{id.id}", instance=("Volume", id.uuid), asker=asker)


@command("destroyVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.DESTROY")
def destroy_volume(ctx: Context, id: Operate[Volume], expunge: bool = False) -> Accepted:
    """Give a detached disk up. It can be recovered until it is expunged.

    id: the disk
    expunge: whether to remove it for good at once; administrators, and users where the setting allows it
    """
    _check(id)
    if expunge:
        _may_expunge(ctx)
    elif id.state == "Destroy":
        raise InvalidValue(f"The disk {id.name} is destroyed already: send expunge=true to remove it for good")
    ctx.describe(f"destroying disk {id.name}")
    return ctx.start(flows.destroy, id, expunge, lock=lock_of(id))


@command("recoverVolume", roles=EVERYONE, answers=volume_view, event="VOLUME.RECOVER")
def recover_volume(ctx: Context, id: Operate[Volume]) -> Volume:
    """Take back a disk that was destroyed and not expunged.

    id: the disk
    """
    _may_expunge(ctx)
    alone(ctx, id)
    if id.state != "Destroy":
        raise InvalidValue(f"The disk {id.name} is {id.state}: only a destroyed one can be recovered")
    if id.vm_id is not None:
        raise InvalidValue(f"The disk {id.name} was destroyed with its machine: recover the machine")
    check_active(ctx.session, id)
    row = stored.row_of(ctx.session, id.id)
    if id.pool_id is None and row is not None and row.state != "Ready":
        raise InvalidValue(f"The disk {id.name} never was uploaded whole: upload it again")
    state = "Ready" if id.pool_id is not None else "Uploaded" if row is not None else "Allocated"
    VOLUME_STATES.move(ctx.session, id.id, "Destroy", state)
    ctx.session.expire(id)
    counted.volumes_come(ctx.session, [id])
    ctx.describe(f"recovering disk {id.name}")
    return id


def _check(volume: Volume) -> None:
    flows.check_free(volume)
    if volume.delete_protection:
        raise InvalidValue(f"The disk {volume.name} is protected: switch deleteprotection off first")


def _may_expunge(ctx: Context) -> None:
    if ctx.caller.role not in ADMINS and not USERS_RECOVER.flag(*of_account(ctx.session, ctx.caller.account_id)):
        raise InvalidValue(f"Users may not expunge or recover disks here: setting {USERS_RECOVER.name}")
