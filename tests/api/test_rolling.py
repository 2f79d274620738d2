"""Rolling maintenance: hosts are emptied, worked on and taken back one after the other, and each is told of."""

import pytest
from sqlalchemy import select, update

from mgmt_server.db import reading, write
from mgmt_server.drivers.hypervisor import faults, simulator
from mgmt_server.jobs.worker import run_next
from mgmt_server.model.host import Host
from mgmt_server.model.vm import Vm
from mgmt_server.protocol.machine import StageResult
from tests.api.test_maintenance import capacity_fits, on_host
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.simulated import build


@pytest.fixture
def zone(cloud):
    """Two hosts, guests on the first."""
    found = build(hosts=2, memory=64 << 30, cpu=512_000)
    found["offering"] = cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
    found["hosts"] = found["hosts"].split(",")
    for n in range(2):
        deploy(cloud, found, hostid=found["hosts"][0], name=f"g{n}")
    yield found
    faults.forget()


@pytest.fixture
def scripts(monkeypatch):
    """What the scripts of simulated hosts do: (stage, host's number in its name) -> StageResult."""
    said, calls = {}, []

    def maintain(self, call, host, stage, payload, timeout):
        number = host.name[-1]
        with reading() as session:
            state = session.scalar(select(Host.resource_state).where(Host.uuid == host.uuid))
        calls.append((number, stage, state, len(on_host(host.uuid))))
        stages = said.get("stages", simulator.STAGES)
        found = said.get((stage, number), StageResult(0, f"{stage} done"))
        return StageResult(found.status, found.output, stages)

    monkeypatch.setattr(simulator.Simulator, "maintain", maintain)
    return said, calls


def roll(cloud, **sent):
    return cloud.job("startRollingMaintenance", **sent)["rollingmaintenance"]


def test_hosts_are_emptied_worked_on_and_taken_back_one_after_the_other(cloud, zone, scripts):
    done = roll(cloud, clusterids=zone["cluster"])
    assert (done["success"], done["details"], done["hostsskipped"]) == (True, "OK", [])
    assert [one["hostid"] for one in done["hostsupdated"]] == zone["hosts"]
    first = done["hostsupdated"][0]
    assert first["output"] == "PreMaintenance done\nMaintenance done\nPostMaintenance done"
    assert first["startdate"] <= first["enddate"] and first["hostname"].endswith("h0")
    assert [(n, stage, state) for n, stage, state, _ in scripts[1]] == [
        ("0", "PreFlight", "Enabled"), ("1", "PreFlight", "Enabled"),
        ("0", "PreMaintenance", "Enabled"), ("0", "Maintenance", "Maintenance"), ("0", "PostMaintenance", "Enabled"),
        ("1", "PreMaintenance", "Enabled"), ("1", "Maintenance", "Maintenance"), ("1", "PostMaintenance", "Enabled"),
    ]  # fmt: skip
    assert [there for _, stage, _, there in scripts[1] if stage == "Maintenance"] == [0, 0]
    assert {vm["state"] for vm in cloud.ask("listVirtualMachines")["virtualmachine"]} == {"Running"}
    capacity_fits()
    assert "CLUSTER.ROLLING.MAINTENANCE" in {e["type"] for e in cloud.ask("listEvents")["event"]}


def test_what_the_scripts_are_given_reaches_them(cloud, zone):
    done = roll(cloud, hostids=zone["hosts"][1], payload="kernel 6.1", timeout=5)
    (one,) = done["hostsupdated"]
    assert f"Maintenance on {one['hostname']} kernel 6.1" in one["output"]


def test_a_preflight_that_fails_stops_all_before_anything_is_touched(cloud, zone, scripts):
    scripts[0]["PreFlight", "1"] = StageResult(1, "no room on /boot\n")
    done = roll(cloud, zoneids=zone["zone"])
    assert not done["success"] and done["hostsupdated"] == []
    assert "h1: its script for PreFlight failed with status 1: no room on /boot. Nothing was begun" in done["details"]
    assert {stage for _, stage, _, _ in scripts[1]} == {"PreFlight"}
    forced = roll(cloud, zoneids=zone["zone"], forced=True)
    assert forced["success"] and [h["hostid"] for h in forced["hostsupdated"]] == zone["hosts"][:1]
    (left_out,) = forced["hostsskipped"]
    assert left_out["hostid"] == zone["hosts"][1] and "no room on /boot" in left_out["reason"]


def test_a_host_whose_script_says_so_is_left_as_it_is(cloud, zone, scripts):
    scripts[0]["PreFlight", "0"] = scripts[0]["PreMaintenance", "1"] = StageResult(70)
    done = roll(cloud, podids=zone["pod"])
    assert done["success"] and done["hostsupdated"] == []
    assert ["PreFlight" in h["reason"] for h in done["hostsskipped"]] == [True, False]
    assert all("no maintenance is needed" in h["reason"] for h in done["hostsskipped"])


def test_without_a_script_for_it_no_host_is_emptied(cloud, zone, scripts):
    scripts[0]["stages"] = ("PreFlight", "PostMaintenance")
    before = on_host(zone["hosts"][0])
    assert len(roll(cloud, clusterids=zone["cluster"])["hostsupdated"]) == 2
    assert on_host(zone["hosts"][0]) == before and "Maintenance" not in {s for _, s, _, _ in scripts[1]}


def test_a_host_whose_maintenance_failed_stays_in_it_and_ends_all_unless_forced(cloud, zone, scripts):
    scripts[0]["Maintenance", "0"] = StageResult(124)
    done = roll(cloud, clusterids=zone["cluster"], timeout=9)
    assert not done["success"] and "took longer than 9 s" in done["details"] and done["hostsupdated"] == []
    assert cloud.ask("listHosts", id=zone["hosts"][0])["host"][0]["resourcestate"] == "Maintenance"
    assert "The host stays in maintenance" in done["hostsskipped"][0]["reason"]


def test_machines_that_would_have_no_room_elsewhere_refuse_and_are_named(cloud, zone, scripts):
    other = update(Host).where(Host.uuid == zone["hosts"][1])
    write(lambda tx: tx.execute(other.values(memory_capacity=Host.memory_used + (600 << 20))))
    done = roll(cloud, hostids=zone["hosts"][0])
    assert not done["success"] and "there is no room for" in done["details"] and scripts[1] == []
    cloud.ask("updateHost", id=zone["hosts"][1], allocationstate="Disable")
    (left_out,) = roll(cloud, hostids=zone["hosts"][1])["hostsskipped"]
    assert left_out["reason"] == "it is Disabled"


def test_a_server_that_takes_over_goes_on_where_the_other_was(cloud, zone, scripts):
    cloud.ask("startRollingMaintenance", clusterids=zone["cluster"])
    while not any(stage == "Maintenance" for _, stage, _, _ in scripts[1]):
        assert run_next(cloud.node)
    seen = list(scripts[1])
    cloud.work()
    assert scripts[1][: len(seen)] == seen and len(scripts[1]) == 8
    with reading() as session:
        assert set(session.scalars(select(Host.resource_state))) == {"Enabled"}
        assert set(session.scalars(select(Vm.state).where(Vm.kind == "User"))) == {"Running"}


def test_one_kind_of_place_is_named(cloud, zone):
    for sent in ({}, {"hostids": zone["hosts"], "zoneids": zone["zone"]}):
        with pytest.raises(Refused, match="send one of zoneids"):
            cloud.ask("startRollingMaintenance", **sent)
    with pytest.raises(Refused, match="out of range"):
        cloud.ask("startRollingMaintenance", hostids=zone["hosts"][0], timeout=0)
