"""Accounts: what may be asked."""

from __future__ import annotations

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows, narrowed
from mgmt_server.api.parameters import Use
from mgmt_server.model.account import ACCOUNT_TYPES, SYSTEM_ACCOUNT, Account
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.resources.account.rights import OfAccounts
from mgmt_server.resources.account.views import account_view


@command("listAccounts", roles=EVERYONE, answers=account_view, unsupported=("apikeyaccess", "tag"))
def list_accounts(
    ctx: Context,
    id: Use[Account] | None = None,
    name: str | None = None,
    accounttype: int | None = None,
    state: str | None = None,
    iscleanuprequired: bool | None = None,
    details: list[str] | None = None,
    showicon: bool = False,
) -> Rows:
    """List accounts.

    id: this one alone
    name: those of this name
    accounttype: 0 user, 1 root administrator, 2 domain administrator, 3 resource administrator
    state: enabled, disabled or locked
    iscleanuprequired: those whose deletion has to be finished; deletions finish by themselves, so there are none
    details: accepted; all details are answered
    showicon: accepted; there are no icons
    """
    hidden = Account.type != ACCOUNT_TYPES["Project"]
    return (
        Rows(account_view)
        .where(id=id and id.id, name=name, type=accounttype, state=state and state.lower())
        .where(
            Account.id != SYSTEM_ACCOUNT,
            hidden,
            Account.id == -1 if iscleanuprequired else None,
            *narrowed(ctx, ctx.session, OfAccounts),
        )
    )
