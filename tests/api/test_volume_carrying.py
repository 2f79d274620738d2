"""Disks between pools that no host reaches together: they go over secondary storage."""

import pytest
from sqlalchemy import func, select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import Unavailable
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedFile
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.vm import Volume
from tests.api import test_volume
from tests.api.test_leftovers import later
from tests.api.test_volume import at, create, deploy, disk, promised, row, second_pool, shown
from tests.cloud import Refused

zone = test_volume.zone


@pytest.fixture
def local(cloud, zone):
    """Each host's own pool by the host's uuid, and an offering for disks there."""
    with reading() as session:
        hosts = list(session.scalars(select(Host).order_by(Host.id)))
    pools = {h.uuid: second_pool(zone, f"local-{h.id}", [h.id], scope="HOST", host_id=h.id) for h in hosts}
    zone["local"] = cloud.ask("createDiskOffering", name="near", disksize=5, storagetype="local")["diskoffering"]["id"]
    return pools


def kept():
    """Files on secondary storage."""
    with reading() as session:
        return session.scalar(select(func.count()).select_from(SimulatedFile))


def apart(cloud, zone, local):
    """A disk with content on one host's own pool, and a machine on the other host."""
    vm = deploy(cloud, zone)
    (far,) = [uuid for uuid in local if uuid != vm["hostid"]]
    volume = create(cloud, zone, diskofferingid=zone["local"], storageid=local[far])
    write(simulator.touch, local[far], row(volume).path)
    return vm, volume, far


@pytest.mark.parametrize("running", [True, False])
def test_a_disk_on_one_hosts_own_pool_is_attached_on_another_host(cloud, zone, local, running):
    vm, volume, far = apart(cloud, zone, local)
    content, files = disk(volume)[2], kept()
    if not running:
        cloud.job("stopVirtualMachine", id=vm["id"])
        write(lambda tx: tx.execute(update(Host).where(Host.uuid == far).values(resource_state="Disabled")))
    cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])
    pool = local[vm["hostid"]] if running else disk(volume)[0]
    assert disk(volume) == (pool, 5 * 2**30, content) and kept() == files
    assert shown(cloud, volume)["state"] == "Ready"
    if running:
        assert row(volume).path in at(vm)
    with reading() as session:
        taken = dict(session.execute(select(Pool.uuid, Pool.allocated)).all())
    assert [taken[p] for p in local.values() if p != pool] == [0] and taken[pool] == 5 * 2**30


@pytest.mark.parametrize("step", ["save_disk", "load_disk", "attach_disk"])
def test_a_move_over_secondary_storage_that_fails_leaves_the_disk_where_it_was(cloud, zone, local, step):
    vm, volume, far = apart(cloud, zone, local)
    lies, before, files = disk(volume), promised(), kept()
    cloud.ask("configureSimulator", zoneid=zone["zone"], name=step, value="fail:no", count=1)
    with pytest.raises(Refused, match="no"):
        cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])
    assert (disk(volume), promised(), kept()) == (lies, before, files)
    assert (shown(cloud, volume)["state"], row(volume).vm_id) == ("Ready", None)
    cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])
    assert disk(volume)[2] == lies[2]


def test_a_detached_disk_moves_between_hosts_own_pools(cloud, zone, local):
    _, volume, far = apart(cloud, zone, local)
    other = next(p for h, p in local.items() if h != far)
    told = cloud.ask("findStoragePoolsForMigration", id=volume["id"])["storagepool"]
    assert {p["id"]: p["suitableformigration"] for p in told} == {other: True, zone["pool"]: False}
    content = disk(volume)[2]
    moved = cloud.job("migrateVolume", volumeid=volume["id"], storageid=other)["volume"]
    assert moved["storageid"] == other and disk(volume) == (other, 5 * 2**30, content)


@pytest.mark.parametrize("fails", [True, False])
def test_what_carried_a_disk_goes_later_from_a_store_that_does_not_answer(cloud, zone, local, monkeypatch, fails):
    _, volume, far = apart(cloud, zone, local)
    other = next(p for h, p in local.items() if h != far)
    content, files = disk(volume)[2], kept()

    def silent(*_):
        raise Unavailable("the store does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(simulator, "remove", silent)
        if fails:
            cloud.ask("configureSimulator", zoneid=zone["zone"], name="load_disk", value="fail:no", count=1)
            with pytest.raises(Refused, match="load_disk: no"):
                cloud.job("migrateVolume", volumeid=volume["id"], storageid=other)
        else:
            cloud.job("migrateVolume", volumeid=volume["id"], storageid=other)
        assert disk(volume) == (local[far] if fails else other, 5 * 2**30, content)
        later(cloud)
        assert kept() == files + 1, "it does not answer yet"
    later(cloud)
    assert kept() == files and disk(volume)[2] == content


def test_a_stopped_machines_disks_move_between_hosts_own_pools(cloud, zone, local):
    offering = cloud.ask(
        "createServiceOffering", name="near", displaytext="x", cpunumber=1, cpuspeed=100, memory=256,
        storagetype="local",
    )["serviceoffering"]["id"]  # fmt: skip
    vm = deploy(cloud, zone, serviceofferingid=offering)
    cloud.job("stopVirtualMachine", id=vm["id"])
    with reading() as session:
        root = session.scalar(select(Volume).where(Volume.kind == "ROOT"))
    other = next(p for h, p in local.items() if h != vm["hostid"])
    lies = disk({"id": root.uuid})
    cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], storageid=other)
    assert disk({"id": root.uuid}) == (other, *lies[1:])
    started = cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]
    assert local[started["hostid"]] == other


def test_without_secondary_storage_such_a_move_is_refused(cloud, zone, local):
    vm, volume, _ = apart(cloud, zone, local)
    write(lambda tx: tx.execute(update(ImageStore).values(readonly=True)))
    with pytest.raises(Refused, match="no secondary storage with room over which the disk could go"):
        cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])
    assert shown(cloud, volume)["state"] == "Ready" and row(volume).vm_id is None
