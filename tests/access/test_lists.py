"""Lists as a property: in any tree of domains, accounts, projects and things, whatever a caller sends, the answer stays
inside the caller's scope and inside what was asked for. Scope and question are computed here, not by the server.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.api import callers
from mgmt_server.api.passwords import new_key
from mgmt_server.db import new_uuid, reading, write
from mgmt_server.model.account import SYSTEM_ACCOUNT, Account, Domain, Project, ProjectMember, User
from mgmt_server.model.affinity import EXPLICIT, AffinityGroup
from mgmt_server.model.template import Template, TemplateInZone
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template.flows import in_zone
from tests.access.world import row
from tests.contract.test_registry import ALL

TYPES = (0, 0, 2, 2, 2, 3)
ROLES = {0: 4, 2: 3, 3: 2}
FILTERS = ("self", "executable", "featured", "community", "all", "shared", "selfexecutable", "sharedexecutable")
KINDS = ("SshKeyPair", "Vm", "Volume", "Network", "Template", "Event", "Address")  # and whatever else is owned: below


def lists():
    """Commands that users may call and that answer rows of a table which accounts own, or accounts themselves."""
    found = []
    for command in ALL.values():
        view = command.answers
        if not command.is_list or view is None or "User" not in command.roles:
            continue
        if view.table in (Account, User, Domain, Project) or has_owner(view.table):
            found.append(command)
    return found


def has_owner(table):
    return hasattr(table, "account_id") and hasattr(table, "domain_id")


LISTS = lists()
OWNED = {c.answers.table for c in LISTS if has_owner(c.answers.table)} - {TemplateInZone, Project} | {Template}
OWNED = sorted(OWNED, key=lambda t: t.__name__)


@dataclass(frozen=True)
class Tree:
    """Numbers are places in the lists before; what is too large wraps around."""

    domains: list  # parent
    accounts: list  # (domain, type)
    projects: list  # (owner, members)
    things: list  # (kind, owner, public, gone)


small = st.integers(0, 9)
trees = st.builds(
    Tree,
    domains=st.lists(small, min_size=1, max_size=6),
    accounts=st.lists(st.tuples(small, st.sampled_from(TYPES)), min_size=2, max_size=6),
    projects=st.lists(st.tuples(small, st.lists(small, max_size=3)), max_size=3),
    things=st.lists(st.tuples(st.integers(0, 99), small, st.booleans(), st.booleans()), min_size=8, max_size=20),
)
some = st.sampled_from([None] * 14 + list(range(6)))
asks = st.lists(
    st.fixed_dictionaries(
        {
            "caller": small,
            "command": st.integers(0, 999),
            "domainid": some,
            "account": some,
            "projectid": some,
            "listall": st.sampled_from([None, "true", "true", "true", "true", "false", "maybe"]),
            "isrecursive": st.sampled_from([None, "true", "false"]),
            "id": some,
            "ids": some,
            "keyword": st.sampled_from([None] * 9 + ["%", "_", "'", "a", "-"]),
            "templatefilter": st.sampled_from(FILTERS),
        }
    ),
    min_size=24,
    max_size=40,
)


@pytest.fixture(scope="module")
def base(world, tmp_path_factory):
    """The world's database closed, as a file to copy: what generated rows refer to is in it."""
    path = tmp_path_factory.mktemp("lists") / "base.db"
    with db.engine().connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql(f"VACUUM INTO '{path}'")
    return SimpleNamespace(path=path, world=world, work=path.parent / "work.db", asked=0, seen=0)


class Grown:
    """A tree in the database, and what the test knows of it."""

    def __init__(self, tree):
        write(self._plant, tree)
        callers.forget()

    def _plant(self, tx, tree):
        root = tx.get_one(Domain, 1)
        self.domains = [root]
        for parent in tree.domains:
            above = self.domains[parent % len(self.domains)]
            name = f"d{len(self.domains)}"
            made = Domain(name=name, path=f"{above.path}{name}/", level=above.level + 1, parent_id=above.id)
            self._keep(tx, self.domains, made)
        self.accounts, self.users, self.type_of = [], [], {}
        for domain, kind in tree.accounts:
            place = self.domains[domain % len(self.domains)]
            account = Account(name=f"a{len(self.accounts)}", type=kind, domain_id=place.id, role_id=ROLES[kind])
            self._keep(tx, self.accounts, account)
            user = User(username=account.name, account_id=account.id, api_key=new_key(), secret_key=new_key())
            self._keep(tx, self.users, user)
        self.projects, self.member_of = [], {}
        for owner, members in tree.projects:
            mine = self.accounts[owner % len(self.accounts)]
            account = Account(name=f"prj{len(self.projects)}", type=5, domain_id=mine.domain_id)
            tx.add(account)
            tx.flush()
            project = Project(name=account.name, account_id=account.id, domain_id=mine.domain_id)
            self._keep(tx, self.projects, project)
            joined = {mine.id: "Admin"} | {
                self.accounts[m % len(self.accounts)].id: "Regular" for m in members if m % len(self.accounts) != owner
            }
            joined[mine.id] = "Admin"
            for member, role in joined.items():
                tx.add(ProjectMember(project_id=project.id, account_id=member, role=role))
            self.member_of[account.id] = set(joined)
        owners = [*self.accounts, *(tx.get_one(Account, p.account_id) for p in self.projects)]
        self.things = []
        for kind, owner, public, gone in tree.things:
            table = OWNED[kind % len(OWNED)]
            extra = {"public": public} if hasattr(table, "public") else {}
            made = row(tx, table, owners[owner % len(owners)], **extra)
            if table is Template:
                in_zone(tx, made, tx.scalar(select(Zone.id).limit(1)))
            made.removed = db.now() if gone else None
            tx.flush()
            self.things.append(made)
        self.path_of = {d.id: d.path for d in tx.scalars(select(Domain))}
        self.kind_of = {a.id: a.type for a in tx.scalars(select(Account))}

    @staticmethod
    def _keep(tx, where, made):
        tx.add(made)
        tx.flush()
        where.append(made)

    def sees(self, me, owner, domain):
        """Whether rows with this owner and domain are in the scope of an account: its own, those of its projects, and
        for administrators all below."""
        if owner == me.id or me.id in self.member_of.get(owner, ()):
            return True
        return me.type in (2, 3) and domain is not None and self.path_of[domain].startswith(self.path_of[me.domain_id])

    def allowed(self, me, found):
        if isinstance(found, Domain):
            below = me.type in (2, 3) and found.path.startswith(self.path_of[me.domain_id])
            return found.id == me.domain_id or below
        if isinstance(found, Account):
            return self.sees(me, found.id, found.domain_id)
        if isinstance(found, User):
            with reading() as session:
                whose = session.get_one(Account, found.account_id)
            return self.sees(me, whose.id, whose.domain_id)
        if isinstance(found, AffinityGroup) and found.type == EXPLICIT and found.account_id == SYSTEM_ACCOUNT:
            return self.path_of[me.domain_id].startswith(
                self.path_of[found.domain_id]
            )  # of what is dedicated to a domain
        return bool(getattr(found, "public", False)) or self.sees(me, found.account_id, found.domain_id)

    def asked_for(self, found, sent):
        """Whether a row is one that the parameters mean; only where they are plain."""
        if not has_owner(found) or getattr(found, "public", False):
            return True
        if isinstance(found, Project):
            return True
        project = sent.get("projectid")
        if project and project != "-1":
            return found.account_id in {p.account_id for p in self.projects if p.uuid == project}
        if sent.get("account"):
            return found.account_id in {a.id for a in self.accounts if a.name == sent["account"]}
        if sent.get("domainid"):
            wanted = next((d for d in self.domains if d.uuid == sent["domainid"]), None)
            if wanted is None:
                return False
            here = self.path_of[found.domain_id]
            return here.startswith(wanted.path) if sent.get("isrecursive") == "true" else here == wanted.path
        return True


def pick(values, number):
    return values[number % len(values)] if values and number is not None else None


def question(tree, ask, command):
    told = {p.name for p in command.parameters}
    foreign = new_uuid()
    of_kind = [t.uuid for t in tree.things if type(t) is command.answers.table]
    both = [pick(of_kind, ask["ids"]), pick(of_kind, (ask["ids"] or 0) + 1)] if ask["ids"] is not None else []
    sent = {
        "domainid": pick([d.uuid for d in tree.domains] + [foreign], ask["domainid"]),
        "account": pick([a.name for a in tree.accounts] + ["nobody", "%"], ask["account"]),
        "projectid": pick([p.uuid for p in tree.projects] + ["-1", foreign], ask["projectid"]),
        "id": pick([*of_kind, foreign], ask["id"]),
        "ids": ",".join(b for b in both if b) or None,
        **{n: ask[n] for n in ("listall", "isrecursive", "keyword")},
        "templatefilter": ask["templatefilter"],
    }
    return {"command": command.name} | {n: v for n, v in sent.items() if v is not None and n in told}


def check(base, tree, ask):
    command = LISTS[ask["command"] % len(LISTS)]
    me, user = pick(tree.accounts, ask["caller"]), pick(tree.users, ask["caller"])
    if {0: "User", 2: "DomainAdmin", 3: "ResourceAdmin"}[me.type] not in command.roles:
        return
    base.world.users[user.username] = user
    sent = question(tree, ask, command)
    got = base.world.ask(user.username, sent)
    base.asked += 1
    assert not got.internal, (sent, got.text)
    if got.status != 200:
        return
    table = Template if command.answers.table is TemplateInZone else command.answers.table
    told = [one.get("id") for one in got.content.get(command.key, [])]
    with reading() as session:
        rows = {r.uuid: r for r in session.scalars(select(table).where(table.uuid.in_([t for t in told if t])))}
    for one in told:
        found = rows.get(one)
        if found is None:
            continue
        base.seen += 1
        who = f"{user.username} (type {me.type} in {tree.path_of[me.domain_id]})"
        assert tree.allowed(me, found), f"{who} saw {table.__name__} {found.id} of {_whose(found)} by {sent}"
        assert tree.asked_for(found, sent), f"{who} got {table.__name__} {found.id} of {_whose(found)} for {sent}"


def _whose(found):
    return f"account {getattr(found, 'account_id', None)} in domain {getattr(found, 'domain_id', None)}"


def property_of(examples):
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),  # the message says who saw what by which call: making it smaller takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(tree=trees, asked=asks)
    def holds(base, tree, asked):
        db.disconnect()  # or its last writes would go into the copy
        shutil.copyfile(base.path, base.work)
        for left in ("-wal", "-shm"):
            base.work.with_name(base.work.name + left).unlink(missing_ok=True)
        db.connect(f"sqlite:///{base.work}")
        db.forget_rows()
        grown = Grown(tree)
        for ask in asked:
            check(base, grown, ask)
        mine_is_mine(base, grown)

    return holds


def mine_is_mine(base, tree):
    """The other half: the owner's own keys are in the owner's plain list."""
    for account, user in zip(tree.accounts, tree.users, strict=True):
        base.world.users[user.username] = user
        own = {t.uuid for t in tree.things if type(t).__name__ == "SshKeyPair" and t.account_id == account.id}
        gone = {t.uuid for t in tree.things if t.removed is not None}
        got = base.world.ask(user.username, {"command": "listSSHKeyPairs"})
        assert {k["id"] for k in got.content.get("sshkeypair", [])} == own - gone


def test_a_list_is_a_subset_of_the_callers_scope_whatever_is_asked(base, tell):
    run(base, tell, 25)


@pytest.mark.long
def test_a_list_is_a_subset_of_the_callers_scope_at_length(base, tell):
    run(base, tell, 500)


def run(base, tell, examples):
    base.asked = base.seen = 0
    property_of(examples)(base)
    tell(f"lists: {len(LISTS)} commands, {base.asked} lists, {base.seen} rows looked at, outside 0")
    assert base.seen > 5 * examples, "so few rows prove nothing"


def test_lists_that_the_property_covers():
    assert {"listVirtualMachines", "listAccounts", "listUsers", "listTemplates", "listEvents"} <= {
        c.name for c in LISTS
    }
    assert set(KINDS) <= {t.__name__ for t in OWNED}
