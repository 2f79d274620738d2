"""Hosts promise more CPU and memory than they have: as often as the factors of their cluster say."""

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.model.zone import Cluster
from mgmt_server.resources.cluster.timers import factors
from tests.api.infrastructure import host
from tests.api.test_placement import GIB, MIB, deploy, second_pod, setting
from tests.cloud import Refused
from tests.simulated import build

# one host of 4 x 8000 MHz and 4 GiB: of each size two are more than it has, and fit when it promises twice as much
CPU = {"cpunumber": 4, "cpuspeed": 6000, "memory": 128}
MEMORY = {"cpunumber": 1, "cpuspeed": 500, "memory": 2688}
BOTH = pytest.mark.parametrize(
    ("kind", "size", "unit", "type"), [("cpu", CPU, "MHz", 1), ("mem", MEMORY, "MiB", 0)], ids=["cpu", "memory"]
)


@pytest.fixture
def zone(cloud):
    return build(hosts=1, memory=4 * GIB)


def big(cloud, zone, size):
    made = cloud.ask("createServiceOffering", name="big", displaytext="big", **size)["serviceoffering"]
    zone["offering"] = made["id"]


def factor(cloud, kind, value, **scope):
    """Set it, and let the timer find it."""
    setting(cloud, f"{kind}.overprovisioning.factor", value, **scope)
    factors()


def explained(cloud, zone):
    sent = {"zoneid": zone["zone"], "serviceofferingid": zone["offering"], "templateid": zone["template"]}
    return cloud.ask("explainDeployment", **sent)["deployment"]


def capacity(cloud, type, **place):
    (found,) = cloud.ask("listCapacity", type=type, **place)["capacity"]
    return found["capacityused"], found["capacitytotal"]


def promised(type):
    """What the machines that run, routers too, were given: MHz or bytes."""
    with reading() as session:
        each = [v.cpus * v.speed if type else v.memory * MIB for v in session.scalars(select(Vm)) if v.host_id]
        return sum(each)


def of_host(cloud, type):
    """Used and promised in all, as listHosts says."""
    (found,) = cloud.ask("listHosts", type="Routing")["host"]
    keys = (
        ("cpuallocatedvalue", "cpuwithoverprovisioning") if type else ("memoryallocated", "memorywithoverprovisioning")
    )
    return tuple(int(found[key]) for key in keys)


@pytest.mark.parametrize("scope", ["cluster", "global"])
@BOTH
def test_a_machine_beyond_what_a_host_has_starts_where_it_promises_twice(cloud, zone, kind, size, unit, type, scope):
    where = {"clusterid": zone["cluster"]} if scope == "cluster" else {}
    big(cloud, zone, size)
    real = 32_000 if type else 4 * GIB
    each = 24_000 if type else 2688 * MIB
    deploy(cloud, zone, "first")
    used = promised(type)
    assert capacity(cloud, type) == of_host(cloud, type) == (used, real) and each <= used < 2 * each
    lacking = (used + each - real) // (1 if type else MIB)
    with pytest.raises(Refused, match=f"east-h0 lacks {lacking} {unit}"):
        deploy(cloud, zone, "second")
    told = explained(cloud, zone)
    assert not told["possible"]
    (why,) = told["host"]
    assert (why["rule"], why["wanted"], why["available"]) == ("cpu" if type else "memory", each, real - used)
    assert why["reason"] == f"lacks {lacking} {unit}"
    assert capacity(cloud, type) == (used, real), "nothing is kept of what was refused"

    factor(cloud, kind, "2", **where)
    assert capacity(cloud, type) == of_host(cloud, type) == (used, 2 * real)
    assert capacity(cloud, 0 if type else 1)[1] == (4 * GIB if type else 32_000), "the other one stays"
    assert explained(cloud, zone)["possible"]
    assert deploy(cloud, zone, "second")["state"] == "Running"
    used += each
    assert promised(type) == used
    assert capacity(cloud, type) == capacity(cloud, type, clusterid=zone["cluster"]) == (used, 2 * real)
    assert of_host(cloud, type) == (used, 2 * real)
    (cluster,) = cloud.ask("listClusters", showcapacities=True)["cluster"]
    assert cluster["cpuovercommitratio" if type else "memoryovercommitratio"] == "2.0"
    (shown,) = [c for c in cluster["capacity"] if c["type"] == type]
    assert (shown["capacityused"], shown["capacitytotal"]) == (used, 2 * real)
    setting(cloud, "cluster.threshold.enabled", "false")
    with pytest.raises(Refused, match=f"east-h0 lacks .* {unit}"):
        deploy(cloud, zone, "third")
    (why,) = explained(cloud, zone)["host"]
    assert why["available"] == 2 * real - used


@BOTH
def test_a_factor_that_is_lowered_stops_nobody_and_lets_nobody_start(cloud, zone, kind, size, unit, type):
    factor(cloud, kind, "2")
    big(cloud, zone, size)
    vm = [deploy(cloud, zone, name)["id"] for name in ("first", "second")]
    factor(cloud, kind, "1")
    used, total = capacity(cloud, type)
    assert used == promised(type) > total == (32_000 if type else 4 * GIB)
    assert {v["state"] for v in cloud.ask("listVirtualMachines")["virtualmachine"]} == {"Running"}
    cloud.job("stopVirtualMachine", id=vm[0])
    with pytest.raises(Refused, match=f"lacks .* {unit}"):
        cloud.job("startVirtualMachine", id=vm[0])
    factor(cloud, kind, "2")
    assert cloud.job("startVirtualMachine", id=vm[0])["virtualmachine"]["state"] == "Running"


def test_a_cluster_with_a_factor_of_its_own_promises_more_than_the_others(cloud, zone):
    second_pod(zone, hosts=1)
    write(lambda tx: tx.execute(update(Host).where(Host.name == "p2-h0").values(guid="p2")) and None)
    big(cloud, zone, MEMORY)
    factor(cloud, "mem", "2", clusterid=zone["cluster"])
    with reading() as session:
        found = dict(session.execute(select(Host.name, Host.memory_capacity)).all())
        assert found == {"east-h0": 8 * GIB, "p2-h0": 4 * GIB}
        other = session.scalar(select(Cluster.uuid).where(Cluster.name == "c2"))
    assert deploy(cloud, zone, "one", hostid=zone["hosts"])["state"] == "Running"
    assert deploy(cloud, zone, "two", hostid=zone["hosts"])["state"] == "Running"
    assert deploy(cloud, zone, "far", clusterid=other)["state"] == "Running"
    with pytest.raises(Refused, match="p2-h0 lacks"):
        deploy(cloud, zone, "more", clusterid=other)
    factor(cloud, "mem", "3")
    assert capacity(cloud, 0, clusterid=zone["cluster"])[1] == 8 * GIB, "its own factor wins"
    assert capacity(cloud, 0, clusterid=other)[1] == 12 * GIB


def test_a_host_that_comes_later_promises_as_its_cluster_does(cloud, zone):
    factor(cloud, "cpu", "2.5", clusterid=zone["cluster"])
    factor(cloud, "mem", "1.5", clusterid=zone["cluster"])
    made = host(cloud, zone["zone"], zone["pod"], zone["cluster"], url="http://sim/c1/late")
    assert int(made["cpuwithoverprovisioning"]) == made["cpunumber"] * made["cpuspeed"] * 2.5
    assert int(made["memorywithoverprovisioning"]) == made["memorytotal"] * 1.5
