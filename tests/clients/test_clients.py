"""Clients that people use, unmodified, against a server as they find it: cs and Apache Libcloud."""

from __future__ import annotations

import time

import pytest
from cs import CloudStack, CloudStackApiException
from libcloud.compute.drivers.cloudstack import CloudStackNodeDriver

ISOLATED = "DefaultIsolatedNetworkOfferingWithSourceNatService"


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


@pytest.fixture
def node(libcloud, template):
    """A machine of Libcloud's, which goes with the test."""
    (location,) = libcloud.list_locations()
    size = next(s for s in libcloud.list_sizes() if s.name == "Small Instance")
    image = next(i for i in libcloud.list_images(location) if i.id == template["id"])
    made = libcloud.create_node(name="by-libcloud", size=size, image=image, location=location, ex_start_vm=True)
    yield made
    assert libcloud.destroy_node(made, ex_expunge=True)


@pytest.fixture(scope="module")
def system(libcloud):
    """The operating system that fits whatever there is."""
    return next(s["id"] for s in libcloud.ex_list_os_types() if s["description"] == "Other Linux (64-bit)")


def test_libcloud_attaches_detaches_and_snapshots_volumes(libcloud, cs, node, system):
    cs.createDiskOffering(name="open", displaytext="open", customized=True)
    (location,) = libcloud.list_locations()
    volume = libcloud.create_volume(2, "data", location, ex_volume_type="open")
    assert (volume.size, volume.name) == (2, "data")
    assert libcloud.attach_volume(node, volume)
    assert {"data"} < {v.name for v in libcloud.list_volumes(node)}
    assert libcloud.ex_get_volume(volume.id).extra["instance_id"] == node.id
    root = next(v for v in libcloud.list_volumes(node) if v.extra["volume_type"] == "ROOT")
    snapshot = libcloud.create_volume_snapshot(root)
    assert [s.id for s in libcloud.list_snapshots()] == [snapshot.id]
    image = libcloud.ex_create_snapshot_template(snapshot, "of a snapshot", system)
    assert image.id in {i.id for i in libcloud.list_images(location)}
    assert libcloud.destroy_volume_snapshot(snapshot)
    assert cs.listSnapshots() == {}, "its own list expects at least one"
    assert libcloud.detach_volume(volume) and libcloud.destroy_volume(volume)
    assert "data" not in {v.name for v in libcloud.list_volumes()}


def test_libcloud_changes_a_stopped_node(libcloud, cs, node):
    big = next(s for s in libcloud.list_sizes() if s.name == "Medium Instance")
    kind = next(t for t in libcloud.ex_list_affinity_group_types() if t.type == "host anti-affinity")
    group = libcloud.ex_create_affinity_group("apart", kind)
    assert libcloud.ex_stop(node) == "Stopped"
    assert libcloud.ex_change_node_size(node, big) == big.id
    sent = {"id": node.id, "affinitygroupids": group.id}  # Libcloud's own call does not know the answer's name
    assert cs.updateVMAffinityGroup(**sent, fetch_result=True)["virtualmachine"]["id"] == node.id
    assert libcloud.ex_start(node) == "Running"
    seen = libcloud.ex_get_node(node.id)
    assert (seen.extra["size_id"], seen.extra["affinity_group"]) == (big.id, [group.id])
    assert libcloud.ex_restore(node) == seen.extra["image_id"]
    assert libcloud.ex_stop(node) == "Stopped"
    cs.updateVMAffinityGroup(id=node.id, affinitygroupids="", fetch_result=True)
    assert libcloud.ex_delete_affinity_group(group) and libcloud.ex_list_affinity_groups() == []


def test_libcloud_gives_nodes_nics_and_tags(libcloud, node):
    (location,) = libcloud.list_locations()
    offering = next(o for o in libcloud.ex_list_network_offerings() if o.name == ISOLATED)
    back = libcloud.ex_create_network("back", "back", offering, location, gateway="10.7.7.1", netmask="255.255.255.0")
    assert libcloud.ex_attach_nic_to_node(node, back, "10.7.7.9")
    nic = next(n for n in libcloud.ex_list_nics(node) if n.network_id == back.id)
    assert (nic.ip_address, nic.is_default, len(libcloud.ex_list_nics(node))) == ("10.7.7.9", False, 2)
    assert libcloud.ex_detach_nic_from_node(nic, node) and len(libcloud.ex_list_nics(node)) == 1
    assert libcloud.ex_create_tags([node.id], "UserVm", {"env": "test"})
    assert libcloud.ex_get_node(node.id).extra["tags"] == {"env": "test"}
    assert libcloud.ex_delete_tags([node.id], "UserVm", ["env"])
    assert libcloud.ex_get_node(node.id).extra["tags"] == {}
    assert libcloud.ex_delete_network(back)
    assert libcloud.ex_list_public_ips() and libcloud.ex_limits()["max_volumes"] != 0


def test_libcloud_brings_isos_and_keys(libcloud, cs, system):
    (location,) = libcloud.list_locations()
    made = libcloud.ex_register_iso("disc", "http://192.0.2.1/disc.iso", location, bootable=True, ostypeid=system)
    assert made["iso"][0]["name"] == "disc"
    cs.deleteIso(id=made["iso"][0]["id"], fetch_result=True)
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFro1rTKtb4Hf+Cw53Q7kIKSUwTu6iXSBaGWJePxx2wP x"
    pair = libcloud.import_key_pair_from_string("mine", key)
    assert libcloud.get_key_pair("mine").fingerprint == pair.fingerprint
    libcloud.delete_key_pair(pair)


def test_cs_follows_jobs_that_take_long_and_reads_all_pages(cs, zone, template):
    (offering,) = cs.listServiceOfferings(name="Small Instance")["serviceoffering"]
    sent = {"zoneid": zone["createZone1"], "templateid": template["id"], "serviceofferingid": offering["id"]}
    jobs = [cs.deployVirtualMachine(name=f"page-{n}", startvm=False, **sent)["jobid"] for n in range(3)]
    vms = [cs._jobresult(job)["virtualmachine"] for job in jobs]
    assert {vm["state"] for vm in vms} == {"Stopped"}
    shown = cs.listVirtualMachines(fetch_list=True, page_size=2)
    assert {"page-0", "page-1", "page-2"} <= {vm["name"] for vm in shown}
    for vm in vms:
        cs.destroyVirtualMachine(id=vm["id"], expunge=True, fetch_result=True)
