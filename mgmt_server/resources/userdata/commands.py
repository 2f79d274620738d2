"""User data that is registered under a name, for machines to be deployed with and for templates to bring along."""

from __future__ import annotations

from typing import Annotated, Any

from sqlalchemy import select
from sqlalchemy import update as change

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.owner import owner
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.errors import InUse, InvalidValue, ParameterError
from mgmt_server.model.account import Domain, Project
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.userdata import UserData
from mgmt_server.model.vm import Vm
from mgmt_server.resources.checks import alone, free_name, one_of
from mgmt_server.resources.template.views import template_alone_view
from mgmt_server.resources.userdata.rules import OVERRIDE, POLICIES, checked, variables
from mgmt_server.resources.userdata.views import user_data_view

Text = Annotated[str, Length(1_048_576)]


@command("registerUserData", roles=EVERYONE, answers=user_data_view, event="REGISTER.USER.DATA")
def register(
    ctx: Context,
    name: str,
    userdata: Text,
    params: str | None = None,
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> UserData:
    """Make user data known under a name.

    name: its name
    userdata: the data itself, base64
    params: names of the variables in it, separated by commas
    account: whose it shall be; with domainid
    domainid: that account's domain
    projectid: the project that it is for
    """
    whose = owner(ctx, account, domainid, projectid)
    free_name(ctx, UserData, name, UserData.account_id == whose.id)
    row = UserData(
        name=name,
        data=checked(userdata),
        params=variables(params),
        account_id=whose.id,
        domain_id=whose.domain_id,
    )
    ctx.session.add(row)
    ctx.session.flush()
    ctx.describe(f"registering user data {name}")
    return row


@command("listUserData", roles=EVERYONE, answers=user_data_view)
def list_user_data(ctx: Context, id: Use[UserData] | None = None, name: str | None = None) -> Rows:
    """List registered user data.

    id: this one alone
    name: that of this name
    """
    return Rows(user_data_view).where(id=id and id.id, name=name)


@command("deleteUserData", roles=EVERYONE)
def delete(
    ctx: Context,
    id: Operate[UserData],
    account: str | None = None,
    domainid: Use[Domain] | None = None,
    projectid: Use[Project] | None = None,
) -> None:
    """Forget registered user data that no machine and no template uses.

    id: the user data
    account: whose it is; with domainid
    domainid: that account's domain
    projectid: the project that it is of
    """
    if (account or projectid is not None) and owner(ctx, account, domainid, projectid).id != id.account_id:
        raise InvalidValue(f"The user data {id.name} belongs to another account than the one that was named")
    alone(ctx, id)
    for table, spoken in ((Vm, "machine"), (Template, "template")):
        rows = select(table.name).where(table.user_data_id == id.id, table.removed.is_(None))
        name = ctx.session.scalar(rows.limit(1))
        if name is not None:
            raise InUse(f"The user data {id.name} is used by the {spoken} {name}: change that one first")
    gone = change(Template).where(Template.user_data_id == id.id).values(user_data_id=None, user_data_policy=None)
    ctx.session.execute(gone.execution_options(synchronize_session=False))
    ctx.session.delete(id)


@command("linkUserDataToTemplate", roles=EVERYONE, answers=template_alone_view, key="")
def link(
    ctx: Context,
    templateid: Operate[Template] | None = None,
    isoid: Operate[Template] | None = None,
    userdataid: Use[UserData] | None = None,
    userdatapolicy: str | None = None,
) -> dict[str, Any]:
    """Have a template or an ISO bring user data along; without userdataid it brings none any more.

    templateid: the template
    isoid: the ISO
    userdataid: the user data; of the template's own account
    userdatapolicy: ALLOWOVERRIDE, APPEND or DENYOVERRIDE: what becomes of the data that a machine is deployed with
    """
    target = templateid if templateid is not None else isoid
    if target is None or (templateid is not None and isoid is not None):
        raise ParameterError("Send either templateid or isoid")
    is_iso = target.format == "ISO"
    if is_iso != (isoid is not None):
        raise InvalidValue(f"{target.name} is {'an ISO' if is_iso else 'a template'}: name it with the other parameter")
    policy = one_of("userdatapolicy", userdatapolicy, POLICIES)
    if userdataid is None:
        target.user_data_id = target.user_data_policy = None
    else:
        alone(ctx, userdataid)
        if userdataid.account_id != target.account_id:  # who deploys from the template reads it
            raise InvalidValue(f"The user data {userdataid.name} and {target.name} belong to different accounts")
        target.user_data_id, target.user_data_policy = userdataid.id, policy or OVERRIDE
    ctx.session.flush()
    return {"iso" if is_iso else "template": template_alone_view.one(ctx.session, ctx.caller, target.id)}
