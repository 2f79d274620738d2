"""Snapshots of machines: kept with and without memory, gone back to, deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.errors import InvalidValue
from mgmt_server.model import settings
from mgmt_server.model.event import Event
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedMachine
from mgmt_server.model.snapshot import Snapshot, VmSnapshot
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.vmsnapshot.rows import refuse_with_snapshots
from mgmt_server.resources.vmsnapshot.timers import expire
from tests.api.test_snapshot import content, deploy, fail, incremental, points, snap, sweep, touch, zone
from tests.api.test_snapshot_points import dropped
from tests.cloud import Refused

__all__ = ["dropped", "zone"]


def keep(cloud, vm, user="admin", **more):
    return cloud.job("createVMSnapshot", user=user, virtualmachineid=vm, **more)["vmsnapshot"]


def shown(cloud, **more):
    return {s["displayname"]: s for s in cloud.ask("listVMSnapshot", **more).get("vmSnapshot", [])}


def machine(cloud, vm):
    return cloud.ask("listVirtualMachines", id=vm)["virtualmachine"][0]


def starts(vm):
    with reading() as session:
        row = session.scalar(select(Vm).where(Vm.uuid == vm))
        found = session.scalar(select(SimulatedMachine).where(SimulatedMachine.machine == row.uuid))
        return found.starts, found.state


def held():
    with reading() as session:
        return session.execute(select(Host.cpu_used, Host.memory_used, Host.machines).order_by(Host.id)).all()


def test_a_running_machine_is_kept_with_its_memory_and_runs_again_as_it_did(cloud, zone):
    vm, volume = deploy(cloud, zone)
    made = keep(cloud, vm, name="good", description="as it was", snapshotmemory=True)
    assert (made["displayname"], made["state"], made["type"], made["current"]) == (
        "good",
        "Ready",
        "DiskAndMemory",
        True,
    )
    assert made["virtualmachineid"] == vm and made["name"].startswith("i-2-") and "_VS_20" in made["name"]
    before = content(volume)
    touch(volume)
    answer = cloud.job("revertToVMSnapshot", vmsnapshotid=made["id"])["virtualmachine"]
    assert (answer["id"], answer["state"], content(volume)) == (vm, "Running", before)
    assert starts(vm) == (1, "Running")


def test_one_with_memory_makes_a_stopped_machine_run(cloud, zone):
    vm, volume = deploy(cloud, zone)
    running = held()
    made = keep(cloud, vm, snapshotmemory=True)
    cloud.job("stopVirtualMachine", id=vm)
    before = content(volume)
    touch(volume)
    assert held() != running
    answer = cloud.job("revertToVMSnapshot", vmsnapshotid=made["id"])["virtualmachine"]
    assert (answer["state"], content(volume), held()) == ("Running", before, running)
    assert starts(vm)[1] == "Running"


def test_one_without_memory_is_gone_back_to_while_the_machine_is_stopped(cloud, zone):
    vm, volume = deploy(cloud, zone)
    made = keep(cloud, vm)
    assert made["type"] == "Disk"
    before = content(volume)
    touch(volume)
    with pytest.raises(Refused) as refused:
        cloud.job("revertToVMSnapshot", vmsnapshotid=made["id"])
    assert "stop the machine" in refused.value.text
    cloud.job("stopVirtualMachine", id=vm)
    answer = cloud.job("revertToVMSnapshot", vmsnapshotid=made["id"])["virtualmachine"]
    assert (answer["state"], content(volume)) == ("Stopped", before)
    assert cloud.job("startVirtualMachine", id=vm)["virtualmachine"]["state"] == "Running"


def test_snapshots_form_a_tree_in_which_one_is_current(cloud, zone):
    vm, volume = deploy(cloud, zone)
    contents = {}
    for name in ("a", "b"):
        keep(cloud, vm, name=name, snapshotmemory=True)
        contents[name] = content(volume)
        touch(volume)
    found = shown(cloud, virtualmachineid=vm)
    assert [(n, s["current"], s.get("parentName")) for n, s in found.items()] == [("a", False, None), ("b", True, "a")]
    cloud.job("revertToVMSnapshot", vmsnapshotid=found["a"]["id"])
    assert content(volume) == contents["a"]
    keep(cloud, vm, name="c", snapshotmemory=True)
    found = shown(cloud)
    assert [(n, s["current"], s.get("parentName")) for n, s in found.items()] == [
        ("a", False, None), ("b", False, "a"), ("c", True, "a"),
    ]  # fmt: skip
    assert cloud.job("deleteVMSnapshot", vmsnapshotid=found["a"]["id"]) == {"success": True}
    found = shown(cloud)
    assert [(n, s["current"], s.get("parentName")) for n, s in found.items()] == [("b", False, None), ("c", True, None)]
    cloud.job("revertToVMSnapshot", vmsnapshotid=found["b"]["id"])
    assert content(volume) == contents["b"]
    cloud.job("deleteVMSnapshot", vmsnapshotid=found["b"]["id"])
    cloud.job("deleteVMSnapshot", vmsnapshotid=found["c"]["id"])
    assert shown(cloud) == {}


def test_a_stopped_machine_has_no_memory_and_one_that_never_ran_nothing_to_keep(cloud, zone):
    vm, _ = deploy(cloud, zone)
    cloud.job("stopVirtualMachine", id=vm)
    with pytest.raises(Refused) as refused:
        keep(cloud, vm, snapshotmemory=True)
    assert "no memory" in refused.value.text
    assert keep(cloud, vm)["state"] == "Ready"
    fresh, _ = deploy(cloud, zone, startvm=False)
    with pytest.raises(Refused) as refused:
        keep(cloud, fresh)
    assert "has never run" in refused.value.text


def test_names_are_a_machines_own_and_their_number_has_a_limit(cloud, zone):
    vm, _ = deploy(cloud, zone)
    cloud.ask("updateConfiguration", name="vmsnapshot.max", value="2")
    settings.forget()
    keep(cloud, vm, name="a")
    with pytest.raises(Refused) as refused:
        keep(cloud, vm, name="a")
    assert "the name a already" in refused.value.text
    keep(cloud, vm, name="b")
    with pytest.raises(Refused) as refused:
        keep(cloud, vm, name="c")
    assert "at most 2" in refused.value.text


def test_what_cannot_be_kept_stays_in_error_and_can_be_deleted(cloud, zone):
    vm, _ = deploy(cloud, zone)
    good = keep(cloud, vm, name="good")
    cloud.ask("configureSimulator", name="snapshot", value="fail:no", count=1)
    faults.forget()
    with pytest.raises(Refused):
        keep(cloud, vm, name="bad")
    found = shown(cloud)
    assert (found["bad"]["state"], found["bad"]["current"], found["good"]["current"]) == ("Error", False, True)
    assert machine(cloud, vm)["state"] == "Running"
    with pytest.raises(Refused):
        cloud.job("revertToVMSnapshot", vmsnapshotid=found["bad"]["id"])
    cloud.job("deleteVMSnapshot", vmsnapshotid=found["bad"]["id"])
    assert list(shown(cloud)) == ["good"] and shown(cloud)["good"]["id"] == good["id"]


def test_what_a_lost_host_kept_in_the_disks_goes_with_the_snapshot_in_error(cloud, zone):
    vm, _ = deploy(cloud, zone)

    def points():
        with reading() as session:
            return list(session.scalar(select(SimulatedMachine.points).where(SimulatedMachine.machine == vm)))

    for method, value in (("snapshot", "late:true|fail:gone"), ("delete_snapshot", "fail:gone")):
        cloud.ask("configureSimulator", name=method, value=value, count=1)
    faults.forget()
    with pytest.raises(Refused):
        keep(cloud, vm, name="bad")
    assert len(points()) == 1 and shown(cloud)["bad"]["state"] == "Error", "it is told for as long as it may be there"
    cloud.job("deleteVMSnapshot", vmsnapshotid=shown(cloud)["bad"]["id"])
    assert points() == [] and shown(cloud) == {}


@pytest.mark.parametrize("left", [True, False])
def test_no_disk_leaves_with_what_a_failed_snapshot_may_have_left_in_it(cloud, zone, left):
    vm, _ = deploy(cloud, zone)
    offering = cloud.ask("listDiskOfferings")["diskoffering"][0]["id"]
    one, two = (
        cloud.job("createVolume", name=name, zoneid=zone["zone"], diskofferingid=offering)["volume"]["id"]
        for name in ("one", "two")
    )
    cloud.job("attachVolume", id=one, virtualmachineid=vm)
    with reading() as session:
        path = session.scalar(select(Volume.path).where(Volume.uuid == one))

    def held_in():
        with reading() as session:
            made = session.scalar(select(SimulatedMachine.points).where(SimulatedMachine.machine == vm)).values()
        return [name for point in made for name in point["disks"]]

    fail(cloud, "snapshot", "late:true|lost:true" if left else "fail:no")
    if left:
        fail(cloud, "delete_snapshot", "lost:true")
    with pytest.raises(Refused):
        keep(cloud, vm, name="bad")
    (bad,) = shown(cloud).values()
    assert bad["state"] == "Error" and (path in held_in()) is left
    cloud.job("attachVolume", id=two, virtualmachineid=vm)  # which holds none
    cloud.job("stopVirtualMachine", id=vm)
    to = {"account": cloud.account("ann"), "domainid": cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]}
    for command, sent in (
        ("detachVolume", {"id": one}), ("unmanageVirtualMachine", {"id": vm}),
        ("assignVirtualMachine", {"virtualmachineid": vm, **to}),
    ):  # fmt: skip
        with pytest.raises(Refused, match=r"snapshots in Error \(bad\), of which its disks may hold parts still"):
            cloud.ask(command, **sent)
    cloud.job("deleteVMSnapshot", vmsnapshotid=bad["id"])
    assert held_in() == [] and shown(cloud) == {}
    for disk in (one, two):
        cloud.job("detachVolume", id=disk)
    assert cloud.ask("assignVirtualMachine", virtualmachineid=vm, **to)["virtualmachine"]["account"] == "ann"


def test_a_failed_way_back_leaves_the_machine_and_the_snapshot_as_they_were(cloud, zone):
    vm, volume = deploy(cloud, zone)
    made = keep(cloud, vm, snapshotmemory=True)
    cloud.job("stopVirtualMachine", id=vm)
    stopped, before = held(), content(volume)
    cloud.ask("configureSimulator", name="revert", value="fail:no", count=1)
    faults.forget()
    with pytest.raises(Refused):
        cloud.job("revertToVMSnapshot", vmsnapshotid=made["id"])
    assert (machine(cloud, vm)["state"], held(), content(volume)) == ("Stopped", stopped, before)
    (found,) = shown(cloud).values()
    assert found["state"] == "Ready"
    assert cloud.job("revertToVMSnapshot", vmsnapshotid=made["id"])["virtualmachine"]["state"] == "Running"


def test_a_failed_deletion_leaves_it_as_it_was(cloud, zone):
    vm, _ = deploy(cloud, zone)
    made = keep(cloud, vm, name="a")
    cloud.ask("configureSimulator", name="delete_snapshot", value="fail:no", count=1)
    faults.forget()
    with pytest.raises(Refused):
        cloud.job("deleteVMSnapshot", vmsnapshotid=made["id"])
    assert shown(cloud)["a"]["state"] == "Ready"


def test_memory_of_another_size_is_not_put_back(cloud, zone):
    vm, _ = deploy(cloud, zone)
    made = keep(cloud, vm, snapshotmemory=True)
    write(lambda tx: tx.execute(update(Vm).where(Vm.uuid == vm).values(memory=Vm.memory * 2)))
    with pytest.raises(Refused) as refused:
        cloud.job("revertToVMSnapshot", vmsnapshotid=made["id"])
    assert "earlier offering" in refused.value.text


def test_disks_stay_as_they_are_while_there_are_snapshots(cloud, zone):
    vm, _ = deploy(cloud, zone)
    made = keep(cloud, vm, name="a")
    with reading() as session:
        number = session.scalar(select(Vm.id).where(Vm.uuid == vm))
        with pytest.raises(InvalidValue, match=r"snapshots \(a\): a disk cannot be attached"):
            refuse_with_snapshots(session, number, "a disk cannot be attached")
    cloud.job("deleteVMSnapshot", vmsnapshotid=made["id"])
    with reading() as session:
        refuse_with_snapshots(session, number, "a disk cannot be attached")


def test_a_disk_follows_no_changes_while_its_machine_has_snapshots(cloud, zone):
    incremental(cloud)
    vm, volume = deploy(cloud, zone)
    snap(cloud, volume)
    with reading() as session:
        assert session.scalar(select(Snapshot.point)) is not None
    made = keep(cloud, vm)
    with reading() as session:
        assert session.scalar(select(Snapshot.point)) is None
    assert "parent" not in snap(cloud, volume) and "parent" not in snap(cloud, volume)
    cloud.job("deleteVMSnapshot", vmsnapshotid=made["id"])
    first = snap(cloud, volume)
    assert snap(cloud, volume)["parent"] == first["id"]


def test_a_disk_whose_host_could_not_be_told_to_follow_no_changes_is_told_later(cloud, zone, dropped):
    incremental(cloud)
    vm, volume = deploy(cloud, zone)
    first = snap(cloud, volume)["id"]
    lost = cloud.ask("configureSimulator", name="forget_point", value="lost:true")["mock"]["id"]
    made = keep(cloud, vm)
    assert made["state"] == "Ready" and (points(), dropped) == ([first], []), "the disk follows it still"
    sweep(cloud)
    assert (points(), dropped) == ([first], []), "no host answers yet"
    assert "parent" not in snap(cloud, volume)
    cloud.ask("cleanupSimulatorMock", id=lost)
    sweep(cloud)
    assert (points(), dropped) == ([None, None], [first])


def test_a_disk_that_follows_changes_still_is_kept_on_with_them_once_the_machines_snapshot_has_gone(cloud, zone):
    incremental(cloud)
    vm, volume = deploy(cloud, zone)
    first = snap(cloud, volume)["id"]
    fail(cloud, "forget_point", "lost:true")
    made = keep(cloud, vm)
    cloud.job("deleteVMSnapshot", vmsnapshotid=made["id"])
    assert points() == [first] and snap(cloud, volume)["parent"] == first
    assert points()[0] is None


@pytest.mark.parametrize("memory", [True, False])
def test_what_a_disk_followed_does_not_outlast_the_way_back(cloud, zone, memory):
    """Its host drops it there: what was written since is not what changed."""
    incremental(cloud)
    vm, volume = deploy(cloud, zone)
    first = snap(cloud, volume)["id"]
    fail(cloud, "forget_point", "lost:true")
    made = keep(cloud, vm, snapshotmemory=memory)
    if not memory:
        cloud.job("stopVirtualMachine", id=vm)
    cloud.job("revertToVMSnapshot", vmsnapshotid=made["id"])
    assert points() == [None], first
    cloud.job("deleteVMSnapshot", vmsnapshotid=made["id"])
    assert "parent" not in snap(cloud, volume)


def test_old_ones_expire_where_that_is_wanted(cloud, zone):
    vm, _ = deploy(cloud, zone)
    keep(cloud, vm, name="old")
    keep(cloud, vm, name="new")
    aged = update(VmSnapshot).where(VmSnapshot.display_name == "old")
    write(lambda tx: tx.execute(aged.values(created=now() - timedelta(hours=25))))
    expire()
    cloud.work()
    assert list(shown(cloud)) == ["old", "new"], "-1 means never"
    cloud.ask("updateConfiguration", name="vmsnapshot.expire.interval", value="24")
    settings.forget()
    expire()
    expire()
    cloud.work()
    assert list(shown(cloud)) == ["new"] and shown(cloud)["new"].get("parentName") is None
    with reading() as session:
        told = list(session.scalars(select(Event.description).where(Event.type == "VMSNAPSHOT.DELETE")))
    assert len(told) == 1 and "24 hours" in told[0]


def test_others_neither_see_nor_use_them(cloud, zone):
    cloud.account("ann")
    cloud.account("eve")
    vm, _ = deploy(cloud, zone, user="ann")
    made = keep(cloud, vm, user="ann")
    assert cloud.ask("listVMSnapshot", user="eve", listall=True) == {}
    for command, name in (
        ("createVMSnapshot", "virtualmachineid"), ("deleteVMSnapshot", "vmsnapshotid"),
        ("revertToVMSnapshot", "vmsnapshotid"),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            cloud.job(command, user="eve", **{name: vm if name == "virtualmachineid" else made["id"]})
        assert refused.value.status == 431 and "does not exist" in refused.value.text
    assert cloud.ask("listVMSnapshot", user="ann")["count"] == 1


def test_a_disk_as_it_was_in_a_snapshot_of_its_machine_becomes_one_of_its_own(cloud, zone):
    vm, volume = deploy(cloud, zone)
    then = content(volume)
    kept = keep(cloud, vm, name="good")
    touch(volume)
    made = cloud.job("createSnapshotFromVMSnapshot", volumeid=volume, vmsnapshotid=kept["id"], name="then")["snapshot"]
    assert (made["name"], made["state"], made["volumeid"]) == ("then", "BackedUp", volume)
    again = cloud.job("createVolume", name="v", snapshotid=made["id"])["volume"]
    assert content(again["id"]) == then != content(volume)
    cloud.job("deleteVMSnapshot", vmsnapshotid=kept["id"])
    cloud.job("createVolume", name="w", snapshotid=made["id"])  # it stands alone
    with pytest.raises(Refused, match="vmsnapshotid"):
        cloud.ask("createSnapshotFromVMSnapshot", volumeid=volume, vmsnapshotid=kept["id"])


def test_a_snapshot_of_a_machine_does_not_hold_the_disks_of_others(cloud, zone):
    (vm, volume), (_, other) = deploy(cloud, zone), deploy(cloud, zone)
    kept = keep(cloud, vm)
    with pytest.raises(Refused, match="does not hold the disk"):
        cloud.ask("createSnapshotFromVMSnapshot", volumeid=other, vmsnapshotid=kept["id"])
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="save_point", value="fail:no", count=1)
    faults.forget()
    with pytest.raises(Refused, match="no"):
        cloud.job("createSnapshotFromVMSnapshot", volumeid=volume, vmsnapshotid=kept["id"])
    assert cloud.ask("listVolumes", id=volume)["volume"][0]["state"] == "Ready"
    assert shown(cloud)[kept["displayname"]]["state"] == "Ready"
