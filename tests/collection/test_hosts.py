"""The modules about hosts, and what on hosts is the operator's, against the real server beyond their cycle."""

from __future__ import annotations

import time

from tests.collection.servers import ROOT  # noqa: F401  makes the collection importable

from ansible_collections.cloudwright.cloud.tests.unit.cycle import cycle  # isort: skip

VM = {"zone": "lab", "template": "tiny", "service_offering": "tiny", "networks": ["guests"]}
PROXY = {"zone": "lab", "type": "consoleproxy"}


def test_a_machine_is_let_go_and_taken_over_again(run):
    made = run.ok("vm", **VM, name="leaves")["entity"]
    run.ok("vm", name="leaves", zone="lab", state="stopped")
    there = "sim2" if made["hostname"] == "sim1" else "sim1"
    cycle(run, "unmanaged_vm", name="leaves", zone="lab", state="unmanaged", host=there)
    assert run.ok("vm_info", name="leaves", zone="lab")["entities"] == []
    place = {"zone": "lab", "cluster": "c1"}
    (left,) = run.ok("unmanaged_vm_info", **place, name=made["instancename"])["entities"]
    assert left["hostname"] == there
    nics = [{"nic": left["nic"][0]["id"], "network": "guests", "ip_address": "10.92.0.89"}]
    named = {"name": "back-again", "instance": made["instancename"], "service_offering": "tiny"}
    taken = cycle(run, "unmanaged_vm", **named, **place, nics=nics, migrate_allowed=True)[1]["entity"]
    assert taken["name"] == "back-again" and taken["nic"][0]["ipaddress"] == "10.92.0.89"
    cycle(run, "vm", name="back-again", zone="lab", state="started")
    cycle(run, "vm", name="back-again", zone="lab", state="expunged")


def test_a_console_proxy_is_restarted_moved_and_made_anew(run):
    before = proxy(run)
    other = next(host for host in ("sim1", "sim2") if host != before["hostname"])
    moved = cycle(run, "system_vm", **PROXY, host=other)[1]["entity"]
    assert moved["hostname"] == other
    again = run.ok("system_vm", **PROXY, state="restarted")
    assert again["changed"] and again["entity"]["id"] == before["id"]
    gone = run.ok("system_vm", **PROXY, name=before["name"], state="renewed")
    assert gone["diff"]["after"] == {"state": "renewed"}


def proxy(run):
    """The one of the zone, which makes it when it gets to it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = run.ok("system_vm_info", **PROXY, state="Running")["entities"]
        if found:
            return found[0]
        time.sleep(0.2)
    raise AssertionError("the zone has no console proxy that runs")


def test_an_operator_is_told_what_a_controller_still_needs(run):
    told = run("host_out_of_band", name="sim2", zone="lab", driver="simulator", address="10.91.1.2")["msg"]
    assert "port, username, password is needed too" in told
    assert "call configureOutOfBandManagement first" in run("host_out_of_band", name="sim2", zone="lab")["msg"]


def test_hosts_are_asked_how_they_are_each_time(run):
    for _again in range(2):
        asked = run.ok("host_power", name="idle", zone="lab", state="asked")
        assert asked["changed"] and asked["entity"]["powerstate"] == "On"


def test_a_host_is_maintained_by_its_own_scripts(run):
    done = run.ok("rolling_maintenance", zone="lab", hosts=["idle"], payload="kernel", timeout=60)
    (host,) = done["hosts_updated"]
    assert (done["changed"], host["hostname"], done["hosts_skipped"]) == (True, "idle", [])
    assert "Maintenance on idle kernel" in host["output"]
    run.ok("host_maintenance", name="idle", zone="lab")
    skipped = run.ok("rolling_maintenance", zone="lab", hosts=["idle"])
    assert skipped["changed"] is False and "Maintenance" in skipped["hosts_skipped"][0]["reason"]
    run.ok("host_maintenance", name="idle", zone="lab", state="enabled")


def test_what_keeps_a_host_in_service_is_told(run):
    named = {"name": "sim1", "zone": "lab"}
    run.ok("vm", **VM, name="stays", host="sim1")
    run.ok("api_request", command="configureSimulator", params={"name": "migrate", "value": "fail:no way"})
    refused = run("host_maintenance", **named)
    assert "cannot move" in refused["msg"]
    (found,) = run.ok("host_maintenance_info", **named)["entities"]
    assert (found["resourcestate"], found["in_maintenance"]) == ("ErrorInMaintenance", False)
    assert "stays: " in found["told"] and found["told"] in refused["msg"]
    run.ok("api_request", command="cleanupSimulatorMock")
    run.ok("host_maintenance", **named)
    (found,) = run.ok("host_maintenance_info", **named)["entities"]
    assert found["in_maintenance"] is True and found["told"] == ""
    run.ok("host_maintenance", **named, state="enabled")
    run.ok("vm", name="stays", zone="lab", state="expunged")
