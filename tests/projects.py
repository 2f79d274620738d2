"""People and projects, for tests about both."""

from __future__ import annotations

from typing import Any

from mgmt_server.api import callers
from mgmt_server.api.passwords import new_key
from mgmt_server.db import write
from mgmt_server.model.account import Account, User


def world(cloud: Any) -> Any:
    """ann, bob, cid and administrator dom in /a/b/, pam above them, eve and ed elsewhere: accounts with a user each."""
    for name in ("ann", "bob", "cid"):
        cloud.account(name, domain="/a/b/")
    cloud.account("dom", kind=2, domain="/a/b/")
    cloud.account("pam", kind=2, domain="/a/")
    cloud.account("eve", domain="/c/")
    cloud.account("ed", kind=2, domain="/c/")
    return cloud


def second_user(name: str, account: str) -> str:
    """Another user of an account, with a key."""

    def make(tx: Any) -> None:
        owner = tx.query(Account).filter_by(name=account).one()
        tx.add(User(username=name, account_id=owner.id, api_key=new_key(), secret_key=new_key()))

    write(make)
    callers.forget()
    return name


def project(cloud: Any, name: str = "alpha", user: str = "ann", **more: Any) -> str:
    """A project's id."""
    return cloud.job("createProject", user=user, name=name, **more)["project"]["id"]


def add(cloud: Any, where: str, account: str, user: str = "ann", **more: Any) -> None:
    assert cloud.job("addAccountToProject", user=user, projectid=where, account=account, **more)["success"]


def add_user(cloud: Any, where: str, username: str, user: str = "ann", **more: Any) -> None:
    assert cloud.job("addUserToProject", user=user, projectid=where, username=username, **more)["success"]


def members(cloud: Any, where: str, user: str = "ann", **more: Any) -> dict[str, str]:
    """Who is in it as what: accounts by name, single users by account/user."""
    listed = cloud.ask("listProjectAccounts", user=user, projectid=where, **more).get("projectaccount", [])
    return {m["account"] + (f"/{m['username']}" if "username" in m else ""): m["role"] for m in listed}
