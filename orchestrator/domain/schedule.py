"""When a schedule is due, and what it owes after a time in which nobody looked.

Intervals run in UTC from their anchor, cron on the wall clock of its zone.
"""

import hashlib
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from orchestrator.domain.cron import Cron, cron_slots, next_cron_slot

CatchUp = Literal["latest", "all", "none"]

MISSED_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """Every `every` from `anchor`, in UTC."""

    every: timedelta
    anchor: datetime


Schedule = Interval | Cron


@dataclass(frozen=True, slots=True)
class DueSlots:
    """What a schedule owes: the slot to launch now, those passed over, and the next one to wait for.

    `missed` lists the newest 1,000 of those passed over, oldest first; `missed_count` is how many there are.
    """

    launch: datetime | None
    missed: tuple[datetime, ...]
    missed_count: int
    next_slot: datetime | None


def next_slot(schedule: Schedule, after: datetime) -> datetime | None:
    """The first slot later than `after`, in UTC; None if the expression never matches again."""
    if isinstance(schedule, Interval):
        passed = (after - schedule.anchor) // schedule.every
        return schedule.anchor + max(passed + 1, 0) * schedule.every
    return next_cron_slot(schedule, after)


def due_slots(schedule: Schedule, slot: datetime, now: datetime, catch_up: CatchUp, grace: timedelta) -> DueSlots:
    """Decide on a `slot` that is due, and on those that followed it until `now`.

    `latest` launches the last of them; `all` launches the first and leaves the others to follow; `none`
    launches only a slot that is at most `grace` late.
    """
    if catch_up == "all":
        return DueSlots(slot, missed=(), missed_count=0, next_slot=next_slot(schedule, slot))
    newest, count = _slots_until(schedule, slot, now)
    following = next_slot(schedule, max(slot, now))
    if catch_up == "none" and now - newest[-1] > grace:
        return DueSlots(None, tuple(newest[-MISSED_KEPT:]), count, following)
    return DueSlots(newest[-1], tuple(newest[:-1]), count - 1, following)


def all_missed(schedule: Schedule, slot: datetime, now: datetime) -> DueSlots:
    """What is owed where nothing of it is launched: `slot`, which is due, and those that followed it until `now`."""
    newest, count = _slots_until(schedule, slot, now)
    return DueSlots(None, tuple(newest[-MISSED_KEPT:]), count, next_slot(schedule, max(slot, now)))


def jittered(slot: datetime, task_id: str, jitter_secs: float) -> datetime:
    """The slot moved by up to `jitter_secs`, alike on every node: drawn from the task's id and the slot."""
    if not jitter_secs:
        return slot
    digest = hashlib.sha256(f"{task_id}|{slot.isoformat()}".encode()).digest()
    return slot + timedelta(seconds=jitter_secs * int.from_bytes(digest[:4]) / 2**32)


def _slots_until(schedule: Schedule, slot: datetime, now: datetime) -> tuple[list[datetime], int]:
    """The newest of `slot` and those after it until `now`, one more than are kept, and how many there are.

    A schedule that was off for a year may owe half a million, so whole days are taken at a time.
    """
    if isinstance(schedule, Interval):
        count = 1 + max(0, (now - slot) // schedule.every)
        first_kept = max(0, count - MISSED_KEPT - 1)
        return [slot + passed * schedule.every for passed in range(first_kept, count)], count
    newest, count = deque([slot], maxlen=MISSED_KEPT + 1), 1
    for slots in cron_slots(schedule, slot):
        due = slots[bisect_right(slots, newest[-1]) : bisect_right(slots, now)]
        newest.extend(due)
        count += len(due)
        if slots[-1] > now:
            break
    return list(newest), count
