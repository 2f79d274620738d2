"""A file of a disk that could not be removed, because its host did not answer, goes as soon as one can."""

# ruff: noqa: F811  the fixture is imported

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.errors import Unavailable
from mgmt_server.jobs.rows import OPEN, JobRow
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.ha import guests
from mgmt_server.resources.reconcile import timers
from mgmt_server.resources.router import document
from tests.api.test_vm import deploy, zone  # noqa: F401
from tests.api.test_volume import second_pool
from tests.cloud import Refused
from tests.crash.invariants import broken
from tests.crash.world import ISOLATED


@pytest.fixture(autouse=True)
def no_faults():
    yield
    faults.forget()


def fail(cloud, name, value="lost:true", **more):
    return cloud.ask("configureSimulator", name=name, value=value, **more)["mock"]["id"]


def later(cloud):
    """What waits for its time is due."""
    waiting = update(JobRow).where(JobRow.state.in_(OPEN), JobRow.not_before.is_not(None))
    write(lambda tx: tx.execute(waiting.values(not_before=now()).execution_options(synchronize_session=False)) and None)
    cloud.work()


def spare(cloud, zone):
    offering = cloud.ask("listDiskOfferings")["diskoffering"][0]["id"]
    return cloud.job("createVolume", zoneid=zone["zone"], name="spare", diskofferingid=offering)["volume"]["id"]


def left():
    """Files that are no disk's."""
    with reading() as session:
        known = set(session.scalars(select(Volume.path).where(Volume.pool_id.is_not(None))))
        files = set(session.scalars(select(SimulatedDisk.name).where(SimulatedDisk.backing == "")))
        return {f for f in files - known if "@" not in f and len(f) == 36 and f in _disks(session)}


def _disks(session):
    return set(session.scalars(select(Volume.uuid)))


def test_the_file_of_a_disk_that_was_not_attached_goes_once_a_host_answers(cloud, zone):
    vm, disk = deploy(cloud, zone)["id"], spare(cloud, zone)
    fail(cloud, "attach_disk", "fail:no slot")
    gone = fail(cloud, "delete_disk")
    with pytest.raises(Refused, match="no slot"):
        cloud.job("attachVolume", id=disk, virtualmachineid=vm)
    assert left() == {disk}
    later(cloud)
    assert left() == {disk}, "no host answers yet"
    cloud.ask("cleanupSimulatorMock", id=gone)
    later(cloud)
    assert left() == set() and broken() == []


def test_a_disk_that_is_attached_meanwhile_keeps_its_file(cloud, zone):
    vm, disk = deploy(cloud, zone)["id"], spare(cloud, zone)
    fault, gone = fail(cloud, "attach_disk", "fail:no slot"), fail(cloud, "delete_disk")
    with pytest.raises(Refused, match="no slot"):
        cloud.job("attachVolume", id=disk, virtualmachineid=vm)
    cloud.ask("cleanupSimulatorMock", id=fault)
    cloud.job("attachVolume", id=disk, virtualmachineid=vm)
    cloud.ask("cleanupSimulatorMock", id=gone)
    later(cloud)
    assert broken() == []


def test_what_a_start_made_on_a_host_that_died_goes_with_it(cloud, zone):
    deploy(cloud, zone)
    with reading() as session:
        numbers = set(session.scalars(select(Vm.id)))
    fault, gone = fail(cloud, "start"), fail(cloud, "stop")
    with pytest.raises(Refused, match="It stays Starting until that is known"):
        deploy(cloud, zone, name="doubted")
    with reading() as session:
        vm = session.scalar(select(Vm).where(Vm.id.not_in(numbers), Vm.kind == "User"))
        host = session.get(Host, vm.host_id)
    for number in (fault, gone):
        cloud.ask("cleanupSimulatorMock", id=number)
    write(lambda tx: guests.lay_down(tx, tx.get(Vm, vm.id), tx.get(Host, host.id), "died") and None)
    later(cloud)
    assert broken() == []
    cloud.job("startVirtualMachine", id=vm.uuid)
    assert broken() == []


@pytest.mark.parametrize("back", [True, False])
def test_a_disk_that_is_let_go_meanwhile_keeps_its_file_where_it_lies(cloud, zone, back):
    disk = spare(cloud, zone)
    cloud.job("attachVolume", id=disk, virtualmachineid=deploy(cloud, zone)["id"])
    cloud.job("detachVolume", id=disk)
    there = second_pool(zone)
    gone = fail(cloud, "delete_disk")
    cloud.job("migrateVolume", volumeid=disk, storageid=there)
    cloud.ask("cleanupSimulatorMock", id=gone)
    if back:
        cloud.job("migrateVolume", volumeid=disk, storageid=zone["pool"])
    cloud.job("unmanageVolume", id=disk)
    later(cloud)
    cloud.job("importVolume", path=disk, storageid=zone["pool"] if back else there)
    assert broken() == []


def test_a_copy_that_failed_goes_also_where_a_disk_of_that_file_was_let_go_before(cloud, zone):
    disk = spare(cloud, zone)
    cloud.job("attachVolume", id=disk, virtualmachineid=deploy(cloud, zone)["id"])
    cloud.job("detachVolume", id=disk)
    there = second_pool(zone)
    cloud.job("unmanageVolume", id=disk)
    back = cloud.job("importVolume", path=disk, storageid=zone["pool"])["volume"]["id"]
    cloud.job("migrateVolume", volumeid=back, storageid=there)
    fail(cloud, "copy_disk", "fail:later|late:true", count=1)
    with pytest.raises(Refused, match="later"):
        cloud.job("migrateVolume", volumeid=back, storageid=zone["pool"])
    assert broken() == []


def test_what_disks_left_behind_goes_also_where_a_move_was_in_doubt(cloud, zone):
    vm = deploy(cloud, zone)
    there, target = second_pool(zone), next(h for h in zone["hosts"].split(",") if h != vm["hostid"])
    root = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"][0]["id"]
    fail(cloud, "migrate", "lost:true|late:true", count=1)
    fail(cloud, "machines", hostid=target, count=2)
    sent = {"migrateto[0].volume": root, "migrateto[0].pool": there, "hostid": target}
    with pytest.raises(Refused, match="Nobody can tell"):
        cloud.job("migrateVirtualMachineWithVolume", virtualmachineid=vm["id"], **sent)
    timers.forget()
    timers.look(patience=0)
    cloud.work()
    (moved,) = cloud.ask("listVolumes", id=root)["volume"]
    assert (moved["storageid"], moved["state"]) == (there, "Ready")
    later(cloud)
    assert broken() == []


def test_a_router_that_nobody_could_stop_again_keeps_what_it_has_until_its_host_tells(cloud, zone, monkeypatch):
    (offering,) = cloud.ask("listNetworkOfferings", name=ISOLATED)["networkoffering"]
    network = cloud.ask(
        "createNetwork", name="n", zoneid=zone["zone"], gateway="10.9.0.1", netmask="255.255.255.0",
        networkofferingid=offering["id"],
    )["network"]["id"]  # fmt: skip

    def silent(*_):
        raise Unavailable("its host does not answer")

    lost = fail(cloud, "stop")
    with monkeypatch.context() as patched:
        patched.setattr(document, "_document", silent)
        with pytest.raises(Refused, match="its host does not answer"):
            deploy(cloud, zone, networkids=network)
    cloud.ask("cleanupSimulatorMock", id=lost)
    with reading() as session:
        router = session.scalar(select(Vm).where(Vm.kind == "DomainRouter", Vm.network_id.is_not(None)))
    assert (router.state, router.doubted) == ("Starting", True)
    timers.forget()
    timers.look(patience=0)
    cloud.work()
    later(cloud)
    assert broken() == []
