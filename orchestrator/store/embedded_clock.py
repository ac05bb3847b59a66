"""The embedded database's clock: the machine's wall clock, and by how much somebody has set it.

On PostgreSQL the database's clock counts, for all nodes alike. SQLite has one process, whose durations (a wait for a
callback, the time of an executor, the time that an execution may take, the window of a rate limit) must not end because
the wall clock was set. So that process compares it with the time since boot before each transaction that writes, and
moves their ends with it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from orchestrator.store.transaction import Clock, Transaction

# What time servers correct little by little stays below it.
LEAST_JUMP = timedelta(seconds=1)
# Time passes for a machine that sleeps, too. Where there is no such clock, a sleep prolongs what it interrupts.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_SHIFTS = (
    "UPDATE workers SET due_at = due_at + :micros WHERE status = 'awaiting'",
    "UPDATE workers SET lease_until = lease_until + :micros WHERE status = 'calling' AND pull_task_pk IS NOT NULL",
    "UPDATE executions SET deadline_at = deadline_at + :micros WHERE status = 'running' AND deadline_at IS NOT NULL",
    """UPDATE apps SET rate_recent =
       (SELECT json_group_array(json_array(json_extract(value, '$[0]') + :micros, json_extract(value, '$[1]')))
          FROM json_each(rate_recent)) WHERE rate_recent IS NOT NULL""",
    "UPDATE import_batches SET due_at = due_at + :micros WHERE node IS NOT NULL AND due_at IS NOT NULL",
    # Of a subscription that fails, nothing else is sent until the lease of the one event under way ends.
    """UPDATE subscriptions SET retry_at = retry_at + :micros WHERE retry_at IN
       (SELECT due_at FROM event_deliveries d
         WHERE d.subscription_pk = subscriptions.pk AND d.status = 'pending' AND d.node IS NOT NULL)""",
    "UPDATE event_deliveries SET due_at = due_at + :micros WHERE status = 'pending' AND node IS NOT NULL",
)


def _wall_clock() -> datetime:
    return datetime.now(UTC)


def _since_boot() -> timedelta:
    return timedelta(seconds=time.clock_gettime(_SINCE_BOOT))


class EmbeddedClock:
    """Tells the time as the wall clock showed it at the last `follow`; between two of them it goes on steadily.

    So no transaction reckons with a jump that the rows have not been moved by yet. `wall` and `since_boot` are
    replaced in tests.
    """

    def __init__(self, wall: Clock = _wall_clock, since_boot: Callable[[], timedelta] = _since_boot) -> None:
        self._wall = wall
        self._since_boot = since_boot
        self._boot = self._look()

    def __call__(self) -> datetime:
        return self._boot + self._since_boot()

    def jump(self) -> timedelta:
        """By how much the wall clock was set since the last `follow`; negative: set back."""
        return self._look() - self._boot

    def follow(self, jump: timedelta) -> None:
        """From now on go by the wall clock as it was found."""
        self._boot += jump

    def _look(self) -> datetime:
        """When, by the wall clock, the machine was booted."""
        while True:
            before = self._since_boot()
            boot = self._wall() - before
            # Held up between the two looks, the process would take that for a jump.
            if self._since_boot() - before < LEAST_JUMP / 10:
                return boot


def shift_durations(tx: Transaction, by: timedelta) -> None:
    """Move the end of everything that counts a duration. Due times, of retries or starts, go by the wall clock."""
    micros = by // timedelta(microseconds=1)
    for statement in _SHIFTS:
        tx.run(statement, micros=micros)
