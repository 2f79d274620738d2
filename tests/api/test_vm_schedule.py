"""Schedules of machines, and the moments that crontab lines mean."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from mgmt_server.db import now, reading, write
from mgmt_server.errors import InvalidValue
from mgmt_server.model.event import Event
from mgmt_server.model.vm import VmSchedule
from mgmt_server.resources.vmschedule import timers
from mgmt_server.resources.vmschedule.cron import following, parsed
from tests.api.test_vm import deploy
from tests.cloud import Refused
from tests.simulated import build

EVERY = {"schedule": "0 8 * * MON-FRI", "timezone": "Europe/Zurich"}


@pytest.fixture
def zone(cloud):
    return build() | {"offering": cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]}


def scheduled(cloud, vm, action, **more):
    sent = {"virtualmachineid": vm["id"], "action": action, **EVERY, **more}
    return cloud.ask("createVMSchedule", **sent)["vmschedule"]


def due(schedule, ago=timedelta(seconds=5)):
    moment = now() - ago
    write(lambda tx: tx.execute(update(VmSchedule).where(VmSchedule.uuid == schedule["id"]).values(next_run=moment)))


def look(cloud):
    timers.due()
    cloud.work()


def state(cloud, vm):
    return cloud.ask("listVirtualMachines", id=vm["id"])["virtualmachine"][0]["state"]


def events(action):
    with reading() as session:
        return list(session.scalars(select(Event.description).where(Event.type == f"VM.SCHEDULE.{action}")))


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("line", "zone", "after", "expected"),
    [
        ("0 8 * * MON-FRI", "UTC", "2026-11-20T08:00", "2026-11-23T08:00"),  # a Friday; then Monday
        ("0 8 * * 1-5", "Europe/Zurich", "2026-11-22T10:00", "2026-11-23T07:00"),
        ("*/15 * * * *", "UTC", "2026-11-20T08:01", "2026-11-20T08:15"),
        ("5,10 3-4 * * *", "UTC", "2026-11-20T03:10", "2026-11-20T04:05"),
        ("0 0 29 FEB *", "UTC", "2026-11-20T00:00", "2028-02-29T00:00"),
        ("0 0 13 * 5", "UTC", "2026-11-20T00:00", "2027-08-13T00:00"),  # day and day of the week have to fit
        ("0 9 * * 7", "UTC", "2026-11-20T00:00", "2026-11-22T09:00"),  # 7 is Sunday too
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00", "2026-03-29T01:30"),  # the clock leaves 2:30 out
        ("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00", "2026-10-25T00:30"),  # 2:30 comes twice: the first
        ("30 10/4 * * *", "UTC", "2026-11-20T15:00", "2026-11-20T18:30"),
    ],
)
def test_the_next_moment_of_a_line(line, zone, after, expected):
    assert following(parsed(line), ZoneInfo(zone), at(after)) == at(expected)


@pytest.mark.parametrize(
    "line", ["", "* * * *", "* * * * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 30 2 *", "a * * * *",
             "*/0 * * * *", "5-1 * * * *", "0 0 * * 8", "1,,2 * * * *"],
)  # fmt: skip
def test_a_line_that_means_nothing_is_refused(line):
    with pytest.raises(InvalidValue, match="schedule"):
        parsed(line)


def test_a_machine_is_stopped_started_and_rebooted_as_scheduled(cloud, zone):
    vm = deploy(cloud, zone)
    stop, start = scheduled(cloud, vm, "stop"), scheduled(cloud, vm, "START")
    assert (stop["action"], stop["enabled"], stop["virtualmachineid"]) == ("STOP", True, vm["id"])
    look(cloud)
    assert state(cloud, vm) == "Running"
    due(stop)
    look(cloud)
    assert state(cloud, vm) == "Stopped" and events("STOP") == [f"stopping machine {vm['displayname']} as scheduled"]
    due(stop)
    look(cloud)  # it is stopped already
    assert len(events("STOP")) == 1
    due(start)
    look(cloud)
    assert state(cloud, vm) == "Running"
    for action in ("REBOOT", "FORCE_REBOOT", "FORCE_STOP"):
        due(scheduled(cloud, vm, action))
        look(cloud)
        assert len(events(action.replace("_", "."))) == 1
    assert state(cloud, vm) == "Stopped"
    with reading() as session:
        moments = list(session.scalars(select(VmSchedule.next_run)))
    assert len(moments) == 5 and all(moment > now() for moment in moments)


def test_what_was_missed_for_long_is_left_out_and_told(cloud, zone):
    vm = deploy(cloud, zone)
    due(scheduled(cloud, vm, "STOP"), timedelta(hours=2))
    look(cloud)
    look(cloud)
    assert state(cloud, vm) == "Running" and len(events("STOP")) == 1 and "left out" in events("STOP")[0]


def test_a_schedule_ends_is_switched_off_and_deleted(cloud, zone):
    vm, other = deploy(cloud, zone), deploy(cloud, zone)
    soon = (now() + timedelta(minutes=1)).isoformat(timespec="seconds") + "+0000"
    ends = scheduled(cloud, vm, "STOP", enddate=soon)
    assert ends["enabled"] is False  # it never comes before its end
    made = scheduled(cloud, vm, "REBOOT", description="weekly")
    off = cloud.ask("updateVMSchedule", id=made["id"], enabled=False, schedule="0 3 * * SUN")["vmschedule"]
    assert (off["enabled"], off["schedule"], off["description"]) == (False, "0 3 * * SUN", "weekly")
    with reading() as session:
        assert session.scalar(select(VmSchedule.next_run).where(VmSchedule.uuid == made["id"])) is None
    assert cloud.ask("updateVMSchedule", id=made["id"], enabled=True)["vmschedule"]["enabled"] is True
    listed = cloud.ask("listVMSchedule", virtualmachineid=vm["id"], action="reboot")["vmschedule"]
    assert [s["id"] for s in listed] == [made["id"]]
    with pytest.raises(Refused, match="another machine's"):
        cloud.ask("deleteVMSchedule", virtualmachineid=other["id"], id=made["id"])
    cloud.ask("deleteVMSchedule", virtualmachineid=vm["id"], ids=[made["id"], ends["id"]])
    assert cloud.ask("listVMSchedule", virtualmachineid=vm["id"]) == {}


def test_a_machine_that_is_gone_takes_its_schedules_along(cloud, zone):
    vm = deploy(cloud, zone)
    made = scheduled(cloud, vm, "STOP")
    cloud.job("destroyVirtualMachine", id=vm["id"], expunge=True)
    due(made)
    look(cloud)
    with reading() as session:
        row = session.scalar(select(VmSchedule))
    assert row.removed is not None and events("STOP") == []


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"action": "EXPLODE"}, "none of START"),
        ({"schedule": "every day"}, "fields"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"startdate": "2020-01-01"}, "in the past"),
        ({"enddate": "2020-01-01"}, "later one"),
        ({}, "has this schedule already"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(cloud, zone, sent, told):
    vm = deploy(cloud, zone)
    scheduled(cloud, vm, "STOP")
    with pytest.raises(Refused, match=told):
        scheduled(cloud, vm, **{"action": "STOP", **sent})


def test_schedules_are_their_owners_business(cloud, zone):
    cloud.account("ann")
    cloud.account("bob")
    vm = deploy(cloud, zone, user="ann")
    sent = {"virtualmachineid": vm["id"], "action": "STOP", **EVERY}
    made = cloud.ask("createVMSchedule", user="ann", **sent)["vmschedule"]
    for command, more in (
        ("createVMSchedule", sent),
        ("listVMSchedule", sent),
        ("updateVMSchedule", {"id": made["id"]}),
    ):
        with pytest.raises(Refused) as no:
            cloud.ask(command, user="bob", **more)
        assert no.value.status == 431
