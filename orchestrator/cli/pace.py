"""How fast something grows, from the last seconds of watching it."""

from collections import deque

WINDOW_SECS = 10.0


class Pace:
    """A rate per second over the last WINDOW_SECS, and the time left that follows from it."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float) -> None:
        """Note a value at a time in seconds. A smaller value than before means a fresh start."""
        if self._samples and value < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, value))
        # The newest sample outside the window stays, as the one to measure from.
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECS:
            self._samples.popleft()

    @property
    def per_second(self) -> float | None:
        """The rate; None while there is nothing to tell it from."""
        if len(self._samples) < 2:
            return None
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None

    def seconds_left(self, total: float | None) -> float | None:
        """How long it takes to reach the total at this rate; None where nobody can say."""
        rate = self.per_second
        if total is None or not rate or not self._samples:
            return None
        return max(total - self._samples[-1][1], 0.0) / rate
