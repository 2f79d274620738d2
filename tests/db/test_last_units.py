"""The last unit of what is scarce wanted by 32 at once, and one object on which 32 do the same: one has it, it is done
once, and all that is counted adds up. On both databases."""

# ruff: noqa: F811  the fixture is imported

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from mgmt_server.allocation import addresses, hosts, limits, pools
from mgmt_server.db import reading, write
from mgmt_server.model.account import Account
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.network import Network
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Address, VlanRange
from tests.cloud import Refused
from tests.counts import used
from tests.db.test_object_races import place, won  # noqa: F401
from tests.db.test_races import at_once, network, only, zone  # noqa: F401
from tests.simulated import GIB

TYPES = {"user_vm": 0, "volume": 2, "snapshot": 3, "project": 5, "network": 6, "cpu": 8, "memory": 9,
         "primary_storage": 10}  # fmt: skip


# --- one transaction each: on MariaDB, where many write at the same time ---------------------------------------------


def host_of(zone):
    with reading() as session:
        return session.scalar(select(Host).where(Host.uuid == zone["hosts"]))


@pytest.mark.mariadb
def test_the_last_cpu_of_a_host(zone):
    host = host_of(zone)
    write(lambda tx: tx.execute(update(Host).where(Host.id == host.id).values(cpu_capacity=2999)))
    given = at_once(lambda n: write(hosts.take, host.id, 1000, 2**20))
    assert given.count(True) == 2 and given.count(False) == 30
    assert (host_of(zone).cpu_used, host_of(zone).machines) == (2000, 2)


@pytest.mark.mariadb
def test_the_last_machine_that_a_host_bears(zone):
    host = host_of(zone)
    for _ in range(2):
        assert write(hosts.take, host.id, 1, 1, 3)
    assert at_once(lambda n: write(hosts.take, host.id, 1, 1, 3)).count(True) == 1
    assert host_of(zone).machines == 3


@pytest.mark.mariadb
def test_the_last_byte_of_a_pool(zone):
    with reading() as session:
        pool = session.scalar(select(Pool.id).where(Pool.uuid == zone["pool"]))
    write(lambda tx: tx.execute(update(Pool).where(Pool.id == pool).values(capacity=1000, overprovision=1.0)))
    assert write(pools.take, pool, 849)  # of 1000, 85 % are given away
    assert at_once(lambda n: write(pools.take, pool, 1)).count(True) == 1
    with reading() as session:
        assert session.scalar(select(Pool.allocated).where(Pool.id == pool)) == 850


@pytest.mark.mariadb
@pytest.mark.parametrize("wanted", [None, "198.51.100.11"])
def test_the_last_address_of_a_shared_network(zone, wanted):
    found = network(zone)

    def work(tx):
        made = VlanRange(
            zone_id=zone["row"].id, physical_network_id=found.physical_network_id, vlan="70", gateway="198.51.100.1",
            netmask="255.255.255.0", start_ip="198.51.100.10", end_ip="198.51.100.11", network_id=found.id,
            type="DirectAttached",
        )  # fmt: skip
        tx.add(made)
        tx.flush()
        tx.add_all(Address(range_id=made.id, zone_id=made.zone_id, address=a) for a in (made.start_ip, made.end_ip))

    write(work)

    def take(tx):
        mine = tx.get_one(Network, found.id)
        return addresses.take_from_range(tx, mine, wanted)[0].address

    if wanted is None:
        assert write(take) == "198.51.100.10"
    assert only(at_once(lambda n: write(take)), (Exception,)) == "198.51.100.11"


# --- calls and their jobs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", TYPES)
def test_the_last_unit_of_a_limit_goes_to_one_call(place, type):
    place.attached()
    offering = place.cloud.ask("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    calls = {
        "volume": ("createVolume", {"zoneid": place.zone["zone"], "diskofferingid": place.disks[0]["id"], "name": "x"}),
        "snapshot": ("createSnapshot", {"volumeid": place.disk}),
        "network": ("createNetwork", {"name": "x", "zoneid": place.zone["zone"], "gateway": "10.9.0.1",
                    "netmask": "255.255.255.0", "networkofferingid": offering["networkoffering"][0]["id"]}),
        "project": ("createProject", {"name": "x", "displaytext": "x"}),
    }  # fmt: skip
    calls["primary_storage"] = calls["volume"]
    call = calls.get(type, ("deployVirtualMachine", place.sent))
    with reading() as session:
        account = session.scalar(select(Account).where(Account.name == place.user))
        domain = place.cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
        vm = place.machine()
    one = {"cpu": vm.cpus, "memory": vm.memory, "primary_storage": place.disks[0]["disksize"] * GIB}.get(type, 1)
    most = used(account.id).get(type, 0) + one
    unit = limits.unit_of(type)
    sent = {"account": place.user, "domainid": domain, "resourcetype": TYPES[type], "max": -(-most // unit)}
    place.cloud.ask("updateResourceLimit", **sent)
    limits.forget()
    outcomes = place.race(call)
    if type == "project":
        outcomes = [(c, told) for c, told in outcomes if not (isinstance(told, Refused) and "name" in told.text)]
    words = {told.text for _, told in outcomes if isinstance(told, Refused)}
    assert len(won(outcomes)) == 1, words
    assert all("limit" in text for text in words), words
    assert used(account.id)[type] == most
    place.whole()


def same(place, command, user="", **sent):
    return place.race((command, sent), user=user)


def starts(place):
    with reading() as session:
        return session.scalar(select(SimulatedMachine.starts).where(SimulatedMachine.machine == place.vm)) or 0


def test_thirty_two_starts_of_a_machine_start_it_once(place):
    place.job("stopVirtualMachine", id=place.vm)
    before = starts(place)
    assert won(same(place, "startVirtualMachine", id=place.vm))
    assert place.machine().state == "Running" and starts(place) - before in (1, 1 - before)
    place.whole()


def test_thirty_two_stops_of_a_machine_free_its_host_once(place):
    assert won(same(place, "stopVirtualMachine", id=place.vm))
    assert place.machine().state == "Stopped"
    place.whole()


def test_thirty_two_who_expunge_a_machine_expunge_it_once(place):
    assert won(same(place, "destroyVirtualMachine", user="admin", id=place.vm, expunge=True))
    with reading() as session:
        ended = select(func.count()).where(Event.type == "VM.EXPUNGE", Event.resource_uuid == place.vm)
        assert session.scalar(ended) <= 1
    assert place.machine().removed is not None
    place.whole()


def test_thirty_two_who_recover_a_machine_have_it_counted_once(place):
    place.job("destroyVirtualMachine", id=place.vm)
    assert len(won(same(place, "recoverVirtualMachine", user="admin", id=place.vm))) == 1
    assert place.machine().state == "Stopped"
    place.whole()


def test_thirty_two_who_delete_a_disk_free_its_space_once(place):
    place.attached()
    place.job("detachVolume", id=place.disk)
    assert won(same(place, "deleteVolume", id=place.disk))
    with reading() as session:
        assert session.scalar(select(Volume.removed).where(Volume.uuid == place.disk)) is not None
    place.whole()


def test_thirty_two_who_give_one_machine_a_nic_in_one_network_give_it_one(place):
    offering = place.cloud.ask("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
    net = place.cloud.ask(
        "createNetwork", user=place.user, name="second", zoneid=place.zone["zone"], gateway="10.9.0.1",
        netmask="255.255.255.0", networkofferingid=offering["networkoffering"][0]["id"],
    )["network"]["id"]  # fmt: skip
    outcomes = same(place, "addNicToVirtualMachine", virtualmachineid=place.vm, networkid=net)
    assert len(won(outcomes)) == 1, outcomes[:2]
    place.whole()


def test_the_last_secondary_address_that_a_nic_may_have_goes_to_one(place):
    place.cloud.ask("updateConfiguration", name="vm.network.nic.max.secondary.ipaddresses", value="2")
    nic = place.cloud.ask("listVirtualMachines", user=place.user, id=place.vm)["virtualmachine"][0]["nic"][0]["id"]
    place.job("addIpToNic", nicid=nic)
    assert len(won(same(place, "addIpToNic", nicid=nic))) == 1
    place.whole()
