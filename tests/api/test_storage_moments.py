"""A server that dies at each moment of what moves disks and images between storages: the next one ends it, once."""

from sqlalchemy import func, select

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.model.simulator import SimulatedFile
from mgmt_server.model.snapshot import SnapshotOnStore
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.vm import Volume
from tests.api import test_volume, test_volume_carrying, test_volume_moments
from tests.api.test_volume import create, deploy, disk, promised, row, shown
from tests.api.test_volume_moments import lives

zone, dying, local = test_volume.zone, test_volume_moments.dying, test_volume_carrying.local


def files(store=None):
    with reading() as session:
        rows = select(func.count()).select_from(SimulatedFile)
        return session.scalar(rows.where(SimulatedFile.place == simulator.place_of(store)) if store else rows)


def test_a_disk_that_goes_over_secondary_storage(cloud, zone, local, dying):
    here, there = local.values()
    before, told = files(), {}

    def prepare():
        made = create(cloud, zone, diskofferingid=zone["local"], storageid=here)
        write(simulator.touch, here, row(made).path)
        told["content"] = disk(made)[2]
        return made

    def moved(made):
        assert disk(made) == (there, 5 * 2**30, told["content"]) and files() == before
        cloud.job("destroyVolume", id=made["id"], expunge=True)

    def ask(made):
        return cloud.ask("migrateVolume", volumeid=made["id"], storageid=there)

    assert lives(cloud, dying, prepare, ask, moved) > 8


def test_checking_and_letting_go(cloud, zone, dying):
    made = create(cloud, zone, storageid=zone["pool"])

    def checked(made):
        assert shown(cloud, made)["state"] == "Ready"

    assert lives(cloud, dying, lambda: made, lambda m: cloud.ask("checkVolume", id=m["id"], repair="all"), checked) > 5
    before = promised()

    def let_go(made):
        with reading() as session:
            path = session.scalar(select(Volume.path).where(Volume.uuid == made["id"]))
        back = cloud.job("importVolume", path=path, storageid=zone["pool"])["volume"]
        cloud.job("destroyVolume", id=back["id"], expunge=True)
        assert promised() == before

    def gone():
        return create(cloud, zone, storageid=zone["pool"])

    def ask(made):
        return cloud.ask("unmanageVolume", id=made["id"])

    def check(made):
        assert cloud.ask("listVolumes", id=made["id"]) == {}
        let_go(made)

    assert lives(cloud, dying, gone, ask, check) > 2


def test_images_that_move_between_stores(cloud, zone, dying):
    volume = create(cloud, zone, storageid=zone["pool"])
    for _ in range(2):
        cloud.job("createSnapshot", volumeid=volume["id"])
        write(simulator.touch, zone["pool"], row(volume).path)
    second = cloud.ask("addImageStore", zoneid=zone["zone"], provider="NFS", url="nfs://192.0.2.7/second")
    ends = [zone["store"], second["imagestore"]["id"]]
    with reading() as session:
        urls = dict(session.execute(select(ImageStore.uuid, ImageStore.url)).all())
    before = files()

    def ask(ends):
        sent = {"srcpool": ends[0], "destpool": ends[1]}
        found = cloud.ask("listSnapshots", volumeid=volume["id"])["snapshot"][0]["id"]
        return cloud.ask("migrateResourceToAnotherSecondaryStorage", **sent, snapshots=found)

    def moved(made):
        with reading() as session:
            places = select(ImageStore.uuid).join(SnapshotOnStore, SnapshotOnStore.store_id == ImageStore.id)
            assert set(session.scalars(places)) == {made[1]}
        assert files() == before and files(urls[made[0]]) == 0
        ends.reverse()

    assert lives(cloud, dying, lambda: list(ends), ask, moved) > 5


def test_a_snapshot_out_of_one_of_its_machine(cloud, zone, dying):
    vm = deploy(cloud, zone)
    (root,) = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    kept = cloud.job("createVMSnapshot", virtualmachineid=vm["id"])["vmsnapshot"]

    def ask(_):
        return cloud.ask("createSnapshotFromVMSnapshot", volumeid=root["id"], vmsnapshotid=kept["id"])

    def made(_):
        (snapshot,) = cloud.ask("listSnapshots", volumeid=root["id"])["snapshot"]
        assert snapshot["state"] == "BackedUp"
        cloud.job("deleteSnapshot", id=snapshot["id"])

    assert lives(cloud, dying, lambda: None, ask, made) > 4
