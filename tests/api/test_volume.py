"""Disks of their own: made, attached, detached, resized, moved, given up and taken back."""

import threading

import pytest
from sqlalchemy import func, select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.storage import simulator
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.storage import Pool, PoolHost
from mgmt_server.model.vm import Volume
from mgmt_server.resources.volume import timers
from tests.cloud import Refused
from tests.counts import counts
from tests.simulated import build

GIB = 2**30


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    found["small"] = cloud.ask("createDiskOffering", name="five", disksize=5)["diskoffering"]["id"]
    found["custom"] = cloud.ask("createDiskOffering", name="any", customized=True)["diskoffering"]["id"]
    return found


def deploy(cloud, zone, user="admin", **more):
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", user=user, **sent)["virtualmachine"]


def create(cloud, zone, user="admin", **more):
    sent = {"zoneid": zone["zone"], "diskofferingid": zone["small"], "name": "data", **more}
    return cloud.job("createVolume", user=user, **sent)["volume"]


def shown(cloud, volume, **more):
    return cloud.ask("listVolumes", id=volume["id"], **more)["volume"][0]


def row(volume):
    with reading() as session:
        return session.scalar(select(Volume).where(Volume.uuid == volume["id"]))


def disk(volume):
    """What the simulated pools hold of a disk: (pool, size, content), None when nothing."""
    with reading() as session:
        found = session.execute(
            select(SimulatedDisk.pool, SimulatedDisk.size, SimulatedDisk.content).where(
                SimulatedDisk.name == row(volume).path
            )
        ).all()
        assert len(found) < 2
        return tuple(found[0]) if found else None


def at(vm):
    """Names of the disks that a simulated machine has."""
    with reading() as session:
        return session.scalar(select(SimulatedMachine.disks).where(SimulatedMachine.machine == vm["id"]))


def promised():
    """All that pools promise, and all that is counted: comparable values."""
    with reading() as session:
        pools = session.execute(select(Pool.name, Pool.allocated).order_by(Pool.name)).all()
        return [tuple(p) for p in pools], sorted(counts().items())


def second_pool(zone, name="other", hosts=None, **more):
    """Another shared pool of the zone."""

    def add(tx):
        first = tx.scalar(select(Pool).where(Pool.uuid == zone["pool"]))
        values = {
            "name": name, "zone_id": first.zone_id, "pod_id": first.pod_id, "cluster_id": first.cluster_id,
            "scope": "CLUSTER", "type": "NetworkFilesystem", "hypervisor": "Simulator", "server": "192.0.2.8",
            "path": f"/{name}", "capacity": 2**44, "details": {}, **more,
        }  # fmt: skip
        pool = Pool(**values)
        tx.add(pool)
        tx.flush()
        for host in tx.scalars(select(Host)):
            if hosts is None or host.id in hosts:
                tx.add(PoolHost(pool_id=pool.id, host_id=host.id))
        return pool.uuid

    return write(add)


def test_a_blank_disk_takes_no_space_until_a_machine_has_it(cloud, zone):
    before = promised()[0]
    volume = create(cloud, zone)
    assert (volume["state"], volume["size"], volume["type"], disk(volume)) == ("Allocated", 5 * GIB, "DATADISK", None)
    assert promised()[0] == before
    vm = deploy(cloud, zone)
    attached = cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])["volume"]
    assert (attached["state"], attached["deviceid"], attached["virtualmachineid"]) == ("Ready", 1, vm["id"])
    assert attached["attached"] and disk(volume)[:2] == (zone["pool"], 5 * GIB)
    assert row(volume).path in at(vm)


def test_a_disk_keeps_its_content_from_machine_to_machine(cloud, zone):
    volume = create(cloud, zone)
    one, two = deploy(cloud, zone), deploy(cloud, zone)
    cloud.job("attachVolume", id=volume["id"], virtualmachineid=one["id"])
    write(simulator.touch, zone["pool"], row(volume).path)
    content = disk(volume)[2]
    cloud.job("detachVolume", id=volume["id"])
    assert row(volume).path not in at(one) and "virtualmachineid" not in shown(cloud, volume)
    cloud.job("stopVirtualMachine", id=two["id"])
    cloud.job("attachVolume", id=volume["id"], virtualmachineid=two["id"], deviceid=4)
    assert shown(cloud, volume)["deviceid"] == 4
    cloud.job("startVirtualMachine", id=two["id"])
    assert row(volume).path in at(two) and disk(volume)[2] == content
    cloud.job("detachVolume", virtualmachineid=two["id"], deviceid=4)
    assert row(volume).path not in at(two) and disk(volume)[2] == content


def test_a_disk_made_for_a_machine_is_attached_to_it(cloud, zone):
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, virtualmachineid=vm["id"])
    assert (volume["state"], volume["virtualmachineid"]) == ("Ready", vm["id"]) and row(volume).path in at(vm)


def test_root_may_choose_the_pool_and_the_disk_is_there_at_once(cloud, zone):
    other = second_pool(zone)
    volume = create(cloud, zone, storageid=other)
    assert volume["state"] == "Ready" and disk(volume)[0] == other and volume["storageid"] == other


@pytest.mark.parametrize(
    "sent, told",
    [
        ({"diskofferingid": "custom"}, "This disk offering requires a custom size specified"),
        ({"diskofferingid": "custom", "size": 999999}, "Volume size: 999999 GB is out of allowed range. Min: 1. Max"),
        ({"size": 7}, "has a size of its own, 5 GiB"),
        ({"miniops": 5, "maxiops": 9}, "leaves no operations a second to you"),
        ({"customid": "no uuid"}, "is no UUID"),
    ],
)
def test_what_a_disk_cannot_be(cloud, zone, sent, told):
    sent = {k: zone.get(v, v) if isinstance(v, str) else v for k, v in sent.items()}
    with pytest.raises(Refused, match=told):
        create(cloud, zone, **sent)
    assert "volume" not in cloud.ask("listVolumes")


def test_a_disk_that_cannot_be_made_leaves_nothing(cloud, zone):
    before = promised()
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="create_disk", value="fail:no", count=1)
    with pytest.raises(Refused):
        create(cloud, zone, storageid=zone["pool"])
    assert promised() == before and "volume" not in cloud.ask("listVolumes")
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(SimulatedDisk)) == 0


def test_an_attachment_that_fails_is_taken_back(cloud, zone):
    vm, volume = deploy(cloud, zone), create(cloud, zone)
    before = promised()
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="attach_disk", value="fail:no", count=1)
    with pytest.raises(Refused):
        cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])
    assert (shown(cloud, volume)["state"], disk(volume), promised()) == ("Allocated", None, before)
    assert "virtualmachineid" not in shown(cloud, volume)


def test_places_at_a_machine_are_taken_once(cloud, zone):
    vm, one, two = deploy(cloud, zone), create(cloud, zone), create(cloud, zone, name="two")
    cloud.job("attachVolume", id=one["id"], virtualmachineid=vm["id"], deviceid=2)
    for device, told in ((2, "is taken"), (3, "is the drive's"), (0, "the root disk's"), (99, "out of range")):
        with pytest.raises(Refused, match=told):
            cloud.job("attachVolume", id=two["id"], virtualmachineid=vm["id"], deviceid=device)
    with pytest.raises(Refused, match="detach it first"):
        cloud.job("attachVolume", id=one["id"], virtualmachineid=vm["id"])
    with pytest.raises(Refused, match="has no disk at deviceid=9"):
        cloud.job("detachVolume", virtualmachineid=vm["id"], deviceid=9)


def test_disks_and_machines_of_different_accounts_do_not_meet(cloud, zone):
    cloud.account("ann")
    volume, vm = create(cloud, zone, user="ann"), deploy(cloud, zone)
    with pytest.raises(Refused, match="different accounts"):
        cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])


def test_a_root_disk_leaves_a_stopped_machine_alone(cloud, zone):
    vm = deploy(cloud, zone)
    root = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"][0]
    with pytest.raises(Refused, match="root disk of a running machine"):
        cloud.job("detachVolume", id=root["id"])
    cloud.job("stopVirtualMachine", id=vm["id"])
    assert cloud.job("detachVolume", id=root["id"])["volume"]["type"] == "DATADISK"
    with pytest.raises(Refused, match="no root disk"):
        cloud.job("startVirtualMachine", id=vm["id"])
    back = cloud.job("attachVolume", id=root["id"], virtualmachineid=vm["id"], deviceid=0)["volume"]
    assert (back["deviceid"], back["type"]) == (0, "ROOT")
    assert cloud.job("startVirtualMachine", id=vm["id"])["virtualmachine"]["state"] == "Running"


def test_a_deleted_disk_is_gone_and_its_space_free(cloud, zone):
    before = promised()
    volume = create(cloud, zone, storageid=zone["pool"])
    assert cloud.ask("deleteVolume", id=volume["id"]) == {"success": True}
    assert cloud.ask("listVolumes", id=volume["id"]) == {}
    cloud.work()
    assert disk(volume) is None and promised() == before


def test_a_destroyed_disk_comes_back_with_what_it_holds(cloud, zone):
    before = promised()
    volume = create(cloud, zone, storageid=zone["pool"])
    held = promised()
    assert cloud.job("destroyVolume", id=volume["id"])["volume"]["state"] == "Destroy"
    assert promised()[1] == before[1] and promised()[0] == held[0]
    assert cloud.ask("recoverVolume", id=volume["id"])["volume"]["state"] == "Ready"
    assert promised() == held
    cloud.job("destroyVolume", id=volume["id"], expunge=True)
    assert promised() == before and cloud.ask("listVolumes", id=volume["id"]) == {}


def test_destroyed_disks_go_when_their_time_is_over(cloud, zone):
    before = promised()
    volume = create(cloud, zone, storageid=zone["pool"])
    cloud.job("destroyVolume", id=volume["id"])
    timers.expunge_destroyed()
    cloud.work()
    assert disk(volume) is not None
    cloud.ask("updateConfiguration", name="storage.cleanup.delay", value=1)
    write(lambda tx: tx.execute(update(Volume).values(state_changed=row(volume).created.replace(year=2020))))
    timers.expunge_destroyed()
    cloud.work()
    assert disk(volume) is None and promised() == before


def test_a_host_that_does_not_answer_keeps_a_disk_for_later(cloud, zone):
    before = promised()
    volume = create(cloud, zone, storageid=zone["pool"])
    cloud.ask("configureSimulator", zoneid=zone["zone"], name="delete_disk", value="fail:no", count=1)
    cloud.ask("deleteVolume", id=volume["id"])
    cloud.work()
    assert row(volume).state == "Destroy" and disk(volume) is not None
    cloud.job("destroyVolume", id=volume["id"], expunge=True)
    assert promised() == before


def test_what_is_protected_or_attached_is_not_deleted(cloud, zone):
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, virtualmachineid=vm["id"])
    with pytest.raises(Refused, match="not attached to any VM"):
        cloud.ask("deleteVolume", id=volume["id"])
    cloud.job("detachVolume", id=volume["id"])
    updated = cloud.job("updateVolume", id=volume["id"], deleteprotection=True, name="kept")["volume"]
    assert (updated["name"], updated["deleteprotection"]) == ("kept", True)
    for call in (
        lambda: cloud.ask("deleteVolume", id=volume["id"]),
        lambda: cloud.job("destroyVolume", id=volume["id"]),
    ):
        with pytest.raises(Refused, match="is protected"):
            call()


def test_users_may_be_kept_from_expunging(cloud, zone):
    cloud.account("ann")
    volume = create(cloud, zone, user="ann")
    cloud.ask("updateConfiguration", name="allow.user.expunge.recover.volume", value=False)
    with pytest.raises(Refused, match=r"allow\.user\.expunge\.recover\.volume"):
        cloud.job("destroyVolume", user="ann", id=volume["id"], expunge=True)
    cloud.job("destroyVolume", user="ann", id=volume["id"])
    with pytest.raises(Refused, match=r"allow\.user\.expunge\.recover\.volume"):
        cloud.ask("recoverVolume", user="ann", id=volume["id"])
    assert cloud.ask("recoverVolume", id=volume["id"])["volume"]["state"] == "Allocated"


def test_users_are_told_in_words_why_there_is_no_room(cloud, zone):
    cloud.account("ann")
    vm = deploy(cloud, zone, user="ann")
    volume = create(cloud, zone, user="ann")
    write(lambda tx: tx.execute(update(Pool).values(capacity=1)))
    for user, told in (("ann", "No storage can take"), ("admin", "pool shared lacks")):
        with pytest.raises(Refused, match=told) as refused:
            cloud.job("attachVolume", user=user, id=volume["id"], virtualmachineid=vm["id"])
        assert user == "admin" or "shared" not in refused.value.text


def test_of_many_machines_that_want_a_disk_one_gets_it(cloud, zone):
    machines = [deploy(cloud, zone) for _ in range(3)]
    volume = create(cloud, zone)
    jobs = [cloud.ask("attachVolume", id=volume["id"], virtualmachineid=vm["id"])["jobid"] for vm in machines]
    threads = [threading.Thread(target=cloud.work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [cloud.ask("queryAsyncJobResult", jobid=j)["jobstatus"] for j in jobs]
    assert sorted(ended) == [1, 2, 2]
    path = row(volume).path
    assert [path in at(vm) for vm in machines] == [
        vm["id"] == shown(cloud, volume)["virtualmachineid"] for vm in machines
    ]


def test_a_disk_that_is_deleted_before_its_job_ran_is_counted_once(cloud, zone):
    before = promised()
    vm = deploy(cloud, zone)
    there = promised()
    sent = {"zoneid": zone["zone"], "diskofferingid": zone["small"], "virtualmachineid": vm["id"]}
    made = cloud.ask("createVolume", name="x", **sent)
    cloud.ask("deleteVolume", id=made["id"])
    cloud.work()
    assert promised() == there != before and cloud.ask("listVolumes", id=made["id"]) == {}
