"""Policies of snapshots: when they are due, what they keep, who sees them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.drivers.hypervisor import faults
from mgmt_server.errors import InvalidValue
from mgmt_server.model import settings
from mgmt_server.model.account import Account
from mgmt_server.model.event import Event
from mgmt_server.model.snapshot import SnapshotPolicy
from mgmt_server.resources.snapshotpolicy.schedule import kind_of, next_run, parsed, zone_of
from mgmt_server.resources.snapshotpolicy.timers import due
from tests.api.test_snapshot import another_zone, counts_are_right, deploy, incremental, zone
from tests.cloud import Refused

__all__ = ["zone"]
DAILY = {"intervaltype": "DAILY", "schedule": "00:02", "timezone": "GMT", "maxsnaps": 3}


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("kind", "schedule", "zone", "after", "moment"),
    [
        ("HOURLY", "5", "GMT", "2026-11-21T10:05:00", "2026-11-21T11:05"),
        ("HOURLY", "5", "GMT", "2026-11-21T10:04:59", "2026-11-21T10:05"),
        ("HOURLY", "15", "Asia/Kolkata", "2026-11-21T10:00:00", "2026-11-21T10:45"),
        ("DAILY", "30:02", "GMT", "2026-11-21T02:30:00", "2026-11-22T02:30"),
        ("DAILY", "00:22", "America/New_York", "2026-11-21T00:00:00", "2026-11-21T03:00"),
        ("DAILY", "00:01", "Pacific/Auckland", "2026-07-01T13:30:00", "2026-07-02T13:00"),
        ("WEEKLY", "00:03:1", "GMT", "2026-11-21T00:00:00", "2026-11-22T03:00"),  # the 21st is a Saturday
        ("WEEKLY", "00:03:7", "GMT", "2026-11-21T03:00:00", "2026-11-28T03:00"),
        ("MONTHLY", "00:00:28", "GMT", "2026-02-28T00:00:00", "2026-03-28T00:00"),
        ("MONTHLY", "00:00:1", "Europe/Zurich", "2026-11-21T00:00:00", "2026-11-30T23:00"),
        # the clocks of Zurich: summer time ends on 2026-10-25 at 01:00 UTC and begins on 2027-03-28 at 01:00 UTC
        ("DAILY", "00:12", "Europe/Zurich", "2026-10-24T10:00:00", "2026-10-25T11:00"),
        ("DAILY", "00:12", "Europe/Zurich", "2026-10-24T09:59:59", "2026-10-24T10:00"),
        ("DAILY", "30:02", "Europe/Zurich", "2026-10-24T12:00:00", "2026-10-25T00:30"),  # comes twice: the first
        ("DAILY", "30:02", "Europe/Zurich", "2026-10-25T00:30:00", "2026-10-26T01:30"),
        ("DAILY", "30:02", "Europe/Zurich", "2027-03-27T12:00:00", "2027-03-28T01:30"),  # is not there: 03:30
        ("DAILY", "30:02", "Europe/Zurich", "2027-03-28T01:30:00", "2027-03-29T00:30"),
    ],
)
def test_the_next_moment_is_that_of_the_policys_own_clock(kind, schedule, zone, after, moment):
    assert next_run(kind, schedule, zone, at(after)) == at(moment)


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [
        ("HOURLY", "60"), ("HOURLY", "5:3"), ("HOURLY", ""), ("HOURLY", "-1"), ("HOURLY", "x"), ("DAILY", "00"),
        ("DAILY", "00:24"), ("WEEKLY", "00:00:0"), ("WEEKLY", "00:00:8"), ("MONTHLY", "00:00:29"),
        ("MONTHLY", "00:00"), ("DAILY", "٣:٣"),
    ],
)  # fmt: skip
def test_a_schedule_that_means_nothing_is_refused(kind, schedule):
    if "٣" in schedule:
        assert parsed(kind, schedule).minute == 3  # digits are digits
        return
    with pytest.raises(InvalidValue, match="write it as"):
        parsed(kind, schedule)


def test_intervals_and_time_zones_are_known_ones():
    assert kind_of("daily") == "DAILY" and str(zone_of(" GMT ")) == "GMT"
    with pytest.raises(InvalidValue, match="Unsupported interval type BOGUS"):
        kind_of("BOGUS")
    for wrong in ("Middle/Earth", "../etc/passwd", "/etc/localtime", ""):
        with pytest.raises(InvalidValue, match="timezone"):
            zone_of(wrong)


def make(cloud, volume, user="admin", **more):
    return cloud.ask("createSnapshotPolicy", user=user, volumeid=volume, **(DAILY | more))["snapshotpolicy"]


def policies(cloud, **more):
    return cloud.ask("listSnapshotPolicies", **more).get("snapshotpolicy", [])


def snapshots(cloud, **more):
    return cloud.ask("listSnapshots", **more).get("snapshot", [])


def run_due(cloud, policy=None):
    """Let its time come."""
    late = update(SnapshotPolicy).where(SnapshotPolicy.next_run.is_not(None))
    late = late.where(SnapshotPolicy.uuid == policy) if policy else late
    write(lambda tx: tx.execute(late.values(next_run=now() - timedelta(days=40))))
    due()
    cloud.work()


def test_a_disk_has_one_policy_of_each_interval(cloud, zone):
    _, volume = deploy(cloud, zone)
    made = make(cloud, volume, **{"tags[0].key": "k", "tags[0].value": "v"})
    assert {k: made[k] for k in ("volumeid", "schedule", "intervaltype", "maxsnaps", "timezone", "fordisplay")} == {
        "volumeid": volume, "schedule": "00:02", "intervaltype": 1, "maxsnaps": 3, "timezone": "GMT",
        "fordisplay": True,
    }  # fmt: skip
    assert [z["id"] for z in made["zone"]] == [zone["zone"]] and made["storage"][0]["id"] == zone["pool"]
    assert made["tags"][0]["key"] == "k"
    hourly = make(cloud, volume, intervaltype="HOURLY", schedule="5")
    again = make(
        cloud,
        volume,
        schedule="30:04",
        maxsnaps=2,
        timezone="Europe/Zurich",
        **{"tags[0].key": "k", "tags[0].value": "w"},
    )
    assert again["id"] == made["id"] != hourly["id"] and again["tags"][0]["value"] == "w"
    found = policies(cloud, volumeid=volume)
    assert [(p["id"], p["schedule"], p["maxsnaps"]) for p in found] == [
        (hourly["id"], "5", 3), (made["id"], "30:04", 2),
    ]  # fmt: skip


def test_what_it_keeps_has_a_limit_for_each_interval(cloud, zone):
    _, volume = deploy(cloud, zone)
    with pytest.raises(Refused) as refused:
        make(cloud, volume, maxsnaps=9)
    assert refused.value.text.startswith("maxSnaps [9] for volume ROOT-") and "exceeds limit [8]" in refused.value.text
    with pytest.raises(Refused):
        make(cloud, volume, maxsnaps=0)
    cloud.ask("updateConfiguration", name="snapshot.max.daily", value="9")
    settings.forget()
    assert make(cloud, volume, maxsnaps=9)["maxsnaps"] == 9


def test_a_snapshot_is_taken_when_it_is_due_and_the_oldest_beyond_go(cloud, zone):
    _, volume = deploy(cloud, zone)
    policy = make(cloud, volume, maxsnaps=2, **{"tags[0].key": "k", "tags[0].value": "v"})
    due()
    cloud.work()
    assert snapshots(cloud) == [], "its time has not come"
    run_due(cloud)
    (first,) = snapshots(cloud)
    assert (first["intervaltype"], first["snapshottype"], first["state"]) == ("DAILY", "RECURRING", "BackedUp")
    assert first["tags"][0]["value"] == "v"
    with reading() as session:
        planned = session.scalar(select(SnapshotPolicy.next_run))
    assert now() < planned <= now() + timedelta(days=1) and (planned.hour, planned.minute) == (2, 0)
    due()
    cloud.work()
    assert len(snapshots(cloud)) == 1, "what was missed for 40 days is made up for once"
    manual = cloud.job("createSnapshot", volumeid=volume)["snapshot"]
    for _ in range(2):
        run_due(cloud)
    kept = snapshots(cloud)
    assert len(kept) == 3 and first["id"] not in {s["id"] for s in kept} and manual["id"] in {s["id"] for s in kept}
    assert len(snapshots(cloud, intervaltype="DAILY")) == 2 == len(snapshots(cloud, snapshottype="RECURRING"))
    counts_are_right()
    added = cloud.job("createSnapshot", volumeid=volume, policyid=policy["id"])["snapshot"]
    cloud.work()
    assert added["intervaltype"] == "DAILY" and len(snapshots(cloud, intervaltype="DAILY")) == 2
    with reading() as session:
        told = list(session.scalars(select(Event.description).where(Event.type == "SNAPSHOT.DELETE")))
    assert len(told) == 2 and all("its policy keeps 2" in t for t in told)


def test_retention_leaves_what_others_stand_on(cloud, zone):
    incremental(cloud)
    _, volume = deploy(cloud, zone)
    make(cloud, volume, maxsnaps=1)
    for _ in range(3):
        run_due(cloud)
    (kept,) = snapshots(cloud)
    assert kept["state"] == "BackedUp"
    cloud.job("deleteSnapshot", id=kept["id"])
    counts_are_right()


def test_a_failed_one_goes_with_the_next_that_succeeds(cloud, zone):
    _, volume = deploy(cloud, zone)
    make(cloud, volume)
    cloud.ask("configureSimulator", name="save_disk", value="fail:no", count=1)
    faults.forget()
    run_due(cloud)
    assert [s["state"] for s in snapshots(cloud)] == ["Error"]
    run_due(cloud)
    assert [s["state"] for s in snapshots(cloud)] == ["BackedUp"]


def test_a_limit_is_told_in_an_event_and_the_next_one_is_tried(cloud, zone):
    cloud.account("ann")
    _, volume = deploy(cloud, zone, user="ann")
    make(cloud, volume, user="ann")
    domain = cloud.ask("listDomains", name="ROOT")["domain"][0]["id"]
    cloud.ask("updateResourceLimit", account="ann", domainid=domain, resourcetype=3, max=0)
    run_due(cloud)
    assert snapshots(cloud, listall=True) == []
    with reading() as session:
        (told,) = session.scalars(select(Event.description).where(Event.level == "ERROR"))
        assert session.scalar(select(SnapshotPolicy.next_run)) > now()
    assert "was not taken" in told and "its limit is 0 snapshots" in told
    cloud.ask("updateResourceLimit", account="ann", domainid=domain, resourcetype=3, max=1)
    run_due(cloud)
    assert len(snapshots(cloud, listall=True)) == 1


def test_nothing_is_taken_for_a_disabled_account_or_while_one_is_under_way(cloud, zone):
    cloud.account("ann")
    _, volume = deploy(cloud, zone, user="ann")
    make(cloud, volume, user="ann")
    state = update(Account).where(Account.name == "ann")
    write(lambda tx: tx.execute(state.values(state="disabled")))
    run_due(cloud)
    assert snapshots(cloud, listall=True) == []
    write(lambda tx: tx.execute(state.values(state="enabled")))
    late = update(SnapshotPolicy).values(next_run=now() - timedelta(minutes=1))
    for _ in range(2):
        write(lambda tx: tx.execute(late))
        due()
    cloud.work()
    assert len(snapshots(cloud, listall=True)) == 1


def test_copies_go_to_the_zones_that_are_named(cloud, zone):
    west = another_zone(cloud)
    _, volume = deploy(cloud, zone)
    made = make(cloud, volume, zoneids=[west["zone"], zone["zone"]])
    assert [z["id"] for z in made["zone"]] == [zone["zone"], west["zone"]]
    run_due(cloud)
    assert {s["zoneid"] for s in snapshots(cloud)} == {zone["zone"], west["zone"]}


def test_a_policy_goes_by_command_and_with_its_disk(cloud, zone):
    vm, volume = deploy(cloud, zone)
    made = [make(cloud, volume)["id"], make(cloud, volume, intervaltype="HOURLY", schedule="1")["id"]]
    last = make(cloud, volume, intervaltype="MONTHLY", schedule="1:1:1")["id"]
    assert cloud.ask("deleteSnapshotPolicies", ids=made) == {"success": True}
    assert [p["id"] for p in policies(cloud)] == [last]
    with pytest.raises(Refused):
        cloud.ask("deleteSnapshotPolicies")
    cloud.job("destroyVirtualMachine", id=vm, expunge=True)
    assert policies(cloud) == []
    run_due(cloud)
    assert policies(cloud) == [] and snapshots(cloud) == []


def test_users_do_not_see_what_is_not_for_display(cloud, zone):
    cloud.account("ann")
    _, volume = deploy(cloud, zone, user="ann")
    made = make(cloud, volume, user="ann")
    assert "fordisplay" not in made and "storage" not in made
    answer = cloud.job("updateSnapshotPolicy", id=made["id"], fordisplay=False)["snapshotpolicy"]
    assert answer["fordisplay"] is False
    assert policies(cloud, user="ann") == [] and len(policies(cloud, listall=True)) == 1
    other = "0d5e4f2c-0000-4000-8000-000000000001"
    assert (
        cloud.job("updateSnapshotPolicy", id=made["id"], customid=other, fordisplay=True)["snapshotpolicy"]["id"]
        == other
    )
    assert [p["id"] for p in policies(cloud, user="ann")] == [other]


def test_policies_of_others_are_not_there(cloud, zone):
    cloud.account("ann")
    cloud.account("eve")
    _, volume = deploy(cloud, zone, user="ann")
    made = make(cloud, volume, user="ann")
    with pytest.raises(Refused) as refused:
        make(cloud, volume, user="eve")
    assert "does not exist" in refused.value.text
    with pytest.raises(Refused) as refused:
        cloud.ask("deleteSnapshotPolicies", user="eve", id=made["id"])
    assert "does not exist" in refused.value.text
    assert policies(cloud, user="eve", listall=True) == []
