"""A server in this process, asked over its ASGI door: programs sign, people log in."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from mgmt_server import install
from mgmt_server.api.passwords import hashed
from mgmt_server.db import reading, write
from mgmt_server.model.account import User
from mgmt_server.web import app
from mgmt_server.web.signature import digest
from tests.cloud import Cloud

URL = "/client/api"
PASSWORD = "a-good-long-password"


class Site:
    """`cloud` gets ready what a test needs; `ask` and `Person` come from outside."""

    def __init__(self, client: TestClient) -> None:
        self.client, self.cloud = client, Cloud()

    def pairs(self, user: str = "admin", **sent: Any) -> dict[str, str]:
        with reading() as session:
            row = session.scalar(select(User).where(User.username == user))
        found = {"command": "listZones", "response": "json", "apiKey": row.api_key} | {
            k: str(v) for k, v in sent.items()
        }
        return found | {"signature": base64.b64encode(digest(found, row.secret_key)).decode()}

    def ask(self, user: str = "admin", method: str = "GET", headers: Any = None, **sent: Any) -> Any:
        pairs = self.pairs(user, **sent)
        where = {"data": pairs} if method == "POST" else {"params": pairs}
        return self.client.request(method, URL, headers=headers, **where)

    def set(self, name: str, value: str, **more: Any) -> None:
        self.cloud.ask("updateConfiguration", name=name, value=value, **more)

    def person(self, user: str = "admin", address: str = "192.0.2.10", **more: Any) -> Person:
        return Person(self, user, address, **more)


class Person:
    """A browser with a session."""

    def __init__(self, site: Site, user: str, address: str, base: str = "http://cloud") -> None:
        self.client = TestClient(site.client.app, base_url=base, client=(address, 4000))
        sent = {"command": "login", "username": user, "password": PASSWORD, "response": "json"}
        self.logged_in = self.client.post(URL, data=sent)
        self.key = self.logged_in.json()["loginresponse"].get("sessionkey", "")

    def ask(self, command: str = "listZones", method: str = "GET", headers: Any = None, **sent: Any) -> Any:
        pairs = {"command": command, "response": "json", "sessionkey": self.key} | sent
        pairs = {k: v for k, v in pairs.items() if v is not None}
        where = {"data": pairs} if method == "POST" else {"params": pairs}
        return self.client.request(method, URL, headers=headers, **where)


@pytest.fixture
def site(database):
    install.give_password(PASSWORD)
    with TestClient(app.create(simulator=True, version="test"), base_url="http://cloud") as client:
        made = Site(client)
        made.cloud.account("ann")
        made.cloud.account("bob")
        write(lambda tx: tx.execute(update(User).where(User.username == "ann").values(password=hashed(PASSWORD))))
        yield made
