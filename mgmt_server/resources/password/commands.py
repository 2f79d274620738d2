"""For people who forgot their password: a link by mail, and the new password with the token of that link."""

from __future__ import annotations

import hmac
from typing import Annotated

from sqlalchemy import select

from mgmt_server.api import lockout
from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Length
from mgmt_server.api.passwords import give
from mgmt_server.db import now
from mgmt_server.errors import InvalidValue
from mgmt_server.jobs import enqueue
from mgmt_server.model.account import Account, User
from mgmt_server.model.tenancy import ROOT
from mgmt_server.resources.password import flows

Token = Annotated[str, Length(100)]


@command("forgotPassword", roles=ROOT, anonymous=True)
def forgot(ctx: Context, username: str, domain: str = "/") -> None:
    """Have a link mailed with which a user sets a new password. The answer is the same for users that do not exist.

    username: who forgot the password
    domain: the path of the user's domain; ROOT by default
    """
    flows.check_enabled()
    enqueue(ctx.session, flows.mail_link, (username, domain), lock=f"password:{username}"[:100])


@command("resetPassword", roles=ROOT, anonymous=True)
def reset(ctx: Context, username: str, token: Token, password: str, domain: str = "/") -> None:
    """Set a new password with the token that was mailed. It is good for one password, and the user's sessions end.

    username: whose password
    token: the token of the mailed link
    password: the new password
    domain: the path of the user's domain; ROOT by default
    """
    flows.check_enabled()
    user = flows.find(ctx.session, username, domain)
    if user is not None:
        held = select(User).where(User.id == user.id).with_for_update().execution_options(populate_existing=True)
        user = ctx.session.scalar(held)
    known = (user.reset_hash if user is not None else None) or flows.digest("")
    right = hmac.compare_digest(known, flows.digest(token)) and user is not None and user.reset_until is not None
    if user is None or not right or user.reset_until is None or user.reset_until < now():
        raise InvalidValue("the link is wrong, was used or is too old: ask for a new one (forgotPassword)")
    give(ctx.session, ctx.session.get_one(Account, user.account_id).domain_id, user, password, chosen_by_user=True)
    lockout.tell(ctx.session, user, "USER.UPDATE", f"user {user.username} has set a new password by a mailed link")
