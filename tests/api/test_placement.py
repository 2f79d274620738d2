"""Where machines go: planners, thresholds, limits of hypervisors, other hosts when one fails."""

import re

import pytest
from sqlalchemy import select, update

from mgmt_server.allocation import planners
from mgmt_server.db import reading, write
from mgmt_server.model.host import Host
from mgmt_server.model.simulator import SimulatedDisk, SimulatedMachine
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.reconcile import timers
from tests.api.infrastructure import host
from tests.cloud import Refused
from tests.crash.invariants import broken
from tests.simulated import build

MIB, GIB = 2**20, 2**30


@pytest.fixture
def zone(cloud):
    found = build(hosts=3)
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    found["hosts"] = found["hosts"].split(",")
    yield found
    cloud.ask("cleanupSimulatorMock")


def deploy(cloud, zone, name="", user="admin", **more):
    """What the machine's answer says; `offering` in more by its id."""
    sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": zone["offering"], **more}
    return cloud.job("deployVirtualMachine", user=user, **sent, **({"name": name} if name else {}))["virtualmachine"]


def offer(cloud, planner, **more):
    sent = {"cpunumber": 1, "cpuspeed": 500, "memory": 512, "deploymentplanner": planner, **more}
    return cloud.ask("createServiceOffering", name=f"by {planner}", **sent)["serviceoffering"]


def setting(cloud, name, value, **scope):
    cloud.ask("updateConfiguration", name=name, value=value, **scope)


def hosts_of(user):
    """Names of the hosts of a user's machines, one for each."""
    with reading() as session:
        rows = select(Host.name).join(Vm, Vm.host_id == Host.id).where(Vm.kind == "User", Vm.name.startswith(user))
        return list(session.scalars(rows.order_by(Vm.id)))


def change(table, *where, **values):
    write(lambda tx: tx.execute(update(table).where(*where).values(**values)))


def used():
    with reading() as session:
        return {n: tuple(r) for n, *r in session.execute(
            select(Host.name, Host.cpu_used, Host.memory_used, Host.machines).order_by(Host.id))}  # fmt: skip


def second_pod(zone, hosts=2):
    """Another pod with a cluster of its own: the names of its hosts."""

    def work(tx):
        place = tx.scalar(select(Zone).where(Zone.uuid == zone["zone"]))
        pod = Pod(name="pod2", zone_id=place.id, gateway="172.17.0.1", netmask="255.255.255.0")
        tx.add(pod)
        tx.flush()
        cluster = Cluster(name="c2", zone_id=place.id, pod_id=pod.id, hypervisor="Simulator", details={})
        tx.add(cluster)
        tx.flush()
        tx.execute(update(Pool).values(scope="ZONE", cluster_id=None, pod_id=None))
        first = tx.scalars(select(Host)).first()
        for n in range(hosts):
            tx.add(
                Host(
                    name=f"p2-h{n}", zone_id=place.id, pod_id=pod.id, cluster_id=cluster.id, hypervisor="Simulator",
                    url=f"http://sim/c2/h{n}", address=f"172.17.1.{n + 1}", guid=f"p2-{n}", cpus=4, speed=8000,
                    memory=first.memory, cpu_capacity=first.cpu_capacity, memory_capacity=first.memory_capacity,
                    details={}, statistics={},
                )
            )  # fmt: skip

    write(work)
    return [f"p2-h{n}" for n in range(hosts)]


def test_a_machine_starts_where_its_disks_are_and_nowhere_else_than_asked(cloud, zone):
    vm = deploy(cloud, zone, "bound")["id"]
    cloud.job("stopVirtualMachine", id=vm)
    with reading() as session:
        cluster, first = (session.scalars(select(column)).first() for column in (Cluster.id, Host.id))
    second_pod(zone)
    change(Pool, scope="CLUSTER", cluster_id=cluster)
    there = {name: cloud.ask(f"list{name.capitalize()}s", name=told)[name][0]["id"]
             for name, told in (("host", "p2-h0"), ("cluster", "c2"), ("pod", "pod2"))}  # fmt: skip
    for name, id in there.items():
        with pytest.raises(Refused, match="east-h0 is .*; p2-h0 is in the cluster c2, and does not reach its disks"):
            cloud.job("startVirtualMachine", id=vm, **{f"{name}id": id})
    with pytest.raises(Refused, match="is not the host that was asked for; .*p2-h1 is not the host"):
        cloud.job("startVirtualMachine", id=vm, hostid=there["host"])
    change(Pool, scope="HOST", host_id=first)
    with pytest.raises(Refused, match="east-h1 does not reach its disks, which are on a host's own storage"):
        cloud.job("startVirtualMachine", id=vm, hostid=zone["hosts"][1])
    assert cloud.job("startVirtualMachine", id=vm)["virtualmachine"]["hostname"] == "east-h0"


# --- planners ---------------------------------------------------------------------------------------------------------


def test_planners_are_listed_and_offerings_name_them(cloud, zone):
    told = cloud.ask("listDeploymentPlanners")
    assert [p["name"] for p in told["deploymentPlanner"]] == list(planners.BUILT_IN) and told["count"] == 5
    assert cloud.ask("listDeploymentPlanners", keyword="user")["count"] == 2
    made = offer(cloud, "userdispersingplanner")
    assert made["deploymentplanner"] == "UserDispersingPlanner"
    with pytest.raises(Refused, match="deploymentplanner=NoPlanner is none of FirstFitPlanner"):
        offer(cloud, "NoPlanner")
    with pytest.raises(Refused, match="ImplicitDedicationMode is for offerings"):
        cloud.ask("createServiceOffering", name="x", cpunumber=1, cpuspeed=500, memory=512,
                  **{"serviceofferingdetails[0].ImplicitDedicationMode": "Strict"})  # fmt: skip


def test_first_fit_takes_the_oldest_host_that_fits_where_the_algorithm_says_so(cloud, zone):
    setting(cloud, "vm.allocation.algorithm", "firstfit")
    for n in range(3):
        deploy(cloud, zone, f"f{n}")
    assert hosts_of("f") == ["east-h0"] * 3
    setting(cloud, "vm.allocation.algorithm", "firstfitleastconsumed")
    for n in range(2):
        deploy(cloud, zone, f"g{n}")
    assert sorted(hosts_of("g")) == ["east-h1", "east-h2"]


def test_the_algorithm_keeps_an_account_in_one_pod_or_spreads_it(cloud, zone):
    other = second_pod(zone, hosts=4)
    for algorithm in ("userconcentratedpod_random", "userconcentratedpod_firstfit"):
        setting(cloud, "vm.allocation.algorithm", algorithm)
        for _ in range(3):
            deploy(cloud, zone, f"c{len(hosts_of('c'))}")
    assert {name in other for name in hosts_of("c")} in ({True}, {False})
    setting(cloud, "vm.allocation.algorithm", "userdispersing")
    for n in range(7 - len(set(hosts_of("c")))):
        deploy(cloud, zone, f"d{n}")
    assert len({*hosts_of("c"), *hosts_of("d")}) == 7, "each went to a host that had none of the account's"
    with pytest.raises(Refused, match="vm.allocation.algorithm"):
        setting(cloud, "vm.allocation.algorithm", "userconcentratedpod")


def test_dispersing_spreads_an_accounts_machines(cloud, zone):
    setting(cloud, "vm.deployment.planner", "UserDispersingPlanner")
    other = second_pod(zone)
    for n in range(4):
        deploy(cloud, zone, f"d{n}")
    found = hosts_of("d")
    assert len(set(found)) == 4 and sum(name in other for name in found) == 2


def test_concentrating_keeps_an_account_in_one_pod(cloud, zone):
    zone["offering"] = offer(cloud, "UserConcentratedPodPlanner")["id"]
    other = second_pod(zone, hosts=4)
    for n in range(5):
        deploy(cloud, zone, f"c{n}")
    assert {name in other for name in hosts_of("c")} in ({True}, {False})


def test_a_strict_implicit_host_is_its_accounts_alone_while_its_machines_are_there(cloud, zone):
    for name in ("ann", "bob"):
        cloud.account(name, domain="/a/")
    shared = zone["offering"]
    zone["offering"] = offer(cloud, "ImplicitDedicationPlanner")["id"]
    first = deploy(cloud, zone, "ann-1", user="ann")
    deploy(cloud, zone, "ann-2", user="ann")
    assert len(set(hosts_of("ann"))) == 1, "one host for both"
    (mine,) = set(hosts_of("ann"))
    for n in range(4):
        deploy(cloud, zone, f"bob-{n}", user="bob", serviceofferingid=shared)
    assert mine not in hosts_of("bob")
    change(Host, Host.name != mine, resource_state="Disabled")
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "bob-9", user="bob", serviceofferingid=shared)
    assert "used by others, or kept by them" in no.value.text and "east" not in no.value.text
    change(Host, resource_state="Enabled")
    with pytest.raises(Refused, match="hosts are used by others, or kept by them"):
        change(Host, Host.name == mine, resource_state="Disabled")
        change(Host, Host.name.not_in([mine, *hosts_of("bob")]), resource_state="Disabled")
        deploy(cloud, zone, "ann-3", user="ann")
    change(Host, resource_state="Enabled")
    cloud.job("destroyVirtualMachine", id=first["id"], expunge=True)
    assert cloud.ask("listServiceOfferings", id=zone["offering"])["serviceoffering"][0]["serviceofferingdetails"] == {
        "ImplicitDedicationMode": "Strict"
    }


def test_a_preferred_implicit_host_is_shared_where_it_must_be(cloud, zone):
    cloud.account("ann", domain="/a/")
    sent = {"serviceofferingdetails[0].ImplicitDedicationMode": "preferred"}
    preferred = offer(cloud, "ImplicitDedicationPlanner", **sent)["id"]
    deploy(cloud, zone, "root-1")
    (theirs,) = hosts_of("root")
    deploy(cloud, zone, "ann-1", user="ann", serviceofferingid=preferred)
    assert hosts_of("ann") != [theirs]
    change(Host, Host.name != theirs, resource_state="Disabled")
    deploy(cloud, zone, "ann-2", user="ann", serviceofferingid=preferred)
    assert hosts_of("ann-2") == [theirs]


# --- room -------------------------------------------------------------------------------------------------------------


def test_clusters_keep_a_reserve_that_skipping_heuristics_uses(cloud, zone):
    deploy(cloud, zone, "a")
    setting(cloud, "cluster.memory.allocated.capacity.disablethreshold", "0.05", clusterid=zone["cluster"])
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "b")
    assert "above 5% (cluster.memory.allocated.capacity.disablethreshold)" in no.value.text and "%" in no.value.text
    skipping = offer(cloud, "SkipHeuristicsPlanner")["id"]
    assert deploy(cloud, zone, "c", serviceofferingid=skipping)["state"] == "Running"
    setting(cloud, "cluster.memory.allocated.capacity.disablethreshold", "1", clusterid=zone["cluster"])
    setting(cloud, "cluster.cpu.allocated.capacity.disablethreshold", "0.01")
    with pytest.raises(Refused, match="of its CPU, above 1%"):
        deploy(cloud, zone, "d")
    setting(cloud, "cluster.threshold.enabled", "false")
    assert deploy(cloud, zone, "e")["state"] == "Running"


def test_pools_keep_a_reserve_of_what_they_promise_and_of_what_they_have(cloud, zone):
    deploy(cloud, zone, "a")
    pool = {"storageid": zone["pool"]}
    setting(cloud, "pool.storage.allocated.capacity.disablethreshold", "0.0001", **pool)
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "b")
    assert "pool shared would be promised to" in no.value.text and "above 0%" in no.value.text
    setting(cloud, "pool.storage.allocated.capacity.disablethreshold", "0.9", **pool)
    change(Pool, used=Pool.capacity * 0.9)
    with pytest.raises(Refused, match=r"pool shared is 90.0% full, above 85% \(pool.storage.capacity.disablethreshold"):
        deploy(cloud, zone, "c")
    setting(cloud, "pool.storage.capacity.disablethreshold", "0.95", zoneid=zone["zone"])
    assert deploy(cloud, zone, "d")["state"] == "Running"


def test_a_hypervisor_bears_so_many_machines(cloud, zone):
    told = cloud.ask("listHypervisorCapabilities", hypervisor="simulator")["hypervisorCapabilities"][0]
    assert told["maxguestslimit"] == 50
    deploy(cloud, zone, "a")
    changed = cloud.ask("updateHypervisorCapabilities", id=told["id"], maxguestslimit=1)["hypervisorcapabilities"]
    assert changed["maxguestslimit"] == 1 and changed["id"] == told["id"]
    change(Host, machines=1)
    with pytest.raises(Refused, match="east-h0 has 1 machines, of at most 1"):
        deploy(cloud, zone, "c")
    cloud.ask("updateHypervisorCapabilities", hypervisor="Simulator", maxguestslimit=2)
    assert deploy(cloud, zone, "d")["state"] == "Running"
    for wrong in ({}, {"hypervisor": "Simulator", "maxguestslimit": 0}, {"hypervisor": "Xen", "maxguestslimit": 1}):
        with pytest.raises(Refused):
            cloud.ask("updateHypervisorCapabilities", **wrong)


def test_a_cluster_has_as_many_hosts_as_its_hypervisor_bears(cloud, zone):
    told = cloud.ask("updateHypervisorCapabilities", hypervisor="Simulator", maxhostspercluster=4)
    assert told["hypervisorcapabilities"]["maxhostspercluster"] == 4
    host(cloud, zone["zone"], zone["pod"], zone["cluster"])
    with pytest.raises(Refused, match="The cluster c1 has 4 hosts, and one of Simulator has 4 at most"):
        host(cloud, zone["zone"], zone["pod"], zone["cluster"], url="http://sim/c1/h9")


def test_hosts_kept_for_failures_take_nothing_else(cloud, zone):
    change(Host, Host.name == "east-h1", tags="spare, ssd")
    setting(cloud, "ha.tag", "spare")
    for n in range(5):
        deploy(cloud, zone, f"a{n}")
    assert "east-h1" not in hosts_of("a")
    with pytest.raises(Refused, match="east-h1 has the tag spare and is kept for machines whose host has failed"):
        deploy(cloud, zone, "b", hostid=zone["hosts"][1])
    told = {kept: cloud.ask("listHosts", hahost=kept)["host"] for kept in (True, False)}
    assert [h["name"] for h in told[True]] == ["east-h1"] and "east-h0" in {h["name"] for h in told[False]}
    assert all(h["hahost"] is kept for kept, found in told.items() for h in found)


def test_a_host_of_another_architecture_is_left_out(cloud, zone):
    change(Cluster, arch="aarch64")
    with pytest.raises(Refused, match="east-h0 is aarch64, not x86_64"):
        deploy(cloud, zone)


# --- another host -----------------------------------------------------------------------------------------------------


def test_a_host_that_fails_to_start_a_machine_is_not_the_last(cloud, zone):
    deploy(cloud, zone, "first")
    before = used()
    cloud.ask("configureSimulator", name="start", value="fail:no power", count=2)
    vm = deploy(cloud, zone, "second")
    assert vm["state"] == "Running"
    after = used()
    assert sum(a != before[name] for name, a in after.items()) == 1, "two hosts hold nothing of it"
    found = cloud.ask("listAlerts", type="8")["alert"]
    told = [
        re.search(r"did not start on (\S+) and is tried on (\S+): .*no power", a["description"]).groups() for a in found
    ]
    (one, two), (same, last) = sorted(told, key=lambda each: each[1] == vm["hostname"])
    assert two == same and last == vm["hostname"] and len({one, two, last}) == 3, "operators know whom to look at"
    with reading() as session:
        assert session.scalar(select(SimulatedMachine.host).where(SimulatedMachine.machine == vm["id"]))
        disks = session.scalars(select(Volume.path).where(Volume.path.is_not(None), Volume.removed.is_(None))).all()
        assert set(disks) == set(session.scalars(select(SimulatedDisk.name).where(SimulatedDisk.name.in_(disks))))


def test_when_all_hosts_fail_each_is_named_with_what_it_said_and_nothing_is_kept(cloud, zone):
    deploy(cloud, zone, "first")
    before = used()
    cloud.ask("configureSimulator", name="start", value="fail:no power")
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "second")
    assert no.value.text.count("did not start it: ") == 3 and "no power" in no.value.text
    assert used() == before
    setting(cloud, "start.retry", "1")
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "third")
    assert "did not start it" not in no.value.text and "no power" in no.value.text
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "fourth", hostid=zone["hosts"][0])
    assert "did not start it" not in no.value.text and "no power" in no.value.text
    assert used() == before


def test_a_host_that_does_not_answer_may_run_the_machine_so_it_starts_nowhere_else(cloud, zone):
    deploy(cloud, zone, "first")
    cloud.ask("configureSimulator", name="start", value="lost:true|late:true", count=1)
    cloud.ask("configureSimulator", name="stop", value="lost:true", count=2)
    with pytest.raises(Refused) as no:
        deploy(cloud, zone, "second")
    assert no.value.status == 534 and "It is not tried elsewhere" in no.value.text
    with reading() as session:
        assert len(set(session.scalars(select(SimulatedMachine.host).where(SimulatedMachine.name.contains("VM"))))) <= 3


@pytest.mark.parametrize(("fault", "then"), [("lost:true|late:true", "Running"), ("fail:no", "Stopped")])
def test_one_that_may_run_stays_starting_until_its_host_tells(cloud, zone, fault, then):
    deploy(cloud, zone, "first")
    cloud.ask("configureSimulator", name="start", value=fault, count=1)
    cloud.ask("configureSimulator", name="stop", value="lost:true", count=2)
    with pytest.raises(Refused, match="It stays Starting until that is known"):
        deploy(cloud, zone, "second")
    (vm,) = cloud.ask("listVirtualMachines", name="second")["virtualmachine"]
    assert vm["state"] == "Starting"
    with pytest.raises(Refused, match="its host did not tell yet"):
        cloud.job("startVirtualMachine", id=vm["id"])
    timers.look(patience=0)
    cloud.work()
    assert cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["state"] == then
    assert broken() == []
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    assert broken() == []


def test_administrators_and_routers_start_on_what_is_disabled_where_settings_say_so(cloud, zone):
    cloud.account("ann")
    change(Host, Host.name == "east-h0", resource_state="Maintenance")
    change(Host, Host.name != "east-h0", resource_state="Disabled")
    change(Pod, allocation_state="Disabled")
    change(Cluster, allocation_state="Disabled")
    setting(cloud, "allow.router.on.disabled.resources", "true")
    with pytest.raises(Refused, match="No host can take the machine"):
        deploy(cloud, zone, "early")
    with reading() as session:
        assert session.scalars(select(Vm.state).where(Vm.kind == "DomainRouter")).all() == ["Running"]
    setting(cloud, "allow.router.on.disabled.resources", "false")
    setting(cloud, "allow.admin.vm.on.disabled.resources", "true")
    asked = {"zoneid": zone["zone"], "serviceofferingid": zone["offering"], "templateid": zone["template"]}
    told = cloud.ask("explainDeployment", **asked)["deployment"]
    assert [h["suitable"] for h in told["host"]] == [False, True, True]
    assert deploy(cloud, zone, "mine")["hostname"] in ("east-h1", "east-h2")
    with pytest.raises(Refused, match="No host can take r-"):
        deploy(cloud, zone, "hers", user="ann")
    change(Cluster, managed_state="Unmanaged")
    with pytest.raises(Refused, match="which is not enabled"):
        deploy(cloud, zone, "late")
