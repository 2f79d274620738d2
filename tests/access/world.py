"""Tenants, what each owns, and a model of who may touch what, written anew so that it can disagree with the server."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.api import callers, execute
from mgmt_server.db import reading, write
from mgmt_server.model import settings
from mgmt_server.model.account import Account, Domain, Project, User
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import Internal, Offered, Owned
from mgmt_server.resources.template.flows import in_zone
from mgmt_server.web.app import Asked
from mgmt_server.web.signature import digest
from tests.cloud import Cloud
from tests.contract.whole import filled

# name: (account type, domain)
WHO = {
    "ann": (0, "/a/b/"),  # the user of the account
    "bob": (0, "/a/b/"),  # another account of that domain
    "dom": (2, "/a/b/"),  # administrator of the domain
    "pam": (2, "/a/"),  # of the one above
    "sib": (2, "/a/s/"),  # of one beside
    "eve": (0, "/c/"),  # a stranger
    "admin": (1, "/"),
}
ADMIN_TYPES = (1, 2, 3)


class Answer:
    def __init__(self, status: int, body: bytes) -> None:
        ((self.outer, self.content),) = orjson.loads(body).items()
        self.status = status
        self.text = str(self.content.get("errortext", ""))

    @property
    def internal(self) -> bool:
        return "internal error" in self.text or self.content.get("cserrorcode") == 9999 and self.status == 530


class Tenants:
    def __init__(self) -> None:
        self.cloud = Cloud()
        self.names = filled(self.cloud)
        for name, (kind, domain) in WHO.items():
            if name != "admin" and name != "ann":
                self.cloud.account(name, kind=kind, domain=domain)
        write(self._move_ann)
        for name in ("ann", "bob", "eve"):
            self._own_something(name)
        self.cloud.account("gone")
        write(self._rest)
        callers.forget()
        with reading() as session:
            self.users = {u.username: u for u in session.scalars(select(User))}
            self.accounts = {a.id: a for a in session.scalars(select(Account))}
            self.domains = {d.id: d for d in session.scalars(select(Domain))}
        self.calls = 0

    def _move_ann(self, tx: Any) -> None:
        """The whole cloud has a user of that name in ROOT: it goes where this world wants it."""
        ann = tx.scalar(select(Account).where(Account.name == "ann"))
        ann.domain_id = tx.scalar(select(Domain.id).where(Domain.path == "/a/b/"))

    def _own_something(self, name: str) -> None:
        callers.forget()
        sent = {"zoneid": self.names["zone"], "templateid": self.names["template"]}
        self.cloud.job(
            "deployVirtualMachine", user=name, name=f"vm-{name}", serviceofferingid=self.names["offering"], **sent
        )
        self.cloud.ask("createSSHKeyPair", user=name, name=f"key-{name}")

    def _rest(self, tx: Any) -> None:
        """Private templates, projects, and a user that is disabled."""
        whole = tx.scalar(select(Template).where(Template.uuid == self.names["template"]))
        copied = ("name", "display_text", "hypervisor", "format", "os_type_id", "size", "url", "checksum", "type")
        for account in list(tx.scalars(select(Account).where(Account.name.in_(["ann", "bob", "eve"])))):
            same = {k: getattr(whole, k) for k in copied if hasattr(whole, k)} | {"type": "USER", "public": False}
            mine = Template(
                account_id=account.id,
                domain_id=account.domain_id,
                featured=False,
                unique_name=f"t-{account.name}",
                **same,
            )
            owner = Account(name=f"project-{account.name}", type=5, domain_id=account.domain_id)
            tx.add_all([mine, owner])
            tx.flush()
            for zone in tx.scalars(select(db.Base.metadata.tables["zone"].c.id)):
                in_zone(tx, mine, zone)
            tx.add(Project(name=f"p-{account.name}", account_id=owner.id, domain_id=account.domain_id))
        tx.scalar(select(User).where(User.username == "gone")).state = "disabled"

    def allowed(self, caller: str, row: Any, access: str) -> bool:
        """What the design says of tenancy: own, below for administrators of domains, all for root."""
        kind, path = WHO[caller]
        if kind == 1:
            return True
        table = type(row)
        account = self.users[caller].account_id

        def within(owner: int | None, domain: int | None) -> bool:
            below = kind in ADMIN_TYPES and domain in self.domains and self.domains[domain].path.startswith(path)
            return owner == account or below

        if table is Domain:
            return row.path.startswith(path) if kind in ADMIN_TYPES else (row.path == path and access == "usable_by")
        if table is Account:
            return within(row.id, row.domain_id)
        if table is User:
            return within(row.account_id, self.accounts[row.account_id].domain_id)
        if issubclass(table, Internal):
            return False
        if issubclass(table, Offered):
            return access == "usable_by"
        if hasattr(row, "account_id") and hasattr(row, "domain_id"):
            shared = issubclass(table, Owned) and access == "usable_by" and bool(getattr(row, "public", False))
            return shared or within(row.account_id, row.domain_id)
        raise AssertionError(f"{table.__name__}: say in tests/access/world.py whose its rows are")

    def ask(self, user: str | None, sent: dict[str, str], method: str = "GET") -> Answer:
        pairs = {**sent, "response": "json"}
        if user is not None:
            row = self.users[user]
            pairs["apiKey"] = row.api_key
            pairs["signature"] = base64.b64encode(digest(pairs, row.secret_key)).decode()
        self.calls += 1
        done = self.cloud.front.serve(Asked(method, pairs))
        return Answer(done.status, done.body)


class _Undone(Exception):
    pass


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Calls run whole, and what they wrote is rolled back, so that the next one meets the same world."""
    real = execute.write

    def write_and_undo(work: Any, *args: Any, **kwargs: Any) -> Any:
        found: list[Any] = []

        def run(tx: Any) -> None:
            found.append(work(tx, *args, **kwargs))
            tx.flush()
            raise _Undone

        try:
            real(run)
        except _Undone:
            return found[-1]
        raise AssertionError("unreachable")

    execute.write = write_and_undo
    try:
        yield
    finally:
        execute.write = real


@contextmanager
def tenants(fresh: Path, folder: Path) -> Iterator[Tenants]:
    shutil.copyfile(fresh, folder / "cloud.db")
    db.connect(f"sqlite:///{folder}/cloud.db")
    callers.forget()
    settings.forget()
    try:
        yield Tenants()
    finally:
        db.disconnect()
