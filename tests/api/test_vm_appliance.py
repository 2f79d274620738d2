"""Machines deployed from templates of OVAs with several disks."""

import pytest
from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.model.simulator import SimulatedDisk
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Volume
from tests.api.appliances import NICS, ovf
from tests.api.reconciling import change
from tests.api.test_vm_deploy import deploy, isolated
from tests.cloud import Refused
from tests.crash.invariants import broken
from tests.simulated import GIB, build


@pytest.fixture
def zone(cloud):
    found = build()
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    return found


def register(cloud, zone, sizes=(2048, 1024, 3072), **more):
    """A template of an OVA with disks of so many MiB, and its further disks."""
    kind = cloud.ask("listOsTypes", description="Other Linux (64-bit)")["ostype"][0]["id"]
    sent = {"hypervisor": "Simulator", "format": "OVA", "zoneid": zone["zone"], "ostypeid": kind}
    cloud.ask(
        "registerTemplate", name="app", url="http://h.example/a.ova", **sent, **{"details[0].ovf": ovf(sizes, **more)}
    )
    (made,) = cloud.ask("listTemplates", templatefilter="self", name="app")["template"]
    return made["id"], [c["id"] for c in made.get("childtemplates", ())]


def disks(cloud, vm):
    found = cloud.ask("listVolumes", virtualmachineid=vm["id"])["volume"]
    return sorted(found, key=lambda v: v["deviceid"])


def refused(cloud, zone, **sent):
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, **sent)
    assert no.value.status == 431
    return no.value.text


def test_a_machine_has_each_disk_of_its_template_in_order(cloud, zone):
    app, (first, second) = register(cloud, zone)
    vm = deploy(cloud, zone, templateid=app)
    found = disks(cloud, vm)
    assert [(v["deviceid"], v["type"], v["size"], v["templateid"], v["state"]) for v in found] == [
        (0, "ROOT", 2 * GIB, app, "Ready"),
        (1, "DATADISK", GIB, first, "Ready"),
        (2, "DATADISK", 3 * GIB, second, "Ready"),
    ]
    assert {v["diskofferingname"] for v in found[1:]} == {"Custom"}
    with reading() as session:
        backings = dict(session.execute(select(SimulatedDisk.name, SimulatedDisk.backing)).all())
    assert [backings[v["id"]].partition("@")[0] for v in found] == [app, first, second]
    again = deploy(cloud, zone, templateid=app)
    assert len(disks(cloud, again)) == 3 and broken() == []


def test_offerings_are_chosen_for_each_disk(cloud, zone):
    app, (first, second) = register(cloud, zone)
    fixed = cloud.ask("createDiskOffering", name="five", displaytext="five", disksize=5)["diskoffering"]["id"]
    small = cloud.ask("createDiskOffering", name="two", displaytext="two", disksize=2)["diskoffering"]["id"]
    key = "datadiskofferinglist[0]"
    vm = deploy(
        cloud, zone, templateid=app, diskofferingid=small,
        **{f"{key}.datadisktemplateid": second, f"{key}.diskofferingid": fixed},
    )  # fmt: skip
    assert [(v["size"] // GIB, v["diskofferingname"]) for v in disks(cloud, vm)[1:]] == [
        (1, "Custom"), (5, "five"), (2, "two"),
    ]  # fmt: skip
    for sent, said in (
        ({f"{key}.datadisktemplateid": app, f"{key}.diskofferingid": fixed}, f"{app} is no disk of app"),
        ({f"{key}.datadisktemplateid": second, f"{key}.diskofferingid": "x"}, "diskofferingid=x is none"),
        ({f"{key}.datadisktemplateid": second, f"{key}.diskofferingid": small}, "smaller than the disk app-"),
        ({f"{key}.datadisktemplateid": second}, "datadiskofferinglist is incomplete"),
    ):
        assert said in refused(cloud, zone, templateid=app, **sent)
    assert "is no disk of" in refused(
        cloud, zone, **{f"{key}.datadisktemplateid": second, f"{key}.diskofferingid": fixed}
    )


def test_the_explanation_counts_each_disk_of_the_template(cloud, zone):
    app, (_, second) = register(cloud, zone)
    asked = {"zoneid": zone["zone"], "serviceofferingid": zone["offering"], "templateid": app}
    change(Pool, capacity=8 * GIB, overprovision=1.0, allocated=0)

    def explained(**more):
        return cloud.ask("explainDeployment", **asked | more)["deployment"]

    told = explained()
    assert told["possible"] and told["storagepool"][0]["suitable"]
    change(Pool, allocated=3 * GIB)  # room for each of 2, 1 and 3 GiB, and not for all
    told = explained()
    (reason,) = {h["reason"] for h in told["host"]}
    assert not told["possible"] and "no storage for all its disks together: pool " in reason
    assert "No pool can take" in failed_deploy(cloud, zone, app)
    change(Pool, allocated=0)
    tagged = cloud.ask("createDiskOffering", name="t", displaytext="t", disksize=5, tags="ssd")["diskoffering"]["id"]
    row = {"datadiskofferinglist[0].datadisktemplateid": second, "datadiskofferinglist[0].diskofferingid": tagged}
    told = explained(**row)
    assert not told["possible"] and "ssd" in told["host"][0]["reason"]
    with pytest.raises(Refused, match="is no disk of app"):
        explained(**{**row, "datadiskofferinglist[0].datadisktemplateid": app})
    with pytest.raises(Refused, match="is a disk of another template"):
        explained(**{"templateid": second})


def failed_deploy(cloud, zone, app):
    job = cloud.ask("deployVirtualMachine", zoneid=zone["zone"], templateid=app, serviceofferingid=zone["offering"])
    cloud.work()
    return cloud.ask("queryAsyncJobResult", jobid=job["jobid"])["jobresult"]["errortext"]


def test_a_disk_without_a_fitting_offering_is_named(cloud, zone):
    app, (first, _) = register(cloud, zone)
    for one in cloud.ask("listDiskOfferings")["diskoffering"]:
        if one["iscustomized"]:
            cloud.ask("deleteDiskOffering", id=one["id"])
    said = refused(cloud, zone, templateid=app)
    assert "The disk app-DataDiskTemplate-1 needs an offering" in said and f"datadisktemplateid={first}" in said


def test_a_disk_of_a_template_is_not_deployed_by_itself(cloud, zone):
    app, (first, _) = register(cloud, zone)
    assert "is a disk of another template" in refused(cloud, zone, templateid=first)
    vm = deploy(cloud, zone, templateid=app)
    with pytest.raises(Refused, match="is a disk of another template"):
        cloud.job("restoreVirtualMachine", virtualmachineid=vm["id"], templateid=first)
    cloud.job("restoreVirtualMachine", virtualmachineid=vm["id"], expunge=True)
    assert [v["templateid"] == app for v in disks(cloud, vm)] == [True, False, False] and broken() == []


def test_nics_get_their_networks_in_the_order_of_the_ova(cloud, zone):
    app, _ = register(cloud, zone, nics=NICS[::-1])
    made = {}
    for n, name in enumerate(("front", "back"), 3):
        sent = {"gateway": f"10.{n}.0.1", "netmask": "255.255.255.0", "networkofferingid": isolated(cloud)}
        made[name] = cloud.ask("createNetwork", name=name, zoneid=zone["zone"], **sent)["network"]["id"]
    both = {
        "nicnetworklist[0].nic": 8, "nicnetworklist[0].network": made["front"],
        "nicnetworklist[1].nic": 9, "nicnetworklist[1].network": made["back"],
    }  # fmt: skip
    vm = deploy(cloud, zone, templateid=app, **both)
    assert [(n["networkname"], n["isdefault"]) for n in vm["nic"]] == [("back", True), ("front", False)]
    one = {k: v for k, v in both.items() if "[0]" in k}
    for sent, said in (
        (one, "the NICs 9 of app have no network"),
        (both | {"nicnetworklist[1].nic": 7}, "app has no NIC 7. Its NICs: 9 (back), 8 (front)"),
        (both | {"nicnetworklist[1].network": "x"}, "nicnetworklist names no network that can be used: x"),
        (both | {"nicnetworklist[1].network": made["front"]}, "name each network once"),
        (both | {"networkids": made["front"]}, "nicnetworklist excludes networkids"),
    ):
        assert said in refused(cloud, zone, templateid=app, **sent)
    assert "Its NICs: none that is known" in refused(cloud, zone, **one)


def test_a_disk_that_was_never_on_storage_holds_its_template_on_another_machine(cloud, zone):
    app, (first, _) = register(cloud, zone)
    left = deploy(cloud, zone, templateid=app, startvm=False)
    part = disks(cloud, left)[1]
    assert part["state"] == "Allocated"
    cloud.job("detachVolume", id=part["id"])
    vm = deploy(cloud, zone)
    cloud.job("attachVolume", id=part["id"], virtualmachineid=vm["id"])
    with reading() as session:
        cached = session.scalar(select(SimulatedDisk).where(SimulatedDisk.name == part["id"]))
        root = session.scalar(select(Volume).where(Volume.uuid == part["id"]))
        assert cached is not None and root.state == "Ready" and root.pool_id is not None
        contents = dict(session.execute(select(SimulatedDisk.name, SimulatedDisk.content)).all())
    cloud.job("startVirtualMachine", id=left["id"])
    whole = deploy(cloud, zone, templateid=app)
    with reading() as session:
        now = dict(session.execute(select(SimulatedDisk.name, SimulatedDisk.content)).all())
    assert contents[part["id"]] == now[disks(cloud, whole)[1]["id"]] and broken() == []
