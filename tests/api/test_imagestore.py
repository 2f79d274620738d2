"""Secondary storage over the wire."""

import subprocess

import pytest
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.drivers.image.system import install_system
from mgmt_server.model.storage import ImageStore, TemplateOnStore
from mgmt_server.model.zone import Zone
from mgmt_server.resources.imagestore import timers
from mgmt_server.resources.template.flows import stores_of
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.cloud import Refused

URL = "nfs://10.147.28.6:/export/home/sandbox/secondary"


@pytest.fixture
def kvm_zone(cloud):
    zone, pod = zone_with_pod(cloud)
    cluster(cloud, zone, pod, "k", "KVM")
    return zone


def ready():
    with db.reading() as session:
        return {(t.template_id, t.state, t.path) for t in session.query(TemplateOnStore)}


def test_a_simulated_store_is_never_contacted(cloud):
    zone, pod = zone_with_pod(cloud)
    made = cluster(cloud, zone, pod)
    host(cloud, zone, pod, made)
    store = cloud.ask("addImageStore", zoneid=zone, provider="NFS", url=URL)["imagestore"]
    assert store == {
        "id": store["id"], "zoneid": zone, "zonename": "east", "name": URL, "url": URL, "protocol": "nfs",
        "providername": "NFS", "scope": "ZONE", "readonly": False, "hasannotations": False,
    }  # fmt: skip
    assert cloud.ask("listImageStores", zoneid=zone, protocol="nfs")["imagestore"] == [store]
    other = cloud.ask("addSecondaryStorage", zoneid=zone, url=URL + "2")
    assert list(other) == ["secondarystorage"]
    with pytest.raises(Refused, match="is secondary storage already"):
        cloud.ask("addSecondaryStorage", zoneid=zone, url=URL)
    changed = cloud.ask("updateImageStore", id=store["id"], readonly=True, name="s")["imagestore"]
    (told,) = cloud.ask("listEvents", type="IMAGE.STORE.ACCESS.UPDATED")["event"]
    assert (told["resourcetype"], told["resourceid"]) == ("ImageStore", store["id"])
    assert (changed["readonly"], changed["name"]) == (True, "s")
    assert cloud.ask("deleteImageStore", id=store["id"]) == {"success": True}
    assert cloud.ask("listImageStores")["count"] == 1


def test_a_real_store_is_tried_and_measured(cloud, kvm_zone, tmp_path):
    place = tmp_path / "store"
    place.mkdir()
    store = cloud.ask("addImageStore", zoneid=kvm_zone, provider="NFS", url=f"file://{place}")["imagestore"]
    assert store["disksizetotal"] > store["disksizeused"] > 0 and not list(place.iterdir())
    assert ready() == set()


def test_which_store_is_written_to_first(cloud, kvm_zone):
    def add(tx):
        number = tx.scalar(select(Zone.id))
        for name, used in (("full", 8), ("empty", 1), ("half", 5)):
            tx.add(
                ImageStore(name=name, url=f"file:///{name}", protocol="file", zone_id=number, capacity=10, used=used)
            )

    def order():
        with db.reading() as session:
            return tuple(s.name for s in stores_of(session, session.scalar(select(Zone.id))))

    db.write(add)
    assert {order() for _ in range(20)} == {("empty", "half", "full")}
    cloud.ask("updateConfiguration", name="image.store.allocation.algorithm", value="random")
    assert len({order() for _ in range(60)}) > 1
    with pytest.raises(Refused, match="choose firstfitleastconsumed, random"):
        cloud.ask("updateConfiguration", name="image.store.allocation.algorithm", value="newest")


def test_a_system_image_is_found_at_once_or_later(cloud, kvm_zone, tmp_path):
    image = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "8M"], check=True)
    for name in ("early", "late"):
        (tmp_path / name).mkdir()
    install_system(image, f"file://{tmp_path}/early")
    cloud.ask("addImageStore", zoneid=kvm_zone, provider="NFS", url=f"file://{tmp_path}/early")
    ((number, state, path),) = ready()
    assert (number, state) == (3, "Ready") and (tmp_path / "early" / path).is_file()
    cloud.ask("addImageStore", zoneid=kvm_zone, provider="NFS", url=f"file://{tmp_path}/late")
    assert len(ready()) == 1
    install_system(image, f"file://{tmp_path}/late")
    with db.reading() as session:
        stores = list(session.query(ImageStore))
    timers.measure(stores)
    with db.reading() as session:
        assert session.query(TemplateOnStore).count() == 2


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"url": "nfs://127.0.0.1/export"}, "the store cannot be used: .*127.0.0.1/export"),
        ({"url": "file:///nowhere/at/all"}, "there is no folder /nowhere/at/all"),
        ({"url": "ftp://x/y"}, "is no store: write nfs"),
        ({"url": "nfs://x"}, "names no path"),
        ({"url": ""}, "url is missing"),
        ({"provider": "Swift"}, "provider=Swift is not supported"),
        ({"details[0].key": "a", "details[0].value": "b"}, "does not support the parameter details"),
    ],
)
def test_what_is_wrong_with_a_store_is_told(cloud, kvm_zone, wrong, told):
    with pytest.raises(Refused, match=told) as no:
        cloud.ask("addImageStore", **{"zoneid": kvm_zone, "provider": "NFS", "url": URL, **wrong})
    assert no.value.status == 431 and cloud.ask("listImageStores") == {}


def test_providers(cloud):
    (one,) = cloud.ask("listStorageProviders", type="primary")["dataStoreProvider"]
    assert one == {"name": "DefaultPrimary", "type": "PRIMARY"}
    with pytest.raises(Refused, match="neither primary nor image"):
        cloud.ask("listStorageProviders", type="x")
