"""Hosts and pools are emptied, closed and taken away with machines on them."""

import time

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.jobs.worker import run_next
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from tests.api.test_ha import host_of, lose, row
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build(hosts=3, memory=64 << 30, cpu=512_000)
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    yield found
    faults.forget()


@pytest.fixture
def host(cloud, zone):
    """A host with three guests and a router at least."""
    first = zone["hosts"].split(",")[0]
    for n in range(3):
        deploy(cloud, zone, hostid=first, name=f"g{n}")
    return first


def ask_host(cloud, uuid):
    return cloud.ask("listHosts", id=uuid)["host"][0]


def on_host(uuid):
    with reading() as session:
        number = session.scalar(select(Host.id).where(Host.uuid == uuid))
        rows = session.scalars(select(Vm).where(Vm.host_id == number, Vm.removed.is_(None)))
        return sorted(vm.name for vm in rows)


def capacity_fits():
    """What each host has promised is the sum of what its machines hold."""
    with reading() as session:
        for host in session.scalars(select(Host).where(Host.removed.is_(None))):
            there = list(session.scalars(select(Vm).where(Vm.host_id == host.id, Vm.reserved, Vm.removed.is_(None))))
            assert (host.machines, host.cpu_used) == (len(there), sum(vm.cpus * vm.speed for vm in there)), host.name
            assert host.memory_used == sum(vm.memory for vm in there) << 20


def starts():
    with reading() as session:
        return {row.name: row.starts for row in session.scalars(select(SimulatedMachine))}


def test_machines_move_away_while_they_run(cloud, zone, host):
    before = starts()
    done = cloud.job("prepareHostForMaintenance", id=host)["host"]
    assert done["resourcestate"] == "Maintenance" and "maintenance" not in done.get("details", {})
    assert on_host(host) == []
    assert starts() == before, "nobody was stopped"
    with reading() as session:
        assert set(session.scalars(select(Vm.state).where(Vm.removed.is_(None)))) == {"Running"}
    capacity_fits()
    assert cloud.job("cancelHostMaintenance", id=host)["host"]["resourcestate"] == "Enabled"


def test_what_cannot_move_is_told_machine_by_machine(cloud, zone, host):
    others = [h for h in zone["hosts"].split(",") if h != host]
    for other in others:
        cloud.ask("updateHost", id=other, allocationstate="Disable")
    with pytest.raises(Refused, match=r"cannot move: .*g0: No host can take.*g1: No host can take") as told:
        cloud.job("prepareHostForMaintenance", id=host)
    for other in others:
        assert f"{ask_host(cloud, other)['name']} is Disabled" in told.value.text, "each host with what refused it"
    found = ask_host(cloud, host)
    assert found["resourcestate"] == "ErrorInMaintenance"
    assert "g2: No host can take" in found["details"]["maintenance"]
    assert len(on_host(host)) >= 3
    capacity_fits()
    cloud.ask("updateHost", id=others[0], allocationstate="Enable")
    assert cloud.job("prepareHostForMaintenance", id=host)["host"]["resourcestate"] == "Maintenance"


def test_one_that_fails_at_first_is_tried_again(cloud, zone, host):
    cloud.ask("configureSimulator", name="migrate", value="fail:not now", count=2)
    assert cloud.job("prepareHostForMaintenance", id=host)["host"]["resourcestate"] == "Maintenance"
    capacity_fits()


def test_it_is_cancelled_at_any_moment(cloud, zone, host):
    cloud.ask("updateConfiguration", name="ha.workers", value=1)
    prepared = cloud.ask("prepareHostForMaintenance", id=host)["jobid"]
    for _ in range(2):
        run_next(cloud.node)  # as far as its first machine
    assert ask_host(cloud, host)["resourcestate"] == "PrepareForMaintenance"
    cancelled = cloud.ask("cancelHostMaintenance", id=host)["jobid"]
    cloud.work()
    assert cloud.ask("queryAsyncJobResult", jobid=cancelled)["jobstatus"] == 1
    ended = cloud.ask("queryAsyncJobResult", jobid=prepared)
    assert (ended["jobstatus"], "was cancelled" in ended["jobresult"]["errortext"]) == (2, True)
    found = ask_host(cloud, host)
    assert found["resourcestate"] == "Enabled" and "maintenance" not in found.get("details", {})
    assert on_host(host), "not all had left"
    capacity_fits()


@pytest.mark.parametrize(
    ("strategy", "state", "left"),
    [("Error", "ErrorInMaintenance", "Running"), ("Migration", "Maintenance", "Running"),
     ("ForceStop", "Maintenance", "Stopped")],
)  # fmt: skip
def test_local_storage_is_treated_as_the_setting_says(cloud, zone, host, strategy, state, left):
    def local(tx):
        here = tx.scalar(select(Host).where(Host.uuid == host))
        vm = tx.scalar(select(Vm).where(Vm.name == "g0"))
        for each in tx.scalars(select(Host)):
            pool = Pool(
                name=f"local-{each.name}", zone_id=each.zone_id, pod_id=each.pod_id, cluster_id=each.cluster_id,
                host_id=each.id, scope="HOST", type="Filesystem", hypervisor="Simulator", path="/l", capacity=2**44,
                allocated=2**36, details={},
            )  # fmt: skip
            tx.add(pool)
            tx.flush()
            if each.id == here.id:
                moved = update(Volume).where(Volume.vm_id == vm.id).values(pool_id=pool.id)
                mine = pool
                tx.execute(moved)
        from mgmt_server.model.simulator import SimulatedDisk

        volume = tx.scalar(select(Volume).where(Volume.vm_id == vm.id))
        tx.execute(update(SimulatedDisk).where(SimulatedDisk.name == volume.path).values(pool=mine.uuid))

    write(local)
    cloud.ask("updateConfiguration", name="host.maintenance.local.storage.strategy", value=strategy)
    accepted = cloud.ask("prepareHostForMaintenance", id=host)["jobid"]
    cloud.work()
    told = cloud.ask("queryAsyncJobResult", jobid=accepted)
    assert ask_host(cloud, host)["resourcestate"] == state, told
    with reading() as session:
        assert session.scalar(select(Vm.state).where(Vm.name == "g0")) == left
    if strategy == "Error":
        assert "is on local storage of the host" in told["jobresult"]["errortext"]


def test_fifty_guests_leave_a_host(cloud, zone):
    first = zone["hosts"].split(",")[0]
    for n in range(49):  # and their router
        cloud.ask("deployVirtualMachine", **_request(zone, first), name=f"m{n}")
    cloud.work()
    count = len(on_host(first))
    assert count >= 49
    began = time.monotonic()
    assert cloud.job("prepareHostForMaintenance", id=first)["host"]["resourcestate"] == "Maintenance"
    print(f"{count} guests left in {time.monotonic() - began:.1f} s")
    assert on_host(first) == []
    capacity_fits()


def _request(zone, host):
    keys = {"zoneid": "zone", "serviceofferingid": "offering", "templateid": "template"}
    return {k: zone[v] for k, v in keys.items()} | {"hostid": host}


def test_a_host_that_is_forced_out_leaves_no_orphan(cloud, zone, host):
    cloud.job("stopVirtualMachine", id=_uuid("g1"))
    there = [*on_host(host), "g1"]
    with pytest.raises(Refused, match="is not in maintenance"):
        cloud.ask("deleteHost", id=host)
    assert cloud.ask("deleteHost", id=host, forced=True) == {"success": True}
    cloud.work()
    with reading() as session:
        rows = {vm.name: vm for vm in session.scalars(select(Vm).where(Vm.name.in_(there)))}
        number = session.scalar(select(Host.id).where(Host.uuid == host))
        assert all(vm.host_id != number for vm in rows.values())
        assert {vm.state for vm in rows.values() if vm.kind == "User"} == {"Stopped"}
        left = select(SimulatedMachine.name).where(SimulatedMachine.host == host)
        assert list(session.scalars(left)) == [], "it runs none, and has none defined"
    capacity_fits()
    (some,) = [vm for vm in rows.values() if vm.name == "g0"]
    assert cloud.job("startVirtualMachine", id=some.uuid)["virtualmachine"]["state"] == "Running"


def test_a_lost_host_that_was_declared_degraded_gives_its_machines_up(cloud, zone, host):
    with pytest.raises(Refused, match="is Up, and machines run on it"):
        cloud.job("declareHostAsDegraded", id=host)
    lose(cloud, host_of(row(_uuid("g0"))), seconds=5)
    assert cloud.job("declareHostAsDegraded", id=host)["host"]["resourcestate"] == "Degraded"
    assert on_host(host) == []
    capacity_fits()
    cloud.ask("cleanupSimulatorMock")
    assert cloud.job("cancelHostAsDegraded", id=host)["host"]["resourcestate"] == "Enabled"


def _uuid(name):
    with reading() as session:
        return session.scalar(select(Vm.uuid).where(Vm.name == name))


def test_what_a_host_holds_for_nobody_is_released(cloud, zone, host):
    write(lambda tx: tx.execute(update(Host).where(Host.uuid == host).values(machines=9, cpu_used=1)) and None)
    assert cloud.job("releaseHostReservation", id=host) == {"success": True}
    capacity_fits()


# --- pools ---


def state_of(name):
    with reading() as session:
        return session.scalar(select(Vm.state).where(Vm.name == name))


def pool_of(name):
    with reading() as session:
        rows = select(Pool.name).join(Volume, Volume.pool_id == Pool.id).join(Vm, Vm.id == Volume.vm_id)
        return set(session.scalars(rows.where(Vm.name == name, Volume.removed.is_(None))))


def second_pool(cloud, zone):
    sent = {"zoneid": zone["zone"], "podid": zone["pod"], "clusterid": zone["cluster"]}
    return cloud.ask("createStoragePool", **sent, name="second", url="nfs://192.0.2.9/two")["storagepool"]["id"]


def allocated_fits():
    """What each pool has promised to disks is the sum of them; cached templates come to it."""
    from mgmt_server.model.storage import TemplateOnPool

    with reading() as session:
        for pool in session.scalars(select(Pool).where(Pool.removed.is_(None))):
            disks = session.scalars(select(Volume).where(Volume.pool_id == pool.id, Volume.removed.is_(None)))
            cached = session.scalars(select(TemplateOnPool).where(TemplateOnPool.pool_id == pool.id))
            assert pool.allocated == sum(d.size for d in disks) + sum(c.size for c in cached), pool.name


def test_a_pool_in_maintenance_stops_its_machines_and_starts_them_again(cloud, zone, host):
    cloud.job("stopVirtualMachine", id=_uuid("g2"))
    assert cloud.job("enableStorageMaintenance", id=zone["pool"])["storagepool"]["state"] == "Maintenance"
    assert [state_of(f"g{n}") for n in range(3)] == ["Stopped"] * 3
    capacity_fits()
    assert cloud.job("cancelStorageMaintenance", id=zone["pool"])["storagepool"]["state"] == "Up"
    assert [state_of(f"g{n}") for n in range(3)] == ["Running", "Running", "Stopped"]
    with reading() as session:
        assert session.scalar(select(Vm.state).where(Vm.kind == "DomainRouter")) == "Running"
    capacity_fits()


def test_nothing_begins_to_use_a_pool_in_maintenance(cloud, zone, host):
    other, vm = second_pool(cloud, zone), _uuid("g0")
    offering = cloud.ask("createDiskOffering", name="one", disksize=1)["diskoffering"]["id"]
    made = cloud.job("createVolume", name="d", diskofferingid=offering, zoneid=zone["zone"], storageid=other)["volume"]
    assert cloud.job("enableStorageMaintenance", id=other)["storagepool"]["state"] == "Maintenance"
    with pytest.raises(Refused, match="534: .*the disk d lies in the pool second, which is Maintenance"):
        cloud.job("attachVolume", id=made["id"], virtualmachineid=vm)
    cloud.job("stopVirtualMachine", id=vm)
    assert cloud.job("attachVolume", id=made["id"], virtualmachineid=vm)["volume"]["virtualmachineid"] == vm
    with pytest.raises(Refused, match="534: .*the disk d lies in the pool second, which is Maintenance"):
        cloud.job("startVirtualMachine", id=vm)
    told = cloud.ask("explainDeployment", virtualmachineid=vm)
    told = told.get("deployment", told)
    assert told["possible"] is False and [(p["name"], p["rule"]) for p in told["storagepool"]] == [("second", "state")]
    assert {h["reason"] for h in told["host"]} == {
        "has room, but its disks are in pools that are closed: second is Maintenance"
    }
    assert state_of("g0") == "Stopped"
    capacity_fits()
    cloud.job("cancelStorageMaintenance", id=other)
    assert cloud.job("startVirtualMachine", id=vm)["virtualmachine"]["state"] == "Running"


def test_disks_move_to_another_pool_while_their_machines_run(cloud, zone, host):
    second_pool(cloud, zone)
    before = starts()
    assert cloud.job("enableStorageMaintenance", id=zone["pool"])["storagepool"]["state"] == "Maintenance"
    assert pool_of("g0") == {"second"}
    assert state_of("g0") == "Running"
    assert starts() == before
    allocated_fits()


def test_one_that_cannot_be_stopped_keeps_its_pool_from_closing(cloud, zone, host):
    cloud.ask("configureSimulator", name="stop", value="fail:it hangs")
    with pytest.raises(Refused, match="could be neither moved nor stopped"):
        cloud.job("enableStorageMaintenance", id=zone["pool"])
    assert cloud.ask("listStoragePools", id=zone["pool"])["storagepool"][0]["state"] == "ErrorInMaintenance"
    cloud.ask("cleanupSimulatorMock")
    assert cloud.job("enableStorageMaintenance", id=zone["pool"])["storagepool"]["state"] == "Maintenance"


def test_a_pool_becomes_the_zones_and_its_clusters_again(cloud, zone, host):
    other = cloud.ask(
        "addCluster", zoneid=zone["zone"], podid=zone["pod"], clustername="c2", clustertype="CloudManaged",
        hypervisor="Simulator",
    )["cluster"][0]["id"]  # fmt: skip
    with pytest.raises(Refused, match="disable it first"):
        cloud.job("changeStoragePoolScope", id=zone["pool"], scope="ZONE")
    cloud.ask("updateStoragePool", id=zone["pool"], enabled=False)
    assert cloud.job("changeStoragePoolScope", id=zone["pool"], scope="ZONE") == {"success": True}
    found = cloud.ask("listStoragePools", id=zone["pool"])["storagepool"][0]
    assert found["scope"] == "ZONE" and "clusterid" not in found
    hit = cloud.ask("listAffectedVmsForStorageScopeChange", storageid=zone["pool"], clusterid=other)
    assert {"g0", "g1", "g2"} <= {vm["name"] for vm in hit["virtualmachine"]}
    with pytest.raises(Refused, match="machines outside of the cluster run"):
        cloud.job("changeStoragePoolScope", id=zone["pool"], scope="CLUSTER", clusterid=other)
    cloud.job("changeStoragePoolScope", id=zone["pool"], scope="CLUSTER", clusterid=zone["cluster"])
    found = cloud.ask("listStoragePools", id=zone["pool"])["storagepool"][0]
    assert (found["scope"], found["clusterid"]) == ("CLUSTER", zone["cluster"])


def test_a_pool_is_looked_at_anew(cloud, zone, host):
    assert cloud.job("syncStoragePool", id=zone["pool"])["storagepool"]["disksizetotal"] == 1 << 40
