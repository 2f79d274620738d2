"""Clients that people use, unmodified, against a server as they find it: cs and Apache Libcloud."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from cs import CloudStack, CloudStackApiException
from libcloud.compute.drivers.cloudstack import CloudStackNodeDriver

from tests.server import running

STEPS = json.loads((Path(__file__).parent / "zone.json").read_text())
ISOLATED = "DefaultIsolatedNetworkOfferingWithSourceNatService"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("clients") / "cloud") as made:
        yield made


@pytest.fixture(scope="module")
def cs(server):
    found = server.credentials
    return CloudStack(
        endpoint=server.url, key=found["api_key"], secret=found["api_secret"], poll_interval=0.05, job_timeout=60
    )


def first(answer):
    """The object that an answer is about: under its name, in a list, or the answer itself."""
    for value in answer.values():
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            return value
    return answer


@pytest.fixture(scope="module")
def zone(cs):
    """The zone of the recorded deployment, by the same requests in the same order: ids by name."""
    ids = {}
    for step in STEPS:
        sent = {k: re.sub(r"\{(\w+)\}", lambda m: ids[m[1]], v) for k, v in step["sent"].items()}
        answered = getattr(cs, step["command"])(fetch_result=True, **sent)
        if "gives" in step:
            ids[step["gives"]] = first(answered)["id"]
    return ids


@pytest.fixture(scope="module")
def template(cs, zone):
    """The built-in one, which is ready in each zone once a host is up."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = cs.listTemplates(templatefilter="featured", zoneid=zone["createZone1"]).get("template", [])
        ready = [t for t in found if t["isready"]]
        if ready:
            return ready[0]
        time.sleep(0.2)
    raise AssertionError(f"no featured template is ready: {found}")


def test_the_recorded_zone_stands(cs, zone):
    (made,) = cs.listZones(id=zone["createZone1"])["zone"]
    assert made["allocationstate"] == "Enabled" and made["networktype"] == "Advanced"
    assert cs.listHosts(type="Routing")["count"] == 4
    assert {h["state"] for h in cs.listHosts(type="Routing")["host"]} == {"Up"}
    assert sorted(p["name"] for p in cs.listStoragePools()["storagepool"]) == ["PS0", "PS1", "PS2", "PS3"]
    providers = cs.listNetworkServiceProviders(state="Enabled")["networkserviceprovider"]
    assert {"VirtualRouter", "VpcVirtualRouter", "InternalLbVm"} <= {p["name"] for p in providers}
    end = time.monotonic() + 30
    while (vms := cs.listSystemVms().get("systemvm", [])) and {v["state"] for v in vms} != {"Running"} or len(vms) < 2:
        assert time.monotonic() < end, vms
        time.sleep(0.2)
    assert {v["systemvmtype"] for v in vms} == {"consoleproxy", "secondarystoragevm"}


def test_cs_deploys_lists_and_destroys(cs, zone, template):
    (offering,) = cs.listServiceOfferings(name="Small Instance")["serviceoffering"]
    sent = {"zoneid": zone["createZone1"], "templateid": template["id"], "serviceofferingid": offering["id"]}
    vm = cs.deployVirtualMachine(name="by-cs", fetch_result=True, **sent)["virtualmachine"]
    assert vm["state"] == "Running" and vm["nic"][0]["ipaddress"].startswith("10.1.1.")
    (seen,) = cs.listVirtualMachines(id=vm["id"])["virtualmachine"]
    assert seen["name"] == "by-cs" and seen["hostname"]
    assert [r["state"] for r in cs.listRouters(listall=True)["router"]] == ["Running"]
    names = [v["name"] for v in cs.listVirtualMachines(fetch_list=True)]
    assert names == ["by-cs"]
    assert cs.stopVirtualMachine(id=vm["id"], fetch_result=True)["virtualmachine"]["state"] == "Stopped"
    assert cs.startVirtualMachine(id=vm["id"], fetch_result=True)["virtualmachine"]["state"] == "Running"
    cs.destroyVirtualMachine(id=vm["id"], expunge=True, fetch_result=True)
    assert cs.listVirtualMachines(id=vm["id"]) == {} or cs.listVirtualMachines().get("count") is None


def test_cs_reads_errors_as_errors(cs, zone):
    with pytest.raises(CloudStackApiException) as no:
        cs.createZone(name="x")
    assert no.value.error["errorcode"] == 431 and "missing parameter" in no.value.error["errortext"]
    with pytest.raises(CloudStackApiException) as no:
        cs.deployVirtualMachine(zoneid=zone["createZone1"], templateid="x", serviceofferingid="x")
    assert no.value.error["errorcode"] == 431


def test_cs_with_a_wrong_secret(server):
    wrong = CloudStack(endpoint=server.url, key=server.credentials["api_key"], secret="wrong")
    with pytest.raises(CloudStackApiException) as no:
        wrong.listZones()
    assert no.value.error["errorcode"] == 401


@pytest.fixture(scope="module")
def libcloud(server, zone, template):
    found = server.credentials
    driver = CloudStackNodeDriver(
        key=found["api_key"], secret=found["api_secret"], secure=False, host="127.0.0.1", port=server.port,
        path="/client/api",
    )  # fmt: skip
    driver.connection.poll_interval = 0.1
    return driver


def test_libcloud_looks_around(libcloud, template):
    (location,) = libcloud.list_locations()
    assert location.name == "Sandbox-simulator"
    sizes = {s.name: s for s in libcloud.list_sizes()}
    assert sizes["Small Instance"].ram == 512 and "Medium Instance" in sizes
    assert template["id"] in {i.id for i in libcloud.list_images(location)}


def test_libcloud_creates_reboots_and_destroys_a_node(libcloud, cs, template):
    (location,) = libcloud.list_locations()
    size = next(s for s in libcloud.list_sizes() if s.name == "Small Instance")
    image = next(i for i in libcloud.list_images(location) if i.id == template["id"])
    pair = libcloud.create_key_pair("libcloud")
    assert "PRIVATE KEY" in pair.private_key
    node = libcloud.create_node(
        name="by-libcloud", size=size, image=image, location=location, ex_keyname="libcloud", ex_start_vm=True
    )
    assert node.state == "running" and node.private_ips
    assert libcloud.ex_get_node(node.id).id == node.id
    assert [n.id for n in libcloud.list_nodes()] == [node.id]
    (volume,) = libcloud.list_volumes(node)
    assert volume.extra["instance_id"] == node.id
    assert libcloud.reboot_node(node)
    assert libcloud.ex_stop(node) == "Stopped"
    assert libcloud.ex_start(node) == "Running"
    assert {n.id for n in libcloud.ex_list_networks()}
    assert libcloud.destroy_node(node, ex_expunge=True)
    assert not cs.listVirtualMachines(id=node.id)
    libcloud.delete_key_pair(pair)  # its own answer expects the text "true", which CloudStack does not send either
    assert libcloud.list_key_pairs() == []
