"""A Basic zone as ngine_io builds it: the recorded requests in their order, then machines in it."""

import json
import re
from pathlib import Path

import pytest

from mgmt_server.api.command import registry
from mgmt_server.resources.router.timers import have_system_vms
from tests.cloud import Refused

STEPS = json.loads((Path(__file__).parents[1] / "clients" / "basic_zone.json").read_text())


def first(answer):
    for value in answer.values():
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, dict):
            return value
    return answer


@pytest.fixture
def zone(cloud):
    ids, answers = {}, {}
    for step in STEPS:
        sent = {k: re.sub(r"\{(\w+)\}", lambda m: ids[m[1]], v) for k, v in step["sent"].items()}
        ask = cloud.job if registry[step["command"]].is_async else cloud.ask
        answers[step["command"]] = answered = ask(step["command"], **sent)
        if "gives" in step:
            ids[step["gives"]] = first(answered)["id"]
    cloud.work()
    return {"id": ids["createZone1"], "pod": ids["createPod1"], "network": ids["createNetwork1"]} | answers


def deploy(cloud, zone, name, **more):
    (template,) = cloud.ask("listTemplates", templatefilter="featured", zoneid=zone["id"])["template"]
    (offering,) = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"]
    sent = {"zoneid": zone["id"], "templateid": template["id"], "serviceofferingid": offering["id"]}
    return cloud.job("deployVirtualMachine", name=name, **sent, **more)["virtualmachine"]


def test_its_range_answers_as_recorded(cloud, zone):
    made = zone["createVlanIpRange"]["vlan"]
    domain = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    assert made == {
        "id": made["id"], "forvirtualnetwork": False, "zoneid": zone["id"], "vlan": "vlan://untagged",
        "account": "system", "domainid": domain, "domain": "ROOT", "domainpath": "ROOT", "podid": zone["pod"],
        "podname": "POD0-basic", "gateway": "60.147.41.1", "netmask": "255.255.255.0", "cidr": "60.147.41.0/24",
        "startip": "60.147.41.2", "endip": "60.147.41.254", "networkid": zone["network"],
        "physicalnetworkid": made["physicalnetworkid"], "forsystemvms": False,
    }  # fmt: skip
    (network,) = cloud.ask("listNetworks", zoneid=zone["id"], listall=True)["network"]
    recorded = {
        "name": "guestNetworkForBasicZone", "type": "Shared", "gateway": "60.147.41.1", "netmask": "255.255.255.0",
        "cidr": "60.147.41.0/24", "state": "Setup", "acltype": "Domain", "domain": "ROOT",
    }  # fmt: skip
    assert {k: network.get(k) for k in recorded} == recorded
    (built,) = cloud.ask("listZones", id=zone["id"])["zone"]
    assert (built["networktype"], built["securitygroupsenabled"], built["allocationstate"]) == (
        "Basic",
        True,
        "Enabled",
    )


def test_machines_run_in_it(cloud, zone):
    cloud.account("eve", domain="/c/")
    for user in ("admin", "eve"):
        vm = deploy(cloud, zone, f"of-{user}", user=user)
        (nic,) = vm["nic"]
        assert vm["state"] == "Running" and nic["ipaddress"].startswith("60.147.41.")
        assert (nic["networkid"], nic["gateway"], nic["type"]) == (zone["network"], "60.147.41.1", "Shared")
    have_system_vms()
    cloud.work()
    assert {v["state"] for v in cloud.ask("listSystemVms")["systemvm"]} == {"Running"}


def test_guests_of_each_pod_have_addresses_of_their_pod(cloud, zone):
    """A second pod, on a network of its own; a machine goes there when the first has no room."""
    pod = cloud.ask(
        "createPod", zoneid=zone["id"], name="POD1", gateway="172.16.16.1", netmask="255.255.255.0",
        startip="172.16.16.2", endip="172.16.16.9",
    )["pod"]["id"]  # fmt: skip
    more = {"gateway": "60.147.42.1", "netmask": "255.255.255.0", "startip": "60.147.42.2", "endip": "60.147.42.9"}
    cloud.ask(
        "createVlanIpRange", zoneid=zone["id"], podid=pod, networkid=zone["network"], forvirtualnetwork=False, **more
    )
    place = {"zoneid": zone["id"], "podid": pod}
    sent = {"clustername": "C1", "clustertype": "CloudManaged", "hypervisor": "Simulator", **place}
    cluster = cloud.ask("addCluster", **sent)["cluster"][0]["id"]
    sent = {"clusterid": cluster, "url": "http://sim/c1/h1", "hypervisor": "Simulator", **place}
    there = cloud.ask("addHost", **sent)["host"][0]["id"]
    cloud.ask("createStoragePool", clusterid=cluster, name="p1", url="nfs://nfsstor/export/p1", **place)
    hosts = {h["id"]: h for h in cloud.ask("listHosts", type="Routing")["host"]}
    for n in range(3):
        vm = deploy(cloud, zone, f"vm-{n}", hostid=there if n < 2 else next(h for h in hosts if h != there))
        of_pod = "60.147.42." if hosts[vm["hostid"]]["podid"] == pod else "60.147.41."
        assert vm["nic"][0]["ipaddress"].startswith(of_pod) and vm["nic"][0]["gateway"] == f"{of_pod}1"
    cloud.job("stopVirtualMachine", id=vm["id"])
    for host in hosts.values():
        if host["podid"] == zone["pod"]:
            cloud.ask("updateHost", id=host["id"], allocationstate="Disable")
    with pytest.raises(Refused, match="is Disabled"):
        cloud.job("startVirtualMachine", id=vm["id"])


def test_what_does_not_fit_a_basic_zone_is_refused(cloud, zone):
    more = {"gateway": "60.147.43.1", "netmask": "255.255.255.0", "startip": "60.147.43.2", "endip": "60.147.43.9"}
    for wrong, told in (
        ({"forvirtualnetwork": True}, "no public network"),
        ({"forvirtualnetwork": False, "networkid": zone["network"]}, "podid is missing"),
        ({"forvirtualnetwork": False, "podid": zone["pod"], "account": "admin"}, "for public ranges"),
    ):
        with pytest.raises(Refused, match=told):
            cloud.ask("createVlanIpRange", zoneid=zone["id"], **more, **wrong)
