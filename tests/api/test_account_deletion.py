"""An account that is deleted leaves nothing: on hosts, in pools, in any table, in what its domains count."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import func, inspect, select

from mgmt_server.db import Base, new_uuid, now, reading, write
from mgmt_server.model.account import Account, User
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.limit import ResourceCount
from mgmt_server.model.network import Nic
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.storage import Pool
from mgmt_server.model.tenancy import Owned
from mgmt_server.model.vm import SshKeyPair, Vm, Volume
from mgmt_server.model.zone import Address, Zone
from mgmt_server.resources.account.owned import KEPT
from mgmt_server.resources.account.timers import finish_deletions
from tests.cloud import Refused
from tests.counts import counts
from tests.simulated import build

# tables that keep a deleted account's number on purpose: what was done stays told
TOLD = {"event", "job", "user", "project"}


def owned_tables():
    return sorted((m.class_ for m in Base.registry.mappers if issubclass(m.class_, Owned)), key=lambda t: t.__name__)


def some_value(tx, column, seen):
    """Something that the column takes; for a key, a row of the other table."""
    for key in column.foreign_keys:
        other = key.column.table
        found = tx.scalar(select(other.c.id).where(other.c.removed.is_(None)).order_by(other.c.id).limit(1))
        if found is not None:
            return found
        mapper = next(m for m in Base.registry.mappers if m.local_table is other)
        return a_row(tx, mapper.class_, {}, seen).id
    kind = column.type.python_type
    if kind is str:
        return f"x{new_uuid()}"[: getattr(column.type, "length", None) or 40]
    return {int: 1, bool: False, float: 1.0, dict: {}, list: [], datetime: now()}[kind]


def a_row(tx, table, given, seen=()):
    """One row of a table with no more than it needs."""
    assert table not in seen, f"{table.__name__} needs itself"
    values = dict(given)
    for attribute in inspect(table).column_attrs:
        column = attribute.columns[0]
        needed = not column.nullable and column.default is None and column.name not in ("id", "uuid", "created")
        if needed and attribute.key not in values:
            values[attribute.key] = some_value(tx, column, (*seen, table))
    row = table(**values)
    tx.add(row)
    tx.flush()
    return row


def number_of(name):
    with reading() as session:
        return session.execute(select(Account.id, Account.domain_id, Account.uuid).where(Account.name == name)).one()


def live(session, table, account):
    rows = select(func.count()).select_from(table).where(table.c.account_id == account, table.c.removed.is_(None))
    return session.scalar(rows)


def left_of(account):
    """Every table that names the account, with how many live rows."""
    with reading() as session:
        tables = [t for t in Base.metadata.sorted_tables if "account_id" in t.c and t.name not in TOLD]
        return {t.name: n for t in tables if (n := live(session, t, account))}


def test_one_row_of_everything_that_accounts_own_is_gone(cloud):
    """A new kind of thing without a line in resources/account/owned.py fails here."""
    build()
    cloud.account("ann", domain="/a/")
    account, domain, uuid = number_of("ann")

    def fill(tx):
        for table in sorted(owned_tables(), key=lambda t: t is not Vm):  # what others hang on first
            a_row(tx, table, {"account_id": account, "domain_id": domain})
        for table in Base.metadata.sorted_tables:
            mapper = next((m.class_ for m in Base.registry.mappers if m.local_table is table), None)
            if mapper and "account_id" in table.c and not issubclass(mapper, Owned) and table.name not in TOLD:
                mine = {"account_id": account} | ({"domain_id": domain} if "domain_id" in table.c else {})
                a_row(tx, mapper, mine | ({"state": "Allocated"} if mapper is Address else {}))

    write(fill)
    before = left_of(account)
    assert len(before) > 12 and set(before) >= {t.__tablename__ for t in owned_tables() if t not in KEPT}
    assert cloud.job("deleteAccount", id=uuid) == {"success": True}
    assert left_of(account) == {}
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Event).where(Event.account_id == account)) > 0


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def deploy(cloud, zone, user, **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", user=user, **sent)["virtualmachine"]


def outside():
    """What hosts, pools and ranges of addresses hold."""
    with reading() as session:
        sums = [session.scalar(select(func.sum(c))) for c in (Host.cpu_used, Host.memory_used, Pool.allocated)]
        taken = ((SimulatedMachine, SimulatedMachine.id > 0), (SimulatedDisk, SimulatedDisk.backing != ""),
                 (Address, Address.state != "Free"), (Nic, Nic.taken.is_not(None)))  # fmt: skip
        return [int(s or 0) for s in sums] + [
            session.scalar(select(func.count()).select_from(table).where(condition)) for table, condition in taken
        ]


def used(domain):
    return sum(map(abs, counts(ResourceCount.domain_id == domain).values()))


def test_machines_networks_routers_disks_and_addresses_go_with_the_account(cloud, zone):
    cloud.account("ann", domain="/a/")
    account, domain, uuid = number_of("ann")
    deploy(cloud, zone, "admin", name="other")  # has the pool hold the template
    before = outside()
    running = deploy(cloud, zone, "ann", name="runs")
    stopped = deploy(cloud, zone, "ann", name="rests")
    cloud.job("stopVirtualMachine", user="ann", id=stopped["id"])
    protected = deploy(cloud, zone, "ann", name="protected")
    cloud.ask("updateVirtualMachine", user="ann", id=protected["id"], deleteprotection=True)
    destroyed = deploy(cloud, zone, "ann", name="destroyed")
    cloud.job("destroyVirtualMachine", user="ann", id=destroyed["id"])
    cloud.ask("createSSHKeyPair", user="ann", name="k")
    assert outside() != before and used(domain) > 0 and running["state"] == "Running"
    accepted = cloud.ask("deleteAccount", id=uuid)
    assert cloud.raw("ann", "listZones")[0] == 401  # nobody comes in while it goes
    (leaving,) = cloud.ask("listAccounts", listall=True, iscleanuprequired=True)["account"]
    assert (leaving["name"], leaving["iscleanuprequired"]) == ("ann", True)
    cloud.work()
    assert cloud.ask("queryAsyncJobResult", jobid=accepted["jobid"])["jobstatus"] == 1
    assert outside() == before and used(domain) == 0 and left_of(account) == {}
    with pytest.raises(Refused) as no:
        cloud.ask("deleteAccount", id=uuid)
    assert no.value.status == 431
    with reading() as session:
        told = set(session.scalars(select(Event.state).where(Event.type == "ACCOUNT.DELETE")))
        keys = session.execute(select(User.api_key, User.secret_key, User.password).where(User.username == "ann")).one()
    assert told == {"Scheduled", "Started", "Completed"} and keys == (None, None, None)


def test_a_name_is_free_again_and_inherits_nothing(cloud, zone):
    sent = {"username": "ann", "password": "a-pass-word-1", "firstname": "A", "lastname": "N", "email": "a@example.org"}
    first = cloud.ask("createAccount", accounttype=0, **sent)["account"]
    cloud.ask("createSSHKeyPair", account="ann", domainid=first["domainid"], name="k")
    cloud.job("deleteAccount", id=first["id"])
    second = cloud.ask("createAccount", accounttype=0, **sent)["account"]
    assert second["id"] != first["id"] and (second["name"], second["vmtotal"]) == ("ann", 0)
    assert cloud.ask("listSSHKeyPairs", account="ann", domainid=second["domainid"]) == {}


def test_what_fails_is_told_and_tried_again(cloud, zone):
    cloud.account("ann", domain="/a/")
    account, _, uuid = number_of("ann")
    deploy(cloud, zone, "ann", name="one")
    cloud.ask("createSSHKeyPair", user="ann", name="k")
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="stop", value="fail:the host is on fire", count=1)
    with pytest.raises(Refused) as no:
        cloud.job("deleteAccount", id=uuid)
    assert "the host is on fire" in no.value.text
    assert cloud.ask("listAccounts", listall=True, iscleanuprequired=True)["account"][0]["name"] == "ann"
    with pytest.raises(Refused) as no:
        cloud.ask("enableAccount", id=uuid)
    assert "being deleted" in no.value.text
    finish_deletions()
    cloud.work()
    assert left_of(account) == {} and cloud.ask("listAccounts", listall=True, iscleanuprequired=True) == {}


def test_who_alone_administers_a_project_is_not_deleted(cloud, zone):
    for name in ("ann", "bob"):
        cloud.account(name, domain="/a/")
    account, domain, uuid = number_of("ann")
    alone = cloud.job("createProject", user="ann", name="alone")["project"]["id"]
    shared = cloud.job("createProject", user="ann", name="shared")["project"]["id"]
    cloud.job("addAccountToProject", user="ann", projectid=alone, account="bob")  # a member, and no administrator
    cloud.job("addAccountToProject", user="ann", projectid=shared, account="bob", roletype="Admin")
    with pytest.raises(Refused) as no:
        cloud.ask("deleteAccount", id=uuid)
    assert (no.value.status, no.value.answer["cserrorcode"]) == (431, 4350)
    assert f"ann manages project(s) with ids alone ({alone}) and can't be removed: delete them" in no.value.text
    assert shared not in no.value.text and "shared" not in no.value.text
    assert [p["name"] for p in cloud.ask("listProjects", user="ann")["project"]] == ["alone", "shared"]  # not shut out
    cloud.job("updateProject", user="ann", id=alone, account="bob", roletype="Admin")
    cloud.job("deleteAccount", id=uuid)
    assert left_of(account) == {}
    assert [p["name"] for p in cloud.ask("listProjects", user="bob")["project"]] == ["alone", "shared"]
    assert counts()[f"domain:{domain}/project/"] == 2  # bob's


def test_of_two_administrators_who_are_deleted_at_once_one_stays(cloud, zone):
    for name in ("ann", "bob"):
        cloud.account(name, domain="/a/")
    project = cloud.job("createProject", user="ann", name="shared")["project"]["id"]
    cloud.job("addAccountToProject", user="ann", projectid=project, account="bob", roletype="Admin")
    cloud.ask("deleteAccount", id=number_of("ann")[2])  # accepted, and not done
    with pytest.raises(Refused, match="bob manages project"):
        cloud.ask("deleteAccount", id=number_of("bob")[2])
    cloud.work()
    assert [p["name"] for p in cloud.ask("listProjects", user="bob")["project"]] == ["shared"]


def test_projects_go_with_the_domain_of_their_administrator(cloud, zone):
    cloud.account("ann", domain="/a/")
    account, _, _ = number_of("ann")
    project = cloud.job("createProject", user="ann", name="alone")["project"]
    vm = deploy(cloud, zone, "ann", projectid=project["id"])
    cloud.job("deleteDomain", id=project["domainid"], cleanup=True)
    assert left_of(account) == {} and cloud.ask("listProjects", listall=True) == {}
    with reading() as session:
        assert session.scalar(select(Vm.removed).where(Vm.uuid == vm["id"])) is not None


def test_a_thousand_objects_go(cloud, zone):
    cloud.account("ann", domain="/a/")
    account, domain, uuid = number_of("ann")
    mine = {"account_id": account, "domain_id": domain}

    def fill(tx):
        place, offering = tx.scalar(select(Zone.id)), tx.scalar(select(ServiceOffering.id))
        common = mine | {"zone_id": place}
        for n in range(120):
            vm = Vm(name=f"vm{n}", service_offering_id=offering, hypervisor="Simulator", **common)
            tx.add_all([vm, Volume(name=f"data{n}", size=2**30, **common)])
            tx.flush()
            tx.add(Volume(name=f"root{n}", kind="ROOT", size=2**30, vm_id=vm.id, slot=0, **common))
        tx.add_all(
            SshKeyPair(name=f"k{n}", fingerprint=f"{n}", public_key="ssh-ed25519 AAAA", **mine) for n in range(640)
        )

    write(fill)
    cloud.job("deleteAccount", id=uuid)
    assert left_of(account) == {}


def test_what_nobody_may_delete(cloud):
    cloud.account("boss", kind=2, domain="/a/")
    cloud.account("ann", domain="/a/")
    cloud.account("root", kind=1, domain="/a/")
    accounts = {a["name"]: a["id"] for a in cloud.ask("listAccounts", listall=True)["account"]}
    for user, name, told in (
        ("boss", "root", "may do more than you"), ("boss", "boss", "their own account"),
        ("admin", "admin", "came with the installation"),
    ):  # fmt: skip
        with pytest.raises(Refused) as no:
            cloud.ask("deleteAccount", user=user, id=accounts[name])
        assert told in no.value.text, no.value.text
    cloud.job("deleteAccount", user="boss", id=accounts["ann"])
