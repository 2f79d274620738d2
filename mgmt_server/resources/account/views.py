"""Accounts as clients see them."""

from __future__ import annotations

from mgmt_server.api.view import View, always, many, shown
from mgmt_server.model.account import Account, Domain, Role, User
from mgmt_server.resources.account.totals import totals
from mgmt_server.resources.user.views import is_default, user_view
from mgmt_server.resources.views import spoken_path

account_view = View(
    "account",
    Account,
    response="AccountResponse",
    keyword=(Account.name,),
    joins=((Domain, Domain.id == Account.domain_id), (Role, Role.id == Account.role_id)),
    id=Account.uuid,
    name=Account.name,
    accounttype=Account.type,
    roleid=Role.uuid,
    roletype=Role.type,
    rolename=Role.name,
    domainid=Domain.uuid,
    domain=Domain.name,
    domainpath=shown(spoken_path, Domain.path),
    networkdomain=Account.network_domain,
    state=Account.state,
    created=Account.created,
    isdefault=shown(is_default, Account.id),
    groups=always([]),
    user=many(user_view, User.account_id),
    **totals(Account),
)
