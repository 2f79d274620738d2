"""A disabled pool takes no new disk; what is on it runs, stops and starts on."""

# ruff: noqa: F811  the fixture is imported

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Volume
from tests.api.test_placement import deploy, used, zone  # noqa: F401
from tests.cloud import Refused


def enable(cloud, zone, on):
    (told,) = cloud.ask("updateStoragePool", id=zone["pool"], enabled=on).values()
    assert told["state"] == ("Up" if on else "Disabled")


def allocated():
    with reading() as session:
        return session.scalar(select(Pool.allocated))


def disk_offering(cloud):
    return cloud.ask("listDiskOfferings", name="Small")["diskoffering"][0]["id"]


def test_a_disabled_pool_gets_no_new_root_disk_and_the_reason_is_told(cloud, zone):
    cloud.account("ann", domain="/a/")
    deploy(cloud, zone, "there", user="ann")
    before = used(), allocated()
    enable(cloud, zone, False)
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "late")
    assert "pool shared is Disabled" in no.value.text
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "late", user="ann")
    assert "storage is not in use at present" in no.value.text and "shared" not in no.value.text
    asked = {"zoneid": zone["zone"], "serviceofferingid": zone["offering"], "templateid": zone["template"]}
    told = cloud.ask("explainDeployment", **asked)["deployment"]
    assert not told["possible"] and {h["rule"] for h in told["host"]} == {"storage"}
    assert [(p["name"], p["reason"]) for p in told["storagepool"]] == [("shared", "is Disabled")]
    assert (used(), allocated()) == before, "nothing is kept of what was refused"
    enable(cloud, zone, True)
    assert deploy(cloud, zone, "late")["state"] == "Running"


def test_machines_on_a_disabled_pool_run_stop_and_start_again(cloud, zone):
    running, stopped = (deploy(cloud, zone, name)["id"] for name in ("running", "stopped"))
    cloud.job("stopVirtualMachine", id=stopped)
    enable(cloud, zone, False)
    assert cloud.ask("listVirtualMachines", id=running)["virtualmachine"][0]["state"] == "Running"
    for vm in (stopped, running):
        cloud.job("stopVirtualMachine", id=vm)
        assert cloud.job("startVirtualMachine", id=vm)["virtualmachine"]["state"] == "Running"
    assert cloud.job("rebootVirtualMachine", id=running)["virtualmachine"]["state"] == "Running"
    assert cloud.ask("explainDeployment", virtualmachineid=stopped)["deployment"]["possible"]


def test_a_disabled_pool_gets_no_new_data_disk(cloud, zone):
    vm = deploy(cloud, zone, "there")["id"]
    offering = disk_offering(cloud)
    old = cloud.job("createVolume", name="old", diskofferingid=offering, zoneid=zone["zone"])["volume"]["id"]
    cloud.job("attachVolume", id=old, virtualmachineid=vm)
    cloud.job("detachVolume", id=old)
    new = cloud.job("createVolume", name="new", diskofferingid=offering, zoneid=zone["zone"])["volume"]["id"]
    enable(cloud, zone, False)
    before = allocated()
    with pytest.raises(Refused, match="pool shared is Disabled"):
        cloud.job("attachVolume", id=new, virtualmachineid=vm)
    assert allocated() == before
    with reading() as session:
        assert session.scalar(select(Volume.pool_id).where(Volume.uuid == new)) is None
    # one that is on it already is no new one
    assert cloud.job("attachVolume", id=old, virtualmachineid=vm)["volume"]["virtualmachineid"] == vm
    enable(cloud, zone, True)
    assert cloud.job("attachVolume", id=new, virtualmachineid=vm)["volume"]["virtualmachineid"] == vm
