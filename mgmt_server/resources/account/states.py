"""Who is let in: accounts enabled, locked and disabled."""

from __future__ import annotations

from mgmt_server.api import callers
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate
from mgmt_server.db import after_commit
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import Accepted
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.tenancy import ADMINS
from mgmt_server.resources.account import flows
from mgmt_server.resources.account.rights import check_account, check_not_default
from mgmt_server.resources.account.rows import the_account
from mgmt_server.resources.account.views import account_view


@command("enableAccount", roles=ADMINS, answers=account_view, event="ACCOUNT.ENABLE")
def enable(
    ctx: Context,
    id: Operate[Account] | None = None,
    account: str | None = None,
    domainid: Operate[Domain] | None = None,
) -> Account:
    """Let the users of an account in again that is disabled or locked.

    id: the account
    account: its name, instead of id; with domainid
    domainid: its domain
    """
    row = the_account(ctx, id, account, domainid)
    check_account(ctx.session, ctx.caller, row)
    row.state = "enabled"
    after_commit(callers.forget)
    ctx.describe(f"enabling account {row.name}")
    return row


@command("disableAccount", roles=ADMINS, answers=account_view, event="ACCOUNT.DISABLE")
def disable(
    ctx: Context,
    lock: bool,
    id: Operate[Account] | None = None,
    account: str | None = None,
    domainid: Operate[Domain] | None = None,
) -> Accepted:
    """Shut the users of an account out and stop its machines, or with lock=true let them make nothing new.

    lock: whether what is there runs on and stays in reach, and nothing new is made
    id: the account
    account: its name, instead of id; with domainid
    domainid: its domain
    """
    row = the_account(ctx, id, account, domainid)
    check_may_go(ctx, row, "lock" if lock else "disable")
    row.state = "locked" if lock else "disabled"
    after_commit(callers.forget)
    ctx.describe(f"{'locking' if lock else 'disabling'} account {row.name}")
    return ctx.start(flows.disable, row)


@command("lockAccount", roles=ADMINS, answers=account_view)
def lock(ctx: Context, account: str, domainid: Operate[Domain]) -> Account:
    """Let the users of an account make nothing new. What is there runs on and stays in reach.

    account: the account
    domainid: its domain
    """
    row = the_account(ctx, None, account, domainid)
    check_may_go(ctx, row, "lock")
    row.state = "locked"
    after_commit(callers.forget)
    return row


def check_may_go(ctx: Context, row: Account, verb: str) -> None:
    """Refuse to shut out somebody of a higher rank, the first administrator, or oneself."""
    check_account(ctx.session, ctx.caller, row)
    check_not_default(row.id, f"the account {row.name}")
    if row.id == ctx.caller.account_id:
        raise InvalidValue(f"nobody can {verb} their own account: ask another administrator")
