"""Time that passes only when it is told to."""

from datetime import UTC, datetime, timedelta

from app_sdk.durations import Duration, in_seconds

_START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """A clock for tests. Called, it tells the seconds since its start, as `time.monotonic` does.

    A stand-in for a slow service may `advance` it during a call: `ctx.time_left()` goes down, and a call of
    20 s or more has timed out.
    """

    def __init__(self, start: datetime = _START) -> None:
        if start.tzinfo is None:
            raise ValueError("the start of a clock needs a time zone")
        self._start = start
        self._now = start

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self._now

    def __call__(self) -> float:
        return (self._now - self._start).total_seconds()

    def advance(self, duration: Duration) -> None:
        """Let time pass; a timedelta or seconds."""
        self._now += timedelta(seconds=in_seconds(duration))

    def advance_to(self, instant: datetime) -> None:
        """Let time pass until an instant, unless it is past already."""
        self._now = max(self._now, instant)
