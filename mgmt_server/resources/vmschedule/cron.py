"""Moments as a crontab line tells them, in a time zone: minute, hour, day of the month, month, day of the week."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from mgmt_server.errors import InvalidValue

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
FARTHEST = timedelta(days=8 * 366)  # the 29th of February is no farther
PART = re.compile(r"(?:(\*|\?)|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


@dataclass(frozen=True)
class Cron:
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday

    def fits(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays


def parsed(text: str) -> Cron:
    """Raises InvalidValue naming the field that is wrong."""
    parts = text.split()
    if len(parts) != len(FIELDS):
        raise InvalidValue(
            f"schedule={text[:80]!r} has {len(parts)} fields: write minute, hour, day, month and day of the week, "
            "such as 0 8 * * MON-FRI"
        )
    found = [_field(part, *field) for part, field in zip(parts, FIELDS, strict=True)]
    weekdays = frozenset(day % 7 for day in found[4])
    cron = Cron(tuple(sorted(found[0])), tuple(sorted(found[1])), frozenset(found[2]), frozenset(found[3]), weekdays)
    if following(cron, ZoneInfo("UTC"), datetime(2000, 1, 1)) is None:  # noqa: DTZ001  UTC, as everywhere
        raise InvalidValue(f"schedule={text[:80]!r} never comes")
    return cron


def _field(text: str, name: str, least: int, most: int) -> set[int]:
    names = {"month": (MONTHS, 1), "day of the week": (DAYS, 0)}.get(name)
    plain = text.upper()
    for number, word in enumerate(names[0] if names else ()):
        plain = plain.replace(word, str(number + (names[1] if names else 0)))
    found: set[int] = set()
    for part in plain.split(","):
        match = PART.fullmatch(part)
        first = least if match and match[1] else int(match[2]) if match else -1
        last = most if match and (match[1] or (match[4] and not match[3])) else int(match[3] or first) if match else -1
        step = int(match[4] or 1) if match else 0
        if not match or step < 1 or not least <= first <= last <= most:
            raise InvalidValue(
                f"schedule: {text[:40]!r} is no {name}: write numbers from {least} to {most}, as 1,3 or 1-5, * or */15"
            )
        found.update(range(first, last + 1, step))
    return found


def following(cron: Cron, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first moment later than `after`, both in UTC; None where there is none for years.

    A time that the clock leaves out is as much later; of one that comes twice the first is meant.
    """
    here = after.replace(tzinfo=UTC).astimezone(zone).date() - timedelta(days=1)
    for offset in range(FARTHEST.days + 2):
        day = here + timedelta(days=offset)
        if not cron.fits(day):
            continue
        moments = (
            datetime.combine(day, time(hour, minute), zone).astimezone(UTC).replace(tzinfo=None)
            for hour in cron.hours
            for minute in cron.minutes
        )
        later = [moment for moment in moments if moment > after]
        if later:
            return min(later)
    return None
