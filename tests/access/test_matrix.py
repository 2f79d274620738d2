"""Every command x every role x every relation to what its parameters name: generated from the registry."""

from __future__ import annotations

import random
import re

import pytest
from sqlalchemy import select

from mgmt_server.db import new_uuid, reading
from mgmt_server.model.account import ACCOUNT_TYPES, Domain
from tests.access.world import WHO, nothing_kept
from tests.contract.test_registry import ALL

ROLE = {0: "User", 1: "Admin", 2: "DomainAdmin", 3: "ResourceAdmin"}
CALLERS = ("ann", "bob", "dom", "pam", "sib", "eve")
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
            sent[p.name] = FILLED.get(
                p.name, "1" if p.type in ("integer", "long", "short") else "true" if p.type == "boolean" else "x"
            )
    return sent


def plain(answer, one):
    """Status and text without the ids: what must be the same for what is foreign and what is missing."""
    return answer.status, UUID.sub("ID", answer.text.replace(f"value={one} ", "value=ID "))


def test_foreign_and_missing_look_alike_and_nothing_leaks(world, rows, capsys):
    leaks, reached, unreached, commands = [], 0, [], set()
    with nothing_kept():
        for command in ALL.values():
            for caller in CALLERS:
                if ROLE[WHO[caller][0]] not in command.roles:
                    continue
                for p in entity_parameters(command):
                    if p.roles and ROLE[WHO[caller][0]] not in p.roles:
                        continue  # as if it had not been sent
                    foreign = [r for r in rows[p.entity] if not world.allowed(caller, r, p.access)]
                    if not foreign:
                        continue
                    commands.add(command.name)
                    base = request(world, rows, command, caller, but=p.name)
                    missing_id = new_uuid()
                    missing = world.ask(caller, base | {p.name: missing_id})
                    wanted = plain(missing, missing_id)
                    told = missing_id in missing.text
                    reached += told
                    if not told:
                        unreached.append(f"{command.name}.{p.name}: {missing.text[:60]}")
                    wrong_kind = next(r.uuid for t in rows for r in rows[t] if t is not p.entity)
                    tries = [(r.uuid, "foreign") for r in foreign[:3]]
                    tries += [(str(foreign[0].id), "number"), (wrong_kind, "wrong kind")]
                    for value, what in tries:
                        got = world.ask(caller, base | {p.name: value})
                        where = f"{command.name} {p.name} ({what}) by {caller}"
                        if got.status < 300:
                            leaks.append(f"{where}: {got.status}")
                        elif plain(got, value) != wanted:
                            leaks.append(f"{where}: {plain(got, value)} and missing {wanted}")
                        elif got.internal:
                            leaks.append(f"{where}: {got.text}")
    with capsys.disabled():
        told = f"{len(commands)} commands, {world.calls} calls, leaks {len(leaks)}"
        print(f"\naccess matrix: {told}; {reached} refusals named the id, {len(unreached)} came for another reason")
    assert not leaks, leaks[:10]
    assert reached > 3 * len(unreached), sorted(set(unreached))[:20]


def test_a_command_is_for_its_roles_and_never_breaks(world, rows):
    wrong = []
    with nothing_kept():
        for command in ALL.values():
            if command.anonymous:
                continue  # for people who cannot log in, by POST
            for caller in (*CALLERS, "admin"):
                sent = request(world, rows, command, caller)
                inside = ROLE[WHO[caller][0]] in command.roles
                if inside and command.reads and not command.name.startswith(("list", "get", "query", "find")):
                    continue  # it talks to hosts and stores, in transactions of its own
                got = world.ask(caller, sent)
                if got.internal:
                    wrong.append(f"{command.name} by {caller}: {got.text}")
                if inside and got.status in (401, 432):
                    wrong.append(f"{command.name} by {caller}: refused, {got.status}")
                if not inside and (got.status, got.outer) != (432, "errorresponse"):
                    wrong.append(f"{command.name} by {caller}: {got.status} {got.outer}")
            for nobody in ("gone", None):
                got = world.ask(nobody, request(world, rows, command, "ann"))
                if (got.status, got.outer) != (401, command.response_name):
                    wrong.append(f"{command.name} by {nobody or 'nobody'}: {got.status}")
    assert not wrong, wrong[:10]


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
            checked += 1
    assert checked >= 3


def owned_lists():
    found = []
    for command in ALL.values():
        view = command.answers
        if command.is_list and view is not None and hasattr(view.table, "account_id") and "User" in command.roles:
            found.append(command)
    return found


def test_a_list_is_a_subset_of_the_callers_scope_whatever_is_asked(world):
    """Random combinations of everything that narrows, against the model."""
    chance = random.Random(7)
    with reading() as session:
        domains = [d.uuid for d in session.scalars(select(Domain))]
        project = list(session.scalars(select(_project().uuid)))
    seen, asked, outside = 0, 0, []
    for command in owned_lists():
        table = command.answers.table
        with reading() as session:
            by_uuid = {r.uuid: r for r in session.scalars(select(table))}
        id_table = _shown(command)
        told = {p.name for p in command.parameters}
        for _ in range(80):
            caller = chance.choice((*CALLERS, "admin"))
            sent = {"command": command.name}
            options = {
                "listall": ["true", "true", "true", "false", "maybe"], "isrecursive": ["true", "false"],
                "domainid": [*domains, new_uuid()],
                "account": ["ann", "bob", "eve", "admin", "nobody", "%"], "projectid": [*project, "-1"],
                "templatefilter": ["self", "executable", "featured", "community", "all", "shared", "selfexecutable"],
                "keyword": ["%", "_", "'", "a"],
            }  # fmt: skip
            for name, values in options.items():
                if name in told and (
                    chance.random() < (0.8 if name == "listall" else 0.25) or name == "templatefilter"
                ):
                    sent[name] = chance.choice(values)
            got = world.ask(caller, sent)
            asked += 1
            assert not got.internal, (sent, got.text)
            for one in got.content.get(command.key, []) if got.status == 200 else []:
                row = (id_table or by_uuid).get(one.get("id"))
                if row is None:
                    continue
                seen += 1
                if not world.allowed(caller, row, "usable_by"):
                    outside.append(f"{caller} saw {one.get('name')} by {sent}")
    print(f"{asked} lists, {seen} rows looked at, {len(outside)} outside")
    assert not outside, outside[:10]
    assert seen > 300


def _project():
    from mgmt_server.model.account import Project

    return Project


def _shown(command):
    """Rows by the id that the list tells, where that is another table's."""
    from mgmt_server.model.template import Template

    if command.key != "template":
        return None
    with reading() as session:
        return {r.uuid: r for r in session.scalars(select(Template))}


def test_lists_are_not_empty_for_those_whose_it_is(world):
    """The other half: a scope that shows nothing would pass all of the above."""
    for caller, expected in (
        ("ann", {"vm-ann"}),
        ("dom", {"vm-ann", "vm-bob"}),
        ("pam", {"vm-ann", "vm-bob"}),
        ("sib", set()),
    ):
        got = world.ask(caller, {"command": "listVirtualMachines", "listall": "true"})
        assert {m["name"] for m in got.content.get("virtualmachine", [])} == expected, caller
    got = world.ask("admin", {"command": "listVirtualMachines", "listall": "true"})
    assert {"vm-ann", "vm-bob", "vm-eve", "one", "two"} <= {m["name"] for m in got.content["virtualmachine"]}


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
    assert set(ACCOUNT_TYPES)
