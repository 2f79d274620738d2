"""What looks at a cloud at rest can fail: each fault that is planted is told, and nothing else is."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from sqlalchemy import select

from mgmt_server.db import now, reading, write
from mgmt_server.drivers.hypervisor import HostRef, dispatch
from mgmt_server.drivers.power import simulator as power
from mgmt_server.jobs.rows import JobRow, StepRow
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.limit import ResourceCount
from mgmt_server.model.network import Network, Nic
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.snapshot import Snapshot
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Address, PodAddress, Vnet
from mgmt_server.protocol.machine import Machine
from tests.cloud import Cloud
from tests.crash.invariants import broken
from tests.simulated import build


@pytest.fixture
def guests(database):
    """Two machines in one network; the disk of one has a snapshot."""
    cloud, zone = Cloud(), build()
    offering = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": offering}
    for name in ("one", "two"):
        cloud.job("deployVirtualMachine", name=name, **sent)
    cloud.job("createSnapshot", volumeid=cloud.ask("listVolumes", type="ROOT", listall=True)["volume"][0]["id"])
    assert not broken()
    with reading() as session:
        return list(session.scalars(select(Vm).where(Vm.kind == "User").order_by(Vm.id)))


def other_host(session, vm):
    return session.scalar(select(Host).where(Host.id != vm.host_id))


def ref(host):
    return HostRef(host.uuid, host.name, "Simulator")


def start_elsewhere(vm):
    with reading() as session:
        there = session.scalar(select(SimulatedMachine).where(SimulatedMachine.name == vm.instance))
        host = other_host(session, vm)
    asked = Machine(vm.instance, vm.uuid, "User", 1, 500, 512 << 20, (), ())
    dispatch.start(uuid4(), ref(host), asked)
    with reading() as session:
        now_there = session.scalar(select(SimulatedMachine).where(SimulatedMachine.name == vm.instance))
    assert (now_there.host, now_there.beside) == (host.uuid, there.host)
    return host


def test_a_guest_on_two_hosts_is_told_and_remembered(guests):
    vm = guests[0]
    host = start_elsewhere(vm)
    assert broken() == [
        f"{vm.instance} was started on a host while another one ran it", f"{vm.instance} runs on two hosts",
        f"{vm.instance} runs on another host than the database says",
    ]  # fmt: skip
    with reading() as session:
        mine = session.get(Host, vm.host_id)
    assert vm.instance in {m.name for m in dispatch.machines(ref(host))} & {
        m.name for m in dispatch.machines(ref(mine))
    }
    for _ in range(2):
        dispatch.stop(uuid4(), ref(host), vm.instance, True)
        assert broken()[0] == f"{vm.instance} was started on a host while another one ran it"
        if not broken()[1:]:
            break
        assert vm.instance not in {m.name for m in dispatch.machines(ref(host)) if m.state == "Running"}
    assert vm.instance in {m.name for m in dispatch.machines(ref(mine)) if m.state == "Running"}


def test_the_one_of_two_whose_host_goes_dark_runs_no_more(guests):
    vm = guests[0]
    host = start_elsewhere(vm)
    write(power.switch, host.uuid, "RESET")
    told = [said for said in broken() if vm.instance in said]
    assert told == [f"{vm.instance} was started on a host while another one ran it"]


def test_a_machine_that_moves_or_starts_anew_is_not_on_two_hosts(guests):
    vm = guests[0]
    with reading() as session:
        here, there = session.get(Host, vm.host_id), other_host(session, vm)
    asked = Machine(vm.instance, vm.uuid, "User", 1, 500, 512 << 20, (), ())
    dispatch.migrate(uuid4(), ref(here), ref(there), asked, ())
    dispatch.stop(uuid4(), ref(there), vm.instance, False)
    dispatch.start(uuid4(), ref(here), asked)
    assert not [told for told in broken() if "host" in told]


def one(tx, table, *where):
    return tx.scalars(select(table).where(*where).order_by(table.id)).first()


def nics(tx, guests):
    return [one(tx, Nic, Nic.vm_id == vm.id) for vm in guests]


def simulated(tx, guests):
    return [one(tx, SimulatedMachine, SimulatedMachine.name == vm.instance) for vm in guests]


def roots(tx, guests):
    return [one(tx, Volume, Volume.vm_id == vm.id) for vm in guests]


def job_open(tx, guests):
    one(tx, JobRow).state = "queued"


def job_without_end(tx, guests):
    one(tx, JobRow).completed = None


def step_lost(tx, guests):
    tx.delete(one(tx, StepRow, StepRow.position == 0))


def ended_twice(tx, guests):
    end = one(tx, Event, Event.start_id.is_not(None), Event.state == "Completed", Event.start_id.in_(
        select(Event.id).where(Event.state == "Scheduled")))  # fmt: skip
    columns = ("type", "state", "description", "user_id", "start_id", "account_id", "domain_id")
    tx.add(Event(**{c: getattr(end, c) for c in columns}))


def begun_never(tx, guests):
    tx.delete(one(tx, Event, Event.state == "Started"))


def address_twice(tx, guests):
    one_, two = nics(tx, guests)
    two.address, two.taken = one_.address, None


def shared_address_twice(tx, guests):
    address = one(tx, Address, Address.state == "Free")
    address.state, address.network_id = "Allocated", None
    for nic in nics(tx, guests):
        nic.address_id = address.id


def address_held_by_nobody(tx, guests):
    one(tx, Address, Address.state == "Free").state = "Allocated"


def pod_address_kept(tx, guests):
    columns = ("zone_id", "service_offering_id", "hypervisor", "account_id", "domain_id")
    gone = Vm(name="gone", state="Expunging", removed=now(), details={}, statistics={},
              **{c: getattr(guests[0], c) for c in columns})  # fmt: skip
    tx.add(gone)
    tx.flush()
    one(tx, PodAddress, PodAddress.vm_id.is_(None)).vm_id = gone.id


def mac_twice(tx, guests):
    one_, two = nics(tx, guests)
    two.mac = one_.mac


def mac_runs_twice(tx, guests):
    one_, two = simulated(tx, guests)
    two.nics = one_.nics


def disk_runs_twice(tx, guests):
    one_, two = simulated(tx, guests)
    two.disks = [*two.disks, *one_.disks]


def disk_runs_elsewhere(tx, guests):
    machine = simulated(tx, guests)[0]
    machine.places = dict.fromkeys(machine.places, "another pool")


def disk_of_two(tx, guests):
    one_, two = roots(tx, guests)
    tx.delete(one(tx, SimulatedDisk, SimulatedDisk.name == two.path))
    two.path = one_.path


def disk_of_nobody(tx, guests):
    tx.add(SimulatedDisk(pool=one(tx, Pool).uuid, name="left", call=""))


def disk_gone(tx, guests):
    tx.delete(one(tx, SimulatedDisk, SimulatedDisk.name == roots(tx, guests)[0].path))


def host_promises(tx, guests):
    tx.get(Host, guests[0].host_id).cpu_used += 1


def pool_promises(tx, guests):
    one(tx, Pool).allocated += 1


def account_counted(tx, guests):
    one(tx, ResourceCount, ResourceCount.account_id == guests[0].account_id).volume += 1


def vlan_twice(tx, guests):
    mine = one(tx, Network, Network.guest_type == "Isolated")
    columns = ("name", "zone_id", "offering_id", "guest_type", "account_id", "domain_id", "physical_network_id",
               "broadcast", "state")  # fmt: skip
    tx.add(Network(details={}, **{c: getattr(mine, c) for c in columns}))
    one(tx, ResourceCount, ResourceCount.account_id == mine.account_id).network += 1


def vlan_kept(tx, guests):
    mine = one(tx, Network, Network.guest_type == "Isolated")
    one(tx, Vnet, Vnet.network_id.is_(None)).network_id = mine.id


def passing_machine(tx, guests):
    tx.get(Vm, guests[0].id).state = "Migrating"


def passing_volume(tx, guests):
    roots(tx, guests)[0].state = "Resizing"


def passing_snapshot(tx, guests):
    one(tx, Snapshot).state = "BackingUp"


def passing_network(tx, guests):
    one(tx, Network, Network.guest_type == "Isolated").state = "Implementing"


def held_target(tx, guests):
    tx.get(Vm, guests[0].id).target_host_id = guests[0].host_id


def unknown_machine(tx, guests):
    tx.add(SimulatedMachine(name="stranger", host=one(tx, Host).uuid, machine=str(uuid4()), state="Running", call=""))


def dead_machine(tx, guests):
    simulated(tx, guests)[0].state = "Stopped"


PLANTED = {  # what is told of each, in the order of the looks
    job_open: ["job .* is queued"],
    job_without_end: ["job .* is done"],
    step_lost: [r"job .* noted the steps \[1"],
    ended_twice: ["the event .* was told to be over 2 times"],
    begun_never: ["the event .* was told to have begun 0 times"],
    address_twice: ["NIC .* has .* and holds None", "2 NICs of the network .* have 10.1.1"],
    shared_address_twice: ["address .* is on 2 NICs"],
    address_held_by_nobody: ["address .* is Allocated, on 0 NICs"],
    pod_address_kept: ["machine .* is gone and keeps a management address"],
    mac_twice: ["the MAC .* is on 2 NICs"],
    mac_runs_twice: ["2 machines run with the MAC .*"],
    disk_runs_twice: ["2 machines run with the disk .*"],
    disk_runs_elsewhere: [".* runs with the disk .* in another pool than the database says"],
    disk_of_two: ["2 volumes are the disk .*"],
    disk_of_nobody: ["disk left in the pool .* is nobody's"],
    disk_gone: ["disk .* is not in its pool"],
    host_promises: ["host .* promises .*"],
    pool_promises: ["pool .* promises .*"],
    account_counted: [".*volume.* is counted as .*"],
    vlan_twice: ["2 networks have vlan://.*", "network .* and does not hold it"],
    vlan_kept: ["VLAN .* is held by network .*, which does not use it"],
    passing_machine: ["vm one stays Migrating", "machines .* run without .*", ".* is Migrating and its host runs it"],
    passing_volume: ["volume .* stays Resizing"],
    passing_snapshot: ["snapshot .* stays BackingUp"],
    passing_network: ["network .* stays Implementing"],
    held_target: ["vm one holds a host to move to"],
    unknown_machine: ["the host still has stranger, which is gone"],
    dead_machine: [".* is Running and its host does not run it"],
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_what_is_planted_is_told_and_nothing_else(guests, plant):
    write(plant, guests)
    told = broken()
    assert len(told) == len(PLANTED[plant]), told
    assert all(re.match(wanted, said) for wanted, said in zip(PLANTED[plant], told, strict=True)), told
