"""Lists with figures, as the recorded answers show them."""

import pytest
from sqlalchemy import select, update

from mgmt_server import db
from mgmt_server.api.command import registry
from mgmt_server.model import settings
from mgmt_server.model.host import Host
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm
from tests.cloud import Refused
from tests.simulated import build

MARKS = [f"{k}{m}threshold" for k in ("cpu", "memory") for m in ("", "disable", "allocated", "allocateddisable")]
GIB = 2**30
PLAIN = {
    "listZonesMetrics": "zone", "listClustersMetrics": "cluster", "listHostsMetrics": "host",
    "listStoragePoolsMetrics": "storagepool", "listVirtualMachinesMetrics": "virtualmachine",
    "listVolumesMetrics": "volume",
}  # fmt: skip


@pytest.fixture
def zone(cloud):
    """Two hosts of 32 GHz and 8 GiB, of which the first has 3.6 GHz and 2.25 GiB promised, the second 2.5 GiB."""
    found = build(hosts=2)
    found["hosts"] = found["hosts"].split(",")
    offering = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    sent = {"zoneid": found["zone"], "templateid": found["template"], "serviceofferingid": offering}
    found["vm"] = cloud.job("deployVirtualMachine", name="one", **sent)["virtualmachine"]["id"]

    def promise(tx):
        for uuid, cpu, memory in zip(found["hosts"], (3600, 0), (2.25, 2.5), strict=True):
            mine = update(Host).where(Host.uuid == uuid)
            tx.execute(mine.values(cpu_used=cpu, memory_used=int(memory * GIB), statistics={}))
        tx.execute(update(Pool).values(capacity=1024 * GIB, allocated=62 * GIB, used=0, overprovision=2.0))

    db.write(promise)
    return found


def measure(zone, cpu=50.0, memory=GIB):
    seen = {"cpu_used": cpu, "memory_used": memory, "load": 1.0, "network_read": 32768, "network_written": 16384}
    db.write(lambda tx: tx.execute(update(Host).where(Host.uuid == zone["hosts"][0]).values(statistics=seen)))


@pytest.mark.parametrize(("name", "key"), PLAIN.items())
def test_a_list_with_figures_tells_all_that_the_plain_one_tells(cloud, zone, name, key):
    plain = cloud.ask(name.removesuffix("Metrics"), listall=True)
    found = cloud.ask(name, listall=True)
    assert found["count"] == plain["count"] and plain[key]
    for one, more in zip(plain[key], found[key], strict=True):
        assert {k: more.get(k) for k in one} == one and len(more) > len(one)
    have = {p.name for p in registry[name.removesuffix("Metrics")].parameters}
    assert {p.name for p in registry[name].parameters} == have
    assert cloud.ask(name, keyword="nothing has this name") == {}


def test_hosts(cloud, zone):
    first = select(Host.id).where(Host.uuid == zone["hosts"][0]).scalar_subquery()
    db.write(lambda tx: tx.execute(update(Vm).where(Vm.uuid == zone["vm"]).values(host_id=first)))
    (one,) = cloud.ask("listHostsMetrics", id=zone["hosts"][0])["host"]
    recorded = {
        "powerstate": "Disabled", "cputotalghz": "32.00 Ghz", "cpuallocatedghz": "3.60 Ghz",
        "memorytotalgb": "8.00 GB", "memoryallocatedgb": "2.25 GB", **dict.fromkeys(MARKS, False),
    }  # fmt: skip
    assert {k: one.get(k) for k in recorded} == recorded and one["instances"].endswith("1 / 1")
    assert "cpuusedghz" not in one, "nothing was measured"
    measure(zone)
    (one,) = cloud.ask("listHostsMetrics", id=zone["hosts"][0])["host"]
    told = {"cpuusedghz": "16.00 Ghz", "memoryusedgb": "1.00 GB", "networkread": "0.03 GB", "networkwrite": "0.02 GB"}
    assert {k: one[k] for k in told} == told


def test_marks_follow_the_settings_of_the_cluster(cloud, zone):
    def marked():
        (one,) = cloud.ask("listHostsMetrics", id=zone["hosts"][0])["host"]
        return {m for m in MARKS if one[m]}

    def share(name, value):
        cloud.ask("updateConfiguration", name=f"cluster.{name}", value=value, clusterid=zone["cluster"])
        settings.forget()

    share("memory.allocated.capacity.notificationthreshold", 0.28)
    assert marked() == {"memoryallocatedthreshold"}
    share("memory.allocated.capacity.disablethreshold", 0.281)
    assert marked() == {"memoryallocatedthreshold", "memoryallocateddisablethreshold"}
    measure(zone, cpu=80.0, memory=0)
    assert marked() == {"memoryallocatedthreshold", "memoryallocateddisablethreshold", "cputhreshold"}
    measure(zone, cpu=90.0, memory=0)
    assert "cpudisablethreshold" in marked()


def test_clusters_and_zones(cloud, zone):
    (found,) = cloud.ask("listClustersMetrics")["cluster"]
    recorded = {
        "state": "Enabled", "hosts": "2 / 2", "cputotal": "64.00 Ghz", "cpuallocated": "5.62%",
        "memorytotal": "16.00 GB", "memoryallocated": "29.69%", "drsimbalance": "5.26%", **dict.fromkeys(MARKS, False),
    }  # fmt: skip
    assert {k: found.get(k) for k in recorded} == recorded and not {"cpuused", "capacity"} & found.keys()
    measure(zone)
    db.write(lambda tx: tx.execute(update(Host).where(Host.uuid == zone["hosts"][1]).values(state="Down")))
    (found,) = cloud.ask("listZonesMetrics", showcapacities=True)["zone"]
    recorded = {
        "state": "Enabled", "clusters": "1 / 1", "cputotal": "32.00 Ghz", "cpuallocated": "11.25%",
        "memoryallocated": "28.12%", "cpuused": "50.00%", "cpumaxdeviation": "0.00%", "memoryused": "12.50%",
    }  # fmt: skip
    assert {k: found.get(k) for k in recorded} == recorded and {c["type"] for c in found["capacity"]} >= {0, 1, 90}
    assert cloud.ask("listClustersMetrics")["cluster"][0]["hosts"] == "1 / 2"


def test_pools(cloud, zone):
    (found,) = cloud.ask("listStoragePoolsMetrics")["storagepool"]
    recorded = {
        "disksizeusedgb": "0.00 GB", "disksizetotalgb": "1024.00 GB (x2.0)", "disksizeallocatedgb": "62.00 GB",
        "disksizeunallocatedgb": "1986.00 GB", "storageusagethreshold": False, "storageusagedisablethreshold": False,
        "storageallocatedthreshold": False, "storageallocateddisablethreshold": False,
    }  # fmt: skip
    assert {k: found[k] for k in recorded} == recorded
    db.write(lambda tx: tx.execute(update(Pool).values(used=900 * GIB, allocated=1600 * GIB)))
    (found,) = cloud.ask("listStoragePoolsMetrics")["storagepool"]
    assert (found["storageusagethreshold"], found["storageusagedisablethreshold"]) == (True, True)
    assert (found["storageallocatedthreshold"], found["storageallocateddisablethreshold"]) == (True, False)


def test_machines_and_disks(cloud, zone):
    (vm,) = cloud.ask("listVirtualMachinesMetrics", id=zone["vm"])["virtualmachine"]
    assert (vm["cputotal"], vm["memorytotal"]) == ("0.5 Ghz", "0.50 GiB") and "networkread" not in vm
    seen = {"network_read": 32768, "network_written": 16384, "disk_read": 0, "disk_written": 512, "disk_reads": 3,
            "disk_writes": 4}  # fmt: skip
    db.write(lambda tx: tx.execute(update(Vm).where(Vm.uuid == zone["vm"]).values(statistics=seen)))
    (vm,) = cloud.ask("listVirtualMachinesMetrics", id=zone["vm"])["virtualmachine"]
    recorded = {
        "networkread": "32.00 MiB", "networkwrite": "16.00 MiB", "diskread": "0.00 MiB", "diskwrite": "0.50 MiB",
        "diskiopstotal": 7,
    }  # fmt: skip
    assert {k: vm[k] for k in recorded} == recorded
    (disk,) = cloud.ask("listVolumesMetrics", virtualmachineid=zone["vm"])["volume"]
    assert (disk["sizegb"], disk["diskiopstotal"]) == ("2.00 GiB", 0)


def test_users_see_their_own_machines_alone(cloud, zone):
    cloud.account("ann")
    assert cloud.ask("listVirtualMachinesMetrics", user="ann", listall=True) == {}
    with pytest.raises(Refused):
        cloud.ask("listVirtualMachinesMetrics", user="ann", id=zone["vm"])
    for name in ("listHostsMetrics", "listZonesMetrics", "listInfrastructure"):
        assert cloud.raw("ann", name)[0] in (401, 432)


def test_the_infrastructure_is_counted(cloud, zone):
    found = cloud.ask("listInfrastructure")["infrastructure"]
    assert found == {
        "zones": 1, "pods": 1, "clusters": 1, "hosts": 2, "storagepools": 1, "imagestores": 1,
        "backuprepositories": 0, "objectstores": 0, "systemvms": 0, "routers": 1, "ilbvms": 0, "cpusockets": 2,
        "managementservers": 1, "alerts": 0,
    }  # fmt: skip
