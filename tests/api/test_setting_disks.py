"""Settings of disks and pools take effect: each is turned, and what it is for is looked at."""

# ruff: noqa: F811  the fixture is imported

from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from mgmt_server.agent import stores
from mgmt_server.db import reading, write
from mgmt_server.errors import Failed
from mgmt_server.model.account import Account
from mgmt_server.model.storage import Pool, TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.protocol import download
from mgmt_server.resources.template.stored import image_in
from tests.api import test_volume
from tests.api.test_setting_effects import turn
from tests.api.test_template_making import timers
from tests.api.test_vm_options import told  # noqa: F401  a fixture
from tests.api.test_volume import create, deploy, row, second_pool
from tests.api.test_volume_changes import calls
from tests.cloud import Refused

GIB = 2**30
zone = test_volume.zone
THROTTLES = {
    "bytes_read": "vm.disk.throttling.bytes_read_rate",
    "bytes_write": "vm.disk.throttling.bytes_write_rate",
    "iops_read": "vm.disk.throttling.iops_read_rate",
    "iops_write": "vm.disk.throttling.iops_write_rate",
}


def test_disks_have_the_usual_limits_where_their_offering_says_none(cloud, zone, monkeypatch):
    for number, name in enumerate(THROTTLES.values(), 100):
        turn(cloud, name, number)
    made = calls(monkeypatch, "create_disk")
    usual = {"bytes_read": 100, "bytes_write": 101, "iops_read": 102, "iops_write": 103}
    create(cloud, zone, storageid=zone["pool"])
    assert made[-1][1].limits == usual
    own = cloud.ask("createDiskOffering", name="own", disksize=2, bytesreadrate=7)["diskoffering"]["id"]
    create(cloud, zone, diskofferingid=own, storageid=zone["pool"])
    assert made[-1][1].limits == {**usual, "bytes_read": 7}
    total = cloud.ask("createDiskOffering", name="t", disksize=2, miniops=5, maxiops=90)["diskoffering"]["id"]
    create(cloud, zone, diskofferingid=total, storageid=zone["pool"])
    assert made[-1][1].limits == {"bytes_read": 100, "bytes_write": 101} and made[-1][1].operations_per_second == 90
    del made[:]
    deploy(cloud, zone)
    limits = {d.name: d.limits for _, d in made}
    assert sorted(map(bool, limits.values())) == [False, True], "the machine's, and not its router's"


@pytest.mark.parametrize("what", ["bytes", "iops"])
@pytest.mark.parametrize("way", ["read", "write"])
def test_bursts_are_no_longer_than_the_setting_says(cloud, what, way):
    wire = f"{what}{way}rate"
    sent = {"name": "b", "disksize": 1, wire: 10, f"{wire}max": 20, f"{wire}maxlength": 61}
    assert cloud.ask("createDiskOffering", **sent)["diskoffering"]["name"] == "b"
    turn(cloud, f"vm.disk.{what}.maximum.{way}.length", 60)
    with pytest.raises(Refused, match=f"{wire}maxlength=61 is out of range: choose 1 to 60 seconds"):
        cloud.ask("createDiskOffering", **sent)


def test_the_policy_of_a_pool_holds_for_machines_that_leave_it_to_storage(cloud, zone, told):
    deploy(cloud, zone, iodriverpolicy="storage_specific")
    assert told[-1].disks[0].io == ""
    turn(cloud, "kvm.storage.pool.io.policy", "io_uring", storageid=zone["pool"])
    vm = deploy(cloud, zone, iodriverpolicy="storage_specific")
    assert told[-1].disks[0].io == "io_uring"
    create(cloud, zone, virtualmachineid=vm["id"])
    assert told[-1].io == "io_uring"
    deploy(cloud, zone)
    assert told[-1].disks[0].io == ""
    with pytest.raises(Refused, match="choose"):
        turn(cloud, "kvm.storage.pool.io.policy", "fast", storageid=zone["pool"])


@pytest.mark.parametrize("scope", ["zoneid", "storageid", None])
def test_disks_grow_beyond_what_new_ones_may_only_where_a_setting_says_so(cloud, zone, scope):
    volume = create(cloud, zone, diskofferingid=zone["custom"], size=3, storageid=zone["pool"])
    write(lambda tx: tx.execute(update(Pool).values(capacity=10 * GIB, overprovision=1.0, allocated=3 * GIB)))
    with pytest.raises(Refused, match="lacks room for 6144 MiB more"):
        cloud.job("resizeVolume", id=volume["id"], size=9)
    where = {"zoneid": zone["zone"], "storageid": zone["pool"]}
    turn(cloud, "volume.resize.allowed.beyond.allocation", "true", **({scope: where[scope]} if scope else {}))
    assert cloud.job("resizeVolume", id=volume["id"], size=9)["volume"]["size"] == 9 * GIB
    with pytest.raises(Refused, match="lacks room for 1024 MiB more"):
        cloud.job("resizeVolume", id=volume["id"], size=10)


def test_a_pool_says_no_where_another_of_its_zone_lets_disks_grow(cloud, zone):
    volume = create(cloud, zone, diskofferingid=zone["custom"], size=3, storageid=zone["pool"])
    write(lambda tx: tx.execute(update(Pool).values(capacity=10 * GIB, overprovision=1.0, allocated=3 * GIB)))
    turn(cloud, "volume.resize.allowed.beyond.allocation", "true", zoneid=zone["zone"])
    turn(cloud, "volume.resize.allowed.beyond.allocation", "false", storageid=zone["pool"])
    with pytest.raises(Refused, match="lacks room"):
        cloud.job("resizeVolume", id=volume["id"], size=9)


def test_new_disks_go_to_the_pool_that_their_account_prefers(cloud, zone):
    other = second_pool(zone)
    turn(cloud, "volume.allocation.algorithm", "firstfit")
    cloud.account("ann")
    with reading() as session:
        ann = session.scalar(select(Account.uuid).where(Account.name == "ann"))
    turn(cloud, "preferred.storage.pool", other, accountid=ann)

    def pool_of(user):
        vm = deploy(cloud, zone, user)
        return cloud.ask("listVolumes", virtualmachineid=vm["id"], listall=True)["volume"][0]["storageid"]

    assert (pool_of("admin"), pool_of("ann")) == (zone["pool"], other)
    turn(cloud, "preferred.storage.pool", other)
    assert pool_of("admin") == other
    cloud.ask("updateStoragePool", id=other, enabled=False)
    assert pool_of("ann") == zone["pool"], "one that does not fit keeps nobody from starting"


def test_an_offering_with_other_tags_needs_no_move_where_tags_do_not_matter(cloud, zone):
    volume = create(cloud, zone, storageid=zone["pool"])
    fast = cloud.ask("createDiskOffering", name="ssd", disksize=5, tags="ssd")["diskoffering"]["id"]
    with pytest.raises(Refused, match="automigrate=true"):
        cloud.job("changeOfferingForVolume", id=volume["id"], diskofferingid=fast)
    turn(cloud, "match.storage.pool.tags.with.disk.offering", "false", zoneid=zone["zone"])
    changed = cloud.job("changeOfferingForVolume", id=volume["id"], diskofferingid=fast)["volume"]
    assert (changed["diskofferingid"], changed["storageid"]) == (fast, zone["pool"])


def test_disks_stay_where_they_are_when_moving_is_switched_off(cloud, zone):
    other = second_pool(zone)
    vm = deploy(cloud, zone)
    volume = create(cloud, zone, storageid=zone["pool"])
    attached = create(cloud, zone, virtualmachineid=vm["id"], storageid=zone["pool"])
    turn(cloud, "enable.storage.migration", "false")
    refused = "Disks do not move between pools here"
    with pytest.raises(Refused, match=refused):
        cloud.job("migrateVolume", volumeid=volume["id"], storageid=other)
    with pytest.raises(Refused, match=refused):
        cloud.job("migrateVolume", volumeid=attached["id"], storageid=other, livemigrate=True)
    away = next(h for h in zone["hosts"].split(",") if h != vm["hostid"])
    moves = {"migrateto[0].volume": attached["id"], "migrateto[0].pool": other}
    with pytest.raises(Refused, match=refused):
        cloud.job("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], hostid=away, **moves)
    moved = cloud.job("migrateVirtualMachine", virtualmachineid=vm["id"], hostid=away)["virtualmachine"]
    assert moved["hostid"] == away, "without its disks it moves"
    assert {row(v).pool_id for v in (volume, attached)} == {row(volume).pool_id}


def test_the_other_settings_of_cleanup_keep_templates_in_pools_too(cloud, zone, monkeypatch):
    found = []
    monkeypatch.setattr(timers.caches, "start_dropping", lambda tx, *told: found.append(told))
    monkeypatch.setattr(timers.caches, "needed", lambda: select(Pool.id).where(Pool.id < 0).exists())
    vm = deploy(cloud, zone)
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    cloud.job("deleteTemplate", id=zone["template"])
    for name in ("storage.template.cleanup.enabled", "storage.cleanup.enabled"):
        turn(cloud, name, "false")
        timers.cached()
        assert found == []
        turn(cloud, name, "true")
    timers.cached()
    assert len(found) == 1


def test_hosts_wait_for_images_that_they_fetch_as_long_as_the_settings_say(cloud, zone, monkeypatch, tmp_path):
    def direct():
        with reading() as session:
            template = session.scalar(select(Template.id).where(Template.uuid == zone["template"]))
            return image_in(session, template, session.scalar(select(Pool.zone_id)))

    gone = update(TemplateOnStore).values(store_id=None)
    write(lambda tx: tx.execute(gone) and tx.execute(update(Template).values(url="http://192.0.2.7/x.qcow2")))
    assert (direct().direct.dial, direct().direct.silence) == (5, 5)
    turn(cloud, "direct.download.connect.timeout", 1500)
    turn(cloud, "direct.download.socket.timeout", 2500)
    assert (direct().direct.dial, direct().direct.silence) == (1.5, 2.5)
    dialled = []

    class Socket:
        def settimeout(self, seconds):
            dialled.append(seconds)

        def sendall(self, data):
            raise OSError("gone")

        def close(self):
            pass

    monkeypatch.setattr(download.socket, "create_connection", lambda at, wait: dialled.append(wait) or Socket())
    monkeypatch.setattr(download, "resolve", lambda *args: ["192.0.2.7"])
    monkeypatch.setattr(stores, "TRIES", 1)
    with pytest.raises(Failed, match="gone"):
        stores._from_outside(SimpleNamespace(uuid="a1"), direct().direct, str(tmp_path / "image"))
    assert dialled == [1.5, 2.5]
