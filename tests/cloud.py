"""A cloud in this process: ask it as a client does, let its jobs run, look at what it answers."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import select

from mgmt_server.api import callers
from mgmt_server.api.passwords import new_key
from mgmt_server.db import reading, write
from mgmt_server.jobs.queue import join_cluster
from mgmt_server.jobs.worker import run_next
from mgmt_server.model.account import Account, Domain, User
from mgmt_server.web.app import Asked, Front
from mgmt_server.web.metrics import Metrics
from mgmt_server.web.signature import digest


class Refused(Exception):
    """The server said no: `status` and `text`."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        super().__init__(f"{status}: {answer.get('errortext')}")
        self.status, self.answer, self.text = status, answer, answer.get("errortext", "")


class Cloud:
    """Signed calls, straight into the front: parameters as keyword arguments, the answer without its outer key."""

    def __init__(self) -> None:
        self.front = Front(simulator=True, metrics=Metrics())
        self.node = join_cluster("test")

    def raw(self, user: str | None, command: str, **sent: Any) -> tuple[int, dict[str, Any]]:
        """Status and whole body; `user` is a user name, None for no key."""
        import base64

        pairs = {k: _text(v) for k, v in sent.items()} | {"command": command, "response": "json"}
        if user is not None:
            with reading() as session:
                row = session.scalar(select(User).where(User.username == user))
            pairs["apiKey"] = row.api_key
            pairs["signature"] = base64.b64encode(digest(pairs, row.secret_key)).decode()
        done = self.front.serve(Asked("GET", pairs))
        return done.status, orjson.loads(done.body)

    def ask(self, command: str, *, user: str = "admin", **sent: Any) -> dict[str, Any]:
        """The content of the answer. Raises Refused."""
        status, body = self.raw(user, command, **sent)
        (content,) = body.values()
        if status >= 400:
            raise Refused(status, content)
        return content

    def work(self) -> None:
        """Let jobs run until none is free."""
        while run_next(self.node):
            pass

    def job(self, command: str, *, user: str = "admin", **sent: Any) -> Any:
        """Ask, let it run, give what the job answers. Raises Refused with the job's own error."""
        accepted = self.ask(command, user=user, **sent)
        self.work()
        done = self.ask("queryAsyncJobResult", user=user, jobid=accepted["jobid"])
        if done["jobstatus"] != 1:
            raise Refused(done.get("jobresultcode", 0), done.get("jobresult", {}) | {"status": done["jobstatus"]})
        return done["jobresult"]

    def account(self, name: str, *, kind: int = 0, domain: str = "/") -> str:
        """Make an account with one user of the same name and a key; the domain too if it is missing."""

        def make(tx: Any) -> None:
            place = _domain(tx, domain)
            role = {0: 4, 1: 1, 2: 3, 3: 2}[kind]
            owner = Account(name=name, type=kind, domain_id=place.id, role_id=role)
            tx.add(owner)
            tx.flush()
            tx.add(User(username=name, account_id=owner.id, api_key=new_key(), secret_key=new_key()))

        write(make)
        callers.forget()
        return name


def _domain(tx: Any, path: str) -> Domain:
    found = tx.scalar(select(Domain).where(Domain.path == path))
    if found is None:
        parts = path.strip("/").split("/")
        parent = _domain(tx, "/" + "".join(f"{p}/" for p in parts[:-1]))
        found = Domain(name=parts[-1], path=path, level=len(parts), parent_id=parent.id)
        tx.add(found)
        tx.flush()
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(_text(v) for v in value)
    return str(value)
