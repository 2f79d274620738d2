"""When a policy's snapshots are due: what clients write, and the next moment of it in the policy's own time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from mgmt_server.errors import InvalidValue

KINDS = {"HOURLY": 0, "DAILY": 1, "WEEKLY": 2, "MONTHLY": 3}  # as the protocol numbers them
FORMS = {
    "HOURLY": ("MM", "the minute, 0 to 59"),
    "DAILY": ("MM:HH", "minute and hour"),
    "WEEKLY": ("MM:HH:DD", "minute, hour and the day of the week, 1 (Sunday) to 7"),
    "MONTHLY": ("MM:HH:DD", "minute, hour and the day of the month, 1 to 28"),
}
LAST = {"WEEKLY": 7, "MONTHLY": 28}


@dataclass(frozen=True)
class Schedule:
    """A moment that comes again: hours, days or both are left out where every one is meant."""

    kind: str
    minute: int
    hour: int = 0
    day: int = 0


def kind_of(text: str) -> str:
    for known in KINDS:
        if known == text.strip().upper():
            return known
    raise InvalidValue(f"Unsupported interval type {text[:50]}: send one of {', '.join(KINDS)}")


def parsed(kind: str, text: str) -> Schedule:
    """A schedule as clients write it. Raises InvalidValue."""
    form, meaning = FORMS[kind]
    parts = text.strip().split(":")
    wrong = InvalidValue(f"schedule={text[:50]} is none for {kind}: write it as {form}, {meaning}")
    if len(parts) != form.count(":") + 1 or not all(re.fullmatch(r"\d{1,2}", p) for p in parts):
        raise wrong
    found = Schedule(kind, *(int(p) for p in parts))
    if found.minute > 59 or found.hour > 23 or not (kind not in LAST or 1 <= found.day <= LAST[kind]):
        raise wrong
    return found


def zone_of(text: str) -> ZoneInfo:
    name = text.strip()
    if name not in available_timezones():
        raise InvalidValue(f"timezone={text[:100]} is none that is known here: write it as GMT or Europe/Zurich")
    return ZoneInfo(name)


def following(schedule: Schedule, zone: ZoneInfo, after: datetime) -> datetime:
    """The first moment later than `after`, both in UTC.

    Where the clock is put forward over the time that was meant, it is as much later; where it is put back, the first
    of the two is meant.
    """
    if schedule.kind == "HOURLY":
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        while moment.replace(tzinfo=UTC).astimezone(zone).minute != schedule.minute:
            moment += timedelta(minutes=1)
        return moment
    day = after.replace(tzinfo=UTC).astimezone(zone).date() - timedelta(days=1)
    while True:
        wanted = {"DAILY": True, "WEEKLY": day.isoweekday() % 7 + 1 == schedule.day, "MONTHLY": day.day == schedule.day}
        if wanted[schedule.kind]:
            local = datetime(day.year, day.month, day.day, schedule.hour, schedule.minute, tzinfo=zone)
            moment = local.astimezone(UTC).replace(tzinfo=None)
            if moment > after:
                return moment
        day += timedelta(days=1)


def next_run(kind: str, schedule: str, timezone: str, after: datetime) -> datetime:
    return following(parsed(kind, schedule), zone_of(timezone), after)
