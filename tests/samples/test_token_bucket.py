"""The rate limiter of the samples."""

import heapq
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sample_apps.token_bucket import TokenBucket


def test_after_a_pause_a_burst_passes_and_no_more() -> None:
    bucket = TokenBucket(rate_per_sec=2, burst=3)
    assert [bucket.take(100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert [bucket.take(500.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_the_refused_are_told_times_a_token_apart() -> None:
    bucket = TokenBucket(rate_per_sec=2, burst=1)
    assert [bucket.take(100.0) for _ in range(5)] == [0, 0.5, 1.0, 1.5, 2.0]


def test_times_that_nobody_came_back_for_are_forgotten() -> None:
    bucket = TokenBucket(rate_per_sec=2, burst=1)
    for _ in range(100):
        bucket.take(100.0)
    assert [bucket.take(200.0) for _ in range(2)] == [0, 0.5]


def test_a_clock_that_threads_read_out_of_order_does_no_harm() -> None:
    bucket = TokenBucket(rate_per_sec=1, burst=1)
    assert [bucket.take(now) for now in (100.0, 99.9, 101.0)] == [0, pytest.approx(1.0), 0]


@given(rate=st.floats(0.1, 100), burst=st.integers(1, 10), callers=st.integers(1, 20), origin=st.floats(0, 1e6))
def test_whoever_comes_when_told_is_let_in_and_the_rate_is_kept(
    rate: float, burst: int, callers: int, origin: float
) -> None:
    bucket = TokenBucket(rate, burst)
    queue = [(origin, caller, False) for caller in range(callers)]
    passed: list[float] = []
    while len(passed) < 60:
        now, caller, was_told = heapq.heappop(queue)
        wait_secs = bucket.take(now)
        if wait_secs == 0:
            passed.append(now)
        else:
            assert not was_told
        heapq.heappush(queue, (now + wait_secs, caller, wait_secs > 0))
    for count, now in itertools.islice(enumerate(passed, start=1), burst, None):
        assert count <= burst + (now - origin) * rate + 0.1


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_would_let_nobody_pass_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="a rate above 0 and a burst of 1"):
        TokenBucket(rate, burst)
