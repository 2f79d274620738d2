"""The query that finds hosts and the rules that explain them agree; plug-ins are asked, and held to what fits."""

from __future__ import annotations

import random
import sys
from collections import Counter
from itertools import product

import pytest
from sqlalchemy import select

from mgmt_server.allocation import affinity, hosts, planners, pools, refusal, thresholds
from mgmt_server.allocation.affinity import _rules
from mgmt_server.allocation.hosts import Need
from mgmt_server.allocation.pools import Space
from mgmt_server.db import now, reading, write
from mgmt_server.errors import Failed, InvalidValue, NoCapacity
from mgmt_server.model.event import SettingValue
from mgmt_server.model.host import Host
from mgmt_server.model.offering import ServiceOffering
from mgmt_server.model.settings import forget
from mgmt_server.model.storage import Pool
from mgmt_server.model.vm import Vm, Volume
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.setting.values import keep
from tests.simulated import GIB, build

MIB = 2**20


@pytest.fixture
def zone(database):
    made = build(hosts=12)
    with reading() as session:
        return session.scalar(select(Zone.id).where(Zone.uuid == made["zone"]))


def mixed(tx, dice):
    """Hosts in all states, two of three with something that may speak against them."""
    for host in tx.scalars(select(Host)):
        host.state = dice.choice(["Up", "Up", "Up", "Down", "Alert"])
        host.resource_state = dice.choice(["Enabled", "Enabled", "Enabled", "Maintenance", "Disabled"])
        host.tags = dice.choice([None, "ssd", "ssd, gold", "gold", "spare", "ss", "SSD"])
        host.cpu_used = dice.choice([0, 16_000, 31_900])
        host.memory_used = dice.choice([0, 4 * GIB, 8 * GIB - 100 * MIB])
        host.machines = dice.choice([0, 3, 49, 50])
        host.hypervisor = dice.choice(["Simulator", "Simulator", "Simulator", "KVM"])


@pytest.mark.parametrize("seed", range(12))
def test_the_query_and_the_reasons_agree_on_every_host(zone, seed):
    dice = random.Random(seed)
    write(mixed, dice)
    settings = [("ha.tag", "spare", "Global", 0)] if seed % 2 else []
    settings.append(
        ("cluster.memory.allocated.capacity.disablethreshold", dice.choice(["0.5", "0.85", "1"]), "Global", 0)
    )
    write(lambda tx: tx.add_all(SettingValue(name=n, value=v, scope=s, scope_id=i) for n, v, s, i in settings))
    forget()
    with reading() as session:
        for cpu, memory, tags, spare, disabled in product(
            (1, 20_000), (MIB, 200 * MIB), ((), ("ssd",), ("ssd", "gold")), (True, False), (True, False)
        ):
            avoid = tuple(session.scalars(select(Host.id).limit(seed % 3)))
            near = tuple(session.scalars(select(Host.id).limit(seed % 4 == 3)))
            need = Need(
                zone, "Simulator", cpu, memory, tags=tags, spare=spare, avoid=avoid, arch="x86_64",
                disabled=disabled,
                disk_hosts=near, disk_clusters=(999,) if seed == 2 else (),
            )  # fmt: skip
            fits = {v.id for v in refusal.of_hosts(session, need) if not v.rule}
            assert {h.id for h in hosts.candidates(session, need)} == fits


def test_a_reason_is_words_for_users_and_names_for_root(zone):
    def full(tx):
        for host in tx.scalars(select(Host)):
            host.memory_used = host.memory_capacity

    write(full)
    with reading() as session:
        no = hosts.refused(session, Need(zone, "Simulator", 100, GIB), "the machine x")
    assert isinstance(no, NoCapacity)
    assert (
        str(no)
        == "No host can take the machine x, which needs 100 MHz and 1024 MiB on Simulator: not enough free memory"
    )
    assert "east-h0 lacks 1024 MiB; east-h1 lacks 1024 MiB" in no.inventory


def test_groups_together_leave_the_hosts_that_all_of_them_allow():
    rules = _rules([(affinity.TOGETHER, "a", {1, 2}), (affinity.TOGETHER, "b", {2, 3}), (affinity.APART, "c", {3, 4})])
    assert (rules.together, rules.apart, rules.names) == (frozenset({2}), frozenset({3, 4}), ("a", "b", "c"))
    assert [h for h in range(1, 6) if rules.allows(h)] == [2]
    wishes = _rules([(affinity.RATHER_APART, "d", {1}), (affinity.RATHER_TOGETHER, "e", {2})])
    assert [wishes.rank(h) for h in (1, 2, 3)] == [1, -1, 0] and all(wishes.allows(h) for h in (1, 2, 3))


@pytest.mark.parametrize(
    ("growing", "beyond", "size", "fits"),
    [
        (False, True, 85, True), (False, True, 86, False), (True, True, 90, True), (True, True, 91, False),
        (True, False, 85, True), (True, False, 86, False),
    ],
)  # fmt: skip
def test_a_pool_promises_new_disks_less_than_growing_ones_where_these_may_more(zone, growing, beyond, size, fits):
    write(lambda tx: keep(tx, thresholds.BEYOND, None, str(beyond).lower()))

    def only(tx):
        pool = tx.scalar(select(Pool))
        pool.capacity, pool.overprovision, pool.allocated = 100 * GIB, 1.0, 0
        return pool.id

    number = write(only)
    with reading() as session:
        pool = session.get_one(Pool, number)
    assert (not pools.why_not(pool, Space(size * GIB, False, growing=growing))) is fits
    assert write(lambda tx: pools.take(tx, number, size * GIB, growing=growing)) is fits


@pytest.mark.parametrize(
    ("algorithm", "first"),
    [
        ("firstfit", {"a"}), ("userconcentratedpod_firstfit", {"a"}), ("firstfitleastconsumed", {"b"}),
        ("userdispersing", {"c"}), ("random", {"a", "b", "c"}), ("userconcentratedpod_random", {"a", "b", "c"}),
        (None, {"a", "b", "c"}),
    ],
)  # fmt: skip
def test_which_pool_a_new_disk_goes_to_first(zone, algorithm, first):
    def three(tx):
        old = tx.scalar(select(Pool))
        old.name, old.allocated = "a", 7 * GIB
        for name, allocated in (("b", 1), ("c", 5)):
            values = {"zone_id": zone, "scope": "ZONE", "type": old.type, "capacity": old.capacity, "details": {}}
            tx.add(Pool(name=name, allocated=allocated * GIB, path=f"/{name}", **values))
        tx.flush()
        for pool in tx.scalars(select(Pool).where(Pool.name != "c")):
            tx.add(Volume(name="v", account_id=2, domain_id=1, zone_id=zone, size=1, pool_id=pool.id))
        if algorithm:
            tx.add(SettingValue(name=pools.ALGORITHM.name, value=algorithm, scope="Global", scope_id=0))

    def choose(tx):
        usable = pools.usable(tx, zone)
        return pools.choose(tx, usable, tx.scalar(select(Host)), Space(1, False, account_id=2)).name

    write(three)
    forget()
    assert {write(choose) for _ in range(60 if len(first) > 1 else 3)} == first


@pytest.fixture
def machines(zone, monkeypatch):
    """Account 2 has 3 machines on the first 8 hosts and 4 in the pod of the last 4; the oldest host is the fullest."""

    def work(tx):
        all_, offering = list(tx.scalars(select(Host).order_by(Host.id))), tx.scalar(select(ServiceOffering.id))
        pod = Pod(name="pod2", zone_id=zone, gateway="172.17.0.1", netmask="255.255.255.0")
        tx.add(pod)
        tx.flush()
        cluster = Cluster(name="c2", zone_id=zone, pod_id=pod.id, hypervisor="Simulator", details={})
        tx.add(cluster)
        tx.flush()
        for n, host in enumerate(all_):
            host.memory_used = (12 - n) * MIB
            if n > 7:
                host.pod_id, host.cluster_id = pod.id, cluster.id
        own = {0: 2, 5: 1, 8: 2, 9: 2}
        there = [(2, host, None) for host, count in own.items() for _ in range(count)]
        there += [(1, 1, None)] * 9 + [(2, 2, now())] * 9  # another's, and some that are gone
        for number, (account, host, removed) in enumerate(there):
            values = {"account_id": account, "domain_id": 1, "zone_id": zone, "hypervisor": "Simulator"}
            values |= {"service_offering_id": offering, "host_id": all_[host].id, "removed": removed}
            tx.add(Vm(name=f"m{number}", **values))
        return [host.id for host in all_]

    ids = write(work)
    monkeypatch.setattr(planners, "FEW", 2)

    def order(algorithm):
        write(lambda tx: keep(tx, planners.ALGORITHM, None, algorithm))
        forget()
        with reading() as session:
            found = hosts.candidates(session, Need(zone, "Simulator", 1, MIB, account_id=2))
        return [ids.index(host.id) for host in found]

    return order


def test_first_fit_tries_hosts_in_the_order_of_the_algorithm(machines):
    assert machines("firstfit") == [0, 1]
    assert machines("firstfitleastconsumed") == [11, 10]
    assert set(machines("random")) == {11, 10}
    assert machines("userdispersing") == [11, 10, 7, 6, 4, 3, 2, 1, 5, 9, 8, 0]
    assert machines("userconcentratedpod_firstfit") == [8, 9, 10, 11, *range(8)]
    found = [machines("userconcentratedpod_random") for _ in range(20)]
    assert {frozenset(order[:4]) for order in found} == {frozenset({8, 9, 10, 11})}
    assert len({tuple(order[:4]) for order in found}) > 1 and len({tuple(order[4:]) for order in found}) > 1
    assert all(sorted(order) == [*range(12)] for order in found)


# --- plug-ins ---------------------------------------------------------------------------------------------------------

PACKAGE = """
def last_first(tx, need, hosts):
    return sorted(hosts, key=lambda h: -h.id)

def greedy(tx, need, hosts):
    class Stranger: id = 10**9
    return [Stranger(), *hosts[:1], *hosts[:1]]

def broken(tx, need, hosts):
    raise KeyError("rack")

class EvenOnly:
    def hosts(self, tx, need, hosts):
        return [h for h in hosts if h.id % 2 == 0]

    def pools(self, tx, space, host, pools):
        return []
"""
POINTS = """[cloudwright.planners]
LastFirst = cw_test_plugin:last_first
Greedy = cw_test_plugin:greedy
Broken = cw_test_plugin:broken
FirstFitPlanner = cw_test_plugin:broken
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package of plug-ins, as pip would leave it."""

    def forget_plugins():
        planners.installed.cache_clear()
        planners.allocators.cache_clear()
        sys.modules.pop("cw_test_plugin", None)

    def install(points):
        info = tmp_path / "cw_test_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cw-test-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        (tmp_path / "cw_test_plugin.py").write_text(PACKAGE)
        monkeypatch.syspath_prepend(str(tmp_path))
        forget_plugins()

    yield install
    forget_plugins()


def asked(zone, planner):
    with reading() as session:
        return [h.id for h in hosts.candidates(session, Need(zone, "Simulator", 1, MIB, planner=planner))]


def test_a_planner_of_a_package_decides_the_order(zone, package):
    package(POINTS)
    assert planners.names() == [*planners.BUILT_IN, "Broken", "Greedy", "LastFirst"]
    assert asked(zone, "LastFirst") == sorted(asked(zone, "SkipHeuristicsPlanner"), reverse=True)
    assert len(asked(zone, "Greedy")) == 1, "what fits, once, and nothing else"
    with pytest.raises(Failed, match="The planner Broken failed .KeyError: 'rack'.: mend it or remove its package"):
        asked(zone, "Broken")
    assert len(asked(zone, "FirstFitPlanner")) == 12, "ours are not replaced"
    with pytest.raises(InvalidValue, match="The planner Gone is not installed here"):
        asked(zone, "Gone")


def test_an_allocator_of_a_package_leaves_out_hosts_and_pools_and_is_named(zone, package):
    package("[cloudwright.allocators]\nEven = cw_test_plugin:EvenOnly\n")
    found = asked(zone, "")
    assert found and all(n % 2 == 0 for n in found)
    with reading() as session:
        told = refusal.of_hosts(session, Need(zone, "Simulator", 1, MIB))
        assert {v.rule for v in told if v.id % 2} == {"planner"} and "an allocator" in told[0].reason + told[1].reason
        host, rows = session.get_one(Host, found[0]), list(session.scalars(select(Pool)))
    assert write(lambda tx: pools.choose(tx, rows, host, Space(GIB, False))) is None


def test_a_cluster_of_another_architecture_is_no_candidate(zone):
    write(lambda tx: setattr(tx.scalar(select(Cluster)), "arch", "aarch64"))
    with reading() as session:
        assert not hosts.candidates(session, Need(zone, "Simulator", 1, MIB, arch="x86_64"))
        assert hosts.candidates(session, Need(zone, "Simulator", 1, MIB, arch="aarch64"))


@pytest.mark.parametrize(("weight", "first"), [("1", 1), ("0", 2), ("0.5", 1), ("0.05", 2)])
def test_own_machines_count_against_a_host_as_the_weight_says(zone, monkeypatch, weight, first):
    """Host 1 is nearly full and has none of the account's machines; host 2 is empty but for one of them."""
    write(lambda tx: keep(tx, planners.WEIGHT, None, weight))
    crowded = Host(id=1, pod_id=1, cluster_id=1, memory_used=40, memory_capacity=100)
    empty = Host(id=2, pod_id=1, cluster_id=1, memory_used=10, memory_capacity=100)
    own = Counter({2: 1}), Counter({1: 1}), Counter({1: 1})
    monkeypatch.setattr(planners, "_machines", lambda tx, need: (own[2], own[1], own[0]))
    assert planners.user_dispersing(None, None, [crowded, empty])[0].id == first
