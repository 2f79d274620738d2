"""Templates made of disks and snapshots, copied to other zones, cached in pools: on simulated hosts."""

from collections import Counter

import pytest
from sqlalchemy import func, select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.errors import Failed
from mgmt_server.model.limit import ResourceCount
from mgmt_server.model.simulator import SimulatedDisk, SimulatedFile
from mgmt_server.model.snapshot import SnapshotOnStore
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnPool, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.vm import Volume
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import flows, timers
from tests.cloud import Refused
from tests.counts import counts as all_counts
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    found["os"] = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    return found


def machine(cloud, zone, **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", **sent)["virtualmachine"]


def root_of(cloud, vm, user="admin"):
    return cloud.ask("listVolumes", user=user, virtualmachineid=vm["id"], type="ROOT")["volume"][0]


def written(uuid):
    """A guest writes to its disk: what the disk holds then."""

    def touch(tx):
        path = tx.scalar(select(Volume.path).where(Volume.uuid == uuid))
        simulator.touch(tx, tx.scalar(select(SimulatedDisk.pool).where(SimulatedDisk.name == path)), path)
        return tx.scalar(select(SimulatedDisk.content).where(SimulatedDisk.name == path))

    return write(touch)


def held(uuid):
    with reading() as session:
        path = session.scalar(select(Volume.path).where(Volume.uuid == uuid))
        return session.scalar(select(SimulatedDisk.content).where(SimulatedDisk.name == path))


def make(cloud, zone, name="made", **more):
    return cloud.job("createTemplate", name=name, ostypeid=zone["os"], **more)["template"]


def counts():
    sums = Counter()
    for key, amount in all_counts(ResourceCount.account_id.is_not(None)).items():
        sums[key.split("/")[1]] += amount
    return {kind: sums[kind] for kind in ("template", "secondary_storage") if sums[kind]}


def left():
    """Rows and files that a template which could not be made must not leave."""
    with reading() as session:
        numbers = [
            session.scalar(select(func.count()).select_from(Template).where(Template.removed.is_(None))),
            session.scalar(select(func.count()).select_from(TemplateOnStore)),
            session.scalar(select(func.count()).select_from(SimulatedFile)),
            session.scalar(select(func.count()).select_from(SimulatedDisk)),
            int(session.scalar(select(func.sum(Pool.allocated)))),
        ]
    return [*numbers, counts()]


def test_a_template_of_a_stopped_machines_disk_starts_machines_with_what_it_held(cloud, zone):
    vm = machine(cloud, zone)
    disk = root_of(cloud, vm)
    content = written(disk["id"])
    cloud.job("stopVirtualMachine", id=vm["id"])
    made = make(cloud, zone, volumeid=disk["id"], displaytext="of a disk", passwordenabled=True)
    assert (made["name"], made["displaytext"], made["passwordenabled"]) == ("made", "of a disk", True)
    (seen,) = cloud.ask("listTemplates", templatefilter="self", id=made["id"])["template"]
    assert (seen["isready"], seen["size"], seen["hypervisor"]) == (True, disk["size"], "Simulator")
    assert counts()["template"] == 1 and counts()["secondary_storage"] == seen["physicalsize"] > 0
    clone = machine(cloud, zone, templateid=made["id"], name="clone")
    assert held(root_of(cloud, clone)["id"]) == content
    cloud.job("startVirtualMachine", id=vm["id"])
    (told,) = cloud.ask("listTemplates", templatefilter="self", id=made["id"])["template"]
    assert [d["datastoreRole"] for d in told["downloaddetails"]] == ["Image", "Primary"]


def test_whose_machines_keep_a_template_is_not_told_to_strangers(cloud, zone):
    cloud.account("ann", domain="/a/"), cloud.account("bob", domain="/a/")
    sent = {"name": "shared", "format": "QCOW2", "hypervisor": "Simulator", "ostypeid": zone["os"]}
    sent |= {"url": "http://127.0.0.1:1/none.qcow2", "zoneid": zone["zone"]}
    shared = cloud.ask("registerTemplate", user="ann", **sent)["template"][0]["id"]
    cloud.ask("updateTemplatePermissions", user="ann", id=shared, op="add", accounts="bob")
    machine(cloud, zone, user="bob", templateid=shared, name="secret-of-bob")
    with pytest.raises(Refused) as no:
        cloud.ask("deleteTemplate", user="ann", id=shared)
    assert "(machines of other accounts)" in no.value.text and no.value.status == 536
    machine(cloud, zone, user="ann", templateid=shared, name="of-ann")
    with pytest.raises(Refused, match=r"\(of-ann, machines of other accounts\)"):
        cloud.ask("deleteTemplate", user="ann", id=shared)
    with pytest.raises(Refused, match="secret-of-bob"):
        cloud.ask("deleteTemplate", id=shared)
    assert cloud.job("deleteTemplate", user="ann", id=shared, forced=True) == {"success": True}


def test_a_running_machines_disk_is_refused_with_the_way_round(cloud, zone):
    vm = machine(cloud, zone)
    before = left()
    with pytest.raises(Refused) as no:
        make(cloud, zone, volumeid=root_of(cloud, vm)["id"])
    assert no.value.status == 431 and "stop it first, or make a snapshot" in no.value.text
    for wrong in ({}, {"volumeid": root_of(cloud, vm)["id"], "snapshotid": "x"}):
        with pytest.raises(Refused):
            make(cloud, zone, **wrong)
    assert left() == before


def test_what_fails_on_the_way_leaves_nothing(cloud, zone):
    cloud.account("ann")
    vm = machine(cloud, zone, user="ann")
    cloud.job("stopVirtualMachine", user="ann", id=vm["id"])
    before, disk = left(), root_of(cloud, vm, "ann")["id"]
    accepted = cloud.ask("createTemplate", user="ann", name="late", ostypeid=zone["os"], volumeid=disk)
    write(lambda tx: tx.execute(update(Volume).where(Volume.uuid == disk).values(state="Resizing")))
    cloud.work()
    done = cloud.ask("queryAsyncJobResult", user="ann", jobid=accepted["jobid"])
    assert done["jobstatus"] == 2 and "is Resizing" in done["jobresult"]["errortext"]
    write(lambda tx: tx.execute(update(Volume).where(Volume.uuid == disk).values(state="Ready")))
    assert left() == before
    root = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    cloud.ask("updateResourceLimit", resourcetype=11, max=0, account="ann", domainid=root)
    with pytest.raises(Refused) as no:
        make(cloud, zone, user="ann", volumeid=disk)
    assert no.value.status == 535, no.value.text
    assert left() == before


def test_a_template_of_a_snapshot_whole_or_in_parts(cloud, zone):
    cloud.ask("updateConfiguration", name="kvm.incremental.snapshot", value="true")
    vm = machine(cloud, zone)
    disk = root_of(cloud, vm)["id"]
    contents, snapshots = [], []
    for _ in range(2):
        contents.append(written(disk))
        snapshots.append(cloud.job("createSnapshot", volumeid=disk)["snapshot"]["id"])
    with reading() as session:
        chained = session.scalar(select(func.count()).where(SnapshotOnStore.parent_id.is_not(None)))
    written(disk)
    pools = left()[4]
    for number, snapshot in enumerate(snapshots):
        made = make(cloud, zone, name=f"of{number}", snapshotid=snapshot)
        assert left()[4] == pools
        clone = machine(cloud, zone, templateid=made["id"], name=f"clone{number}")
        assert held(root_of(cloud, clone)["id"]) == contents[number]
        pools = left()[4]
    assert chained == 1


def test_a_host_that_cannot_write_the_template_leaves_nothing(cloud, zone, monkeypatch):
    cloud.ask("updateConfiguration", name="kvm.incremental.snapshot", value="true")
    vm = machine(cloud, zone)
    disk = root_of(cloud, vm)["id"]
    snapshots = [cloud.job("createSnapshot", volumeid=disk)["snapshot"]["id"] for _ in range(2)]
    cloud.job("stopVirtualMachine", id=vm["id"])
    before = left()

    def broken(*_):
        raise Failed("the store is full")

    monkeypatch.setattr(simulator.SimulatedStorage, "save_disk", broken)
    for source in ({"snapshotid": snapshots[1]}, {"volumeid": disk}):
        with pytest.raises(Refused) as no:
            make(cloud, zone, **source)
        assert "the store is full" in no.value.text
        assert left() == before


def test_somebody_elses_disk_is_not_there(cloud, zone):
    vm = machine(cloud, zone)
    cloud.account("ann")
    cloud.job("stopVirtualMachine", id=vm["id"])
    with pytest.raises(Refused) as no:
        make(cloud, zone, user="ann", volumeid=root_of(cloud, vm)["id"])
    assert "entity does not exist" in no.value.text


def _second_zone(cloud):
    sent = {"networktype": "Advanced", "dns1": "192.0.2.53", "internaldns1": "192.0.2.54"}
    uuid = cloud.ask("createZone", name="west", allocationstate="Enabled", **sent)["zone"]["id"]

    def store(tx):
        number = tx.scalar(select(Zone.id).where(Zone.uuid == uuid))
        tx.add(ImageStore(name="west", url="nfs://192.0.2.8/west", protocol="nfs", zone_id=number))

    write(store)
    return uuid


def test_a_template_is_copied_to_another_zone_deleted_there_and_copied_again(cloud, zone):
    west = _second_zone(cloud)
    sent = {"name": "t", "url": "http://h.example/t.qcow2", "format": "QCOW2", "hypervisor": "Simulator"}
    made = cloud.ask("registerTemplate", **sent, zoneid=zone["zone"], ostypeid=zone["os"])["template"][0]
    with pytest.raises(Refused) as no:
        cloud.job("copyTemplate", id=made["id"], sourcezoneid=zone["zone"], destzoneid=zone["zone"])
    assert "different source and destination zones" in no.value.text
    with pytest.raises(Refused) as no:
        cloud.job("copyTemplate", id=made["id"], sourcezoneid=west, destzoneid=zone["zone"])
    assert "not ready in the source zone" in no.value.text

    def zones():
        listed = cloud.ask("listTemplates", templatefilter="self").get("template", [])
        return {t["zonename"]: t["isready"] for t in listed}

    for _ in range(2):
        assert cloud.job("copyTemplate", id=made["id"], destzoneid=west)["template"]["id"] == made["id"]
        assert zones().get("west") is True and len(zones()) == 2
        cloud.job("deleteTemplate", id=made["id"], zoneid=west)
        assert "west" not in zones() and len(zones()) == 1
    with pytest.raises(Refused) as no:
        cloud.job("copyIso", id=made["id"], destzoneid=west)
    assert "entity does not exist" in no.value.text


def test_a_prepared_template_is_in_the_pools_and_goes_with_the_last_disk(cloud, zone):
    sent = {"name": "t", "url": "http://h.example/t.qcow2", "format": "QCOW2", "hypervisor": "Simulator"}
    made = cloud.ask("registerTemplate", **sent, zoneid=zone["zone"], ostypeid=zone["os"])["template"][0]
    before = left()[4]
    (seen,) = cloud.ask("prepareTemplate", templateid=made["id"], zoneid=zone["zone"])["template"]
    assert seen["id"] == made["id"]
    cloud.work()
    pools = cloud.ask("listStoragePools", zoneid=zone["zone"])["storagepool"]
    assert all(cloud.ask("listTemplates", templatefilter="all", storageid=p["id"])["count"] == 1 for p in pools)
    assert left()[4] > before
    vm = machine(cloud, zone, templateid=made["id"])
    cloud.job("deleteTemplate", id=made["id"], forced=True)

    def cached():
        timers.cached()
        cloud.work()
        with reading() as session:
            number = session.scalar(select(Template.id).where(Template.uuid == made["id"]))
            return session.scalar(select(func.count()).where(TemplateOnPool.template_id == number))

    assert cached() == 1  # where the machine's disk stands on it
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    assert cached() == 0
    with pytest.raises(Refused):
        cloud.ask("prepareTemplate", templateid=made["id"], zoneid=zone["zone"])


def test_a_built_in_template_that_was_deleted_stays_so(cloud, zone):
    with reading() as session:
        number = session.scalar(select(Zone.id).where(Zone.uuid == zone["zone"]))
    write(flows.have_builtin, number)
    (seen,) = cloud.ask("listTemplates", templatefilter="featured")["template"]
    cloud.job("deleteTemplate", id=seen["id"], zoneid=zone["zone"])
    write(flows.have_builtin, number)
    assert timers._without_builtin() == []
    assert cloud.ask("listTemplates", templatefilter="featured") == {}


def test_a_template_for_a_project(cloud, zone):
    vm = machine(cloud, zone, startvm=True)
    cloud.job("stopVirtualMachine", id=vm["id"])
    project = cloud.job("createProject", name="alpha", displaytext="alpha")["project"]["id"]
    disk = root_of(cloud, vm)["id"]
    made = make(cloud, zone, volumeid=disk, projectid=project)
    assert made["projectid"] == project and "account" not in made
    with pytest.raises(Refused, match="Invalid parameter projectid"):
        make(cloud, zone, volumeid=disk, projectid=vm["id"])
    cloud.job("suspendProject", id=project)
    with pytest.raises(Refused, match="alpha is suspended"):
        make(cloud, zone, volumeid=disk, projectid=project)
