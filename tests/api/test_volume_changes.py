"""Disks that change: size, offering, pool, owner."""

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.model.account import Account
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk
from mgmt_server.model.storage import Pool as PoolRow
from tests.api import test_volume
from tests.api.test_volume import at, create, deploy, disk, promised, row, second_pool, shown
from tests.api.test_volume_content import a_snapshot, recounted
from tests.cloud import Refused

GIB = 2**30
zone = test_volume.zone


def calls(monkeypatch, name):
    """What the storage driver is asked by that name."""
    told = []
    real = getattr(simulator.SimulatedStorage, name)

    def seen(self, *args):
        told.append(args[1:])
        return real(self, *args)

    monkeypatch.setattr(simulator.SimulatedStorage, name, seen)
    return told


def test_a_disk_grows_while_its_machine_runs(cloud, zone):
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, diskofferingid=zone["custom"], size=3, virtualmachineid=vm["id"])
    before = promised()
    assert cloud.job("resizeVolume", id=volume["id"], size=7)["volume"]["size"] == 7 * GIB
    assert disk(volume)[1] == 7 * GIB
    assert promised()[0][0][1] == before[0][0][1] + 4 * GIB
    with pytest.raises(Refused, match="shrinkok=true"):
        cloud.job("resizeVolume", id=volume["id"], size=2)
    with pytest.raises(Refused, match="only while no machine runs"):
        cloud.job("resizeVolume", id=volume["id"], size=3, shrinkok=True)
    cloud.job("stopVirtualMachine", id=vm["id"])
    assert cloud.job("resizeVolume", id=volume["id"], size=3, shrinkok=True)["volume"]["size"] == 3 * GIB
    cloud.job("startVirtualMachine", id=vm["id"])
    assert promised() == before


def test_a_growth_that_fails_gives_everything_back(cloud, zone):
    volume = create(cloud, zone, diskofferingid=zone["custom"], size=3, storageid=zone["pool"])
    before = promised()
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="resize_disk", value="fail:no", count=1)
    with pytest.raises(Refused, match="no"):
        cloud.job("resizeVolume", id=volume["id"], size=9)
    assert (shown(cloud, volume)["state"], shown(cloud, volume)["size"]) == ("Ready", 3 * GIB)
    assert promised() == before


def test_a_disk_does_not_grow_beyond_pool_or_limit(cloud, zone):
    cloud.account("ann")
    with reading() as session:
        ann = session.scalar(select(Account).where(Account.name == "ann"))
    volume = create(cloud, zone, user="ann", diskofferingid=zone["custom"], size=3)
    cloud.ask("updateResourceLimit", account="ann", domainid=1, resourcetype=10, max=5)
    with pytest.raises(Refused, match="Maximum amount of resources of type primary_storage"):
        cloud.job("resizeVolume", user="ann", id=volume["id"], size=6)
    assert cloud.job("resizeVolume", user="ann", id=volume["id"], size=5)["volume"]["size"] == 5 * GIB
    assert ann.id and shown(cloud, volume)["state"] == "Allocated"
    mine = create(cloud, zone, diskofferingid=zone["custom"], size=3, storageid=zone["pool"])
    write(lambda tx: tx.execute(update(PoolRow).values(capacity=5 * GIB, overprovision=1.0)))
    before = promised()
    with pytest.raises(Refused, match="lacks room for 4096 MiB more"):
        cloud.job("resizeVolume", id=mine["id"], size=7)
    assert promised() == before and shown(cloud, mine)["state"] == "Ready"


def test_a_fixed_offering_is_changed_for_another_and_its_limits_hold_at_once(cloud, zone, monkeypatch):
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, virtualmachineid=vm["id"])
    fast = cloud.ask(
        "createDiskOffering", name="fast", disksize=8, bytesreadrate=1000, bytesreadratemax=3000,
        bytesreadratemaxlength=7, iopswriterate=50,
    )["diskoffering"]["id"]  # fmt: skip
    with pytest.raises(Refused, match="has a size of its own"):
        cloud.job("resizeVolume", id=volume["id"], size=9)
    limited = calls(monkeypatch, "limit_disk")
    changed = cloud.job("changeOfferingForVolume", id=volume["id"], diskofferingid=fast)["volume"]
    assert (changed["size"], changed["diskofferingid"], changed["diskBytesReadRate"]) == (8 * GIB, fast, 1000)
    assert limited[0][1].limits == {
        "bytes_read": 1000, "bytes_read_max": 3000, "bytes_read_max_length": 7, "iops_write": 50,
    }  # fmt: skip


def test_operations_a_second_reach_the_disk(cloud, zone, monkeypatch):
    made = calls(monkeypatch, "create_disk")
    iops = cloud.ask("createDiskOffering", name="iops", disksize=2, customizediops=True)["diskoffering"]["id"]
    volume = create(cloud, zone, diskofferingid=iops, miniops=10, maxiops=90, storageid=zone["pool"])
    assert (volume["miniops"], volume["maxiops"]) == (10, 90)
    assert made[0][1].operations_per_second == 90


def test_a_disk_moves_between_pools_with_its_content(cloud, zone):
    other = second_pool(zone)
    volume = create(cloud, zone, storageid=zone["pool"])
    write(simulator.touch, zone["pool"], row(volume).path)
    content, before = disk(volume)[2], promised()
    (found,) = cloud.ask("findStoragePoolsForMigration", id=volume["id"])["storagepool"]
    assert (found["id"], found["suitableformigration"]) == (other, True)
    moved = cloud.job("migrateVolume", volumeid=volume["id"], storageid=other)["volume"]
    assert moved["storageid"] == other and disk(volume) == (other, 5 * GIB, content)
    cloud.job("migrateVolume", volumeid=volume["id"], storageid=zone["pool"])
    assert promised() == before


def test_a_disk_moves_while_its_machine_runs_when_that_is_asked_for(cloud, zone, monkeypatch):
    other = second_pool(zone)
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, virtualmachineid=vm["id"], storageid=zone["pool"])
    with pytest.raises(Refused, match="livemigrate=true"):
        cloud.job("migrateVolume", volumeid=volume["id"], storageid=other)
    moves = calls(monkeypatch, "move_disk")
    cloud.job("migrateVolume", volumeid=volume["id"], storageid=other, livemigrate=True)
    assert len(moves) == 1 and disk(volume)[0] == other
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="move_disk", value="fail:no", count=1)
    before = promised()
    with pytest.raises(Refused):
        cloud.job("migrateVolume", volumeid=volume["id"], storageid=zone["pool"], livemigrate=True)
    assert (shown(cloud, volume)["state"], disk(volume)[0], promised()) == ("Ready", other, before)


def test_a_disk_that_a_host_does_not_reach_is_moved_when_it_is_attached(cloud, zone):
    vm = deploy(cloud, zone)
    with reading() as session:
        here = session.scalar(select(Host.uuid).where(Host.name == vm["hostname"]))
        away = session.scalar(select(Host).where(Host.uuid != here))
    local = second_pool(zone, "local", [away.id], scope="HOST", type="Filesystem", host_id=away.id)
    volume = create(cloud, zone, storageid=local)
    content = disk(volume)[2]
    attached = cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])["volume"]
    assert attached["storageid"] == zone["pool"] and disk(volume) == (zone["pool"], 5 * GIB, content)
    assert row(volume).path in at(vm)


def test_a_disk_goes_to_another_account_with_what_it_counts_for(cloud, zone):
    cloud.account("ann")
    volume = create(cloud, zone, storageid=zone["pool"])
    with reading() as session:
        ann = session.scalar(select(Account.uuid).where(Account.name == "ann"))
    assert cloud.ask("assignVolume", volumeid=volume["id"], accountid=ann)["volume"]["account"] == "ann"
    assert cloud.ask("listVolumes", user="ann")["volume"][0]["id"] == volume["id"] and recounted()
    vm = deploy(cloud, zone)
    mine = create(cloud, zone, virtualmachineid=vm["id"])
    with pytest.raises(Refused, match="attached to a machine"):
        cloud.ask("assignVolume", volumeid=mine["id"], accountid=ann)
    a_snapshot(volume, zone)
    with reading() as session:
        admin = session.scalar(select(Account.uuid).where(Account.name == "admin"))
    with pytest.raises(Refused, match="has snapshots"):
        cloud.ask("assignVolume", volumeid=volume["id"], accountid=admin)


def test_an_offering_whose_tags_the_pool_lacks_needs_a_move(cloud, zone):
    other = second_pool(zone, "ssd", tags="ssd")
    volume = create(cloud, zone, storageid=zone["pool"])
    fast = cloud.ask("createDiskOffering", name="ssd", disksize=5, tags="ssd")["diskoffering"]["id"]
    with pytest.raises(Refused, match="automigrate=true"):
        cloud.job("changeOfferingForVolume", id=volume["id"], diskofferingid=fast)
    changed = cloud.job("changeOfferingForVolume", id=volume["id"], diskofferingid=fast, automigrate=True)["volume"]
    assert (changed["storageid"], changed["diskofferingid"], changed["state"]) == (other, fast, "Ready")
    assert disk(volume)[0] == other


def test_the_refusal_of_a_move_names_a_disabled_pool_that_would_do(cloud, zone):
    other = second_pool(zone, "ssd", tags="ssd")
    volume = create(cloud, zone, storageid=zone["pool"])
    fast = cloud.ask("createDiskOffering", name="ssd", disksize=5, tags="ssd")["diskoffering"]["id"]
    cloud.ask("updateStoragePool", id=other, enabled=False)
    with pytest.raises(Refused, match="pool ssd is Disabled"):
        cloud.job("changeOfferingForVolume", id=volume["id"], diskofferingid=fast, automigrate=True)
    assert shown(cloud, volume)["state"] == "Ready"


def test_no_disk_of_a_simulated_pool_is_left_over(cloud, zone):
    vm = deploy(cloud, zone)
    one, two = create(cloud, zone, virtualmachineid=vm["id"]), create(cloud, zone, storageid=zone["pool"])
    cloud.job("detachVolume", id=one["id"])
    for volume in (one, two):
        cloud.job("destroyVolume", id=volume["id"], expunge=True)
    with reading() as session:
        paths = {row(v).path for v in (one, two)}
        assert session.scalar(select(SimulatedDisk.id).where(SimulatedDisk.name.in_(paths))) is None
