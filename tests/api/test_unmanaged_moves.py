"""Machines that hosts keep when they are let go, and what moves when they are taken over."""

import pytest
from sqlalchemy import func, select, update

from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Vm
from tests.api.reconciling import repair
from tests.api.test_iso import register
from tests.api.test_leftovers import later
from tests.api.test_nic import network
from tests.api.test_unmanaged import MAC, large, lonely, machines, made, stranger, taken, zone  # noqa: F401
from tests.api.test_vm import deploy, held
from tests.cloud import Refused
from tests.crash.invariants import broken

# ruff: noqa: F811  fixtures of the other file


def unmanaged(cloud, vm, **more):
    return cloud.job("unmanageVirtualMachine", id=vm["id"], **more)["unmanagevirtualmachineresponse"]


def other(zone, vm):
    return next(h for h in zone["hosts"].split(",") if h != vm["hostid"])


def stopped(cloud, zone):
    deploy(cloud, zone, name="first")
    vm = deploy(cloud, zone, name="two")
    cloud.job("stopVirtualMachine", id=vm["id"])
    return vm


def listed(cloud, zone):
    (found,) = cloud.ask("listUnmanagedInstances", clusterid=zone["cluster"])["unmanagedinstance"]
    return found


def test_a_stopped_machine_is_kept_by_the_host_that_is_named_as_it_would_be_started(cloud, zone, large):
    vm = stopped(cloud, zone)
    cloud.job("scaleVirtualMachine", id=vm["id"], serviceofferingid=large)
    there = other(zone, vm)
    left = unmanaged(cloud, vm, hostid=there)
    assert (left["success"], left["hostid"]) == (True, there) and vm["instancename"] in left["details"]
    found = listed(cloud, zone)
    assert (found["hostid"], found["powerstate"]) == (there, "PowerOff")
    assert (found["cpunumber"], found["memory"], len(found["disk"])) == (2, 1024, 1)
    nic = vm["nic"][0]
    sent = {"nicnetworklist[0].nic": nic["macaddress"], "hostname": "again", "name": found["name"]}
    back = taken(cloud, zone, network=nic["networkid"], serviceofferingid=large, **sent)
    assert cloud.job("startVirtualMachine", id=back["id"])["virtualmachine"]["state"] == "Running" and broken() == []


def test_a_host_that_is_down_keeps_nothing_and_is_told_of(cloud, zone):
    vm = stopped(cloud, zone)
    write(lambda tx: tx.execute(update(Host).where(Host.uuid == vm["hostid"]).values(state="Down")))
    before = held()
    with pytest.raises(Refused, match="name another host with hostid"):
        unmanaged(cloud, vm)
    assert held() == before
    left = unmanaged(cloud, vm, hostid=other(zone, vm))
    assert left["hostid"] == other(zone, vm) and "is Down and may know it too" in left["details"]


def test_a_machine_that_runs_stays_on_its_host_and_one_without_disks_on_none(cloud, zone):
    vm = deploy(cloud, zone)
    with pytest.raises(Refused, match="runs elsewhere than on"):
        unmanaged(cloud, vm, hostid=other(zone, vm))
    fresh = deploy(cloud, zone, name="fresh", startvm=False)
    with pytest.raises(Refused, match="say with hostid"):
        unmanaged(cloud, fresh)
    with pytest.raises(Refused, match="start the machine once"):
        unmanaged(cloud, fresh, hostid=vm["hostid"])
    assert unmanaged(cloud, vm, hostid=vm["hostid"])["success"] is True


def test_a_host_that_does_not_take_the_machine_leaves_it_with_this_cloud(cloud, zone):
    vm = stopped(cloud, zone)
    before = held()
    cloud.ask("configureSimulator", name="define", value="fail:no", count=1)
    with pytest.raises(Refused, match="define"):
        unmanaged(cloud, vm, hostid=other(zone, vm))
    assert held() == before and broken() == []
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running" and broken() == []


@pytest.mark.parametrize("running", [True, False])
def test_a_disc_goes_before_the_machine_does_where_that_is_allowed(cloud, zone, running):
    vm = deploy(cloud, zone) if running else stopped(cloud, zone)
    os = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    iso = register(cloud, {**zone, "os": os})
    cloud.job("attachIso", id=iso["id"], virtualmachineid=vm["id"])
    with pytest.raises(Refused, match="forced=true"):
        unmanaged(cloud, vm)
    unmanaged(cloud, vm, forced=True)
    assert {m.iso for m in machines().values()} == {""}


# --- what moves when a machine is taken over ------------------------------------------------------------------------


@pytest.fixture
def fast(zone):
    """Another pool of the same hosts, with a tag."""

    def make(tx):
        shared = tx.scalars(select(Pool).where(Pool.uuid == zone["pool"])).one()
        same = ("zone_id", "pod_id", "cluster_id", "scope", "type", "hypervisor", "server", "capacity")
        pool = Pool(name="fast", path="/fast", tags="ssd", details={}, **{n: getattr(shared, n) for n in same})
        tx.add(pool)
        tx.flush()
        tx.add_all(PoolHost(pool_id=pool.id, host_id=h.id) for h in tx.scalars(select(Host)))
        return pool.uuid

    return write(make)


def offering(cloud, **more):
    sizes = {"cpunumber": 2, "cpuspeed": 500, "memory": 1024}
    return cloud.ask("createServiceOffering", name="o", displaytext="o", **sizes, **more)["serviceoffering"]["id"]


def disks():
    with reading() as session:
        rows = session.execute(select(SimulatedDisk.pool, SimulatedDisk.name, SimulatedDisk.content))
        return {(pool, name): content for pool, name, content in rows}


@pytest.mark.parametrize("state", ["Running", "Stopped"])
def test_a_disk_whose_pool_lacks_the_offerings_tag_moves_where_that_is_allowed(cloud, zone, fast, state):
    stranger(zone, state)
    net, before = network(cloud, zone), held()
    sent = {"network": net, "serviceofferingid": offering(cloud, tags="ssd")}
    with pytest.raises(Refused, match="pool shared, which lacks the tag ssd.*migrateallowed=true"):
        taken(cloud, zone, **sent)
    assert held() == before and "by-hand" in machines()
    vm = taken(cloud, zone, migrateallowed=True, **sent)
    (disk,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert (vm["state"], disk["storageid"], disk["state"]) == (state, fast, "Ready")
    there = disks()
    assert there[fast, disk["path"]] == 7 and (zone["pool"], "old-root") not in there and broken() == []
    if state == "Running":
        assert machines()["by-hand"].starts == 1
        cloud.job("stopVirtualMachine", id=vm["id"])
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running" and broken() == []


def test_a_running_machine_whose_host_lacks_the_offerings_tag_moves_where_that_is_allowed(cloud, zone, fast):
    stranger(zone, "Running")
    first, second = zone["hosts"].split(",")
    write(lambda tx: tx.execute(update(Host).where(Host.uuid == second).values(tags="gpu")))
    net = network(cloud, zone)
    deploy(cloud, zone, networkids=net)  # its router is there already
    sent = {"network": net, "serviceofferingid": offering(cloud, hosttags="gpu", tags="ssd")}
    before, there = held(), disks()
    with pytest.raises(Refused, match="lacks the tag"):
        taken(cloud, zone, **sent)
    for fault in ("migrate", "copy_disk"):
        cloud.ask("configureSimulator", name=fault, value="fail:no", count=1)
    with pytest.raises(Refused):
        taken(cloud, zone, migrateallowed=True, **sent)
    assert held() == before and machines()["by-hand"].host == first and disks() == there, "it is as it was"
    vm = taken(cloud, zone, migrateallowed=True, **sent)
    (disk,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert (vm["hostid"], disk["storageid"]) == (second, fast)
    assert machines()["by-hand"].host == second and machines()["by-hand"].starts == 1 and broken() == []


def test_without_a_place_for_what_would_move_nothing_is_taken_over(cloud, zone):
    stranger(zone)
    net, before = network(cloud, zone), held()
    with pytest.raises(Refused, match="No pool can take"):
        taken(cloud, zone, network=net, serviceofferingid=offering(cloud, tags="ssd"), migrateallowed=True)
    assert held() == before and "by-hand" in machines()


@pytest.mark.parametrize("state", ["Running", "Stopped"])
def test_the_refusal_names_a_disabled_pool_that_would_do(cloud, zone, fast, state):
    stranger(zone, state)
    net = network(cloud, zone)
    cloud.ask("updateStoragePool", id=fast, enabled=False)
    with pytest.raises(Refused, match=r"No pool can take the disk ROOT-\d+:.*pool \w+ is Disabled"):
        taken(cloud, zone, network=net, serviceofferingid=offering(cloud, tags="ssd"), migrateallowed=True)


@pytest.mark.parametrize("fault", ["copy_disk", "forget"])
def test_a_move_that_fails_leaves_the_stranger_with_its_disks(cloud, zone, fast, fault):
    stranger(zone)
    net, before, there = network(cloud, zone), held(), disks()
    sent = {"network": net, "serviceofferingid": offering(cloud, tags="ssd"), "migrateallowed": True}
    cloud.ask("configureSimulator", name=fault, value="fail:no", count=1)
    with pytest.raises(Refused, match=fault):
        taken(cloud, zone, **sent)
    assert held() == before and disks() == there and "by-hand" in machines()
    assert taken(cloud, zone, **sent)["state"] == "Stopped" and broken() == []


def test_a_machine_made_of_a_disk_in_the_wrong_pool_moves_too(cloud, zone, fast, lonely):
    net = network(cloud, zone)
    sent = {"serviceofferingid": offering(cloud, tags="ssd")}
    with pytest.raises(Refused, match="lacks the tag ssd"):
        made(cloud, zone, net, **sent)
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(Vm).where(Vm.removed.is_(None), Vm.kind == "User")) == 0
    vm = made(cloud, zone, net, migrateallowed=True, **sent)
    (disk,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    assert disk["storageid"] == fast and disks() == {(fast, disk["path"]): 7} and broken() == []


def test_a_disk_that_may_have_moved_is_not_forgotten(cloud, zone, fast):
    """Its machine stays taken over: else nobody would know which of the two files it has."""
    stranger(zone, "Running")
    sent = {"network": network(cloud, zone), "serviceofferingid": offering(cloud, tags="ssd")}
    faults_on = [
        cloud.ask("configureSimulator", name=name, value=value)["mock"]["id"]
        for name, value in (("move_disk", "late:true|lost:true"), ("settle_disk", "lost:true"))
    ]
    with pytest.raises(Refused, match="it stays Migrating"):
        taken(cloud, zone, migrateallowed=True, **sent)
    (disk,) = cloud.ask("listVolumes", listall=True, type="ROOT")["volume"]
    assert disk["state"] == "Migrating" and {(p, "old-root") for p in (fast, zone["pool"])} <= disks().keys()
    with pytest.raises(Refused, match="Nobody can tell yet"):
        unmanaged(cloud, {"id": disk["virtualmachineid"]})
    for fault in faults_on:
        cloud.ask("cleanupSimulatorMock", id=fault)
    repair(cloud)
    later(cloud)
    (disk,) = cloud.ask("listVolumes", listall=True, type="ROOT")["volume"]
    assert (disk["state"], disk["storageid"]) == ("Ready", fast) and (zone["pool"], "old-root") not in disks()
    assert broken() == []
