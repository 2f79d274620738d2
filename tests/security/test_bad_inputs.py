"""Rows Z1 to Z3 of the table of bad inputs in docs/security.md. Z1 is tests/access; what it leaves is here."""

from __future__ import annotations

import base64
import logging
import secrets

import orjson
import pytest
from sqlalchemy import select, text, update

from mgmt_server import db, install
from mgmt_server.api import callers
from mgmt_server.db import reading, write
from mgmt_server.model.account import Account, Role, User
from mgmt_server.model.vm import SshKeyPair, Vm
from tests.access.test_matrix import acts_outside, entity_parameters, request, rows_of
from tests.access.world import WHO, nothing_kept
from tests.contract.test_registry import ALL

RANK = {"User": 0, "DomainAdmin": 1, "ResourceAdmin": 2, "Admin": 3}
# Commands that act on a user or an account, and what they need besides the id
ON_USERS = {
    "updateUser": {"email": "x@example.org"},
    "registerUserKeys": {},
    "getUserKeys": {},
    "disableUser": {},
    "enableUser": {},
    "lockUser": {},
    "deleteUser": {},
    "setupUserTwoFactorAuthentication": {"provider": "totp"},
    "disableUserTwoFactorAuthentication": {},
}
ON_ACCOUNTS = {
    "updateAccount": {"networkdomain": "x.internal"},
    "deleteAccount": {},
    "disableAccount": {"lock": "false"},
    "enableAccount": {},
    "lockAccount": {},
}


@pytest.fixture
def rows(world):
    tables = {p.entity for c in ALL.values() for p in entity_parameters(c)}
    with reading() as session:
        return {table: rows_of(table, session) for table in tables}


# --- Z1: what is deleted, named twice, written otherwise ---


def test_z1_what_is_deleted_is_like_what_never_was(world):
    with reading() as session:
        key = session.scalar(select(SshKeyPair).where(SshKeyPair.account_id == world.users["eve"].account_id))
        machine = session.scalar(select(Vm).where(Vm.account_id == world.users["eve"].account_id))
    write(lambda tx: tx.execute(update(Vm).where(Vm.id == machine.id).values(removed=db.now())) and None)
    for user in ("eve", "ann", "admin"):
        with nothing_kept():
            gone = world.ask(user, {"command": "startVirtualMachine", "id": machine.uuid})
            never = world.ask(user, {"command": "startVirtualMachine", "id": key.uuid})
        assert gone.status == never.status == 431
        assert gone.text.replace(machine.uuid, "ID") == never.text.replace(key.uuid, "ID")
    write(lambda tx: tx.execute(update(Vm).where(Vm.id == machine.id).values(removed=None)) and None)


def test_z1_ids_in_every_dress(world, rows):
    """Upper case, blanks, quotes, wildcards, numbers of other scripts: refused as what is missing, never an error."""
    wrong = []
    dresses = ("%", "_", "' OR 1=1 --", "\u0661", "0x1", "-1", "1e3", "NULL", "null", "*", "../1", "1,1", "x" * 300)
    with nothing_kept():
        for command in ALL.values():
            if not world.may("ann", command) or acts_outside(command):
                continue
            for p in entity_parameters(command):
                if p.roles and "User" not in p.roles:
                    continue
                base = request(world, rows, command, "ann", but=p.name)
                for dress in dresses:
                    got = world.ask("ann", base | {p.name: dress})
                    if got.internal or got.status < 300:
                        wrong.append(f"{command.name} {p.name}={dress}: {got.status} {got.text}")
    assert not wrong, wrong[:10]


# --- Z2: each command on people, by each on each ---


def test_z2_nobody_acts_on_who_may_more(world):
    missing = [name for name in (*ON_USERS, *ON_ACCOUNTS) if name not in ALL]
    wrong, tried = [], 0
    with nothing_kept():
        for caller in (*WHO,):
            for target in WHO:
                more = RANK[world.kind_of(target)] > RANK[world.kind_of(caller)]
                limited = bool(WHO[caller][2]) and world.kind_of(caller) == "Admin" and target == "admin"
                if not more and not limited:
                    continue
                user, account = world.users[target], world.accounts[world.users[target].account_id]
                for name, sent in [*ON_USERS.items(), *ON_ACCOUNTS.items()]:
                    if name in missing:
                        continue
                    field = "id" if "id" in {p.name for p in ALL[name].parameters} else "userid"
                    named = user.uuid if name in ON_USERS else account.uuid
                    got = world.ask(caller, {"command": name, field: named} | sent)
                    own_only = field not in {p.name for p in ALL[name].parameters}
                    tried += 1
                    if got.status < 300 and not own_only:
                        wrong.append(f"{name} on {target} by {caller}: {got.status}")
                    if got.internal:
                        wrong.append(f"{name} on {target} by {caller}: {got.text}")
    assert not wrong, wrong[:10]
    assert tried > 100 and len(missing) < 4, missing


def test_z2_nobody_gives_what_they_may_not(world):
    with reading() as session:
        roles = {r.name: r for r in session.scalars(select(Role).where(Role.removed.is_(None)))}
    person = {"email": "n@example.org", "firstname": "n", "lastname": "n", "password": "a-good-long-password"}
    for caller, allowed in (
        ("dom", {"Domain Admin", "User", "Read-Only User - Default", "Support User - Default", "made"}),
        ("rex", set()),
        ("ann", set()),
    ):
        given = set()
        for name, role in roles.items():
            with nothing_kept():
                sent = {"command": "createAccount", "username": "new", "roleid": role.uuid} | person
                got = world.ask(caller, sent)
                assert not got.internal, (caller, name, got.text)
                if got.status == 200:
                    given.add(name)
                account = world.accounts[world.users["bob"].account_id].uuid
                got = world.ask(caller, {"command": "updateAccount", "id": account, "roleid": role.uuid})
                assert not got.internal and (got.status >= 300 or name in allowed), (caller, name, got.status)
        assert given <= allowed, (caller, given - allowed)
        assert not allowed or given, f"{caller} may give nothing at all"


def test_z2_a_role_that_is_narrowed_holds_at_once(world):
    def set_role(name):
        def change(tx):
            role = tx.scalar(select(Role.id).where(Role.name == name))
            tx.execute(update(Account).where(Account.name == "bob").values(role_id=role))

        write(change)
        callers.forget()

    assert world.ask("bob", {"command": "createSSHKeyPair", "name": "before"}).status == 200
    set_role("Read-Only User - Default")
    assert world.ask("bob", {"command": "createSSHKeyPair", "name": "after"}).status == 432
    set_role("User")


# --- Z3: secrets ---


class Planted:
    """Known secrets, by where they are."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def new(self, where: str) -> str:
        return self.values.setdefault(where, f"Planted-{secrets.token_hex(16)}")

    def found_in(self, what: str, but: tuple[str, ...] = ()) -> list[str]:
        return [where for where, value in self.values.items() if value in what and not where.startswith(but)]


TELLS = {  # what the command is there to tell, to whom may have it
    "getUserKeys": ("secret key",),
    "registerUserKeys": ("secret key",),
    "setupUserTwoFactorAuthentication": ("two factor",),
}


@pytest.fixture
def planted(world, caplog):
    """Passwords, keys, settings, pools and machines with secrets that are known; everything that is logged."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="cloudwright")
    made, ask = Planted(), world.ask
    install.give_password(made.new("password of admin"))
    person = {"email": "s@example.org", "firstname": "s", "lastname": "s"}
    sent = {"command": "createAccount", "username": "sue", "password": made.new("password of sue"), "accounttype": "0"}
    answers = [("createAccount", ask("admin", sent | person))]
    user = {"command": "updateUser", "id": world.users["ann"].uuid, "password": made.new("password of ann")}
    answers.append(("updateUser", ask("admin", user)))
    changed = {"password": made.new("new password of ann"), "currentpassword": made.values["password of ann"]}
    answers.append(("updateUser", ask("ann", user | changed)))
    wrong = {"password": made.new("refused password"), "currentpassword": made.new("wrong password")}
    answers.append(("updateUser", ask("ann", user | wrong)))
    for name in (
        "alert.smtp.password",
        "project.smtp.password",
        "ldap.bind.password",
        "user.password.reset.smtp.password",
    ):
        set_it = {"command": "updateConfiguration", "name": name, "value": made.new(f"setting {name}")}
        answers.append(("updateConfiguration", ask("admin", set_it)))
    for scheme in ("cifs", "rbd"):
        url = f"{scheme}://user:{made.new(f'password of a {scheme} pool')}@192.0.2.9/pool"
        pool = {"command": "createStoragePool", "zoneid": world.names["zone"], "name": f"p-{scheme}", "url": url}
        answers.append(("createStoragePool", ask("admin", pool | {"scope": "zone", "hypervisor": "KVM"})))
        store = {"command": "addImageStore", "provider": "NFS", "url": url, "details[0].key": "password"}
        store["details[0].value"] = made.new(f"detail of a {scheme} store")
        answers.append(("addImageStore", ask("admin", store)))
    image = {"command": "registerTemplate", "name": "t", "format": "QCOW2", "hypervisor": "KVM"}
    image |= {"ostypeid": "1", "zoneid": world.names["zone"], "displaytext": "t"}
    image["url"] = f"http://u:{made.new('password in a URL')}@198.51.100.1/x.qcow2"
    answers.append(("registerTemplate", ask("admin", image)))

    def keys(tx):
        for user in tx.scalars(select(User).where(User.secret_key.is_not(None))):
            made.values[f"secret key of {user.username}"] = user.secret_key
        ann = tx.scalar(select(User).where(User.username == "ann"))
        ann.two_factor_secret = base64.b32encode(secrets.token_bytes(20)).decode()
        made.values["two factor secret of ann"] = ann.two_factor_secret
        machine = tx.scalar(select(Vm).where(Vm.account_id == ann.account_id))
        machine.vnc_password = secrets.token_hex(6)
        made.values["console of a machine"] = machine.vnc_password

    write(keys)
    callers.forget()
    world.read()
    return made, answers, caplog


def tell(command, answer):
    return command, orjson.dumps(answer.content).decode()


def test_z3_no_secret_is_in_any_answer_job_event_or_log_line(world, planted):
    made, first, caplog = planted
    with reading() as session:
        rows = {t: rows_of(t, session) for t in {p.entity for c in ALL.values() for p in entity_parameters(c)}}
    said = [tell(name, answer) for name, answer in first]
    for command in ALL.values():
        for caller in ("admin", "rex", "dom", "ann"):
            if acts_outside(command) and not world.may(caller, command):
                continue
            with nothing_kept():  # what it would have changed is read below from events and jobs of other calls
                said.append(tell(command.name, world.ask(caller, request(world, rows, command, caller))))
                every = {p.name: "x" for p in command.parameters if p.type == "string" and not p.grouped}
                if not acts_outside(command):
                    sent = request(world, rows, command, caller) | every | {"command": command.name}
                    said.append(tell(command.name, world.ask(caller, sent)))
    machine = next(r for r in rows[Vm] if r.account_id == world.users["ann"].account_id)
    for name in ("stopVirtualMachine", "startVirtualMachine", "rebootVirtualMachine"):
        said.append(tell(name, world.ask("ann", {"command": name, "id": machine.uuid})))
        world.cloud.work()
    jobs = world.ask("admin", {"command": "listAsyncJobs", "listall": "true"}).content.get("asyncjobs", [])
    said.append(("listAsyncJobs", str(jobs)))
    leaks = [f"{where} in the answer of {n}" for n, a in said for where in made.found_in(a, TELLS.get(n, ("-",)))]
    leaks += [f"{where} in a log line" for record in caplog.records for where in made.found_in(record.getMessage())]
    leaks += [
        f"{where} in a log line's details" for record in caplog.records for where in made.found_in(str(record.__dict__))
    ]
    assert len(said) > 500 and len(made.values) > 15
    assert not leaks, sorted(set(leaks))[:20]


def test_z3_nothing_in_the_database_is_a_secret_in_clear(world, planted):
    """Events, job results, steps and messages to agents are tables too: every column of all of them, as stored."""
    made, _, _ = planted
    leaks = []
    with db.engine().connect() as connection:
        for table in db.Base.metadata.sorted_tables:
            for found in connection.execute(text(f'SELECT * FROM "{table.name}"')):  # noqa: S608  our own names
                leaks += [f"{where} in {table.name}" for where in made.found_in(str(tuple(found)))]
        connection.rollback()
    assert not leaks, sorted(set(leaks))
