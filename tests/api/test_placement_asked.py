"""A machine is placed where root administrators ask for it; others do not choose, and learn nothing of hosts."""

# ruff: noqa: F811  the fixture is imported

from uuid import uuid4

import pytest

from mgmt_server.model.host import Host
from tests.api.test_placement import change, deploy, hosts_of, second_pod, setting, zone  # noqa: F401
from tests.cloud import Refused


@pytest.fixture
def far(cloud, zone):
    """Ids of another pod, its cluster, and one of its two hosts, where nothing goes by itself."""
    second_pod(zone)
    setting(cloud, "vm.allocation.algorithm", "firstfit")
    kinds = (("podid", "pod", "pod2"), ("clusterid", "cluster", "c2"), ("hostid", "host", "p2-h1"))
    return {key: cloud.ask(f"list{kind.capitalize()}s", name=name)[kind][0]["id"] for key, kind, name in kinds}


@pytest.mark.parametrize("key", ["podid", "clusterid", "hostid"])
def test_root_administrators_choose_pod_cluster_and_host(cloud, zone, far, key):
    for n in range(3):
        vm = deploy(cloud, zone, f"vm{n}", **{key: far[key]})
        assert vm["state"] == "Running"
        (found,) = cloud.ask("listHosts", id=vm["hostid"])["host"]
        assert found["podid"] == far["podid"] and found["clusterid"] == far["clusterid"]
        assert key != "hostid" or vm["hostname"] == "p2-h1"


@pytest.mark.parametrize("key", ["podid", "clusterid", "hostid"])
def test_where_it_does_not_fit_it_goes_nowhere_else(cloud, zone, far, key):
    change(Host, Host.name.startswith("p2"), memory_used=Host.memory_capacity)
    with pytest.raises(Refused, match="p2-h1 lacks 512 MiB") as no:
        deploy(cloud, zone, "vm", **{key: far[key]})
    other = "is not the host that was asked for" if key == "hostid" else "another one was asked for"
    assert "east-h0 is" in no.value.text and other in no.value.text
    assert hosts_of("vm") == []


def test_what_was_asked_for_has_to_agree(cloud, zone, far):
    (near,) = cloud.ask("listHosts", name="east-h0")["host"]
    with pytest.raises(Refused, match="east-h0 is in the pod pod1, and another one was asked for"):
        deploy(cloud, zone, "vm", hostid=near["id"], podid=far["podid"])
    assert deploy(cloud, zone, "vm", **far)["hostname"] == "p2-h1"


@pytest.mark.parametrize("kind", [0, 2], ids=["user", "domain administrator"])
def test_others_who_name_a_host_are_refused_alike_whether_it_exists(cloud, zone, far, kind):
    cloud.account("ann", kind=kind, domain="/a/")
    said = []
    for id in (far["hostid"], str(uuid4())):
        with pytest.raises(Refused) as no:
            deploy(cloud, zone, "ann-1", user="ann", hostid=id)
        said.append((no.value.status, no.value.text.replace(id, "ID")))
    assert said[0] == said[1] and said[0][0] == 431
    assert "hostid" in said[0][1] and "p2-h1" not in said[0][1]
    assert cloud.ask("listVirtualMachines", user="ann") == {}


@pytest.mark.parametrize("kind", [0, 2], ids=["user", "domain administrator"])
@pytest.mark.parametrize("key", ["podid", "clusterid"])
def test_pod_and_cluster_are_for_root_administrators_and_not_heard_from_others(cloud, zone, far, kind, key):
    cloud.account("ann", kind=kind, domain="/a/")
    change(Host, Host.name.startswith("p2"), memory_used=Host.memory_capacity)
    for n, id in enumerate((far[key], str(uuid4()))):
        assert deploy(cloud, zone, f"ann-{n}", user="ann", **{key: id})["state"] == "Running"
    assert all(name.startswith("east") for name in hosts_of("ann"))
