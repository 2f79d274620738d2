"""Accounts as clients see them."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.view import PerPage, View, always, many, only, shown
from mgmt_server.model.account import Account, Domain, Role, User
from mgmt_server.model.tenancy import ADMIN
from mgmt_server.model.zone import Zone
from mgmt_server.resources.account.flows import LEAVING
from mgmt_server.resources.account.totals import of_accounts
from mgmt_server.resources.user.rows import spoken_access
from mgmt_server.resources.user.views import is_default, user_view
from mgmt_server.resources.views import spoken_path


def _is_leaving(state: str) -> bool | None:
    return True if state == LEAVING else None


def _or_none(details: dict[str, Any]) -> dict[str, Any] | None:
    return details or None


def _view(*more: PerPage) -> View:
    return View(
        "account",
        Account,
        response="AccountResponse",
        keyword=(Account.name,),
        more=more,
        joins=(
            (Domain, Domain.id == Account.domain_id),
            (Role, Role.id == Account.role_id),
            (Zone, Zone.id == Account.default_zone_id),
        ),
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
        defaultzoneid=Zone.uuid,
        accountdetails=shown(_or_none, Account.details),
        apikeyaccess=only(ADMIN, shown(spoken_access, Account.api_key_access)),
        iscleanuprequired=shown(_is_leaving, Account.state),
        isdefault=shown(is_default, Account.id),
        groups=always([]),
        user=many(user_view, User.account_id),
    )


account_view = _view(of_accounts)
brief_view = _view()
