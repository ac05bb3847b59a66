"""Clocks on the wall, read minute by minute: what the tests of schedules compare with."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def transitions(zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[datetime]:
    """The first minute of each new offset."""
    before = first
    while before < last:
        after = before + DAY
        if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            minutes = (before + n * MINUTE for n in range(1, 1441))
            old = before.astimezone(zone).utcoffset()
            yield next(minute for minute in minutes if minute.astimezone(zone).utcoffset() != old)
        before = after


def expected_around(expression: str, zone: ZoneInfo, first: datetime, last: datetime) -> set[datetime]:
    """Every minute of the clock on the wall, one after the other, as the promise reads."""
    instants: dict[datetime, datetime] = {}
    for minute in range(-180, int((last - first) / MINUTE) + 181):
        instant = first + minute * MINUTE
        instants.setdefault(instant.astimezone(zone).replace(tzinfo=None), instant)
    minutes, hours = (numbers(field, most) for field, most in zip(expression.split(), (59, 23), strict=False))
    found = set()
    wall, end = min(instants), max(instants)
    while wall <= end:
        if wall.minute in minutes and wall.hour in hours:
            valid = wall
            while valid not in instants:
                valid += MINUTE
            found.add(instants[valid])
        wall += MINUTE
    return {instant for instant in found if first < instant <= last}


def numbers(field: str, most: int) -> set[int]:
    values: set[int] = set()
    for part in field.split(","):
        span, _, by = part.partition("/")
        low, _, high = ("0", "-", str(most)) if span == "*" else span.partition("-")
        values.update(range(int(low), int(high or low) + 1, int(by or 1)))
    return values
