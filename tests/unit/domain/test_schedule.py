"""Slots of schedules: when they are, and what is owed after a time in which nobody looked."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cron import Cron
from orchestrator.domain.schedule import (
    MISSED_KEPT,
    CatchUp,
    DueSlots,
    Interval,
    Schedule,
    due_slots,
    jittered,
    next_slot,
)

ANCHOR = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
GRACE = timedelta(seconds=60)
TEN_MINUTES = Interval(10 * MINUTE, ANCHOR)
EVERY_MINUTE = Cron("* * * * *", "Europe/Paris")

schedules = st.one_of(
    st.builds(Interval, st.timedeltas(MINUTE, timedelta(hours=30)), st.just(ANCHOR)),
    st.builds(
        Cron,
        st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "0 6 * * mon"]),
        st.sampled_from(["UTC", "Europe/Paris", "Australia/Lord_Howe", "America/Havana"]),
    ),
)
instants = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - naive bounds


def minutes(*numbers: int) -> tuple[datetime, ...]:
    return tuple(ANCHOR + number * MINUTE for number in numbers)


@pytest.mark.parametrize(
    ("after", "slot"),
    [
        (ANCHOR - timedelta(days=400), 0),
        (ANCHOR - SECOND, 0),
        (ANCHOR, 10),
        (ANCHOR + SECOND, 10),
        (ANCHOR + 10 * MINUTE - SECOND, 10),
        (ANCHOR + 10 * MINUTE, 20),
        (ANCHOR + timedelta(days=7), 7 * 24 * 60 + 10),
    ],
)
def test_an_interval_keeps_to_its_anchor(after: datetime, slot: int) -> None:
    assert next_slot(TEN_MINUTES, after) == ANCHOR + slot * MINUTE


def test_an_odd_interval_does_not_drift() -> None:
    third = Interval(timedelta(microseconds=333_333), ANCHOR)
    assert next_slot(third, ANCHOR + 999_999 * timedelta(microseconds=333_333)) == ANCHOR + 1_000_000 * (
        timedelta(microseconds=333_333)
    )


def test_intervals_do_not_know_daylight_saving() -> None:
    daily = Interval(timedelta(days=1), datetime(2026, 3, 28, 1, 30, tzinfo=UTC))
    assert next_slot(daily, datetime(2026, 3, 28, 12, tzinfo=UTC)) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@given(schedules, instants)
def test_the_next_slot_is_the_very_next(schedule: Schedule, after: datetime) -> None:
    slot = next_slot(schedule, after)
    assert slot is not None
    assert slot > after
    assert next_slot(schedule, slot - timedelta(microseconds=1)) == slot
    assert next_slot(schedule, after + (slot - after) / 2) == slot


# What is owed: the slot of 12:00 and those after it, looked at some time later.


def owed(now: datetime, catch_up: CatchUp) -> DueSlots:
    return due_slots(TEN_MINUTES, ANCHOR, now, catch_up, GRACE)


@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
@pytest.mark.parametrize("late", [timedelta(), GRACE])
def test_a_slot_on_time_is_launched(catch_up: CatchUp, late: timedelta) -> None:
    [following] = minutes(10)
    assert owed(ANCHOR + late, catch_up) == DueSlots(ANCHOR, (), 0, following)


@pytest.mark.parametrize(
    ("catch_up", "launch", "missed", "following"),
    [
        ("latest", [20], [0, 10], [30]),
        ("all", [0], [], [10]),
        ("none", [], [0, 10, 20], [30]),
    ],
)
def test_after_25_minutes(catch_up: CatchUp, launch: list[int], missed: list[int], following: list[int]) -> None:
    expected = DueSlots(next(iter(minutes(*launch)), None), minutes(*missed), len(missed), *minutes(*following))
    assert owed(ANCHOR + 25 * MINUTE, catch_up) == expected


def test_none_launches_the_last_slot_if_that_is_not_late() -> None:
    assert owed(ANCHOR + 20 * MINUTE + GRACE, "none") == owed(ANCHOR + 20 * MINUTE, "latest")
    assert owed(ANCHOR + 20 * MINUTE + GRACE + SECOND, "none").launch is None


def test_all_leads_through_every_slot_one_by_one() -> None:
    slot: datetime | None = ANCHOR
    launched = []
    while slot is not None and slot <= ANCHOR + 35 * MINUTE:
        slots = due_slots(TEN_MINUTES, slot, ANCHOR + 35 * MINUTE, "all", GRACE)
        launched.append(slots.launch)
        slot = slots.next_slot
    assert launched == list(minutes(0, 10, 20, 30))


def test_a_clock_that_was_set_back_does_not_launch_the_next_slot_early() -> None:
    [following] = minutes(10)
    assert owed(ANCHOR - timedelta(days=1), "latest") == DueSlots(ANCHOR, (), 0, following)


def test_an_expression_that_does_not_match_again_owes_its_last_slot() -> None:
    slot = datetime(2024, 2, 29, tzinfo=UTC)
    assert due_slots(Cron("0 0 30 2 *"), slot, ANCHOR, "latest", GRACE) == DueSlots(slot, (), 0, None)


@given(schedules, instants, st.timedeltas(timedelta(), timedelta(days=3)), st.sampled_from(["latest", "none"]))
def test_whatever_was_due_is_launched_or_missed(
    schedule: Schedule, since: datetime, later: timedelta, catch_up: CatchUp
) -> None:
    first = next_slot(schedule, since)
    assert first is not None
    now = first + later
    slots = due_slots(schedule, first, now, catch_up, GRACE)
    due = [first]
    while (following := next_slot(schedule, due[-1])) is not None and following <= now:
        due.append(following)
    launched = due[-1] if catch_up == "latest" or now - due[-1] <= GRACE else None
    missed = due[:-1] if launched else due
    assert slots == DueSlots(launched, tuple(missed[-MISSED_KEPT:]), len(missed), following)


def test_a_year_without_anybody_looking_at_a_cron_of_every_minute() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    now = datetime(2027, 1, 1, tzinfo=UTC) + 30 * SECOND
    slots = due_slots(EVERY_MINUTE, first, now, "latest", GRACE)
    assert slots.launch == now - 30 * SECOND
    assert slots.next_slot == now + 30 * SECOND
    # The autumn fold repeats an hour of the clock on the wall, and its slots run once.
    assert slots.missed_count == 365 * 24 * 60 - 60
    assert len(slots.missed) == MISSED_KEPT
    assert slots.missed[-1] == slots.launch - MINUTE
    assert {after - before for before, after in pairwise(slots.missed)} == {MINUTE}


@pytest.mark.parametrize(("catch_up", "launched"), [("latest", 1), ("none", 0)])
def test_ten_years_without_anybody_looking_at_an_interval_of_a_second(catch_up: CatchUp, launched: int) -> None:
    seconds = 10 * 365 * 24 * 3600
    now = ANCHOR + seconds * SECOND
    grace = SECOND if launched else -SECOND
    slots = due_slots(Interval(SECOND, ANCHOR), ANCHOR, now, catch_up, grace)
    assert slots.launch == (now if launched else None)
    assert slots.next_slot == now + SECOND
    assert slots.missed_count == seconds + 1 - launched
    newest = now - launched * SECOND
    assert slots.missed == tuple(newest - back * SECOND for back in reversed(range(MISSED_KEPT)))


# Jitter.


def test_jitter_is_the_same_on_every_node_and_in_every_process() -> None:
    assert jittered(ANCHOR, "app_x_t", 300) - ANCHOR == timedelta(seconds=154, microseconds=59_890)


def test_without_jitter_a_slot_stays_where_it_is() -> None:
    assert jittered(ANCHOR, "app_x_t", 0) == ANCHOR


@given(instants, st.text(), st.floats(0, 86_400))
def test_jitter_only_delays_and_within_its_bound(slot: datetime, task_id: str, secs: float) -> None:
    moved = jittered(slot, task_id, secs)
    assert slot <= moved <= slot + timedelta(seconds=secs)
    assert moved == jittered(slot, task_id, secs)


def test_jitter_spreads_tasks_and_slots() -> None:
    by_task = {jittered(ANCHOR, f"app_x_{number}", 60) for number in range(100)}
    by_slot = {jittered(slot, "app_x_t", 60) - slot for slot in minutes(*range(100))}
    assert len(by_task) == len(by_slot) == 100
    assert max(by_task) - min(by_task) > timedelta(seconds=45)
