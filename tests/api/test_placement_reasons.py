"""Why machines go nowhere, told to each as he may read it, and figures that are counted anew."""

# ruff: noqa: F811  the fixture is imported

import pytest
from sqlalchemy import select

from mgmt_server.allocation import hosts
from mgmt_server.api import execute
from mgmt_server.db import reading
from mgmt_server.errors import NoCapacity
from mgmt_server.model.host import Host
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.resources.capacity.timers import factors
from mgmt_server.resources.storage import recount
from mgmt_server.resources.vm import placing
from tests.api.test_placement import GIB, MIB, change, deploy, setting, used, zone  # noqa: F401
from tests.cloud import Refused


def test_users_read_the_reason_in_words_and_root_reads_the_hosts(cloud, zone):
    cloud.account("ann", domain="/a/")
    deploy(cloud, zone, "first", user="ann")
    change(Host, memory_capacity=Host.memory_used)
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"]}
    job = cloud.ask("deployVirtualMachine", user="ann", name="late", **sent)["jobid"]
    cloud.work()
    to_ann, to_root = (
        cloud.ask("queryAsyncJobResult", user=u, jobid=job)["jobresult"]["errortext"] for u in ("ann", "admin")
    )
    assert to_ann.endswith("needs 500 MHz and 512 MiB on Simulator: not enough free memory")
    assert "east-h0 lacks 512 MiB; east-h1 lacks 512 MiB; east-h2 lacks 512 MiB" in to_root
    cloud.ask("updateConfiguration", name="expose.errors.to.user", value="true")
    assert cloud.ask("queryAsyncJobResult", user="ann", jobid=job)["jobresult"]["errortext"] == to_root
    events = cloud.ask("listEvents", listall=True, type="VM.CREATE", level="ERROR")["event"]
    assert events and not any("east-h" in e["description"] for e in events)


def test_what_is_refused_at_the_call_is_told_to_each_as_he_may_read_it_too(cloud, zone, monkeypatch):
    def refuse(*_):
        raise NoCapacity("no storage can take it", inventory="no pool can take it: pool shared lacks 5 MiB")

    monkeypatch.setattr(execute, "_answer", refuse)
    cloud.account("ann", domain="/a/")
    cloud.account("boss", kind=2, domain="/a/")

    def told(user):
        with pytest.raises(Refused) as no:
            cloud.ask("listZones", user=user)
        return no.value.text

    assert told("admin").endswith("pool shared lacks 5 MiB")
    assert {told("ann"), told("boss")} == {"no storage can take it"}
    monkeypatch.undo()
    cloud.ask("updateConfiguration", name="expose.errors.to.user", value="true")
    monkeypatch.setattr(execute, "_answer", refuse)
    assert told("ann") == told("admin")


def test_the_explanation_lists_each_host_and_pool_with_rule_and_numbers(cloud, zone):
    asked = {"zoneid": zone["zone"], "serviceofferingid": zone["offering"], "templateid": zone["template"]}
    told = cloud.ask("explainDeployment", **asked)["deployment"]
    assert told["possible"] and "reason" not in told and told["planner"] == "FirstFitPlanner"
    assert [h["suitable"] for h in told["host"]] == [True] * 3 and told["storagepool"][0]["suitable"]
    change(Host, Host.name == "east-h0", memory_capacity=100 * MIB)
    change(Host, Host.name == "east-h1", resource_state="Maintenance")
    change(Host, Host.name == "east-h2", state="Down")
    told = cloud.ask("explainDeployment", **asked)["deployment"]
    assert not told["possible"] and told["reason"].startswith("not enough free memory")
    assert [(h["name"], h["rule"]) for h in told["host"]] == [
        ("east-h0", "memory"), ("east-h1", "disabled"), ("east-h2", "state")]  # fmt: skip
    lacking = told["host"][0]
    assert (lacking["wanted"], lacking["available"], lacking["reason"]) == (512 * MIB, 100 * MIB, "lacks 412 MiB")
    change(Host, memory_capacity=8 * GIB, resource_state="Enabled", state="Up")
    change(Pool, capacity=GIB, overprovision=1.0)
    told = cloud.ask("explainDeployment", **asked)["deployment"]
    assert {h["rule"] for h in told["host"]} == {"storage"} and told["storagepool"][0]["reason"] == "lacks 1024 MiB"
    change(Pool, capacity=2**40)
    vm = deploy(cloud, zone, "there")["id"]
    cloud.job("stopVirtualMachine", id=vm)
    told = cloud.ask("explainDeployment", virtualmachineid=vm, hostid=zone["hosts"][1])["deployment"]
    assert [h.get("rule", "") for h in told["host"]] == ["place", "", "place"] and told["storagepool"] == []
    with pytest.raises(Refused, match="send virtualmachineid, or zoneid"):
        cloud.ask("explainDeployment", zoneid=zone["zone"])


def test_only_root_administrators_are_explained_the_inventory(cloud, zone):
    cloud.account("dom", kind=2, domain="/a/")
    with pytest.raises(Refused) as no:
        cloud.ask("explainDeployment", user="dom", zoneid=zone["zone"])
    assert no.value.status in (401, 432)
    with reading() as session:
        assert session.scalar(select(ServiceOffering.id).limit(1))


def test_figures_of_hosts_are_counted_anew_on_demand_and_told(cloud, zone):
    vm = deploy(cloud, zone, "a")
    right = used()
    change(Host, Host.name != vm["hostname"], cpu_used=777, machines=3)
    change(Host, Host.name == vm["hostname"], memory_used=1)
    cloud.ask("listCapacity", type=0)
    assert used() != right
    cloud.ask("listCapacity", type=0, fetchlatest=True)
    assert used() == right
    (told,) = [a for a in cloud.ask("listAlerts")["alert"] if "figures of 3 hosts" in a["description"]]
    assert told["name"] == "ALERT.RESOURCE.COUNT"
    cloud.ask("listCapacity", fetchlatest=True)
    assert len([a for a in cloud.ask("listAlerts")["alert"] if "figures of" in a["description"]]) == 1


def test_promises_of_pools_are_counted_anew_on_demand_and_told(cloud, zone):
    deploy(cloud, zone, "a")
    with reading() as session:
        right = session.scalar(select(Pool.allocated))
    assert right > 0
    change(Pool, allocated=7)
    cloud.ask("listCapacity", fetchlatest=True)
    (pool,) = cloud.ask("listStoragePools")["storagepool"]
    assert pool["disksizeallocated"] == right
    (told,) = [a for a in cloud.ask("listAlerts")["alert"] if "figures of 1 pools" in a["description"]]
    assert told["name"] == "ALERT.RESOURCE.COUNT"


def test_a_pool_in_which_a_disk_grows_is_counted_later(cloud, zone):
    deploy(cloud, zone, "a")
    change(Pool, allocated=Pool.allocated + 5)
    change(Volume, state="Resizing")
    assert recount.wrong() and recount.repair_all() == []
    change(Volume, state="Ready")
    assert [r.told - r.real for r in recount.repair_all()] == [5]


def test_a_pool_promises_as_much_as_its_factor_says(cloud, zone):
    change(Pool, capacity=2 * GIB, overprovision=2.0)
    setting(cloud, "storage.overprovisioning.factor", "1", storageid=zone["pool"])
    factors()
    (told,) = cloud.ask("listStoragePools", id=zone["pool"])["storagepool"]
    assert told["overprovisionfactor"] == "1.0"
    with pytest.raises(Refused, match="pool shared lacks|pool shared would be promised"):
        deploy(cloud, zone, "a")
    setting(cloud, "storage.overprovisioning.factor", "10", storageid=zone["pool"])
    factors()
    assert deploy(cloud, zone, "b")["state"] == "Running"


def test_a_machine_goes_only_where_its_firmware_is(cloud, zone):
    sent = {"boottype": "UEFI", "startvm": False}
    plain, secure = (deploy(cloud, zone, mode.lower(), bootmode=mode, **sent)["id"] for mode in ("LEGACY", "SECURE"))
    one, two, three = zone["hosts"]
    change(Host, hypervisor="KVM", capabilities="hvm,snapshot")
    change(Host, Host.uuid == two, capabilities="hvm,snapshot,uefi")
    change(Host, Host.uuid == three, capabilities="hvm,snapshot,uefi,secureboot")
    change(Vm, hypervisor="KVM")
    shown = {h["id"]: h["ueficapability"] for h in cloud.ask("listHosts", type="Routing")["host"]}
    assert shown == {one: False, two: True, three: True}

    def without(vm):
        told = cloud.ask("explainDeployment", virtualmachineid=vm)["deployment"]["host"]
        return {h["id"]: h["reason"] for h in told if h.get("rule") == "firmware"}

    assert without(plain) == {one: "cannot boot by UEFI: install ovmf there and restart its agent"}
    assert set(without(secure)) == {one, two} and "with secure boot" in without(secure)[two]
    with reading() as session:
        parts = placing.parts_of(session, session.scalar(select(Vm.id).where(Vm.uuid == secure)))
        need = placing.wants(session, parts, placing.Options()).need
        assert [h.uuid for h in hosts.candidates(session, need)] == [three]
