"""The last of something, wanted by 32 at once: exactly one has it, and the counters are what a recount gives."""

import threading

import pytest
from sqlalchemy import func, select, update

from mgmt_server.allocation import addresses, hosts, pools
from mgmt_server.db import Conflict, new_uuid, reading, write
from mgmt_server.errors import NoCapacity
from mgmt_server.jobs.queue import claim, enqueue, join_cluster
from mgmt_server.jobs.rows import JobRow
from mgmt_server.model.account import ADMIN_ACCOUNT, ROOT_DOMAIN
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.offering import NetworkOffering, ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import STATES, Vm
from mgmt_server.model.zone import Address, PodAddress, Vnet, Zone
from mgmt_server.resources.network.nics import add_nic
from mgmt_server.resources.nic.rows import add_address
from mgmt_server.resources.vm import flows
from tests.simulated import GIB, build

MANY = 32
pytestmark = pytest.mark.mariadb


@pytest.fixture
def zone(on_mariadb):
    """A zone of its own for each test."""
    made = build(name=f"z-{new_uuid()[:8]}", hosts=1)
    with reading() as session:
        found = session.scalar(select(Zone).where(Zone.uuid == made["zone"]))
        made["row"] = found
    return made


def at_once(work, count=MANY):
    """Run work(n) in so many threads from one moment on: what each gave, or the error it met."""
    gate, given, lock = threading.Barrier(count, timeout=60), [], threading.Lock()

    def run(number):
        gate.wait()
        try:
            value = work(number)
        except Exception as error:
            value = error
        with lock:
            given.append(value)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert len(given) == count, "a thread hangs"
    return given


def only(given, kind=(NoCapacity, Conflict)):
    """The one that won; all others were refused as they should be."""
    won = [g for g in given if not isinstance(g, Exception)]
    strange = [g for g in given if isinstance(g, Exception) and not isinstance(g, kind)]
    assert not strange, strange[:3]
    assert len(won) == 1, f"{len(won)} won"
    return won[0]


def network(zone, **more):
    def work(tx):
        made = Network(
            name="n", zone_id=zone["row"].id, offering_id=tx.scalar(select(NetworkOffering.id).limit(1)),
            guest_type="Isolated", account_id=ADMIN_ACCOUNT, domain_id=ROOT_DOMAIN, details={},
            physical_network_id=tx.scalar(select(Vnet.physical_network_id).order_by(Vnet.id.desc()).limit(1)), **more,
        )  # fmt: skip
        tx.add(made)
        tx.flush()
        tx.expunge(made)
        return made

    return write(work)


def machine(zone, **more):
    def work(tx):
        made = Vm(
            name="v", zone_id=zone["row"].id, service_offering_id=tx.scalar(select(ServiceOffering.id).limit(1)),
            hypervisor="Simulator", account_id=ADMIN_ACCOUNT, domain_id=ROOT_DOMAIN, details={}, statistics={}, **more,
        )  # fmt: skip
        tx.add(made)
        tx.flush()
        tx.expunge(made)
        return made

    return write(work)


def test_the_last_vlan(zone):
    mine = [network(zone) for _ in range(MANY)]
    physical = mine[0].physical_network_id
    free = select(Vnet.id).where(Vnet.physical_network_id == physical).order_by(Vnet.id)
    write(
        lambda tx: tx.execute(update(Vnet).where(Vnet.id.in_(list(tx.scalars(free))[1:])).values(network_id=mine[0].id))
    )
    tag = only(at_once(lambda n: write(addresses.take_vnet, mine[n])))
    with reading() as session:
        rows = session.scalars(select(Vnet).where(Vnet.physical_network_id == physical, Vnet.tag == tag))
        assert [r.network_id is not None for r in rows] == [True]


def test_the_last_public_address(zone):
    number = zone["row"].id
    rows = select(Address.id).where(Address.zone_id == number).order_by(Address.id)
    write(
        lambda tx: tx.execute(
            update(Address).where(Address.id.in_(list(tx.scalars(rows))[1:])).values(state="Allocated")
        )
    )
    mine = [network(zone) for _ in range(MANY)]
    only(at_once(lambda n: write(lambda tx: addresses.take_public(tx, number, mine[n], True)[0].address)))
    with reading() as session:
        assert not session.scalar(select(func.count()).where(Address.zone_id == number, Address.state == "Free"))


def test_more_want_addresses_than_there_are(zone):
    """Twelve addresses, thirty-two callers: twelve have one each, twenty are told that there is none."""
    number = zone["row"].id
    rows = select(Address.id).where(Address.zone_id == number).order_by(Address.id)
    write(
        lambda tx: tx.execute(
            update(Address).where(Address.id.in_(list(tx.scalars(rows))[12:])).values(state="Allocated")
        )
    )
    mine = [network(zone) for _ in range(MANY)]
    given = at_once(lambda n: write(lambda tx: addresses.take_public(tx, number, mine[n], True)[0].address))
    won = [g for g in given if isinstance(g, str)]
    assert len(won) == len(set(won)) == 12
    assert all(isinstance(g, NoCapacity) for g in given if not isinstance(g, str))


def test_the_last_management_address(zone):
    with reading() as session:
        pod = session.scalar(select(PodAddress.pod_id).order_by(PodAddress.id.desc()).limit(1))
    mine = [machine(zone) for _ in range(MANY)]
    rows = select(PodAddress.id).where(PodAddress.pod_id == pod).order_by(PodAddress.id)
    others = mine[0].id
    write(
        lambda tx: tx.execute(
            update(PodAddress).where(PodAddress.id.in_(list(tx.scalars(rows))[1:])).values(vm_id=others)
        )
    )
    only(at_once(lambda n: write(lambda tx: addresses.take_pod_address(tx, pod, mine[n].id).address)))


def test_the_last_guest_address_of_an_isolated_network(zone):
    """A /30 less its gateway: one address. The unique key is the last guard."""
    found = network(zone, cidr="10.7.7.0/30", gateway="10.7.7.1", netmask="255.255.255.252")
    mine = [machine(zone) for _ in range(MANY)]

    def work(number):
        return write(lambda tx: add_nic(tx, mine[number], found, zone["row"], device=0, default=True).address)

    assert only(at_once(work)) == "10.7.7.2"
    with reading() as session:
        assert list(session.scalars(select(Nic.taken).where(Nic.network_id == found.id))) == ["10.7.7.2"]


def test_an_address_is_a_nics_or_a_secondary_one(zone):
    """Two tables, one key: half of the callers want the last address for a machine, half beside another of theirs."""
    found = network(zone, cidr="10.7.8.0/29", gateway="10.7.8.1", netmask="255.255.255.248")
    mine = [machine(zone) for _ in range(MANY)]
    nics = [write(lambda tx, n=n: add_nic(tx, mine[n], found, zone["row"], device=0, default=True)) for n in range(4)]

    def work(number):
        if number % 2:
            return write(lambda tx: add_nic(tx, mine[number], found, zone["row"], device=1, default=False).address)
        return write(lambda tx: add_address(tx, mine[0], nics[0], found, None).address)

    last = only(at_once(work))
    with reading() as session:
        taken = sorted(session.scalars(select(Nic.taken).where(Nic.network_id == found.id)))
        assert taken == [f"10.7.8.{n}" for n in range(2, 7)] and last in taken


def test_the_last_unit_of_a_hosts_memory(zone):
    with reading() as session:
        host = session.scalar(select(Host).where(Host.uuid == zone["hosts"]))
    room = 3 * GIB
    write(lambda tx: tx.execute(update(Host).where(Host.id == host.id).values(memory_capacity=room)))
    given = at_once(lambda n: write(hosts.take, host.id, 100, GIB))
    assert given.count(True) == 3 and given.count(False) == MANY - 3
    with reading() as session:
        used = select(Host.memory_used, Host.cpu_used, Host.machines).where(Host.id == host.id)
        assert session.execute(used).one() == (room, 300, 3)


def test_capacity_is_given_back_once(zone):
    with reading() as session:
        host = session.scalar(select(Host).where(Host.uuid == zone["hosts"]))
    for _ in range(2):
        assert write(hosts.take, host.id, 500, 512 * 2**20)
    vm = machine(zone, host_id=host.id, reserved=True, cpus=1, speed=500, memory=512)
    at_once(lambda n: write(lambda tx: hosts.give_back(tx, tx.get_one(Vm, vm.id))))
    with reading() as session:
        assert session.scalar(select(Host.memory_used).where(Host.id == host.id)) == 512 * 2**20


def test_the_last_space_of_a_pool(zone):
    with reading() as session:
        pool = session.scalar(select(Pool.id).where(Pool.uuid == zone["pool"]))
    write(lambda tx: tx.execute(update(Pool).where(Pool.id == pool).values(capacity=5 * GIB, overprovision=1.0)))
    given = at_once(lambda n: write(pools.take, pool, 2 * GIB))
    assert given.count(True) == 2
    with reading() as session:
        assert session.scalar(select(Pool.allocated).where(Pool.id == pool)) == 4 * GIB


def test_one_move_of_a_state_wins(zone):
    vm = machine(zone, state="Stopped")

    def work(number):
        write(lambda tx: STATES.move(tx, vm.id, "Stopped", "Starting" if number % 2 else "Expunging"))
        return number

    only(at_once(work))


def claimed_by(node):
    row = write(claim, node)
    return row and row.id


def test_each_job_is_claimed_once(zone):
    vms = [machine(zone) for _ in range(20)]
    write(lambda tx: [enqueue(tx, flows.leave, (vm.id,), lock=f"race:{vm.id}") for vm in vms])
    nodes = [join_cluster(f"race-{n}") for n in range(MANY)]
    claimed = []
    for _ in range(6):  # a claim that lost its row to another gives nothing, and is made again
        given = at_once(lambda n: claimed_by(nodes[n]))
        assert not [g for g in given if isinstance(g, Exception)], given
        claimed += [g for g in given if g is not None]
    assert len(claimed) == len(set(claimed)) == len(vms)
    with reading() as session:
        assert set(session.scalars(select(JobRow.fence).where(JobRow.id.in_(claimed)))) == {1}
        holders = session.scalars(select(JobRow.node_id).where(JobRow.id.in_(claimed)))
        assert all(h is not None for h in holders)
    write(lambda tx: tx.execute(update(JobRow).where(JobRow.id.in_(claimed)).values(state="done")))


def test_jobs_with_one_lock_run_in_order(zone):
    vm = machine(zone)
    made = write(lambda tx: [enqueue(tx, flows.leave, (vm.id,), lock=f"race:{vm.id}").id for _ in range(3)])
    nodes = [join_cluster(f"race-{n}") for n in range(8)]
    for expected in made:
        given = [g for g in at_once(lambda n: claimed_by(nodes[n]), 8) if g is not None]
        assert given == [expected]
        write(lambda tx, e=expected: tx.execute(update(JobRow).where(JobRow.id == e).values(state="done")))
