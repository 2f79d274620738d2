"""Machines of one group, or of accounts that share no host, started by many at once: no rule is broken."""

import pytest
from sqlalchemy import func, select, update

from mgmt_server.allocation import hosts, implicit, recount
from mgmt_server.allocation.need import Need
from mgmt_server.db import new_uuid, reading, write
from mgmt_server.errors import NoCapacity
from mgmt_server.model.account import ADMIN_ACCOUNT, ROOT_DOMAIN, Account
from mgmt_server.model.affinity import AffinityGroup, AffinityMember
from mgmt_server.model.host import Host
from mgmt_server.model.offering import DiskOffering, ServiceOffering
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.model.template import OsType, Template
from mgmt_server.model.vm import STATES, Vm
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template.pooled import cached
from tests.db.test_races import at_once
from tests.simulated import build

pytestmark = pytest.mark.mariadb
HOSTS = 6


@pytest.fixture
def zone(on_mariadb):
    made = build(name=f"z-{new_uuid()[:8]}", hosts=HOSTS)
    with reading() as session:
        return session.scalar(select(Zone.id).where(Zone.uuid == made["zone"]))


def machines(zone, count, account=ADMIN_ACCOUNT, offering=None, group=None):
    def work(tx):
        chosen = offering or tx.scalar(select(ServiceOffering.id).limit(1))
        rows = [
            Vm(name=f"m{n}", zone_id=zone, service_offering_id=chosen, hypervisor="Simulator", account_id=account,
               domain_id=ROOT_DOMAIN, cpus=1, speed=10, memory=16, details={}, statistics={})
            for n in range(count)
        ]  # fmt: skip
        tx.add_all(rows)
        tx.flush()
        if group is not None:
            tx.add_all(AffinityMember(group_id=group, vm_id=vm.id) for vm in rows)
        return [vm.id for vm in rows]

    return write(work)


def group(type):
    def work(tx):
        made = AffinityGroup(name=new_uuid(), type=type, account_id=ADMIN_ACCOUNT, domain_id=ROOT_DOMAIN, details={})
        tx.add(made)
        tx.flush()
        return made.id

    return write(work)


def place(zone, vm, **more):
    """As a start does it: candidates, one conditional UPDATE, the machine's row; all in one transaction."""

    def work(tx):
        need = Need(zone, "Simulator", 10, 16 * 2**20, vm_id=vm, **{"account_id": ADMIN_ACCOUNT, **more})
        found, guard = hosts.candidates(tx, need), hosts.guard(tx, need)
        for host in found:
            if hosts.take(tx, host.id, need.cpu, need.memory, condition=guard):
                STATES.move(tx, vm, "Stopped", "Starting", host_id=host.id, reserved=True)
                return host.id
        raise hosts.refused(tx, need, "the machine")

    return write(work)


def test_of_many_that_shall_be_apart_no_two_get_one_host(zone):
    apart = group("host anti-affinity")
    mine = machines(zone, 16, group=apart)
    given = at_once(lambda n: place(zone, mine[n], grouped=True), len(mine))
    won = [g for g in given if isinstance(g, int)]
    strange = [g for g in given if not isinstance(g, int | NoCapacity)]
    assert not strange, strange[:3]
    assert sorted(won) == sorted(set(won)) and len(won) == HOSTS


def test_many_that_shall_be_together_are_on_one_host(zone):
    together = group("host affinity")
    mine = machines(zone, 12, group=together)
    given = at_once(lambda n: place(zone, mine[n], grouped=True), len(mine))
    assert len(set(given)) == 1, given[:3]


def test_strict_accounts_that_start_at_once_share_no_host(zone):
    def prepare(tx):
        disk = tx.scalar(select(DiskOffering.id).limit(1))
        offering = ServiceOffering(
            name="alone", disk_offering_id=disk, cpus=1, speed=10, memory=16, details={implicit.MODE: "Strict"},
            deployment_planner="ImplicitDedicationPlanner",
        )  # fmt: skip
        accounts = [Account(name=new_uuid(), type=0, domain_id=ROOT_DOMAIN, role_id=4) for _ in range(4)]
        tx.add_all([offering, *accounts])
        tx.flush()
        return offering.id, [a.id for a in accounts]

    offering, accounts = write(prepare)
    implicit.forget()
    mine = [(vm, account) for account in accounts for vm in machines(zone, 5, account, offering)]
    try:
        given = at_once(
            lambda n: place(
                zone, mine[n][0], account_id=mine[n][1], planner="ImplicitDedicationPlanner", implicit="Strict"
            ),
            len(mine),
        )
        assert [g for g in given if isinstance(g, int)]
        strange = [g for g in given if not isinstance(g, int | NoCapacity)]
        assert not strange, strange[:3]
        with reading() as session:
            rows = select(Vm.host_id, func.count(Vm.account_id.distinct())).where(Vm.zone_id == zone, Vm.reserved)
            assert {count for _, count in session.execute(rows.group_by(Vm.host_id))} == {1}
            held = session.scalar(select(func.sum(Host.machines)).where(Host.zone_id == zone))
            assert held == len([g for g in given if isinstance(g, int)]), "what was taken in vain is given back"
    finally:
        write(lambda tx: tx.execute(update(ServiceOffering).where(ServiceOffering.id == offering).values(
            deployment_planner=None)))  # fmt: skip
        implicit.forget()


def test_a_recount_amid_starts_and_stops_finds_what_is_there(zone):
    mine = machines(zone, 24)

    def work(number):
        if number % 4 == 0:
            return recount.repair_all()
        place(zone, mine[number])
        if number % 2:
            write(lambda tx: hosts.give_back(tx, tx.get_one(Vm, mine[number])))
        return None

    given = at_once(work, len(mine))
    assert not [g for g in given if isinstance(g, Exception)], given
    with reading() as session:
        rows = select(Host.id, Host.machines).where(Host.zone_id == zone)
        for number, told in session.execute(rows):
            real = select(func.count()).where(Vm.host_id == number, Vm.reserved)
            assert session.scalar(real) == told


def test_a_template_that_many_starts_fetch_at_once_is_noted_once(zone):
    """Each has looked before the first has written it down."""

    def prepare(tx):
        pool = tx.scalar(select(Pool).where(Pool.zone_id == zone))
        template = Template(
            name="t", unique_name=new_uuid(), hypervisor="Simulator", format="QCOW2", type="USER",
            account_id=ADMIN_ACCOUNT,
            domain_id=ROOT_DOMAIN, os_type_id=tx.scalar(select(OsType.id).limit(1)), details={},
        )  # fmt: skip
        tx.add(template)
        tx.flush()
        return template.id, pool.id, pool.allocated

    template, pool, before = write(prepare)
    given = at_once(lambda n: write(cached, template, pool, "cached", 5))
    assert not [g for g in given if g is not None], given[:3]
    with reading() as session:
        assert session.scalar(select(func.count()).where(TemplateOnPool.template_id == template)) == 1
        assert session.get(Pool, pool).allocated == before + 5
