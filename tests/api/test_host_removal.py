"""A host that is taken out by force, with what lies on its own storage."""

# ruff: noqa: F811  the fixtures are imported

import pytest
from sqlalchemy import select, update

from mgmt_server.db import Conflict, reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.resources.host import removal
from mgmt_server.resources.template import caches
from tests.api.reconciling import repair
from tests.api.test_volume import create, deploy
from tests.api.test_volume_carrying import local, zone  # noqa: F401
from tests.cloud import Refused


@pytest.fixture
def lost(cloud, zone, local):
    """A host with a machine on its own storage, and a disk there that is in no machine."""
    offering = cloud.ask(
        "createServiceOffering", name="near", displaytext="near", cpunumber=1, cpuspeed=500, memory=512,
        storagetype="local",
    )["serviceoffering"]["id"]  # fmt: skip
    vm = deploy(cloud, {**zone, "offering": offering})
    offered = {"diskofferingid": zone["local"], "storageid": local[vm["hostid"]]}
    return vm, create(cloud, zone, **offered)


def files(pool):
    with reading() as session:
        return list(session.scalars(select(SimulatedDisk.name).where(SimulatedDisk.pool == pool)))


def test_nothing_of_it_is_lost_unless_that_is_asked_for(cloud, local, lost):
    vm, volume = lost
    with pytest.raises(Refused, match=r"2 disks are on local storage of host .*forcedestroylocalstorage=true"):
        cloud.ask("deleteHost", id=vm["hostid"], forced=True)
    assert cloud.ask("listVolumes", id=volume["id"])["count"] == 1 and files(local[vm["hostid"]])
    assert cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["state"] == "Running"


def test_what_lies_on_it_goes_with_it_and_no_file_stays(cloud, local, lost):
    vm, volume = lost
    cloud.ask("deleteHost", id=vm["hostid"], forced=True, forcedestroylocalstorage=True)
    cloud.work()
    assert not cloud.ask("listVolumes", id=volume["id"]) and not cloud.ask("listVirtualMachines", id=vm["id"])
    assert files(local[vm["hostid"]]) == [], "disks, or what they stood on"
    with reading() as session:
        assert session.scalar(select(SimulatedMachine.name).where(SimulatedMachine.host == vm["hostid"])) is None
        assert session.scalar(select(Host.state).where(Host.uuid == vm["hostid"])) == "Removed"


@pytest.mark.parametrize("host_goes", [True, False])
def test_a_machine_that_was_let_go_keeps_what_its_disk_stands_on(cloud, zone, local, lost, host_goes):
    """Its host goes; or its template does, whose copy in the pool nothing else needs."""
    vm, volume = lost
    (root,) = cloud.ask("listVolumes", virtualmachineid=vm["id"], type="ROOT")["volume"]
    pool = local[vm["hostid"]]
    cloud.job("stopVirtualMachine", id=vm["id"])
    cloud.job("unmanageVirtualMachine", id=vm["id"])
    cloud.job("destroyVolume", id=volume["id"], expunge=True)
    kept = files(pool)
    assert len(kept) == 2 and root["path"] in kept
    if host_goes:
        cloud.ask("deleteHost", id=vm["hostid"], forced=True)
        with reading() as session:
            assert session.scalar(select(SimulatedMachine.name).where(SimulatedMachine.host == vm["hostid"]))
    else:
        cloud.job("deleteTemplate", id=zone["template"])
        with reading() as session:
            assert caches.unused(session) == []
    assert files(pool) == kept


def test_a_host_that_tells_by_itself_what_stopped_is_removed_all_the_same(cloud, local, lost, monkeypatch):
    """Its report and the removal lay the machine down at the same moment."""
    vm, _ = lost
    stopped, met = removal._stopped, []

    def racing(tx, number, host_id):
        if number not in met:
            met.append(number)
            raise Conflict("Vm", number, "Running")
        stopped(tx, number, host_id)

    monkeypatch.setattr(removal, "_stopped", racing)
    cloud.ask("deleteHost", id=vm["hostid"], forced=True, forcedestroylocalstorage=True)
    assert met and not cloud.ask("listHosts", id=vm["hostid"])


@pytest.mark.parametrize("lives", [True, False])
def test_a_disk_that_may_have_left_it_is_not_lost_with_it(cloud, zone, local, lost, lives):
    """Its move to shared storage got no answer, and the host that could tell is the one that goes."""
    vm, volume = lost
    cloud.job("attachVolume", id=volume["id"], virtualmachineid=vm["id"])
    cloud.ask("configureSimulator", name="move_disk", value="late:true|lost:true", count=1)
    silent = cloud.ask("configureSimulator", name="settle_disk", value="lost:true")["mock"]["id"]
    with pytest.raises(Refused, match="Nobody can tell where the disk"):
        cloud.job("migrateVolume", volumeid=volume["id"], storageid=zone["pool"], livemigrate=True)
    if lives:
        cloud.ask("cleanupSimulatorMock", id=silent)
        repair(cloud)
    else:
        write(lambda tx: tx.execute(update(Host).where(Host.uuid == vm["hostid"]).values(state="Down")) and None)
    cloud.ask("deleteHost", id=vm["hostid"], forced=True, forcedestroylocalstorage=True)
    (found,) = cloud.ask("listVolumes", id=volume["id"])["volume"]
    assert (found["state"], found["storageid"]) == ("Ready", zone["pool"]) and not found.get("virtualmachineid")
    assert volume["path"] in files(zone["pool"])
