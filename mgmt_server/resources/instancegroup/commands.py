"""Instance groups: names that users sort their machines by."""

from __future__ import annotations

from sqlalchemy import update as change

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.model.account import Domain, Project
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.userdata import InstanceGroup
from mgmt_server.model.vm import Vm
from mgmt_server.resources.checks import free_name
from mgmt_server.resources.instancegroup.views import instance_group_view


@command("createInstanceGroup", roles=EVERYONE, answers=instance_group_view)
def create(
    ctx: Context,
    name: str,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> InstanceGroup:
    """Make an instance group.

    name: its name
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    whose = owner(ctx, account, domainid, projectid)
    free_name(ctx, InstanceGroup, name, InstanceGroup.account_id == whose.id)
    row = InstanceGroup(name=name, account_id=whose.id, domain_id=whose.domain_id)
    ctx.session.add(row)
    ctx.session.flush()
    return row


@command("updateInstanceGroup", roles=EVERYONE, answers=instance_group_view)
def update(ctx: Context, id: Operate[InstanceGroup], name: str | None = None) -> InstanceGroup:
    """Give an instance group another name.

    id: the group
    name: its new name
    """
    if name is not None and name != id.name:
        others = (InstanceGroup.account_id == id.account_id, InstanceGroup.id != id.id)
        id.name = free_name(ctx, InstanceGroup, name, *others)
    return id


@command("deleteInstanceGroup", roles=EVERYONE)
def delete(ctx: Context, id: Operate[InstanceGroup]) -> None:
    """Delete an instance group. Its machines stay, and are in none.

    id: the group
    """
    tx = ctx.session
    members = change(Vm).where(Vm.group_id == id.id).values(group_id=None)
    tx.execute(members.execution_options(synchronize_session=False))
    tx.delete(id)


@command("listInstanceGroups", roles=EVERYONE, answers=instance_group_view)
def list_groups(ctx: Context, id: Use[InstanceGroup] | None = None, name: str | None = None) -> Rows:
    """List instance groups.

    id: this one alone
    name: that of this name
    """
    return Rows(instance_group_view).where(id=id and id.id, name=name)
