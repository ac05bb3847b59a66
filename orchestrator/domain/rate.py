"""Rate limits: at most so many calls in any window of a given length, whatever has gone before.

A bucket that refills lets nearly twice the limit through within one window. So the recent calls are counted, in slots
of a fiftieth of the window: nearly exact, never too many, and small however high the limit is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SLOTS_IN_WINDOW = 50

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST_SLOT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls that began in one slot; `until` is the end of the slot."""

    until: datetime
    calls: int


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` in any window of `per`; `recent` holds those that may still count, oldest first."""

    calls: int
    per: timedelta
    recent: tuple[Spent, ...] = ()

    def left(self, now: datetime) -> int:
        """How many calls may begin at this instant."""
        return max(0, self.calls - sum(spent.calls for spent in self._counting(now)))

    def wait(self, now: datetime) -> timedelta:
        """How long until a call may begin; none if one may begin now."""
        counting = self._counting(now)
        too_many = sum(spent.calls for spent in counting) - self.calls + 1
        for spent in counting:
            if too_many <= 0:
                break
            too_many -= spent.calls
            if too_many <= 0:
                return spent.until + self.per - now
        return timedelta()

    def spend(self, calls: int, now: datetime) -> tuple[Spent, ...]:
        """The recent calls when as many more have begun."""
        slot = max(self.per / SLOTS_IN_WINDOW, _SHORTEST_SLOT)
        until = now + slot - (now - _EPOCH) % slot
        counting = self._counting(now)
        if counting and counting[-1].until >= until:
            last = counting.pop()
            until, calls = last.until, last.calls + calls
        return (*counting, Spent(until, calls))

    def _counting(self, now: datetime) -> list[Spent]:
        # A slot counts as a whole until its last instant has left the window.
        return [spent for spent in self.recent if spent.until + self.per > now]
