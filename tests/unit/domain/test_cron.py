"""Cron expressions: what they match, and what becomes of them where clocks change."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.domain.cron import Cron, check_cron, next_cron_slot
from tests.unit.domain.wall_clock import expected_around, transitions

DAY = timedelta(days=1)
# Gaps and folds of an hour, of half an hour and of two; at night, at midnight and before it; Ramadan.
ZONES = (
    "Europe/Paris",
    "Europe/Dublin",
    "America/New_York",
    "America/Havana",
    "America/Santiago",
    "America/Nuuk",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Antarctica/Troll",
)
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
NIGHTLY = ("*/10 * * * *", "30 2 * * *", "15,45 0-3,23 * * *", "0 0 * * *", "*/30 1 * * *")


def utc(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type, misc]


def slots(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    return list(walk(Cron(expression, zone), after, until))


def walk(cron: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
    slot = next_cron_slot(cron, after)
    while slot is not None and slot <= until:
        yield slot
        slot = next_cron_slot(cron, slot)


def dates(expression: str, count: int, after: datetime) -> list[str]:
    """The first dates on which an expression matches."""
    found = walk(Cron(expression), after, after + 3660 * DAY)
    return [f"{slot:%a %Y-%m-%d}" for slot in islice(found, count)]


# What an expression matches.


def test_a_slot_is_later_than_the_instant_that_is_asked_about() -> None:
    cron = Cron("*/15 * * * *")
    assert next_cron_slot(cron, utc(2026, 5, 1, 9, 59, 59)) == utc(2026, 5, 1, 10)
    assert next_cron_slot(cron, utc(2026, 5, 1, 10)) == utc(2026, 5, 1, 10, 15)
    assert next_cron_slot(cron, utc(2026, 5, 1, 10) + timedelta(microseconds=1)) == utc(2026, 5, 1, 10, 15)


def test_a_zone_is_the_wall_clock_of_the_slots() -> None:
    assert next_cron_slot(Cron("30 9 * * *", "Asia/Kolkata"), utc(2026, 5, 1)) == utc(2026, 5, 1, 4)
    assert next_cron_slot(Cron("0 0 1 * *", "Pacific/Auckland"), utc(2026, 5, 2)) == utc(2026, 5, 31, 12)


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN", "7/2", "0,7", "6-7", "sat-sun"])
def test_sunday_has_two_numbers(sunday: str) -> None:
    assert "Sun 2026-05-03" in dates(f"0 0 * * {sunday}", 2, utc(2026, 5, 1))


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("1", "Mon Mon Mon"),
        ("1-5", "Fri Mon Tue"),
        ("mon-fri", "Fri Mon Tue"),
        ("5-7", "Fri Sat Sun"),
        ("*/2", "Sat Sun Tue"),
        ("1-5/2", "Fri Mon Wed"),
        ("4/2", "Sat Thu Sat"),
        ("mon-sun", "Fri Sat Sun"),
        ("1-0", "Fri Sat Sun"),
        ("sat,tue", "Sat Tue Sat"),
    ],
)
def test_days_of_the_week_count_from_sunday(weekday: str, days: str) -> None:
    assert [day.split()[0] for day in dates(f"0 0 * * {weekday}", 3, utc(2026, 4, 30))] == days.split()


@pytest.mark.parametrize(
    ("month", "months"),
    [
        ("jan", [1, 1]),
        ("2,DEC", [12, 2]),
        ("jun-aug", [6, 7, 8]),
        ("jan-dec/3", [7, 10, 1, 4]),
        ("nov/1", [11, 12, 11]),
    ],
)
def test_months_have_names_which_take_steps_too(month: str, months: list[int]) -> None:
    found = dates(f"0 0 1 {month} *", len(months), utc(2026, 5, 2))
    assert [date.fromisoformat(day.split()[1]).month for day in found] == months


def test_a_day_of_the_month_or_a_day_of_the_week_where_both_are_given() -> None:
    expected = ["Mon 2026-06-01", "Mon 2026-06-08", "Sat 2026-06-13", "Mon 2026-06-15"]
    assert dates("0 0 13 6 mon", 4, utc(2026, 5, 20)) == expected


@pytest.mark.parametrize("expression", ["0 0 */2 * mon", "0 0 1-31/2 * mon"])
def test_a_star_with_a_step_is_no_restriction_for_that_rule(expression: str) -> None:
    found = dates(expression, 2, utc(2026, 6, 1))
    both = ["Mon 2026-06-15", "Mon 2026-06-29"]
    either = ["Wed 2026-06-03", "Fri 2026-06-05"]
    assert found == (both if "*/2" in expression else either)


def test_leap_days() -> None:
    assert dates("0 0 29 2 *", 2, utc(2026, 1, 1)) == ["Tue 2028-02-29", "Sun 2032-02-29"]


def test_an_expression_that_never_matches() -> None:
    check_cron("0 0 30 2 *")
    assert next_cron_slot(Cron("0 0 30 2 *"), utc(2026, 1, 1)) is None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", "60"),
        ("* 24 * * *", "24"),
        ("* * 0 * *", "0"),
        ("* * * 13 *", "13"),
        ("* * * foo *", "month 'foo'"),
        ("* * * * 8", "day of week '8'"),
        ("* * * * someday", "day of week 'someday'"),
        ("* * * * fri-mon", "day of week 'fri-mon'"),
        ("* * * * */0", "day of week"),
        ("* * * * 1-5/x", "day of week"),
        ("*/0 * * * *", "0"),
        ("x * * * *", "x"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_the_reason(expression: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_cron(expression)


class Field(NamedTuple):
    text: str
    values: frozenset[int]


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> Field:
    texts, values = [], set[int]()
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(low, high - 1))
        last = draw(st.integers(first + 1, high))
        by = draw(st.integers(1, last - first))
        text, matched = draw(
            st.sampled_from(
                [
                    ("*", range(low, high + 1)),
                    (f"{first}", [first]),
                    (f"{first}-{last}", range(first, last + 1)),
                    (f"{first}-{last}/{by}", range(first, last + 1, by)),
                    (f"*/{by}", range(low, high + 1, by)),
                    (f"{first}/{by}", range(first, high + 1, by)),
                ]
            )
        )
        texts.append(text)
        values.update(matched)
    return Field(",".join(texts), frozenset(values))


def expected_slot(minute: Field, hour: Field, day: Field, month: Field, weekday: Field, after: datetime) -> datetime:
    """A search that does not share a line with the one under test."""
    both = "*" in day.text or "*" in weekday.text
    today = after.date()
    while True:
        matches = (today.day in day.values, today.isoweekday() % 7 in weekday.values)
        if today.month in month.values and (all(matches) if both else any(matches)):
            for hours in sorted(hour.values):
                for minutes in sorted(minute.values):
                    found = datetime.combine(today, time(hours, minutes), UTC)
                    if found > after:
                        return found
        today += DAY


@given(
    fields(0, 59),
    fields(0, 23),
    fields(1, 31),
    fields(1, 12),
    fields(0, 6),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - naive bounds
)
def test_any_expression_matches_what_it_says(
    minute: Field, hour: Field, day: Field, month: Field, weekday: Field, after: datetime
) -> None:
    assume(any(number <= LONGEST[of - 1] for number in day.values for of in month.values))
    expression = " ".join(field.text for field in (minute, hour, day, month, weekday))
    expected = expected_slot(minute, hour, day, month, weekday, after)
    assert next_cron_slot(Cron(expression), after) == expected


# Where clocks change.


def test_a_slot_in_the_spring_gap_runs_at_the_first_valid_instant_after_it() -> None:
    # Paris, 29 March 2026: 02:00 is followed by 03:00, which is 01:00 UTC.
    found = slots("30 2 * * *", "Europe/Paris", utc(2026, 3, 28), utc(2026, 3, 30, 12))
    assert found == [utc(2026, 3, 28, 1, 30), utc(2026, 3, 29, 1), utc(2026, 3, 30, 0, 30)]


def test_slots_in_the_gap_and_at_its_end_are_one() -> None:
    found = slots("0,20,40 2,3 * * *", "Europe/Paris", utc(2026, 3, 29), utc(2026, 3, 29, 12))
    assert found == [utc(2026, 3, 29, 1), utc(2026, 3, 29, 1, 20), utc(2026, 3, 29, 1, 40)]


def test_an_autumn_slot_runs_once_at_its_first_occurrence() -> None:
    # Paris, 25 October 2026: 03:00 is followed by 02:00, which is 01:00 UTC.
    found = slots("30 2 * * *", "Europe/Paris", utc(2026, 10, 24, 12), utc(2026, 10, 26, 12))
    assert found == [utc(2026, 10, 25, 0, 30), utc(2026, 10, 26, 1, 30)]


def test_asked_within_the_second_hour_the_next_slot_is_after_it() -> None:
    assert next_cron_slot(Cron("*/10 * * * *", "Europe/Paris"), utc(2026, 10, 25, 1, 5)) == utc(2026, 10, 25, 2)


def test_half_an_hour_on_lord_howe() -> None:
    # 4 October 2026: 02:00 is followed by 02:30 (15:30 UTC of the day before); 5 April: 02:00 by 01:30.
    spring = slots("0,15,30,45 2 * * *", "Australia/Lord_Howe", utc(2026, 10, 3, 12), utc(2026, 10, 4, 12))
    assert spring == [utc(2026, 10, 3, 15, 30), utc(2026, 10, 3, 15, 45)]
    autumn = slots("45 1 * * *", "Australia/Lord_Howe", utc(2026, 4, 4, 12), utc(2026, 4, 5, 12))
    assert autumn == [utc(2026, 4, 4, 14, 45)]


def test_a_date_that_is_missing_runs_as_the_next_one_begins() -> None:
    # Samoa went from 29 to 31 December 2011.
    found = slots("0 0,12 * * *", "Pacific/Apia", utc(2011, 12, 29, 12), utc(2011, 12, 31))
    assert found == [utc(2011, 12, 29, 22), utc(2011, 12, 30, 10), utc(2011, 12, 30, 22)]


@pytest.mark.parametrize("name", ZONES)
def test_every_transition_from_2024_to_2030(name: str) -> None:
    zone = ZoneInfo(name)
    changes = list(transitions(zone, utc(2024, 1, 1), utc(2031, 1, 1)))
    assert len(changes) >= 13
    for number, change in enumerate(changes):
        first, last = change - timedelta(hours=5), change + timedelta(hours=5)
        expression = NIGHTLY[number // 2 % len(NIGHTLY)]
        found = slots(expression, name, first, last)
        assert found == sorted(expected_around(expression, zone, first, last)), (expression, change)
