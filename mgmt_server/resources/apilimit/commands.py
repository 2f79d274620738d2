"""What is left of an account's calls."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.errors import NotPermitted
from mgmt_server.model.account import Account
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.resources.apilimit.limits import ENABLED, INTERVAL, MOST, calls


@command("getApiLimit", roles=EVERYONE, key="apilimit", reads=True)
def get_limit(ctx: Context) -> dict[str, Any]:
    """Tell how many calls the caller's account has made and may make, and when they are counted anew (milliseconds)."""
    _must_be_enabled()
    window = calls.of(ctx.caller.account_id)
    issued = window.count if window else 0
    return {
        "account": ctx.caller.account_name,
        "accountid": ctx.caller.account_uuid,
        "apiIssued": issued,
        "apiAllowed": max(0, MOST.number() - issued),
        "expireAfter": window.left if window else 1000 * INTERVAL.number(),
    }


@command("resetApiLimit", roles=ROOT)
def reset_limit(ctx: Context, account: Operate[Account] | None = None) -> None:
    """Count the calls of an account anew, on the server that is asked.

    account: the account; all of them when left out
    """
    _must_be_enabled()
    calls.forget(account.id if account is not None else None)


def _must_be_enabled() -> None:
    if not ENABLED.flag():
        raise NotPermitted("This api is only available when api.throttling.enabled = true.")
