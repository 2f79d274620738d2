"""Every command x every caller x every relation to what its parameters name: generated from the registry.

A new command joins by existing. A new kind of thing needs a line in MAKERS of world.py, or this fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select

from mgmt_server.db import new_uuid, reading
from mgmt_server.model.account import ACCOUNT_TYPES, Domain
from mgmt_server.model.tenancy import Offered
from tests.access.world import MAKERS, TENANTS, TYPES, WHO, nothing_kept
from tests.contract.test_registry import ALL

CALLERS = tuple(WHO)
MEMBERS_BY_NAME = ("addAccountToProject", "addUserToProject")  # an administrator names whom to ask in, as clients do
FILLED = {
    "networktype": "Advanced", "templatefilter": "self", "gateway": "10.77.0.1", "netmask": "255.255.255.0",
    "startip": "10.77.0.10", "endip": "10.77.0.20", "dns1": "192.0.2.1", "internaldns1": "192.0.2.1",
    "traffictype": "Guest", "hypervisor": "Simulator", "clustertype": "CloudManaged", "url": "http://sim/c/h",
    "keypair": "key-ann", "publickey": "ssh-ed25519 AAAA", "name": "x1", "format": "QCOW2", "guestiptype": "Isolated",
    "type": "primary",
}  # fmt: skip
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def entity_parameters(command):
    return [p for p in command.parameters if p.entity is not None]


def rows_of(table, session):
    found = select(table).order_by(table.id)
    return list(session.scalars(found.where(table.removed.is_(None)).limit(60)))


@pytest.fixture(scope="module")
def rows(world):
    """Rows of each table that a parameter may name."""
    tables = {p.entity for c in ALL.values() for p in entity_parameters(c)}
    with reading() as session:
        return {table: rows_of(table, session) for table in tables}


def filled_in(p):
    return FILLED.get(p.name, "1" if p.type in ("integer", "long", "short") else "true" if p.type == "boolean" else "x")


def request(world, rows, command, caller, but=""):
    """The command with all that it requires, as the caller could send it."""
    sent = {"command": command.name}
    for p in command.parameters:
        if not p.required or p.name == but:
            continue
        if p.entity is not None:
            mine = [r for r in rows[p.entity] if world.allowed(caller, r, p.access)] or rows[p.entity]
            if mine:
                sent[p.name] = mine[-1].uuid  # the first ones are often the system's own
        elif p.grouped:
            sent[f"{p.name}[0].key"], sent[f"{p.name}[0].value"] = "k", "v"
        else:
            sent[p.name] = filled_in(p)
    return sent


def plain(answer, one):
    """Status and text without the ids: what must be the same for what is foreign and what is missing."""
    return answer.status, answer.outer, UUID.sub("ID", answer.text.replace(f"value={one} ", "value=ID "))


def acts_outside(command):
    """It talks to hosts and stores, in transactions of its own, which are not undone."""
    return command.reads and not command.is_list and not command.name.startswith(("list", "get", "query", "find"))


@dataclass
class Seen:
    commands: set = field(default_factory=set)
    leaks: list = field(default_factory=list)
    reached: int = 0
    other: list = field(default_factory=list)  # refused for another reason, before the id was looked at


def test_every_kind_of_thing_has_a_maker(world, rows):
    unmade = sorted(t.__name__ for t in rows if t.__name__ not in MAKERS)
    assert not unmade, f"say in tests/access/world.py how the matrix gets some (OWNED, THERE or MAKERS): {unmade}"
    empty = sorted(t.__name__ for t in rows if not rows[t])
    assert not empty, f"the matrix has no {empty}: a maker in tests/access/world.py that is not `there`"
    owned = [t for t in rows if hasattr(t, "account_id") and hasattr(t, "domain_id")]
    whose = {t.__name__: {world.accounts[r.account_id].name for r in rows[t] if r.account_id} for t in owned}
    poor = {name: found for name, found in whose.items() if found and not found & {"ann", "admin", *TENANTS}}
    assert not poor, poor


def test_foreign_and_missing_look_alike_and_nothing_leaks(world, rows, tell):
    seen, began = Seen(), world.calls
    with nothing_kept():
        for command in ALL.values():
            for caller in CALLERS:
                if not world.may(caller, command):
                    continue
                for p in entity_parameters(command):
                    if not p.roles or world.kind_of(caller) in p.roles:  # for others it is as if not sent
                        relations(world, rows, command, p, caller, seen)
    told = f"{len(seen.commands)} commands, {world.calls - began} calls, leaks {len(seen.leaks)}"
    tell(f"access matrix: {told}; {seen.reached} named the id, {len(seen.other)} refused for another reason")
    assert not seen.leaks, "\n".join(seen.leaks[:20])
    assert seen.reached > 3 * len(seen.other), sorted(set(seen.other))[:20]


def relations(world, rows, command, p, caller, seen):
    """One parameter by one caller: missing, foreign, of another kind, a number; and what is the caller's own."""
    base = request(world, rows, command, caller, but=p.name)
    seen.commands.add(command.name)
    where = f"{command.name} {p.name} by {caller}"
    missing_id = new_uuid()
    missing = world.ask(caller, base | {p.name: missing_id})
    wanted = plain(missing, missing_id)
    if missing.status < 300 or missing.internal:
        seen.leaks.append(f"{where}: a missing id is answered {missing.status} {missing.text}")
    told = missing_id in missing.text
    seen.reached += told
    if not told:
        seen.other.append(f"{where}: {missing.text[:60]}")
    foreign = [r for r in rows[p.entity] if not world.allowed(caller, r, p.access)]
    wrong_kind = next(r.uuid for t in rows for r in rows[t] if t is not p.entity)
    tries = [(r.uuid, "foreign") for r in (*foreign[:2], *foreign[-1:])] + [(wrong_kind, "wrong kind")]
    if foreign:
        tries.append((str(foreign[0].id), "number"))
    for value, what in tries:
        got = world.ask(caller, base | {p.name: value})
        if got.status < 300:
            seen.leaks.append(f"{where} ({what}): {got.status}")
        elif plain(got, value) != wanted:
            seen.leaks.append(f"{where} ({what}): {plain(got, value)} and missing {wanted}")
        elif got.internal:
            seen.leaks.append(f"{where} ({what}): {got.text}")
    own = [r for r in rows[p.entity] if world.allowed(caller, r, p.access)]
    if not own or not told or issubclass(p.entity, Offered) or acts_outside(command):
        return
    answers = (world.ask(caller, base | {p.name: r.uuid}) for r in own[::-1])
    if all(plain(got, r.uuid) == wanted for got, r in zip(answers, own[::-1], strict=True)):
        seen.leaks.append(f"{where}: what is the caller's own is refused: {own[-1].uuid}")


def test_a_command_is_for_its_roles_and_never_breaks(world, rows):
    wrong = []
    with nothing_kept():
        for command in ALL.values():
            if command.anonymous:
                continue
            for caller in CALLERS:
                sent = request(world, rows, command, caller)
                inside = world.may(caller, command)
                if inside and acts_outside(command):
                    continue
                got = world.ask(caller, sent)
                if got.internal:
                    wrong.append(f"{command.name} by {caller}: {got.text}")
                if inside and (got.status == 401 or "either does not exist, is not available" in got.text):
                    wrong.append(f"{command.name} by {caller}: refused, {got.status}")
                if not inside and (got.status, got.outer) != (432, "errorresponse"):
                    wrong.append(f"{command.name} by {caller}: {got.status} {got.outer}")
            for nobody in ("gone", None):
                got = world.ask(nobody, request(world, rows, command, "ann"))
                if (got.status, got.outer) != (401, command.response_name):
                    wrong.append(f"{command.name} by {nobody or 'nobody'}: {got.status}")
    assert not wrong, "\n".join(wrong[:20])


def test_who_may_not_call_is_told_the_same_whatever_a_parameter_names(world, rows):
    """A disabled user and nobody at all, with each parameter that names something: what is there and what is not."""
    told, began = [], world.calls
    for command in ALL.values():
        for p in entity_parameters(command) if not command.anonymous else ():
            base = request(world, rows, command, "ann", but=p.name)
            values = (new_uuid(), rows[p.entity][0].uuid, str(rows[p.entity][-1].id))
            for nobody in ("gone", None):
                got = [world.ask(nobody, base | {p.name: value}) for value in values]
                if {a.status for a in got} != {401} or len({a.text for a in got}) != 1:
                    told.append(f"{command.name} {p.name} by {nobody or 'nobody'}: {[(a.status, a.text) for a in got]}")
    assert world.calls > began and not told, "\n".join(told[:20])


def test_names_of_foreign_accounts_and_domains_say_no_more_than_missing_ones(world, rows):
    """account, domainid and projectid, which name whose a thing shall be or of whom a list is."""
    told = []
    with reading() as session:
        foreign = {d.path: d.uuid for d in session.scalars(select(Domain))}
    project = next(p.uuid for p in world.projects.values() if p.name == "p-eve")
    with nothing_kept():
        for command in ALL.values():
            names = {p.name for p in command.parameters}
            for caller in ("ann", "dom", "ron"):
                if not world.may(caller, command) or acts_outside(command) or command.name in MEMBERS_BY_NAME:
                    continue
                pairs = []
                if {"account", "domainid"} <= names:
                    pairs.append(({"account": "eve", "domainid": foreign["/c/"]}, {"account": "eve", "domainid": 0}))
                if "account" in names and caller == "ann":
                    pairs.append(({"account": "bob"}, {"account": 0}))
                if "projectid" in names:
                    pairs.append(({"projectid": project}, {"projectid": 0}))
                for sent, missing in pairs:
                    base = {k: v for k, v in request(world, rows, command, caller).items() if k not in sent}
                    nobody = {k: v or (new_uuid() if k != "account" else "nobody") for k, v in missing.items()}
                    ours, theirs = world.ask(caller, base | sent), world.ask(caller, base | nobody)
                    same = [_nameless(a, {**s}) for a, s in ((ours, sent), (theirs, nobody))]
                    if same[0] != same[1] or ours.status < 300 and ours.content != theirs.content:
                        told.append(f"{command.name} {sent} by {caller}: {same}")
    assert not told, "\n".join(told[:20])


def _nameless(answer, sent):
    text = answer.text
    for value in sent.values():
        text = re.sub(rf"\b{re.escape(value)}\b", "NAME", text)
    return answer.status, text


def test_a_list_of_ids_with_a_foreign_one_is_refused_whole(world, rows):
    checked = 0
    for command in ALL.values():
        for p in entity_parameters(command):
            if p.type != "list" or "User" not in command.roles:
                continue
            mine = [r for r in rows[p.entity] if world.allowed("ann", r, p.access)]
            foreign = [r for r in rows[p.entity] if not world.allowed("ann", r, p.access)]
            if not mine or not foreign:
                continue
            with nothing_kept():
                base = request(world, rows, command, "ann", but=p.name)
                got = world.ask("ann", base | {p.name: f"{mine[0].uuid},{foreign[0].uuid}"})
                assert got.status == 431, (command.name, p.name, got.status)
                twice = world.ask("ann", base | {p.name: f"{mine[0].uuid},{mine[0].uuid}"})
                assert not twice.internal, (command.name, p.name, twice.text)
            checked += 1
    assert checked >= 3


def test_lists_are_not_empty_for_those_whose_it_is(world):
    """The other half: a scope that shows nothing would pass all of the above."""
    for caller, expected in (
        ("ann", {"vm-ann"}),
        ("dom", {"vm-ann", "vm-bob"}),
        ("pam", {"vm-ann", "vm-bob"}),
        ("res", {"vm-ann", "vm-bob"}),
        ("sib", set()),
    ):
        got = world.ask(caller, {"command": "listVirtualMachines", "listall": "true"})
        assert {m["name"] for m in got.content.get("virtualmachine", [])} == expected, caller
    got = world.ask("admin", {"command": "listVirtualMachines", "listall": "true"})
    assert {"vm-ann", "vm-bob", "vm-eve", "one", "two"} <= {m["name"] for m in got.content["virtualmachine"]}
    project = next(p.uuid for p in world.projects.values() if p.name == "p-ann")
    for caller, count in (("ann", 1), ("mem", 1), ("mad", 1), ("dom", 1), ("bob", None), ("eve", None)):
        got = world.ask(caller, {"command": "listSSHKeyPairs", "projectid": project})
        assert got.content.get("count") == count, caller


@pytest.mark.parametrize(
    ("page", "size", "status"),
    [("0", "1", 200), ("-1", "1", 431), ("1", "0", 431), ("1", "501", 431), ("1", "-1", 431), ("2147483649", "5", 431),
     ("1000000", "5", 200), ("x", "5", 431), ("1", "1000000000", 431), ("1", None, 431), (None, "1", 431)],
)  # fmt: skip
def test_pages_that_make_no_sense(world, page, size, status):
    sent = {"command": "listVirtualMachines", "listall": "true"}
    sent |= {k: v for k, v in (("page", page), ("pagesize", size)) if v is not None}
    assert world.ask("ann", sent).status == status


def test_identifiers_in_other_dress(world, rows):
    from mgmt_server.model.vm import Vm

    mine = next(r for r in rows[Vm] if world.allowed("ann", r, "operable_by") and r.kind == "User")
    for value, status in (
        (mine.uuid, 200), (mine.uuid.upper(), 431), (f" {mine.uuid} ", 200), (str(mine.id), 431),
        (f"{mine.uuid}'", 431), ("%", 431), ("\u0660", 431), ("0x1", 431), ("-1", 431),
        ("x" * 5000, 431), (f"{mine.uuid}\x00", 431),
    ):  # fmt: skip
        with nothing_kept():
            got = world.ask("ann", {"command": "updateVirtualMachine", "id": value, "displayname": "n"})
        assert got.status == status and not got.internal, (value[:50], got.status, got.text[:100])


def test_words_of_the_inside_are_not_taken_from_outside(world):
    """Context that a server might keep in parameters: sending it changes nothing."""
    plain_ = world.ask("ann", {"command": "listVirtualMachines", "listall": "true"})
    for name in ("ctxuserid", "ctxaccountid", "ctxstarteventid", "ctxdetails", "uuid", "cmdinfo", "userid"):
        got = world.ask("ann", {"command": "listVirtualMachines", "listall": "true", name: "1"})
        assert got.status in (200, 431) and len(got.content.get("virtualmachine", [])) <= len(
            plain_.content["virtualmachine"]
        )
    assert set(ACCOUNT_TYPES) and set(TYPES.values())
