"""Secondary storage: what lies on it, links to its files, and images that move from store to store."""

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import Unavailable
from mgmt_server.model.account import Account
from mgmt_server.model.simulator import SimulatedFile
from mgmt_server.model.snapshot import SnapshotOnStore
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.transfer import ExtractLink
from mgmt_server.model.zone import Cluster
from mgmt_server.resources.imagestore import timers
from mgmt_server.resources.transfer.links import target_of
from tests.api import test_snapshot
from tests.api.test_leftovers import later
from tests.api.test_snapshot import deploy, snap, touch
from tests.cloud import Refused
from tests.counts import counts

zone = test_snapshot.zone
MIB = 1 << 20


def store(cloud, zone, name="second", **more):
    return cloud.ask("addImageStore", zoneid=zone["zone"], provider="NFS", url=f"nfs://192.0.2.7/{name}", **more)[
        "imagestore"
    ]["id"]


def where(table):
    """Stores by uuid of all rows of a kind."""
    with reading() as session:
        return list(
            session.scalars(select(ImageStore.uuid).join(table, table.store_id == ImageStore.id).order_by(table.id))
        )


def contents(url):
    with reading() as session:
        rows = select(SimulatedFile.name, SimulatedFile.content).where(SimulatedFile.place == simulator.place_of(url))
        return dict(session.execute(rows).all())


def url_of(uuid):
    with reading() as session:
        return session.scalar(select(ImageStore.url).where(ImageStore.uuid == uuid))


@pytest.fixture
def filled(cloud, zone):
    """A disk with two snapshots of which one stands on the other, and a template made of one."""
    _, disk = deploy(cloud, zone)
    first = snap(cloud, disk)
    touch(disk)
    second = snap(cloud, disk)
    os_type = cloud.ask("listOsTypes", page=1, pagesize=1)["ostype"][0]["id"]
    sent = {"name": "made", "displaytext": "x", "ostypeid": os_type, "snapshotid": first["id"]}
    template = cloud.job("createTemplate", **sent)["template"]["id"]
    return {"disk": disk, "first": first["id"], "second": second["id"], "template": template}


def test_a_store_is_emptied_into_another_one(cloud, zone, filled):
    there, before, held = store(cloud, zone), counts(), contents(url_of(zone["store"]))
    link = cloud.job("extractTemplate", id=filled["template"], mode="HTTP_DOWNLOAD", zoneid=zone["zone"])["template"]
    told = cloud.job("migrateSecondaryStorageData", srcpool=zone["store"], destpools=there)["imagestore"]
    assert (told["success"], told["migrationtype"]) == (True, "COMPLETE") and "have moved" in told["message"]
    assert set(where(SnapshotOnStore)) == {there}
    with reading() as session:
        rows = select(TemplateOnStore.store_id).join(Template, Template.id == TemplateOnStore.template_id)
        (place,) = session.scalars(rows.where(Template.uuid == filled["template"]))
        assert session.get(ImageStore, place).uuid == there
        target = target_of(session, link["url"].split("/userdata/")[1].partition("/")[0])
    assert target.store == url_of(there) and counts() == before
    assert contents(url_of(there)).items() >= held.items()
    assert not {n for n in contents(url_of(zone["store"])) if not n.startswith("template/tmpl/1/")}
    (source,) = cloud.ask("listImageStores", id=zone["store"])["imagestore"]
    assert source["readonly"] is True
    volume = cloud.job("createVolume", name="v", snapshotid=filled["second"])["volume"]
    assert volume["state"] == "Ready"
    touch(filled["disk"])
    assert snap(cloud, filled["disk"])["state"] == "BackedUp" and set(where(SnapshotOnStore)) == {there}


def test_single_templates_and_snapshots_move(cloud, zone, filled):
    there = store(cloud, zone)
    move = {"srcpool": zone["store"], "destpool": there}
    with pytest.raises(Refused, match="say what shall move"):
        cloud.job("migrateResourceToAnotherSecondaryStorage", **move)
    cloud.job("migrateResourceToAnotherSecondaryStorage", **move, snapshots=filled["second"])
    assert where(SnapshotOnStore) == [there, there]  # the one below moves along
    with pytest.raises(Refused, match="is not on secondary storage"):
        cloud.job("migrateResourceToAnotherSecondaryStorage", **move, snapshots=filled["second"])
    told = cloud.job("migrateResourceToAnotherSecondaryStorage", **move, templates=filled["template"])["imagestore"]
    assert told["message"] == "1 images have moved"


def test_what_cannot_be_copied_stays_and_is_told(cloud, zone, filled, monkeypatch):
    from mgmt_server.resources.imagestore import moving

    there, before = store(cloud, zone), (where(SnapshotOnStore), contents(url_of(zone["store"])), counts())
    real, asked = moving.files.copy, []

    def fails(call, order):
        asked.append(order)
        if len(asked) == 2:
            raise Unavailable("the store does not answer")
        real(call, order)

    monkeypatch.setattr(moving.files, "copy", fails)
    sent = {"srcpool": zone["store"], "destpool": there, "snapshots": filled["first"]}
    told = cloud.job("migrateResourceToAnotherSecondaryStorage", **sent)["imagestore"]
    assert told["success"] is False and "the store does not answer" in told["message"]
    assert (where(SnapshotOnStore), contents(url_of(zone["store"])), counts()) == before
    assert contents(url_of(there)) == {}


def left_behind(zone):
    return {n for n in contents(url_of(zone["store"])) if not n.startswith("template/tmpl/1/")}


@pytest.fixture
def silent():
    """Stores delete nothing until this is called."""

    def remove(*_):
        raise Unavailable("the store does not answer")

    context = pytest.MonkeyPatch()
    context.setattr(simulator, "remove", remove)
    yield context.undo
    context.undo()


def test_what_has_moved_stays_moved_and_goes_later_from_a_store_that_does_not_answer(cloud, zone, filled, silent):
    there, held = store(cloud, zone), contents(url_of(zone["store"]))
    told = cloud.job("migrateSecondaryStorageData", srcpool=zone["store"], destpools=there)["imagestore"]
    assert told["success"] is True and set(where(SnapshotOnStore)) == {there}
    assert contents(url_of(there)).items() >= held.items(), "the rows lead there"
    later(cloud)
    assert left_behind(zone), "it does not answer yet"
    silent()
    later(cloud)
    assert left_behind(zone) == set() and contents(url_of(there)).items() >= held.items()


def test_what_has_moved_back_meanwhile_stays(cloud, zone, filled, silent):
    there, held = store(cloud, zone), contents(url_of(zone["store"]))
    move = {"srcpool": zone["store"], "destpool": there, "snapshots": filled["first"]}
    back = {"srcpool": there, "destpool": zone["store"], "snapshots": filled["first"]}
    cloud.job("migrateResourceToAnotherSecondaryStorage", **move)
    cloud.job("migrateResourceToAnotherSecondaryStorage", **back)
    silent()
    later(cloud)
    assert where(SnapshotOnStore) == [zone["store"]] * 2 and contents(url_of(there)) == {}
    assert contents(url_of(zone["store"])) == held


def test_a_template_that_is_there_twice_goes_later_from_a_store_that_does_not_answer(cloud, zone, filled, silent):
    there = store(cloud, zone)
    sent = {"srcpool": zone["store"], "destpool": there, "templates": filled["template"]}

    def again(tx):
        row = tx.scalar(select(TemplateOnStore).join(Template).where(Template.uuid == filled["template"]))
        here = tx.scalar(select(ImageStore.id).where(ImageStore.uuid == zone["store"]))
        kept = {"template_id": row.template_id, "zone_id": row.zone_id, "state": "Ready", "path": row.path}
        tx.add(TemplateOnStore(store_id=here, size=row.size, physical_size=row.physical_size, **kept))

    cloud.job("migrateResourceToAnotherSecondaryStorage", **sent)
    write(again)
    told = cloud.job("migrateResourceToAnotherSecondaryStorage", **sent)["imagestore"]
    assert told["success"] is True
    silent()
    later(cloud)
    assert {n for n in left_behind(zone) if n.startswith("template/")} == set()


def test_sharing_out_moves_only_what_makes_the_fullest_less_full(cloud, zone, filled):
    there = store(cloud, zone)
    write(lambda tx: tx.execute(update(ImageStore).values(capacity=10_000 * MIB)))
    write(lambda tx: tx.execute(update(ImageStore).where(ImageStore.uuid == there).values(used=8990 * MIB)))
    write(lambda tx: tx.execute(update(ImageStore).where(ImageStore.uuid == zone["store"]).values(used=9000 * MIB)))
    sent = {"srcpool": zone["store"], "destpools": there, "migrationtype": "balance"}
    with pytest.raises(Refused, match="Migration not required: these stores are 90%, 90% full"):
        cloud.ask("migrateSecondaryStorageData", **sent)
    cloud.ask("updateConfiguration", name="image.store.imbalance.threshold", value="0")
    told = cloud.job("migrateSecondaryStorageData", **sent)["imagestore"]
    assert told["migrationtype"] == "BALANCE" and set(where(SnapshotOnStore)) == {zone["store"]}
    assert cloud.ask("listImageStores", id=zone["store"])["imagestore"][0]["readonly"] is False
    with pytest.raises(Refused, match="has no room for"):
        cloud.job("migrateSecondaryStorageData", srcpool=zone["store"], destpools=there)
    write(lambda tx: tx.execute(update(ImageStore).where(ImageStore.uuid == there).values(used=0, capacity=1 << 50)))
    cloud.job("migrateSecondaryStorageData", **sent)
    assert set(where(SnapshotOnStore)) == {there}


def test_stores_that_cannot_take_anything_are_refused(cloud, zone):
    there = store(cloud, zone)
    for target, why in ((zone["store"], "name another store"), (there, "is read-only")):
        cloud.ask("updateImageStore", id=there, readonly=True)
        with pytest.raises(Refused, match=why):
            cloud.ask("migrateSecondaryStorageData", srcpool=zone["store"], destpools=target)
    other = cloud.ask("createZone", name="w", networktype="Advanced", dns1="192.0.2.1", internaldns1="192.0.2.1")
    far = cloud.ask("addImageStore", zoneid=other["zone"]["id"], provider="NFS", url="nfs://192.0.2.7/far")
    with pytest.raises(Refused, match="is in another zone"):
        cloud.ask("migrateSecondaryStorageData", srcpool=zone["store"], destpools=far["imagestore"]["id"])


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_of_stores_and_pools_are_told_with_what_they_are(cloud, zone, filled):
    def objects(path="", command="listImageStoreObjects", id=zone["store"]):
        return {o["name"]: o for o in cloud.ask(command, id=id, path=path).get("datastoreobject", [])}

    assert objects()["snapshots"]["isdirectory"] is True
    with reading() as session:
        path = session.scalars(select(SnapshotOnStore.path).order_by(SnapshotOnStore.id)).first()
    folder, _, name = path.rpartition("/")
    found = objects(f"/{folder}/")[name]
    assert found["snapshotid"] == filled["first"] and not found["isdirectory"] and found["size"] > 0
    with pytest.raises(Refused, match="there is no folder"):
        objects("none")
    held = objects("", "listStoragePoolObjects", zone["pool"]).values()
    assert filled["disk"] in {o.get("volumeid") for o in held} and zone["template"] in {
        o.get("templateid") for o in held
    }


def test_a_link_to_a_file_is_the_administrators(cloud, zone, filled):
    with reading() as session:
        path = session.scalars(select(SnapshotOnStore.path)).first()
    told = cloud.job("downloadImageStoreObject", id=zone["store"], path=path)["downloadimagestoreobjectresponse"]
    assert told["extractMode"] == "HTTP_DOWNLOAD" and told["url"].endswith(path.rpartition("/")[2])
    with reading() as session:
        link = session.scalar(select(ExtractLink))
        assert session.get(Account, link.account_id).name == "admin" and not link.temporary and link.path == path
    for wrong in ("snapshots", "none.qcow2", f"{path}/x"):
        with pytest.raises(Refused, match=r"there is no (file|folder)"):
            cloud.job("downloadImageStoreObject", id=zone["store"], path=wrong)
    cloud.ask("updateConfiguration", name="disable.extraction", value="true")
    with pytest.raises(Refused, match="switched off"):
        cloud.ask("downloadImageStoreObject", id=zone["store"], path=path)


def test_links_on_a_store_lead_nowhere(cloud, zone, tmp_path):
    place = tmp_path / "store"
    (place / "sub").mkdir(parents=True)
    (place / "sub/file").write_text("abc")
    (place / "away").symlink_to("/etc")
    write(lambda tx: tx.execute(update(Cluster).values(hypervisor="KVM")))
    (own,) = cloud.ask("addImageStore", zoneid=zone["zone"], provider="NFS", url=f"file://{place}").values()
    listed = cloud.ask("listImageStoreObjects", id=own["id"])["datastoreobject"]
    assert {o["name"]: o["isdirectory"] for o in listed} == {"away": False, "sub": True}
    (file,) = cloud.ask("listImageStoreObjects", id=own["id"], path="sub")["datastoreobject"]
    assert (file["name"], file["size"]) == ("file", 3)
    for wrong in ("away", "..", "sub/../..", "/etc"):
        with pytest.raises(Refused, match="there is no folder"):
            cloud.ask("listImageStoreObjects", id=own["id"], path=wrong)
    cloud.job("downloadImageStoreObject", id=own["id"], path="sub/file")
    with pytest.raises(Refused, match="there is no f"):
        cloud.job("downloadImageStoreObject", id=own["id"], path="away/passwd")


def test_a_stores_size_that_was_told_outlives_its_measurement(cloud, zone, tmp_path):
    write(lambda tx: tx.execute(update(Cluster).values(hypervisor="KVM")))
    (own,) = cloud.ask("addImageStore", zoneid=zone["zone"], provider="NFS", url=f"file://{tmp_path}").values()
    cloud.ask("updateImageStore", id=own["id"], capacitybytes=5 << 30)
    with reading() as session:
        timers.measure([session.scalar(select(ImageStore).where(ImageStore.uuid == own["id"]))])
    assert cloud.ask("listImageStores", id=own["id"])["imagestore"][0]["disksizetotal"] == 5 << 30
