"""How long to wait: after an unsuccessful call, and for a worker that makes no progress."""

import math
from dataclasses import dataclass
from datetime import timedelta

JITTER = 0.1
IDLE_STEPS_FREE = 2
IDLE_DELAY_FIRST = timedelta(milliseconds=100)
IDLE_DELAY_LONGEST = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often an unsuccessful call is repeated, and how the waits between grow."""

    max_retries: int = 15
    initial_delay: timedelta = timedelta(seconds=5)
    multiplier: float = 2.0
    max_delay: timedelta = timedelta(hours=1)

    def is_exhausted(self, retry_count: int) -> bool:
        """True when a worker with `retry_count` unsuccessful calls in a row is not called again."""
        return retry_count > self.max_retries

    def backoff(self, retry_count: int, jitter: float) -> timedelta:
        """The wait before the `retry_count`-th retry (from 1); `jitter` in [-1, 1] moves it by up to 10 %."""
        delay = _capped_growth(self.initial_delay, self.multiplier, retry_count - 1, self.max_delay)
        return delay * (1 + JITTER * jitter)


def idle_delay(idle_steps: int) -> timedelta:
    """The wait for a worker whose last `idle_steps` steps changed nothing: none at first, then 10 s."""
    if idle_steps <= IDLE_STEPS_FREE:
        return timedelta()
    return _capped_growth(IDLE_DELAY_FIRST, 2.0, idle_steps - IDLE_STEPS_FREE - 1, IDLE_DELAY_LONGEST)


def _capped_growth(first: timedelta, multiplier: float, times: int, longest: timedelta) -> timedelta:
    if not first or first >= longest:
        return min(first, longest)
    # Compared as logarithms first: multiplier ** times overflows a float long before the retries are used up.
    if times * math.log(max(multiplier, 1.0)) >= math.log(longest / first):
        return longest
    return min(first * multiplier**times, longest)
