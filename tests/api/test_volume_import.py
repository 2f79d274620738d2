"""Files of pools that no disk stands for, and disks let go; and whether a disk's file is sound."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.model.event import Event
from mgmt_server.model.simulator import SimulatedDisk
from mgmt_server.protocol.machine import DiskFile
from tests.api import test_volume
from tests.api.test_volume import create, deploy, disk, promised, row, shown
from tests.api.test_volume_changes import calls
from tests.cloud import Refused

GIB = 2**30
zone = test_volume.zone


def found(cloud, zone, **more):
    return cloud.ask("listVolumesForImport", storageid=zone["pool"], **more).get("volumeforimport", [])


def put(zone, name="foreign.qcow2", size=3 * GIB):
    write(lambda tx: tx.add(SimulatedDisk(pool=zone["pool"], name=name, size=size, backing="", content=7, call="")))


def test_a_file_that_nobody_knows_becomes_a_disk(cloud, zone):
    deploy(cloud, zone)
    assert found(cloud, zone) == []  # its root disk and its template are known
    put(zone)
    (file,) = found(cloud, zone)
    assert (file["path"], file["virtualsize"], file["format"]) == ("foreign.qcow2", 3 * GIB, "QCOW2")
    assert (file["fullpath"], file["storagetype"]) == ("/primary/foreign.qcow2", "NetworkFilesystem")
    before = promised()[0][0][1]
    volume = cloud.job("importVolume", path="foreign.qcow2", storageid=zone["pool"], name="mine")["volume"]
    assert (volume["name"], volume["state"], volume["size"]) == ("mine", "Ready", 3 * GIB)
    (offering,) = cloud.ask("listDiskOfferings", id=volume["diskofferingid"])["diskoffering"]
    assert offering["iscustomized"] and promised()[0][0][1] == before + 3 * GIB
    assert found(cloud, zone) == []
    with pytest.raises(Refused, match="a disk or a template of this cloud already"):
        cloud.job("importVolume", path="foreign.qcow2", storageid=zone["pool"])
    vm = deploy(cloud, zone)
    cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])
    assert disk(volume) == (zone["pool"], 3 * GIB, 7)


def test_a_disk_is_let_go_and_taken_back_with_what_it_holds(cloud, zone):
    before = promised()
    volume = create(cloud, zone, storageid=zone["pool"])
    held, name = disk(volume), row(volume).path
    cloud.job("unmanageVolume", id=volume["id"])
    assert promised() == before and disk(volume) == held
    assert cloud.ask("listVolumes", id=volume["id"]) == {}
    assert [f["path"] for f in found(cloud, zone)] == [f["path"] for f in found(cloud, zone, path=name)] == [name]
    again = cloud.job("importVolume", path=name, storageid=zone["pool"], diskofferingid=zone["small"])["volume"]
    assert disk(again) == held and again["id"] != volume["id"]
    with reading() as session:
        types = set(session.scalars(select(Event.type)))
    assert {"VOLUME.IMPORT", "VOLUME.UNMANAGE"} <= types


def test_an_imported_disk_counts_for_its_account(cloud, zone):
    cloud.account("ann")
    put(zone)
    cloud.ask("updateResourceLimit", account="ann", domainid=1, resourcetype=10, max=2)
    before = promised()
    sent = {"path": "foreign.qcow2", "storageid": zone["pool"], "account": "ann", "domainid": 1}
    with pytest.raises(Refused, match="primary_storage"):
        cloud.job("importVolume", **sent)
    assert promised() == before
    cloud.ask("updateResourceLimit", account="ann", domainid=1, resourcetype=10, max=3)
    volume = cloud.job("importVolume", **sent)["volume"]
    assert volume["account"] == "ann"


def test_a_file_that_could_be_a_trap_is_told_and_not_taken_over(cloud, zone, monkeypatch):
    put(zone)
    trap = DiskFile("foreign.qcow2", "qcow2", 5, refused="it refers to another file")
    monkeypatch.setattr(simulator.SimulatedStorage, "look", lambda *args: [trap])
    (told,) = found(cloud, zone)
    assert told["details"] == {"refused": "it refers to another file"}
    with pytest.raises(Refused, match="foreign.qcow2 in the pool shared cannot be a disk: it refers to another file"):
        cloud.job("importVolume", path="foreign.qcow2", storageid=zone["pool"])


def test_what_would_leave_something_behind_is_not_let_go(cloud, zone):
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, virtualmachineid=vm["id"])
    with pytest.raises(Refused, match="detach it first"):
        cloud.job("unmanageVolume", id=volume["id"])
    cloud.job("detachVolume", id=volume["id"])
    snapshot = cloud.job("createSnapshot", volumeid=volume["id"], name="s")["snapshot"]
    with pytest.raises(Refused, match=r"has snapshots \(s\)"):
        cloud.job("unmanageVolume", id=volume["id"])
    cloud.job("deleteSnapshot", id=snapshot["id"])
    cloud.job("stopVirtualMachine", id=vm["id"])
    root = next(v for v in cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"] if v["type"] == "ROOT")
    cloud.job("detachVolume", id=root["id"])
    with pytest.raises(Refused, match="made from a template"):
        cloud.job("unmanageVolume", id=root["id"])
    with pytest.raises(Refused, match="there is no file of it"):
        cloud.job("unmanageVolume", id=create(cloud, zone)["id"])


def test_a_disks_file_is_checked_and_repaired_while_no_machine_runs_with_it(cloud, zone, monkeypatch):
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, virtualmachineid=vm["id"])
    with pytest.raises(Refused, match="once it is stopped"):
        cloud.job("checkVolume", id=volume["id"])
    cloud.job("stopVirtualMachine", id=vm["id"])
    told = cloud.job("checkVolume", id=volume["id"])["volume"]
    assert told["volumecheckresult"]["leaks"] == "0" and "volumerepairresult" not in told
    asked = calls(monkeypatch, "check_disk")
    told = cloud.job("checkVolume", id=volume["id"], repair="leaks")["volume"]
    assert told["volumerepairresult"]["check-errors"] == "0" and [a[2] for a in asked] == ["", "leaks"]
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="check_disk", value="fail:no", count=1)
    with pytest.raises(Refused, match="no"):
        cloud.job("checkVolume", id=volume["id"])
    assert shown(cloud, volume)["state"] == "Ready"
    with pytest.raises(Refused, match="repair"):
        cloud.ask("checkVolume", id=volume["id"], repair="some")
