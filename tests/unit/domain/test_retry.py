"""Waits: after unsuccessful calls, and for workers that make no progress."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.retry import IDLE_DELAY_LONGEST, RetryPolicy, idle_delay

DEFAULT = RetryPolicy()

delays = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=3650))
policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 1000),
    initial_delay=delays,
    multiplier=st.floats(min_value=1, max_value=1e308),
    max_delay=delays,
)


def secs(*values: float) -> list[timedelta]:
    return [timedelta(seconds=value) for value in values]


def test_the_default_backoff_doubles_from_five_seconds_to_an_hour() -> None:
    waits = [DEFAULT.backoff(count, 0.0) for count in range(1, 13)]
    assert waits == secs(5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600)


def test_the_default_retries_ride_out_six_hours() -> None:
    waits = [DEFAULT.backoff(count, 0.0) for count in range(1, DEFAULT.max_retries + 1)]
    assert len(waits) == 15
    assert timedelta(hours=6) < sum(waits, timedelta()) < timedelta(hours=7)


def test_jitter_moves_the_wait_by_up_to_ten_percent() -> None:
    assert [DEFAULT.backoff(1, jitter) for jitter in (-1, 0, 0.5, 1)] == secs(4.5, 5, 5.25, 5.5)


@pytest.mark.parametrize(("most", "count", "exhausted"), [(0, 1, True), (2, 2, False), (2, 3, True)])
def test_retries_are_counted_without_the_first_call(most: int, count: int, exhausted: bool) -> None:
    assert RetryPolicy(max_retries=most).is_exhausted(count) is exhausted


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RetryPolicy(initial_delay=timedelta()), secs(0, 0, 0)),
        (RetryPolicy(multiplier=1.0), secs(5, 5, 5)),
        (RetryPolicy(multiplier=3.0, max_delay=timedelta(seconds=20)), secs(5, 15, 20)),
        (RetryPolicy(initial_delay=timedelta(hours=2)), secs(3600, 3600, 3600)),
        (RetryPolicy(max_delay=timedelta()), secs(0, 0, 0)),
        (RetryPolicy(multiplier=1e308), secs(5, 3600, 3600)),
    ],
)
def test_policies_at_their_edges(policy: RetryPolicy, expected: list[timedelta]) -> None:
    assert [policy.backoff(count, 0.0) for count in (1, 2, 3)] == expected


@given(policies, st.integers(1, 1001), st.floats(-1, 1))
def test_any_backoff_is_within_its_bounds(policy: RetryPolicy, count: int, jitter: float) -> None:
    wait = policy.backoff(count, jitter)
    assert timedelta() <= wait <= policy.max_delay * 1.1 + timedelta(microseconds=1)
    assert policy.backoff(count + 1, 0.0) >= policy.backoff(count, 0.0)


def test_idling_is_slowed_step_by_step() -> None:
    waits = [idle_delay(steps) for steps in range(12)]
    assert waits == secs(0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10)
    assert idle_delay(1_000_000) == IDLE_DELAY_LONGEST
