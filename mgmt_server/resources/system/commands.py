"""The API about itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.describe import described
from mgmt_server.api.parameters import Operate
from mgmt_server.db import new_uuid
from mgmt_server.errors import ApiError, InvalidValue
from mgmt_server.model.account import User
from mgmt_server.model.event import SettingValue
from mgmt_server.model.settings import Setting
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.resources.account.rights import check_rank

IDENTIFIER = Setting("cloud.identifier", "What this cloud is called among others; made when it is first asked for")


@command("listApis", roles=EVERYONE, key="api", reads=True)
def list_apis(ctx: Context, name: str | None = None) -> list[dict[str, Any]]:
    """List the commands that the caller may use, with their parameters and answers.

    name: this command alone
    """
    if name is None:
        return described(ctx.caller)
    found = [one for one in described(ctx.caller) if one["name"] == name]
    if not found:
        raise ApiError(f"there is no command {name[:100]}, or it is not for this user")
    return found


@command("getCloudIdentifier", roles=EVERYONE, key="cloudidentifier")
def identifier(ctx: Context, userid: Operate[User]) -> dict[str, Any]:
    """Tell what this cloud is called, signed with a user's secret key, so that others can check who asked.

    userid: the user
    """
    check_rank(ctx.session, ctx.caller, userid)
    if not userid.secret_key:
        raise InvalidValue(f"the user {userid.username} has no keys to sign with: call registerUserKeys first")
    name = _identifier(ctx.session)
    signed = hmac.new(userid.secret_key.encode(), name.encode(), hashlib.sha1).digest()
    return {"userid": userid.uuid, "cloudidentifier": name, "signature": base64.b64encode(signed).decode()}


def _identifier(tx: Session) -> str:
    known = select(SettingValue.value).where(SettingValue.name == IDENTIFIER.name, SettingValue.scope == "Global")
    found = tx.scalar(known)
    if found is None:
        try:
            with tx.begin_nested():
                tx.add(SettingValue(name=IDENTIFIER.name, value=new_uuid()))
        except IntegrityError:  # another call was quicker
            pass
        found = tx.scalar(known)
    return str(found)
