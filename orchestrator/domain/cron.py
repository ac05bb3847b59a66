"""Cron expressions on the wall clock of a time zone, their slots as instants in UTC.

APScheduler's CronTrigger finds the matching dates and times of day. Its own handling of daylight saving fires
twice in autumn and at times that do not exist in spring, so wall times become instants here: one in the
spring gap runs at the first valid instant after it, one in the autumn fold once, at its first occurrence.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_DAY = timedelta(days=1)
_SOME_MIDNIGHT = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cron:
    """A five-field cron expression on the wall clock of an IANA time zone."""

    expression: str
    timezone: str = "UTC"


def check_cron(expression: str) -> None:
    """Raises ValueError, with what is wrong, if the expression is not a five-field cron expression."""
    _crontab(expression)


def next_cron_slot(cron: Cron, after: datetime) -> datetime | None:
    """The first slot later than `after`, in UTC; None if the expression never matches again."""
    for slots in cron_slots(cron, after):
        later = bisect_right(slots, after)
        if later < len(slots):
            return slots[later]
    return None


def cron_slots(cron: Cron, since: datetime) -> Iterator[Sequence[datetime]]:
    """The slots of one matching date after the other, in UTC and in order; begins a little before `since`.

    Where a whole date is missing, its slots are those of the date after it.
    """
    # A gap or a fold at midnight belongs to the date before.
    day = _matching_date(cron.expression, since.astimezone(ZoneInfo(cron.timezone)).date() - _DAY)
    while day is not None:
        yield _slots_of(cron, day)
        day = _matching_date(cron.expression, day + _DAY)


@dataclass(frozen=True, slots=True)
class _Crontab:
    """`dates` fire at midnight of each matching date; `times`, since midnight, are the slots of one."""

    dates: tuple[CronTrigger, ...]
    times: tuple[timedelta, ...]


@lru_cache(maxsize=1024)
def _crontab(expression: str) -> _Crontab:
    fields = expression.lower().split()
    if len(fields) != 5:
        raise ValueError(f"a cron expression has five fields; {expression!r} has {len(fields)}")
    minute, hour, day, month, weekday = fields
    hours, minutes = list(_times_of_day(hour=hour)), list(_times_of_day(minute=minute))
    times = tuple(at + past for at in hours for past in minutes)
    midnights = {"month": _month(month), "hour": 0, "minute": 0, "timezone": UTC}
    weekdays = _weekdays(weekday)
    if "*" in day or "*" in weekday:
        return _Crontab((CronTrigger(day=day, day_of_week=weekdays, **midnights),), times)
    # Cron's own rule, which APScheduler does not share: where both are restricted, either may match.
    dates = CronTrigger(day=day, **midnights), CronTrigger(day_of_week=weekdays, **midnights)
    return _Crontab(dates, times)


def _times_of_day(*, hour: str = "0", minute: str = "0") -> Iterator[timedelta]:
    trigger = CronTrigger(hour=hour, minute=minute, timezone=UTC)
    fire = trigger.get_next_fire_time(None, _SOME_MIDNIGHT)
    while fire < _SOME_MIDNIGHT + _DAY:
        yield fire - _SOME_MIDNIGHT
        fire = trigger.get_next_fire_time(fire, fire)


# The search for a date is slow, most of all for one that never comes, and every schedule asks for today's.
@lru_cache(maxsize=4096)
def _matching_date(expression: str, earliest: date) -> date | None:
    midnight = datetime.combine(earliest, time(), UTC)
    fires = [trigger.get_next_fire_time(None, midnight) for trigger in _crontab(expression).dates]
    return min((fire.date() for fire in fires if fire is not None), default=None)


@lru_cache(maxsize=64)
def _slots_of(cron: Cron, day: date) -> Sequence[datetime]:
    zone = ZoneInfo(cron.timezone)
    times = _crontab(cron.expression).times
    midnight = datetime.combine(day, time(), zone)
    if midnight.utcoffset() == (midnight + _DAY).utcoffset():
        first = midnight.astimezone(UTC)
        return [first + at for at in times]
    return sorted({_instant(midnight.replace(tzinfo=None) + at, zone) for at in times})


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # In the gap fold=0 reads the wall time with the offset before it, which gives an instant after the gap
    # has begun; the first valid instant is where the offset changes.
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    low, high = instant - _DAY, instant
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _month(field: str) -> str:
    """By number: APScheduler reads names too, but silently drops the step after them."""
    return re.sub("[a-z]+", lambda name: str(1 + _position(name[0], _MONTHS, "month")), field)


def _weekdays(field: str) -> str:
    """Cron counts days from Sunday (0 or 7), APScheduler from Monday: names mean the same to both."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            low, high = 0, 6
        else:
            low = _weekday(first)
            high = _weekday(last) if last else max(low, 6) if step else low
        if last and high == 0 < low:
            high = 7
        if high < low or (step and (not step.isdigit() or step == "0")):
            raise ValueError(f"day of week {part!r} is not valid in a cron expression")
        days.update(day % 7 for day in range(low, high + 1, int(step or 1)))
    return ",".join(_DAYS[day] for day in sorted(days))


def _weekday(text: str) -> int:
    if text.isdigit() and int(text) <= 7:
        return int(text)
    return _position(text, _DAYS, "day of week")


def _position(name: str, names: Sequence[str], field: str) -> int:
    if name not in names:
        raise ValueError(f"{field} {name!r} is not valid in a cron expression")
    return names.index(name)
