"""Tenants, what each owns, and a model of who may touch what, written anew so that it can disagree with the server.

A kind of thing that a parameter names is listed here: in OWNED (a plain row of it for each tenant), OF_PROJECT, THERE
(the whole cloud of the contract tests has some), or in MAKERS with a function of its own.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import JSON, Boolean, DateTime, Float, Integer, Numeric, select

from mgmt_server import db
from mgmt_server.api import callers, execute
from mgmt_server.db import reading, write
from mgmt_server.model import account as identity
from mgmt_server.model import settings
from mgmt_server.model.account import Account, Domain, OfProject, Project, ProjectInvitation, ProjectMember, Role, User
from mgmt_server.model.affinity import EXPLICIT, AffinityGroup
from mgmt_server.model.network import Nic
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import Internal, Offered, Owned
from mgmt_server.model.vm import Vm, VmSchedule
from mgmt_server.resources.template.flows import in_zone
from mgmt_server.web.app import Asked
from mgmt_server.web.signature import digest
from tests.certificates import authority
from tests.cloud import Cloud
from tests.contract.whole import filled

# name: (account type, domain, the role if it is not that of the type)
WHO: dict[str, tuple[int, str, str]] = {
    "ann": (0, "/a/b/", ""),  # the user of the account
    "bob": (0, "/a/b/", ""),  # another account of that domain
    "mem": (0, "/a/b/", ""),  # a member of ann's project
    "mad": (0, "/a/b/", ""),  # an administrator of it
    "ron": (0, "/a/b/", "Read-Only User - Default"),
    "dom": (2, "/a/b/", ""),  # administrator of the domain
    "pam": (2, "/a/", ""),  # of the one above
    "sib": (2, "/a/s/", ""),  # of one beside
    "res": (3, "/a/", ""),  # resource administrator of the one above
    "eve": (0, "/c/", ""),  # a stranger
    "rex": (1, "/", "Read-Only Admin - Default"),
    "admin": (1, "/", ""),
}
TYPES = {0: "User", 1: "Admin", 2: "DomainAdmin", 3: "ResourceAdmin"}
MEMBERS = {"mem": "Regular", "mad": "Admin"}
TENANTS = ("ann", "bob", "eve", "project-bob", "project-eve", "project-ann")
ADMIN_TYPES = (1, 2, 3)

Maker = Callable[[Any, Any, Account], None]  # (transaction, kind, whose)
_serial = count(1)


def there(_tx: Any, _kind: Any, _owner: Account) -> None:
    """The whole cloud has some."""


def owned(tx: Any, kind: Any, owner: Account) -> None:
    row(tx, kind, owner)


def of_project(tx: Any, kind: Any, owner: Account) -> None:
    project = tx.scalar(select(Project).where(Project.account_id == owner.id))
    if project is not None:
        row(tx, kind, owner, project_id=project.id)


def directory(tx: Any, kind: Any, owner: Account) -> None:
    """A server that refuses at once, on loopback: lists of people ask it."""
    row(tx, kind, owner, hostname="127.0.0.1", port=9)


def row(tx: Any, kind: Any, owner: Account, /, **values: Any) -> Any:
    """A row of any kind, its columns filled with what fits their types."""
    given = {"account_id": owner.id, "domain_id": owner.domain_id} | values
    for column in kind.__table__.columns:
        name = column.key
        if name in given or column.primary_key or column.nullable or column.default is not None:
            continue
        if column.foreign_keys:
            target = next(iter(column.foreign_keys)).column.table
            given[name] = _number_of(tx, target, owner, given)
        elif isinstance(column.type, Boolean):
            given[name] = False
        elif isinstance(column.type, DateTime):
            given[name] = db.now()
        elif isinstance(column.type, Integer | Numeric | Float):
            given[name] = next(_serial)
        elif isinstance(column.type, JSON):
            given[name] = {}
        else:
            given[name] = _text(name)[-(getattr(column.type, "length", None) or 200) :]
    columns = {c.key for c in kind.__table__.columns}
    made = kind(**{name: value for name, value in given.items() if name in columns})
    tx.add(made)
    tx.flush()
    return made


def _text(name: str) -> str:
    """Addresses where a column's name says so: others compare with them."""
    number = next(_serial)
    if "netmask" in name:
        return "255.255.255.0"
    if "cidr" in name:
        return f"10.{100 + number % 100}.0.0/24"
    if {"ip", "ip4", "address", "gateway"} & set(name.split("_")):
        return f"10.66.{number // 250 % 250}.{number % 250 + 1}"
    return f"{name}-{number}"


def _number_of(tx: Any, table: Any, owner: Account, given: dict[str, Any]) -> int:
    """A row to refer to: the owner's, or the project's, if there is one; else any. One is made where there is none."""
    rows = select(table.c.id).limit(1)
    for name in ("project_id", "account_id"):
        if name in table.c and given.get(name) is not None:
            mine = tx.scalar(rows.where(table.c[name] == given[name]))
            if mine is not None:
                return int(mine)
    some = tx.scalar(rows)
    if some is not None:
        return int(some)
    kind = next(m.class_ for m in db.Base.registry.mappers if m.local_table is table)
    return int(row(tx, kind, owner).id)


def certificate(tx: Any, kind: Any, owner: Account) -> None:
    """One that can be read: lists tell what stands in it."""
    row(tx, kind, owner, certificate=authority()[0], hypervisor="Simulator", only=[], revoked=[])


# How the matrix gets rows of a kind: what is new and the tenants' own goes into OWNED.
THERE = (
    "Account", "Address", "Alert", "Cluster", "DiskOffering", "Domain", "Event", "Host", "ImageStore", "Network",
    "NetworkOffering", "Nic", "Node", "OsCategory", "OsType", "PhysicalNetwork", "Pod", "Pool", "Project",
    "ProjectMember", "Provider", "Role", "RolePermission", "RouterElement", "ServiceOffering", "SshKeyPair", "Template",
    "TrafficType", "User", "VlanRange", "Vm", "VmSchedule", "Volume", "Zone",
)  # fmt: skip
OWNED = (
    "AffinityGroup", "Annotation", "GuestVlanRange", "InstanceGroup", "NicAddress", "ResourceDetail", "Snapshot",
    "SnapshotPolicy", "StorageRange", "Tag", "UserData", "VmSnapshot",
)  # fmt: skip
OF_PROJECT = ("ProjectInvitation", "ProjectRole", "ProjectRolePermission")
MAKERS: dict[str, Maker] = {
    **dict.fromkeys(THERE, there),
    **dict.fromkeys(OWNED, owned),
    **dict.fromkeys(OF_PROJECT, of_project),
    "LdapServer": directory,
    "DownloadCertificate": certificate,
}


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
        for name, (kind, domain, _) in WHO.items():
            if name not in ("admin", "ann"):
                self.cloud.account(name, kind=kind, domain=domain)
        write(self._move_ann)
        for name in ("ann", "bob", "eve"):
            self._own_something(name)
        self.cloud.account("gone")
        write(self._rest)
        write(self._roles)
        write(self._makers)
        callers.forget()
        self.calls = 0
        self.read()

    def read(self) -> None:
        with reading() as session:
            self.users = {u.username: u for u in session.scalars(select(User))}
            self.accounts = {a.id: a for a in session.scalars(select(Account))}
            self.domains = {d.id: d for d in session.scalars(select(Domain))}
            self.projects = {p.id: p for p in session.scalars(select(Project))}
            self.members = list(session.scalars(select(ProjectMember)))
            self.machines = {v.id: v for v in session.scalars(select(Vm))}

    def _move_ann(self, tx: Any) -> None:
        """The whole cloud has a user of that name in ROOT: it goes where this world wants it."""
        ann = tx.scalar(select(Account).where(Account.name == "ann"))
        ann.domain_id = tx.scalar(select(Domain.id).where(Domain.path == "/a/b/"))

    def _own_something(self, name: str) -> None:
        callers.forget()
        names = (("zoneid", "zone"), ("templateid", "template"), ("affinitygroupids", "group"))
        sent = {sent_as: self.names[name] for sent_as, name in names}
        self.cloud.job(
            "deployVirtualMachine", user=name, name=f"vm-{name}", serviceofferingid=self.names["offering"], **sent
        )
        self.cloud.ask("createSSHKeyPair", user=name, name=f"key-{name}")

    def _rest(self, tx: Any) -> None:
        """Private templates, projects with members, and a user that is disabled."""
        whole = tx.scalar(select(Template).where(Template.uuid == self.names["template"]))
        copied = ("name", "display_text", "hypervisor", "format", "os_type_id", "size", "url", "checksum", "type")
        for account in list(tx.scalars(select(Account).where(Account.name.in_(["ann", "bob", "eve"])))):
            same = {k: getattr(whole, k) for k in copied if hasattr(whole, k)} | {"type": "USER", "public": False}
            owner = Account(name=f"project-{account.name}", type=5, domain_id=account.domain_id)
            tx.add(owner)
            tx.flush()
            disc = same | {"format": "ISO", "hypervisor": "None"}
            for whose, kind in ((account, disc), (owner, disc), (account, same), (owner, same)):  # the template last
                mine = Template(
                    account_id=whose.id,
                    domain_id=whose.domain_id,
                    featured=False,
                    unique_name=f"{kind['format']}-{whose.name}",
                    **kind,
                )
                tx.add(mine)
                tx.flush()
                for zone in tx.scalars(select(db.Base.metadata.tables["zone"].c.id)):
                    in_zone(tx, mine, zone)
            project = Project(name=f"p-{account.name}", account_id=owner.id, domain_id=account.domain_id)
            tx.add(project)
            tx.flush()
            tx.add(ProjectMember(project_id=project.id, account_id=account.id, role="Admin"))
            if account.name == "ann":
                for member, role in MEMBERS.items():
                    number = tx.scalar(select(Account.id).where(Account.name == member))
                    tx.add(ProjectMember(project_id=project.id, account_id=number, role=role))
        tx.scalar(select(User).where(User.username == "gone")).state = "disabled"

    def _roles(self, tx: Any) -> None:
        for name, (_, _, role) in WHO.items():
            if role:
                account = tx.scalar(select(Account).where(Account.name == name))
                account.role_id = tx.scalar(select(Role.id).where(Role.name == role))
        tx.flush()
        made = Role(name="made", type="User")
        tx.add(made)
        tx.flush()

    def _makers(self, tx: Any) -> None:
        """Rows of every kind that has a maker, for each tenant; of the kinds that are there, for the project too."""
        kinds = {m.class_.__name__: m.class_ for m in db.Base.registry.mappers}
        owners = [tx.scalar(select(Account).where(Account.name == name)) for name in TENANTS]
        for name, make in MAKERS.items():
            if name not in kinds:
                raise AssertionError(f"MAKERS names {name}, which is no kind of thing any more: take it out")
            if make is there:
                continue
            for owner in owners:
                make(tx, kinds[name], owner)
        for name in ("SshKeyPair", "Volume", "Event"):  # the project's own
            extra = {"user_id": identity.ADMIN_USER} if name == "Event" else {}
            row(tx, kinds[name], owners[-1], **extra)

    def kind_of(self, caller: str) -> str:
        return TYPES[WHO[caller][0]]

    def may(self, caller: str, command: Any) -> bool:
        """Whether the caller's role lets it call: by the declaration, and for roles with rules as they are meant."""
        if self.kind_of(caller) not in command.roles:
            return False
        if not WHO[caller][2]:
            return True
        looks = command.name.startswith(("list", "get")) and not command.name.startswith("getUploadParamsFor")
        return looks or command.name in ("queryAsyncJobResult", *_TWO_FACTOR)

    def allowed(self, caller: str, row: Any, access: str) -> bool:
        """What the design says of tenancy: own, below for administrators of domains, all for root."""
        kind, path, _ = WHO[caller]
        if kind == 1:
            return True
        table = type(row)
        account = self.users[caller].account_id

        def below(domain: int | None) -> bool:
            return kind in ADMIN_TYPES and domain in self.domains and self.domains[domain].path.startswith(path)

        def member(project: Any, *roles: str) -> bool:
            mine = (m for m in self.members if m.project_id == project.id and m.account_id == account)
            return any(m.role in roles for m in mine)

        def within(owner: int | None, domain: int | None) -> bool:
            shared = any(p.account_id == owner and member(p, "Admin", "Regular") for p in self.projects.values())
            return owner == account or below(domain) or shared

        def of(project: Any) -> bool:
            roles = ("Admin", "Regular") if access == "usable_by" else ("Admin",)
            return below(project.domain_id) or member(project, *roles)

        if table is Domain:
            return row.path.startswith(path) if kind in ADMIN_TYPES else (row.path == path and access == "usable_by")
        if table is Account:
            return within(row.id, row.domain_id)
        if table is User:
            return within(row.account_id, self.accounts[row.account_id].domain_id)
        if table is Project:
            return of(row)
        if table is AffinityGroup and row.type == EXPLICIT:
            whole = row.account_id == identity.SYSTEM_ACCOUNT and path.startswith(self.domains[row.domain_id].path)
            return access == "usable_by" and (whole or within(row.account_id, row.domain_id))
        if table is Role:
            return access == "usable_by" and row.public and row.type != "Admin"
        if table is ProjectInvitation:
            invited = row.account_id == account and access == "usable_by"
            return invited or below(row.domain_id) or member(self.projects[row.project_id], "Admin")
        if issubclass(table, OfProject):
            return of(self.projects[row.project_id])
        if table in (Nic, VmSchedule):
            vm = self.machines[row.vm_id]
            return vm.kind == "User" and within(vm.account_id, vm.domain_id)
        if issubclass(table, Internal):
            return False
        if table is identity.LdapServer:
            above = row.domain_id is None or path.startswith(self.domains[row.domain_id].path)
            return access == "usable_by" and (above or below(row.domain_id))
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


_TWO_FACTOR = ("setupUserTwoFactorAuthentication", "validateUserTwoFactorAuthenticationCode")


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
