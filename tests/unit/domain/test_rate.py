"""Rate limits: never more than the limit in any window, and a wait that is long enough and no longer."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.rate import SLOTS_IN_WINDOW, Rate, Spent
from tests.unit.domain.builders import NOW

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

pauses = st.timedeltas(timedelta(), timedelta(seconds=40))


def spend(rate: Rate, calls: int, now: datetime) -> Rate:
    return Rate(rate.calls, rate.per, rate.spend(calls, now))


def test_a_fresh_window_has_room_for_all_and_needs_no_wait() -> None:
    rate = Rate(3, MINUTE)
    assert (rate.left(NOW), rate.wait(NOW)) == (3, timedelta())


def test_what_was_spent_counts_until_its_slot_has_left_the_window() -> None:
    rate = spend(Rate(3, MINUTE), 2, NOW)
    [spent] = rate.recent
    assert spent == Spent(NOW + MINUTE / SLOTS_IN_WINDOW, 2)
    assert rate.left(NOW + MINUTE) == 1
    assert rate.left(spent.until + MINUTE - timedelta(microseconds=1)) == 1
    assert rate.left(spent.until + MINUTE) == 3


def test_calls_of_one_slot_are_counted_together() -> None:
    rate = spend(spend(spend(Rate(9, MINUTE), 2, NOW), 3, NOW + SECOND), 1, NOW + 2 * SECOND)
    assert [spent.calls for spent in rate.recent] == [5, 1]


def test_a_full_window_is_waited_for_until_enough_of_it_has_passed() -> None:
    rate = spend(spend(Rate(3, MINUTE), 2, NOW), 1, NOW + 30 * SECOND)
    now = NOW + 40 * SECOND
    assert rate.left(now) == 0
    assert now + rate.wait(now) == rate.recent[0].until + MINUTE


def test_a_window_shorter_than_its_slots_could_be_still_has_slots() -> None:
    rate = spend(Rate(1, timedelta(microseconds=5)), 1, NOW)
    assert rate.left(NOW) == 0
    assert rate.wait(NOW) > timedelta()


@pytest.mark.parametrize("calls", [1, 7, 50])
@given(moments=st.lists(st.tuples(pauses, st.integers(1, 10)), max_size=60))
def test_no_window_ever_holds_more_than_the_limit(calls: int, moments: list[tuple[timedelta, int]]) -> None:
    rate, now, begun = Rate(calls, MINUTE), datetime(2026, 1, 1, tzinfo=UTC), list[datetime]()
    for pause, wanted in moments:
        now += pause
        taken = min(wanted, rate.left(now))
        if taken:
            rate = spend(rate, taken, now)
            begun += [now] * taken
        assert (rate.wait(now) > timedelta()) is (rate.left(now) == 0)
        if not rate.left(now):
            later = now + rate.wait(now)
            assert rate.left(later) > 0
            assert rate.left(later - timedelta(microseconds=1)) == 0
    for first in begun:
        assert sum(first <= at < first + MINUTE for at in begun) <= calls
    assert len(rate.recent) <= SLOTS_IN_WINDOW + 2
