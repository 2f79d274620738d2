"""Somebody at a browser: logs in, keeps the cookies, sends the session key. In this process, as tests/cloud.py."""

from __future__ import annotations

from typing import Any

import orjson

from mgmt_server.api import callers
from mgmt_server.api.passwords import hashed
from mgmt_server.db import write
from mgmt_server.model.account import Account, Domain, User
from mgmt_server.web.front import Asked
from tests.cloud import Cloud, Refused

PASSWORD = "correct horse battery"


def give_password(name: str, password: str = PASSWORD) -> int:
    """Let a user log in: its number."""

    def work(tx: Any) -> int:
        user = tx.query(User).filter_by(username=name).one()
        user.password, user.source = hashed(password), "native"
        return user.id

    number = write(work)
    callers.forget()
    return number


class Browser:
    def __init__(self, cloud: Cloud, address: str = "192.0.2.7") -> None:
        self.cloud, self.address = cloud, address
        self.cookies: dict[str, str] = {}
        self.greeting: dict[str, Any] = {}

    def send(self, command: str, method: str = "POST", **sent: Any) -> tuple[int, dict[str, Any]]:
        pairs = {k: str(v) for k, v in sent.items()} | {"command": command, "response": "json"}
        if "sessionkey" in self.cookies:
            pairs.setdefault("sessionkey", self.cookies["sessionkey"])
        asked = Asked(method, pairs, self.cookies.get("JSESSIONID", ""), self.cookies.get("sessionkey"), self.address)
        done = self.cloud.front.serve(asked)
        for cookie in done.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return done.status, orjson.loads(done.body) if done.body[:1] == b"{" else {}

    def ask(self, command: str, **sent: Any) -> dict[str, Any]:
        status, body = self.send(command, **sent)
        (content,) = body.values()
        if status >= 400:
            raise Refused(status, content)
        return content

    def log_in(self, username: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
        self.cookies = {}
        self.greeting = self.ask("login", username=username, password=password, **more)
        return self.greeting

    def may_call(self) -> bool:
        return self.send("listZones", method="GET")[0] == 200


def domain_number(path: str) -> int:
    from mgmt_server.db import reading

    with reading() as session:
        return session.query(Domain).filter_by(path=path).one().id


def account_number(name: str) -> int:
    from mgmt_server.db import reading

    with reading() as session:
        return session.query(Account).filter_by(name=name).one().id
