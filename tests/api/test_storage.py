"""Primary storage over the wire: on simulated hosts, and on KVM hosts that are played."""

import pytest
from sqlalchemy import select

from mgmt_server import db
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Volume
from tests.api.infrastructure import cluster, host, zone_with_pod
from tests.api.test_host import agent, kvm  # noqa: F401  a fixture
from tests.cloud import Refused

URL = "nfs://10.147.28.6:/export/home/sandbox/primary0"


@pytest.fixture
def place(cloud):
    zone, pod = zone_with_pod(cloud)
    made = cluster(cloud, zone, pod)
    host(cloud, zone, pod, made)
    return {"zoneid": zone, "podid": pod, "clusterid": made}


def reached():
    with db.reading() as session:
        return len(session.scalars(select(PoolHost.id)).all())


def test_a_pool_answers_as_the_protocol_says(cloud, place):
    made = cloud.ask("createStoragePool", **place, name="PS0", url=URL, tags="gold")["storagepool"]
    assert made == {
        "id": made["id"], "zoneid": place["zoneid"], "zonename": "east", "podid": place["podid"], "podname": "p1",
        "name": "PS0", "ipaddress": "10.147.28.6", "path": "/export/home/sandbox/primary0", "created": made["created"],
        "type": "NetworkFilesystem", "clusterid": place["clusterid"], "clustername": "c1",
        "capacitybytes": 1099511627776, "disksizetotal": 1099511627776, "disksizeallocated": 0, "disksizeused": 0,
        "tags": "gold", "istagarule": False, "state": "Up", "scope": "CLUSTER", "overprovisionfactor": "2.0",
        "hypervisor": "Simulator", "provider": "DefaultPrimary", "managed": False, "details": {},
        "storagecapabilities": {"VOLUME_SNAPSHOT_QUIESCEVM": "false"}, "hasannotations": False,
    }  # fmt: skip
    assert reached() == 1
    later = host(cloud, place["zoneid"], place["podid"], place["clusterid"], "http://sim/c1/h2")
    assert cloud.ask("listStoragePools", hostid=later["id"], scope="cluster")["count"] == 1
    (tag,) = cloud.ask("listStorageTags")["storagetag"]
    assert tag["name"] == "gold"


def test_what_is_wrong_with_a_pool_is_told(cloud, place):
    cloud.ask("createStoragePool", **place, name="PS0", url=URL)
    for wrong, told, status in (
        ({"name": "PS1"}, "is storage pool PS0 already", 530),
        ({"url": "nfs://x/y"}, "already exists", 431),
        ({"name": "PS1", "url": "bogus://x/y"}, "storage bogus is not supported", 530),
        ({"name": "PS1", "url": "nfs://x"}, "names no path", 530),
        ({"name": "PS1", "url": "nfs:///y"}, "names no NFS server", 530),
        ({"name": "PS1", "url": "nfs://x/../y"}, "names no path", 530),
        ({"name": "PS1", "scope": "ZONE"}, "clusterid is for scope CLUSTER", 431),
        ({"name": "PS1", "provider": "Fancy"}, "none of DefaultPrimary", 431),
        ({"name": "PS1", "managed": True}, "does not support the parameter managed", 431),
    ):
        with pytest.raises(Refused, match=told) as no:
            cloud.ask("createStoragePool", **{**place, "name": "PS0", "url": URL, **wrong})
        assert no.value.status == status
    with pytest.raises(Refused, match="hypervisor is missing"):
        cloud.ask("createStoragePool", zoneid=place["zoneid"], name="z", url="nfs://x/z")
    zone = cloud.ask("createStoragePool", zoneid=place["zoneid"], name="z", url="nfs://x/z", hypervisor="simulator")
    assert zone["storagepool"]["scope"] == "ZONE" and cloud.ask("listStoragePools")["count"] == 2


def test_maintenance_and_the_end(cloud, place):
    made = cloud.ask("createStoragePool", **place, name="PS0", url=URL)["storagepool"]["id"]
    off = cloud.ask("updateStoragePool", id=made, enabled=False, tags="a,b", capacitybytes=10)["storagepool"]
    assert (off["state"], off["tags"], off["capacitybytes"]) == ("Disabled", "a,b", 10)
    with pytest.raises(Refused, match="only one that is Up goes into maintenance, enable it"):
        cloud.job("enableStorageMaintenance", id=made)
    with pytest.raises(Refused, match="is Disabled: enable it with updateStoragePool, then call enable"):
        cloud.ask("deleteStoragePool", id=made)
    cloud.ask("updateStoragePool", id=made, enabled=True)
    with pytest.raises(Refused, match="call enableStorageMaintenance first") as no:
        cloud.ask("deleteStoragePool", id=made)
    assert no.value.status == 431
    assert cloud.job("enableStorageMaintenance", id=made)["storagepool"]["state"] == "Maintenance"
    assert cloud.job("cancelStorageMaintenance", id=made)["storagepool"]["state"] == "Up"
    cloud.job("enableStorageMaintenance", id=made)
    db.write(_disk, made)
    with pytest.raises(Refused, match=r"disks are on pool PS0 \(data1\)"):
        cloud.ask("deleteStoragePool", id=made, forced=True)
    db.write(lambda tx: tx.query(Volume).delete())
    assert cloud.ask("deleteStoragePool", id=made) == {"success": True}
    cloud.work()
    assert cloud.ask("listStoragePools") == {} and reached() == 0
    cloud.ask("createStoragePool", **place, name="PS0", url=URL)


def _disk(tx, pool):
    row = tx.scalar(select(Pool).where(Pool.uuid == pool))
    tx.add(Volume(name="data1", size=1, zone_id=row.zone_id, pool_id=row.id, account_id=2, domain_id=1))


def test_a_wrong_path_is_refused_where_hosts_are_real(cloud, kvm):  # noqa: F811
    zone, pod = zone_with_pod(cloud)
    made = cluster(cloud, zone, pod, "k", "KVM")
    uuid = agent(kvm)
    host(cloud, zone, pod, made, "http://kvm1", hypervisor="KVM")
    cloud.work()
    sent = {"zoneid": zone, "podid": pod, "clusterid": made, "name": "PS0"}
    kvm.broken["/wrong"] = "mount.nfs: No such file or directory"
    with pytest.raises(Refused, match="host kvm1.example says: mount.nfs: No such file") as no:
        cloud.ask("createStoragePool", **sent, url="nfs://192.0.2.9/wrong")
    assert no.value.status == 530 and cloud.ask("listStoragePools") == {}
    good = cloud.ask("createStoragePool", **sent, url="nfs://192.0.2.9/right")["storagepool"]
    assert (good["disksizetotal"], good["disksizeused"]) == (100 << 30, 7 << 30)
    cloud.work()
    assert kvm.pools == [(uuid, "/right"), (uuid, "/right")] and reached() == 1
    with pytest.raises(Refused, match="storage presetup is not supported: use nfs, file"):
        cloud.ask("createStoragePool", **{**sent, "name": "x"}, url="presetup://x/y")
    cloud.job("enableStorageMaintenance", id=good["id"])
    cloud.ask("deleteStoragePool", id=good["id"])
    cloud.work()
    assert (uuid, "/right") in kvm.pools and len(kvm.pools) == 1  # added twice, taken off once


def test_a_name_that_is_taken_leaves_no_pool_on_the_host(cloud, kvm):  # noqa: F811
    zone, pod = zone_with_pod(cloud)
    made = cluster(cloud, zone, pod, "k", "KVM")
    agent(kvm)
    host(cloud, zone, pod, made, "http://kvm1", hypervisor="KVM")
    cloud.work()
    sent = {"zoneid": zone, "podid": pod, "clusterid": made, "name": "PS0"}
    cloud.ask("createStoragePool", **sent, url="nfs://192.0.2.9/one")
    with pytest.raises(Refused, match="already exists"):
        cloud.ask("createStoragePool", **sent, url="nfs://192.0.2.9/two")
    assert [p for _, p in kvm.pools] == ["/one"]
