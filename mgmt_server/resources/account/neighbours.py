"""The other accounts of a user's domain: who they are, where a setting lets users know that, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.scopes import of_domain
from mgmt_server.model.account import Account
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import USER, Caller

SEEN = Setting(
    "allow.user.view.all.domain.accounts",
    "Whether users are listed all accounts of their domain: of others their names and ids alone",
)
TOLD = ("id", "name", "accounttype", "domainid", "domain", "domainpath")
# who asks for these would learn more of others than who they are
TELLING = ("state", "iscleanuprequired", "apikeyaccess", "tag")


def are_seen(ctx: Context) -> bool:
    """Whether the list that is asked for has the other accounts of the caller's domain."""
    if ctx.caller.role != USER or any(ctx.sent.get(name) for name in TELLING):
        return False
    return SEEN.flag(*of_domain(ctx.session, ctx.caller.domain_id))


def in_domain(caller: Caller) -> ColumnElement[bool]:
    return Account.usable_by(caller) | (Account.domain_id == caller.domain_id)


@dataclass(frozen=True)
class WithNeighbours(Rows):
    """Accounts, of which the caller reads its own in full."""

    def page(self, ctx: Context, session: Session) -> tuple[int, list[dict[str, Any]]]:
        count, found = super().page(ctx, session)
        own = ctx.caller.account_uuid
        return count, [a if a["id"] == own else {k: v for k, v in a.items() if k in TOLD} for a in found]
