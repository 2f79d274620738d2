"""The API about itself."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.describe import described
from mgmt_server.errors import ApiError
from mgmt_server.model.tenancy import EVERYONE


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
