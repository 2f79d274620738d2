"""Affinity groups: which machines should share a host, and which should not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.allocation.affinity import TYPES
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, page_of
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.api.projects import check_allowed
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain, Project
from mgmt_server.model.affinity import EXPLICIT, AffinityGroup, AffinityMember
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.vm import Vm
from mgmt_server.resources.affinity import members
from mgmt_server.resources.affinity.views import affinity_group_view
from mgmt_server.resources.checks import hold_names
from mgmt_server.resources.dedication import groups
from mgmt_server.resources.dedication.groups import Holder
from mgmt_server.resources.physicalnetwork.flows import done
from mgmt_server.resources.vm.lifecycle import only_users
from mgmt_server.resources.vm.views import vm_view


@command("listAffinityGroupTypes", roles=EVERYONE, key="", reads=True)
def list_types(ctx: Context) -> dict[str, Any]:
    """List the types of affinity groups that the protocol knows."""
    text = ctx.sent.get("keyword", "").lower()
    found = [{"type": name} for name in TYPES if text in name]
    number, size = page_of(ctx.sent)
    page = found if size < 0 else found[(max(number, 1) - 1) * size : max(number, 1) * size]
    return ({"count": len(found)} | ({"affinityGroupType": page} if page else {})) if found else {}


@command("createAffinityGroup", roles=EVERYONE, answers=affinity_group_view, event="AG.CREATE")
def create(
    ctx: Context,
    name: str,
    type: str,
    description: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Accepted:
    """Make an affinity group. Machines join it when they are deployed, or while they are stopped.

    name: its name
    type: host anti-affinity, host affinity, or one of the two with non-strict before, which are wishes; root
        administrators: ExplicitDedication too, for what will be dedicated to the account or domain
    description: what it is for
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    types = (*TYPES, EXPLICIT) if ctx.caller.is_root else TYPES
    kind = next((t for t in types if t.lower() == type.strip().lower()), None)
    if kind is None:
        raise InvalidValue(
            f"Unable to create affinity group, invalid affinity group type: {type[:100]}. Valid values are "
            f"{', '.join(types)}"
        )
    if kind == EXPLICIT and domainid is not None and account is None:
        return _of_dedications(ctx, Holder(domainid), name, description)
    whose = owner(ctx, account, domainid, projectid)
    if kind == EXPLICIT:
        holder = Holder(ctx.session.get_one(Domain, whose.domain_id), whose)
        return _of_dedications(ctx, holder, name, description)
    hold_names(ctx)
    same = select(AffinityGroup.id).where(AffinityGroup.account_id == whose.id, AffinityGroup.name == name)
    if ctx.session.scalar(same.where(AffinityGroup.removed.is_(None)).limit(1)) is not None:
        raise InvalidValue(f"Unable to create affinity group, a group with name {name} already exists.")
    row = AffinityGroup(
        name=name, type=kind, description=description, account_id=whose.id, domain_id=whose.domain_id, details={}
    )
    ctx.session.add(row)
    ctx.session.flush()
    ctx.describe(f"creating affinity group {name}")
    return ctx.start(done, row)


def _of_dedications(ctx: Context, holder: Holder, name: str, description: str | None) -> Accepted:
    there = groups.of_holder(ctx.session, holder)
    if there is not None:
        raise InvalidValue(
            f"The {holder.spoken} has the group {there.name} for what is dedicated to it already: use it"
        )
    ctx.describe(f"creating affinity group {name} for what is dedicated to {holder.spoken}")
    return ctx.start(done, groups.make(ctx.session, holder, name, description))


@command("deleteAffinityGroup", roles=EVERYONE, event="AG.DELETE")
def delete(
    ctx: Context,
    id: Operate[AffinityGroup] | None = None,
    name: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> Accepted:
    """Delete an affinity group. Its machines stay. What is dedicated with it is released.

    id: the group
    name: its name, instead of its id
    account: whose it is; with domainid and name
    domainid: that account's domain
    projectid: the project that it is of
    """
    if (id is None) == (name is None):
        raise InvalidValue("send either id or name")
    group = id if id is not None else _named(ctx, name or "", owner(ctx, account, domainid, projectid))
    ctx.describe(f"deleting affinity group {group.name}")
    return ctx.start(members.remove, group)


def _named(ctx: Context, name: str, whose: Account) -> AffinityGroup:
    rows = select(AffinityGroup).where(AffinityGroup.account_id == whose.id, AffinityGroup.name == name)
    found = ctx.session.scalar(rows.where(AffinityGroup.removed.is_(None), AffinityGroup.operable_by(ctx.caller)))
    if found is None:
        raise InvalidValue(f"Unable to find affinity group {name}")
    check_allowed(ctx, found)
    return found


@command("listAffinityGroups", roles=EVERYONE, answers=affinity_group_view)
def list_groups(
    ctx: Context,
    id: Use[AffinityGroup] | None = None,
    name: str | None = None,
    type: str | None = None,
    virtualmachineid: Use[Vm] | None = None,
) -> Rows:
    """List affinity groups.

    id: this one alone
    name: those of this name
    type: those of this type
    virtualmachineid: those that this machine is in
    """
    rows = Rows(affinity_group_view).where(id=id and id.id, name=name, type=type)
    if virtualmachineid is not None:
        mine = select(AffinityMember.group_id).where(AffinityMember.vm_id == virtualmachineid.id)
        rows = rows.where(AffinityGroup.id.in_(mine))
    return rows


@command("updateVMAffinityGroup", roles=EVERYONE, answers=vm_view, event="VM.AG.UPDATE")
def update_machine(
    ctx: Context,
    id: Operate[Vm],
    affinitygroupids: list[Use[AffinityGroup]] | None = None,
    affinitygroupnames: list[str] | None = None,
) -> Accepted:
    """Put a stopped machine into other affinity groups than those that it is in.

    id: the machine
    affinitygroupids: the groups, all of them; empty: none
    affinitygroupnames: their names, instead of ids
    """
    only_users(id)
    if not {"affinitygroupids", "affinitygroupnames"} & set(ctx.sent):
        raise InvalidValue("send affinitygroupids or affinitygroupnames; empty takes the machine out of all groups")
    members.check_stopped(id)
    whose = ctx.session.get_one(Account, id.account_id)
    chosen = members.chosen(ctx.session, whose, affinitygroupids, affinitygroupnames)
    ctx.describe(f"changing affinity groups of machine {id.display_name}")
    return ctx.start(members.update, id, [group.id for group in chosen])
