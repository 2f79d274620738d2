"""What becomes of a machine's snapshots when it goes for good."""

# ruff: noqa: F811  the fixture is imported

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.drivers.hypervisor import dispatch
from mgmt_server.model.snapshot import VmSnapshot
from tests.api.test_vm_snapshot import deploy, fail, keep, shown, zone  # noqa: F401


def test_they_go_with_their_machine(cloud, zone):
    vm, _ = deploy(cloud, zone)
    keep(cloud, vm)
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    assert shown(cloud) == {}
    with reading() as session:
        assert session.scalar(select(VmSnapshot.state)) == "Removed"


@pytest.mark.parametrize("answers", [True, False])
def test_what_they_took_of_disks_that_stay_goes_with_their_machine(cloud, zone, monkeypatch, answers):
    vm, root = deploy(cloud, zone)
    offering = cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]["id"]
    data = cloud.job("createVolume", name="data", diskofferingid=offering, zoneid=zone["zone"])["volume"]["id"]
    cloud.job("attachVolume", id=data, virtualmachineid=vm)
    kept = [keep(cloud, vm)["id"], keep(cloud, vm)["id"]]
    told, delete = [], dispatch.delete_snapshot

    def noted(call, host, name, point):
        told.append(point)
        delete(call, host, name, point)

    monkeypatch.setattr(dispatch, "delete_snapshot", noted)
    if not answers:
        fail(cloud, "delete_snapshot", "lost:true")
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    assert told == kept and cloud.ask("listVolumes", id=data)["volume"][0]["state"] == "Ready"
    assert not cloud.ask("listVirtualMachines", id=vm)
