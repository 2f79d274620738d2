"""The modules about machines, disks and images against the real server, beyond their cycle."""

from __future__ import annotations

import pytest

from tests.collection.servers import ROOT  # noqa: F401  makes the collection importable

from ansible_collections.cloudwright.cloud.tests.unit.cycle import cycle  # isort: skip

DISK = {"zone": "lab", "disk_offering": "open", "size": 1}


def test_a_disk_leaves_its_machine_and_goes_into_another(run):
    named = {"name": "wanders", "zone": "lab"}
    made = run.ok("volume", **{**DISK, **named}, vm="home")["entity"]
    moved = cycle(run, "volume", **named, vm="annex")[1]
    assert moved["diff"]["before"] == {"vm": made["virtualmachineid"]}
    assert moved["entity"]["vmname"] == "annex"
    free = cycle(run, "volume", **named, state="detached")[1]
    assert free["diff"]["after"] == {"vm": None} and "virtualmachineid" not in free["entity"]
    assert "exclude each other" in run("volume", **named, vm="home", state="detached")["msg"]


def test_a_destroyed_disk_is_recovered_when_it_is_wanted_again(run):
    named = {"name": "comes back", "zone": "lab"}
    made = run.ok("volume", **{**DISK, **named}, vm="home")["entity"]
    assert "msg" in run("volume", **named, state="destroyed"), "a machine has it"
    cycle(run, "volume", **named, state="destroyed", forced=True)
    back = cycle(run, "volume", **named)[1]
    assert back["entity"]["id"] == made["id"] and back["diff"]["before"] == {"state": "Destroy"}
    cycle(run, "volume", **named, state="destroyed")
    cycle(run, "volume", **named, state="absent")


def test_a_disk_shrinks_only_when_that_is_allowed(run):
    named = {**DISK, "name": "shrinks", "vm": "home", "size": 3}
    run.ok("volume", **named)
    run.ok("volume", name="shrinks", zone="lab", state="detached")
    del named["vm"]
    assert "shrinkok" in run("volume", **{**named, "size": 2})["msg"]
    cycle(run, "volume", **{**named, "size": 2}, shrink_ok=True)


def test_a_disk_is_made_from_a_snapshot_and_goes_back_to_it(run):
    run.ok("volume", **DISK, name="source", vm="home")
    run.ok("snapshot", name="first", zone="lab", volume="source")
    copy = cycle(run, "volume", name="copied", zone="lab", snapshot="first")[1]["entity"]
    assert copy["snapshotid"] == run.ok("snapshot_info", name="first")["entities"][0]["id"]
    assert "msg" in run("snapshot", name="first", zone="lab", volume="source", state="reverted"), "its machine runs"
    run.ok("volume", name="source", zone="lab", state="detached")
    for _again in range(2):
        back = run.ok("snapshot", name="first", zone="lab", volume="source", state="reverted")
        assert back["diff"]["after"] == {"state": "reverted"}
    told = run("snapshot", name="second", zone="lab", volume="source", state="reverted")["msg"]
    assert "no snapshot named 'second'" in told


def test_a_disk_moves_to_another_pool(run):
    made = run.ok("volume", **DISK, name="moves", storage_pool="primary")["entity"]
    assert made["storage"] == "primary"
    moved = cycle(run, "volume", name="moves", zone="lab", storage_pool="other")[1]
    assert moved["entity"]["storage"] == "other"


def test_a_machine_goes_back_to_its_snapshot(run):
    run.ok("vm_snapshot", name="one", vm="annex", memory=True)
    assert run.ok("vm_snapshot", name="one", vm="annex", state="reverted")["changed"] is True
    assert run.ok("vm_info", name="annex")["entities"][0]["state"] == "Running"
    cycle(run, "vm_snapshot", name="one", vm="annex", state="absent")


@pytest.mark.parametrize("interval", ["HOURLY", "MONTHLY"])
def test_a_root_disk_has_policies_by_its_machines_name(run, interval):
    when = {"HOURLY": "15", "MONTHLY": "15:03:1"}[interval]
    policy = {"vm": "home", "interval_type": interval}
    cycle(run, "snapshot_policy", **policy, schedule=when, timezone="Europe/Zurich", max_snaps=2)
    changed = cycle(run, "snapshot_policy", **policy, max_snaps=1)[1]["entity"]
    assert (changed["schedule"], changed["timezone"]) == (when, "Europe/Zurich")
    cycle(run, "snapshot_policy", **policy, state="absent")
