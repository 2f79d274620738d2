"""Snapshots of disks: kept, listed, gone back to, copied and deleted."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.drivers.storage import simulator
from mgmt_server.model import settings
from mgmt_server.model.simulator import SimulatedDisk, SimulatedFile
from mgmt_server.model.snapshot import Snapshot, SnapshotOnStore
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.vm import Volume
from mgmt_server.resources.limit import recount
from mgmt_server.resources.snapshot.timers import sweep_all
from tests.cloud import Refused
from tests.counts import counts
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def deploy(cloud, zone, user="admin", **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    vm = cloud.job("deployVirtualMachine", user=user, **sent)["virtualmachine"]
    return vm["id"], cloud.ask("listVolumes", user=user, virtualmachineid=vm["id"])["volume"][0]["id"]


def snap(cloud, volume, user="admin", **more):
    return cloud.job("createSnapshot", user=user, volumeid=volume, **more)["snapshot"]


def disk_of(volume):
    with reading() as session:
        row = session.execute(
            select(Pool.uuid, Volume.path).join(Pool, Pool.id == Volume.pool_id).where(Volume.uuid == volume)
        )
        return row.one()


def touch(volume):
    """The guest writes."""
    write(simulator.touch, *disk_of(volume))


def content(volume):
    pool, name = disk_of(volume)
    with reading() as session:
        rows = select(SimulatedDisk.content).where(SimulatedDisk.pool == pool, SimulatedDisk.name == name)
        return session.scalar(rows)


def files():
    with reading() as session:
        rows = select(SimulatedFile.name).where(SimulatedFile.name.startswith("snapshots/"))
        return sorted(session.scalars(rows))


def on_stores(state=None):
    with reading() as session:
        rows = select(func.count()).select_from(SnapshotOnStore)
        return session.scalar(rows.where(SnapshotOnStore.state == state) if state else rows)


def configure(cloud, name, value, **more):
    cloud.ask("updateConfiguration", name=name, value=value, **more)
    settings.forget()


def incremental(cloud):
    configure(cloud, "kvm.incremental.snapshot", "true")


def another_zone(cloud, name="west"):
    found = build(name=name)
    write(lambda tx: tx.execute(
        update(ImageStore).where(ImageStore.uuid == found["store"]).values(url=f"nfs://192.0.2.9/{name}")
    ))  # fmt: skip
    return found


def fail(cloud, method, value="fail:no"):
    cloud.ask("configureSimulator", name=method, value=value, count=1)
    faults.forget()


def points():
    with reading() as session:
        return list(session.scalars(select(Snapshot.point).order_by(Snapshot.id)))


def sweep(cloud):
    """Five minutes later."""
    sweep_all()
    cloud.work()


def counts_are_right():
    with reading() as session:
        assert recount.wrong(session) == ([], [])


def used(kind, account="account:2"):
    return counts().get(f"{account}/{kind}/", 0)


def test_the_disk_of_a_running_machine_is_kept_while_it_runs_on(cloud, zone):
    vm, volume = deploy(cloud, zone)
    made = snap(cloud, volume, name="first", **{"tags[0].key": "k", "tags[0].value": "v"})
    assert (made["name"], made["state"], made["intervaltype"], made["volumeid"]) == (
        "first", "BackedUp", "MANUAL", volume,
    )  # fmt: skip
    assert made["revertable"] is True and made["virtualsize"] > 0 and made["physicalsize"] > 0
    assert made["zoneid"] == zone["zone"] and made["tags"][0]["key"] == "k" and "parent" not in made
    assert cloud.ask("listVirtualMachines", id=vm)["virtualmachine"][0]["state"] == "Running"
    assert cloud.ask("listVolumes", id=volume)["volume"][0]["state"] == "Ready"
    assert len(files()) == 1 and used("snapshot") == 1 and used("secondary_storage") == made["physicalsize"]
    counts_are_right()


def test_a_snapshot_without_a_name_is_called_after_machine_disk_and_moment(cloud, zone):
    _, volume = deploy(cloud, zone)
    with reading() as session:
        row = session.scalar(select(Volume).where(Volume.uuid == volume))
    made = snap(cloud, volume)
    assert made["name"].startswith(f"i-2-{row.vm_id}-VM_ROOT-{row.vm_id}_20")


def test_a_disk_goes_back_to_what_it_was(cloud, zone):
    vm, volume = deploy(cloud, zone)
    before = content(volume)
    made = snap(cloud, volume)
    touch(volume)
    with pytest.raises(Refused) as refused:
        cloud.job("revertSnapshot", id=made["id"])
    assert "is Running: stop it" in refused.value.text
    cloud.job("stopVirtualMachine", id=vm)
    answer = cloud.job("revertSnapshot", id=made["id"])["snapshot"]
    assert answer["id"] == made["id"] and content(volume) == before
    assert cloud.ask("listVolumes", id=volume)["volume"][0]["state"] == "Ready"
    assert cloud.job("startVirtualMachine", id=vm)["virtualmachine"]["state"] == "Running"


def test_only_what_changed_is_kept_up_to_the_longest_chain(cloud, zone):
    incremental(cloud)
    configure(cloud, "snapshot.delta.max", "2")
    _, volume = deploy(cloud, zone)
    made = []
    for _ in range(4):
        touch(volume)
        made.append(snap(cloud, volume))
    assert [m.get("parent") for m in made] == [None, made[0]["id"], made[1]["id"], None]
    assert made[1]["physicalsize"] < made[0]["physicalsize"] == made[3]["physicalsize"]
    with reading() as session:
        points = list(session.scalars(select(Snapshot.point).order_by(Snapshot.id)))
    assert points == [None, None, None, made[3]["id"]], "the disk follows its newest snapshot alone"


def test_without_the_setting_every_snapshot_holds_all(cloud, zone):
    _, volume = deploy(cloud, zone)
    assert ["parent" in snap(cloud, volume) for _ in range(2)] == [False, False]


def test_going_back_reads_the_whole_chain_and_the_next_snapshot_holds_all(cloud, zone):
    incremental(cloud)
    vm, volume = deploy(cloud, zone)
    seen, made = [], []
    for _ in range(3):
        touch(volume)
        seen.append(content(volume))
        made.append(snap(cloud, volume))
    cloud.job("stopVirtualMachine", id=vm)
    for place in (0, 2, 1):
        cloud.job("revertSnapshot", id=made[place]["id"])
        assert content(volume) == seen[place]
    assert "parent" not in snap(cloud, volume)


def test_a_file_stays_hidden_until_nothing_stands_on_it(cloud, zone):
    incremental(cloud)
    vm, volume = deploy(cloud, zone)
    made, seen = [], []
    for _ in range(3):
        touch(volume)
        seen.append(content(volume))
        made.append(snap(cloud, volume))
    assert cloud.job("deleteSnapshot", id=made[0]["id"]) == {"success": True}
    cloud.job("deleteSnapshot", id=made[1]["id"])
    assert [s["id"] for s in cloud.ask("listSnapshots")["snapshot"]] == [made[2]["id"]]
    assert len(files()) == 3 and on_stores("Hidden") == 2 and used("snapshot") == 1
    assert used("secondary_storage") == sum(m["physicalsize"] for m in made), "hidden files take their room still"
    counts_are_right()
    cloud.job("stopVirtualMachine", id=vm)
    touch(volume)
    cloud.job("revertSnapshot", id=made[2]["id"])
    assert content(volume) == seen[2]
    cloud.job("deleteSnapshot", id=made[2]["id"])
    assert files() == [] and on_stores() == 0 and used("secondary_storage") == 0 == used("snapshot")
    assert cloud.ask("listSnapshots") == {}
    counts_are_right()


def test_the_middle_of_a_chain_goes_with_what_stands_on_it(cloud, zone):
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    made = [snap(cloud, volume) for _ in range(3)]
    cloud.job("deleteSnapshot", id=made[1]["id"])
    cloud.job("deleteSnapshot", id=made[2]["id"])
    assert len(files()) == 1 and files()[0].endswith(f"{made[0]['id']}.qcow2")
    assert "parent" not in snap(cloud, volume), "what was followed since the deleted one is not followed any more"


def test_several_at_once_are_taken_one_after_the_other(cloud, zone):
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    asked = [cloud.ask("createSnapshot", volumeid=volume)["id"] for _ in range(3)]
    assert {s["state"] for s in cloud.ask("listSnapshots")["snapshot"]} == {"Allocated"}
    with pytest.raises(Refused) as refused:
        cloud.ask("deleteSnapshot", id=asked[0])
    assert "is Allocated: wait" in refused.value.text
    cloud.work()
    found = cloud.ask("listSnapshots")["snapshot"]
    assert [(s["id"], s["state"]) for s in found] == [(uuid, "BackedUp") for uuid in asked]
    assert [s.get("parent") for s in found] == [None, *asked[:2]]


def test_a_disk_on_no_machine_is_kept_and_one_that_was_never_used_is_refused(cloud, zone):
    offering = cloud.ask("createDiskOffering", name="d", displaytext="d", disksize=1)["diskoffering"]["id"]
    fresh = cloud.job("createVolume", name="fresh", zoneid=zone["zone"], diskofferingid=offering)["volume"]["id"]
    with pytest.raises(Refused) as refused:
        snap(cloud, fresh)
    assert "it has never been used" in refused.value.text
    vm, _ = deploy(cloud, zone)
    cloud.job("attachVolume", id=fresh, virtualmachineid=vm)
    cloud.job("detachVolume", id=fresh)
    before = content(fresh)
    made = snap(cloud, fresh)
    assert made["name"].startswith("detached_fresh_") and made["volumetype"] == "DATADISK"
    touch(fresh)
    cloud.job("revertSnapshot", id=made["id"])
    assert content(fresh) == before


def test_a_snapshot_outlives_its_disk(cloud, zone):
    vm, volume = deploy(cloud, zone)
    made = snap(cloud, volume)
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    (found,) = cloud.ask("listSnapshots")["snapshot"]
    assert found["volumename"].startswith("ROOT-") and "volumeid" not in found and found["revertable"] is False
    with pytest.raises(Refused) as refused:
        cloud.ask("revertSnapshot", id=made["id"])
    assert "is gone" in refused.value.text
    cloud.job("deleteSnapshot", id=made["id"])
    assert files() == []


def test_limits_of_number_and_of_room_are_kept(cloud, zone):
    cloud.account("ann")
    domain = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    _, volume = deploy(cloud, zone, user="ann")
    cloud.ask("updateResourceLimit", account="ann", domainid=domain, resourcetype=3, max=1)
    cloud.ask("updateResourceLimit", account="ann", domainid=domain, resourcetype=11, max=0)
    with pytest.raises(Refused) as refused:
        snap(cloud, volume, user="ann")
    assert refused.value.status == 535 and "secondary" in refused.value.text
    assert files() == [], "what has no room is taken away"
    cloud.ask("updateResourceLimit", account="ann", domainid=domain, resourcetype=11, max=-1)
    snap(cloud, volume, user="ann")
    with pytest.raises(Refused) as refused:
        cloud.ask("createSnapshot", user="ann", volumeid=volume)
    assert refused.value.status == 535 and "its limit is 1 snapshots" in refused.value.text
    counts_are_right()


def test_what_this_version_does_not_do_is_refused_by_name(cloud, zone):
    _, volume = deploy(cloud, zone)
    for more in ({"quiescevm": True}, {"locationtype": "PRIMARY"}, {"storageids": zone["pool"]}):
        with pytest.raises(Refused) as refused:
            cloud.ask("createSnapshot", volumeid=volume, **more)
        assert next(iter(more)) in refused.value.text and "not support" in refused.value.text
    assert snap(cloud, volume, quiescevm=False, locationtype="secondary")["locationtype"] == "SECONDARY"


def test_a_call_need_not_wait_for_the_copy(cloud, zone):
    _, volume = deploy(cloud, zone)
    asked = cloud.ask("createSnapshot", volumeid=volume, asyncbackup=True)
    cloud.work()
    assert cloud.ask("queryAsyncJobResult", jobid=asked["jobid"])["jobstatus"] == 1
    assert cloud.ask("listSnapshots", id=asked["id"])["snapshot"][0]["state"] == "BackedUp"


def test_snapshots_of_others_are_not_there(cloud, zone):
    west = another_zone(cloud)
    cloud.account("ann", domain="/a/")
    cloud.account("eve", domain="/b/")
    cloud.account("boss", kind=2, domain="/a/")
    _, volume = deploy(cloud, zone, user="ann")
    made = snap(cloud, volume, user="ann")
    assert "datastoreid" not in made
    for command, sent in (
        ("createSnapshot", {"volumeid": volume}), ("revertSnapshot", {"id": made["id"]}),
        ("deleteSnapshot", {"id": made["id"]}), ("copySnapshot", {"id": made["id"], "destzoneid": west["zone"]}),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            cloud.ask(command, user="eve", **sent)
        assert refused.value.status == 431 and "does not exist" in refused.value.text
    for more in ({}, {"listall": True}, {"keyword": "ROOT"}, {"showunique": True}):
        assert cloud.ask("listSnapshots", user="eve", **more) == {}
    assert cloud.ask("listSnapshots", user="boss") == {}
    assert cloud.ask("listSnapshots", user="boss", listall=True)["count"] == 1
    assert cloud.ask("listSnapshots", listall=True)["snapshot"][0]["datastoreid"] == zone["store"]
    assert cloud.ask("listSnapshots", account="ann", domainid=made["domainid"])["count"] == 1


def test_lists_take_tags_names_and_disks(cloud, zone):
    _, volume = deploy(cloud, zone)
    _, other = deploy(cloud, zone)
    snap(cloud, volume, name="one", **{"tags[0].key": "k", "tags[0].value": "v"})
    snap(cloud, other, name="two")
    for more, names in (
        ({"name": "one"}, ["one"]), ({"keyword": "W"}, ["two"]), ({"volumeid": other}, ["two"]),
        ({"tags[0].key": "k", "tags[0].value": "v"}, ["one"]), ({"intervaltype": "manual"}, ["one", "two"]),
        ({"intervaltype": "DAILY"}, []), ({"snapshottype": "RECURRING"}, []),
        ({"zoneid": zone["zone"]}, ["one", "two"]),
        ({"page": 2, "pagesize": 1}, ["two"]), ({"storageid": zone["pool"]}, []),
    ):  # fmt: skip
        assert [s["name"] for s in cloud.ask("listSnapshots", **more).get("snapshot", [])] == names, more


def test_how_much_a_chain_takes_is_told_where_that_is_wanted(cloud, zone):
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    first, second = snap(cloud, volume), snap(cloud, volume)
    assert "chainsize" not in second
    configure(cloud, "snapshot.show.chain.size", "true")
    sizes = [s["chainsize"] for s in cloud.ask("listSnapshots")["snapshot"]]
    assert sizes == [first["physicalsize"], first["physicalsize"] + second["physicalsize"]]
