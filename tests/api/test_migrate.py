"""Machines on the move: to other hosts while they run, to other pools while they are stopped."""

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.snapshot import VmSnapshot
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster
from mgmt_server.resources.storage.rows import add_local
from tests.api.test_vm import deploy, held
from tests.cloud import Refused
from tests.crash.invariants import broken
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build(hosts=3)
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def local_pools():
    """Each host gets storage of its own: their uuids by host uuid."""

    def make(tx):
        found = {}
        for host in tx.scalars(select(Host)):
            pool = add_local(tx, host, f"/mnt/{host.name}", 2.0, 2**42)
            tx.add(PoolHost(pool_id=pool.id, host_id=host.id))
            found[host.uuid] = pool.uuid
        return found

    return write(make)


def local_offering(cloud):
    sent = {"cpunumber": 1, "cpuspeed": 500, "memory": 512, "storagetype": "local", "displaytext": "l"}
    return cloud.ask("createServiceOffering", name="local", **sent)["serviceoffering"]["id"]


def row(vm):
    with reading() as session:
        return session.scalar(select(Vm).where(Vm.uuid == vm["id"]))


def disk_of(vm):
    with reading() as session:
        rows = select(Volume, Pool.uuid).join(Pool, Pool.id == Volume.pool_id).join(Vm, Vm.id == Volume.vm_id)
        volume, pool = session.execute(rows.where(Vm.uuid == vm["id"], Volume.kind == "ROOT")).one()
        return volume, pool


def content(volume, pool):
    with reading() as session:
        rows = select(SimulatedDisk.content).where(SimulatedDisk.pool == pool, SimulatedDisk.name == volume.path)
        return session.scalar(rows)


def other_host(zone, vm):
    return next(h for h in zone["hosts"].split(",") if h != vm["hostid"])


def starts():
    with reading() as session:
        return sorted((m.name, m.starts) for m in session.scalars(select(SimulatedMachine)))


def test_a_running_machine_moves_and_holds_one_host(cloud, zone):
    vm = deploy(cloud, zone)
    before, begun, target = held(), starts(), other_host(zone, vm)
    moved = cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=target)["virtualmachine"]
    assert (moved["state"], moved["hostid"]) == ("Running", target)
    assert held() == before and starts() == begun and broken() == [] and row(vm).target_host_id is None
    cloud.job("stopVirtualMachine", id=vm["id"])
    cloud.job("startVirtualMachine", id=vm["id"])
    assert broken() == []


def test_without_a_host_the_allocator_chooses(cloud, zone):
    vm = deploy(cloud, zone)
    moved = cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)["virtualmachine"]
    assert moved["hostid"] != vm["hostid"] and broken() == []


@pytest.mark.parametrize("value", ["fail:no", "lost:true"])
def test_a_migration_that_fails_leaves_the_machine_where_it_was(cloud, zone, value):
    vm = deploy(cloud, zone)
    before = held()
    cloud.ask("configureSimulator", name="migrate", value=value, count=1)
    with pytest.raises(Refused):
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    after = row(vm)
    assert (after.state, after.target_host_id) == ("Running", None) and held() == before and broken() == []
    with reading() as session:
        assert session.get(Host, after.host_id).uuid == vm["hostid"]


def test_an_answer_that_got_lost_is_no_failure(cloud, zone):
    vm = deploy(cloud, zone)
    cloud.ask("configureSimulator", name="migrate", value="lost:true|late:true", count=1)
    moved = cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)["virtualmachine"]
    assert moved["hostid"] != vm["hostid"] and broken() == []


@pytest.mark.parametrize("across", [False, True])
def test_a_machine_leaves_its_cluster_where_that_is_allowed(cloud, zone, across):
    vm = deploy(cloud, zone)

    def part(tx):
        old = tx.scalar(select(Cluster))
        cluster = Cluster(name="c2", zone_id=old.zone_id, pod_id=old.pod_id, hypervisor="Simulator", details={})
        tx.add(cluster)
        tx.flush()
        tx.execute(update(Host).where(Host.uuid != vm["hostid"]).values(cluster_id=cluster.id))
        tx.execute(update(Pool).values(scope="ZONE", cluster_id=None, pod_id=None))

    write(part)
    cloud.ask("updateConfiguration", name="migrate.vm.across.clusters", value=across)
    if across:
        assert cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    else:
        with pytest.raises(Refused, match="cluster"):
            cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
        assert cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=other_host(zone, vm))
    assert broken() == []


def test_a_full_cloud_says_why_and_nothing_moves(cloud, zone):
    vm = deploy(cloud, zone)
    before = held()
    write(lambda tx: tx.execute(update(Host).values(memory_capacity=Host.memory_used)))
    with pytest.raises(Refused, match="lacks 512 MiB") as no:
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    assert no.value.status == 533 and held() == before and row(vm).state == "Running"


def test_a_local_disk_moves_along_with_what_is_on_it(cloud, zone):
    pools = local_pools()
    vm = deploy(cloud, zone, serviceofferingid=local_offering(cloud))
    before = held()
    volume, pool = disk_of(vm)
    assert pool == pools[vm["hostid"]]
    write(lambda tx: tx.execute(update(SimulatedDisk).where(SimulatedDisk.name == volume.path).values(content=4711)))
    found = cloud.ask("findHostsForMigration", virtualmachineid=vm["id"])["host"]
    assert [(h["suitableformigration"], h["requiresStorageMotion"]) for h in found] == [(True, True)] * 2
    target = other_host(zone, vm)
    cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=target)
    after, there = disk_of(vm)
    assert there == pools[target] and content(after, there) == 4711 and content(volume, pool) is None
    assert (after.state, after.target_pool_id) == ("Ready", None) and held() == before and broken() == []


@pytest.mark.parametrize("value", ["fail:no", "lost:true"])
def test_a_local_disk_whose_machine_stays_leaves_no_copy(cloud, zone, value):
    pools = local_pools()
    vm = deploy(cloud, zone, serviceofferingid=local_offering(cloud))
    before = held()
    cloud.ask("configureSimulator", name="migrate", value=value, count=1)
    with pytest.raises(Refused):
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    volume, pool = disk_of(vm)
    assert pool == pools[vm["hostid"]] and volume.state == "Ready" and held() == before and broken() == []


def test_an_old_copy_that_cannot_be_deleted_fails_nothing(cloud, zone):
    local_pools()
    vm = deploy(cloud, zone, serviceofferingid=local_offering(cloud))
    cloud.ask("configureSimulator", name="delete_disk", value="fail:busy", count=1)
    moved = cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)["virtualmachine"]
    assert moved["hostid"] != vm["hostid"]


def second_pool(zone, **values):
    def make(tx):
        old = tx.scalar(select(Pool).where(Pool.uuid == zone["pool"]))
        pool = Pool(
            name="other", zone_id=old.zone_id, pod_id=old.pod_id, cluster_id=old.cluster_id, scope="CLUSTER",
            type="NetworkFilesystem", hypervisor="Simulator", server="192.0.2.10", path="/p2", capacity=2**44,
            details={}, **values,
        )  # fmt: skip
        tx.add(pool)
        tx.flush()
        tx.add_all(PoolHost(pool_id=pool.id, host_id=h) for h in tx.scalars(select(Host.id)))
        return pool.uuid

    return write(make)


def test_disks_move_with_a_running_machine_where_they_are_wanted(cloud, zone):
    vm = deploy(cloud, zone)
    pool = second_pool(zone)
    volume, _ = disk_of(vm)
    sent = {"migrateto[0].volume": volume.uuid, "migrateto[0].pool": pool, "autoselect": True}
    before = held()
    cloud.job("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], **sent)
    assert disk_of(vm)[1] == pool and held() == before and broken() == []


def test_a_stopped_machine_changes_its_pool(cloud, zone):
    vm = deploy(cloud, zone)
    cloud.job("stopVirtualMachine", id=vm["id"])
    pool, before = second_pool(zone), held()
    volume, old = disk_of(vm)
    write(lambda tx: tx.execute(update(SimulatedDisk).where(SimulatedDisk.name == volume.path).values(content=4711)))
    with pytest.raises(Refused, match="only a running machine"):
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], storageid=pool)
    after, there = disk_of(vm)
    assert (there, content(after, there), content(volume, old)) == (pool, 4711, None)
    assert held() == before and broken() == []
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"


def test_a_copy_that_fails_leaves_all_disks_where_they_were(cloud, zone):
    disk = cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]["id"]
    vm = deploy(cloud, zone, diskofferingid=disk)
    cloud.job("stopVirtualMachine", id=vm["id"])
    pool, before = second_pool(zone), held()
    cloud.ask("configureSimulator", name="copy_disk", value="skip:1|fail:no", count=1)
    with pytest.raises(Refused):
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], storageid=pool)
    assert disk_of(vm)[1] == zone["pool"] and held() == before and broken() == []


def test_hosts_are_told_apart_by_what_they_reach_and_have(cloud, zone):
    vm = deploy(cloud, zone)
    full, far = [h for h in zone["hosts"].split(",") if h != vm["hostid"]]

    def change(tx):
        old = tx.scalar(select(Cluster))
        cluster = Cluster(name="c2", zone_id=old.zone_id, pod_id=old.pod_id, hypervisor="Simulator", details={})
        tx.add(cluster)
        tx.flush()
        tx.execute(update(Host).where(Host.uuid == full).values(memory_capacity=Host.memory_used))
        tx.execute(update(Host).where(Host.uuid == far).values(cluster_id=cluster.id))

    write(change)
    found = {h["id"]: h for h in cloud.ask("findHostsForMigration", virtualmachineid=vm["id"])["host"]}
    assert found.keys() == {full, far}
    assert not found[full]["suitableformigration"] and not found[full]["hasenoughcapacity"]
    assert found[full]["requiresStorageMotion"] is False
    assert found[far]["requiresStorageMotion"] and not found[far]["suitableformigration"]
    with pytest.raises(Refused, match="no pool for the disk"):
        cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=far)
    assert row(vm).state == "Running" and broken() == []


def test_snapshots_keep_disks_where_they_are_and_let_the_machine_go(cloud, zone):
    vm = deploy(cloud, zone)
    pool, (volume, _) = second_pool(zone), disk_of(vm)
    one = row(vm)
    write(
        lambda tx: tx.add(
            VmSnapshot(
                name="s", vm_id=one.id, zone_id=one.zone_id, hypervisor=one.hypervisor, state="Ready",
                account_id=one.account_id, domain_id=one.domain_id,
            )
        )
    )  # fmt: skip
    sent = {"migrateto[0].volume": volume.uuid, "migrateto[0].pool": pool, "autoselect": True}
    with pytest.raises(Refused, match="deleteVMSnapshot"):
        cloud.job("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], **sent)
    cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], autoselect=True)
    assert broken() == []


def test_what_makes_no_sense_is_refused(cloud, zone):
    vm = deploy(cloud, zone)
    volume, _ = disk_of(vm)
    for sent, told in (
        ({}, "hostid is missing"),
        ({"hostid": vm["hostid"]}, "already"),
        ({"storageid": zone["pool"]}, "while it is stopped"),
        ({"storageid": zone["pool"], "hostid": vm["hostid"]}, "exclude each other"),
    ):
        with pytest.raises(Refused, match=told):
            cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], **sent)
    sent = {"migrateto[0].volume": volume.uuid, "migrateto[0].pool": volume.uuid}
    with pytest.raises(Refused, match="that there is not"):
        cloud.job("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], **sent)
    cloud.account("ann")
    with pytest.raises(Refused) as no:
        cloud.ask("migrateVirtualMachine", user="ann", virtualmachineid=vm["id"], autoselect=True)
    assert no.value.status == 432
