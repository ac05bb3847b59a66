"""I11: what became of the slots of schedules."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.history.dump import Occurrence, Schedule
from tests.history.findings import Finding
from tests.history.history import History

_UNLISTED = re.compile(r"([0-9,]+) slots before this one were missed")
_LOOKED_AT_WITHIN = 10_000_000
_OUTCOMES = {"launched", "skipped", "merged", "missed"}


def each_slot_once(history: History) -> Iterator[Finding]:
    """I11: each slot has one outcome: an execution of that task, its alone, or the reason why there is none.

    No scheduled execution is without its slot. The slots of an interval lie on its grid, and none is left out between
    the time that it counts from and its next one, unless the record says how many.
    """
    slots: dict[int, list[Occurrence]] = defaultdict(list)
    for occurrence in history.dump.occurrences:
        slots[occurrence.task_pk].append(occurrence)
        for fault in _outcome(history, occurrence):
            yield Finding("I11", f"{_named(history, occurrence)} {fault}")
    yield from _executions(history)
    for task_pk, recorded in slots.items():
        for slot, count in Counter(one.slot_at for one in recorded).items():
            if count > 1:
                yield Finding("I11", f"task {_task(history, task_pk)} slot {slot} has {count} outcomes")
    for schedule in history.dump.schedules:
        if schedule.interval is not None:
            yield from _grid(history, schedule, slots[schedule.task_pk])


def schedules_go_on(history: History) -> Iterator[Finding]:
    """I11, at rest: no schedule was due long before the last execution ended, and has not been looked at."""
    ends = [one.ended_at for one in history.dump.executions.values() if one.ended_at is not None]
    for schedule in history.dump.schedules:
        if schedule.due_at is not None and ends and schedule.due_at + _LOOKED_AT_WITHIN < max(ends):
            task = _task(history, schedule.task_pk)
            yield Finding("I11", f"task {task}: nobody has looked at the slot that was due at {schedule.due_at}")


def _outcome(history: History, occurrence: Occurrence) -> Iterator[str]:
    if occurrence.outcome not in _OUTCOMES:
        yield f"has the unknown outcome {occurrence.outcome}"
    if (occurrence.outcome == "launched") != (occurrence.execution_pk is not None):
        yield f"is {occurrence.outcome}, and its execution is {occurrence.execution_pk}"
    if occurrence.outcome != "launched" and not occurrence.note:
        yield f"is {occurrence.outcome} without a reason"
    if occurrence.execution_pk is None:
        return
    execution = history.dump.executions.get(occurrence.execution_pk)
    if execution is None:
        yield f"launched the execution #{occurrence.execution_pk}, which does not exist"
    elif execution.task_pk != occurrence.task_pk or not execution.is_scheduled:
        yield f"names {execution}, which it has not launched"


def _executions(history: History) -> Iterator[Finding]:
    times = Counter(one.execution_pk for one in history.dump.occurrences if one.execution_pk is not None)
    for execution in history.dump.executions.values():
        if execution.is_scheduled and times[execution.pk] != 1:
            yield Finding("I11", f"{execution} was launched by a schedule, and has {times[execution.pk]} slots")


def _grid(history: History, schedule: Schedule, recorded: list[Occurrence]) -> Iterator[Finding]:
    assert schedule.interval is not None
    task = _task(history, schedule.task_pk)
    since = sorted({one.slot_at for one in recorded if one.slot_at >= schedule.anchor_at})
    for slot in since:
        if (slot - schedule.anchor_at) % schedule.interval:
            yield Finding("I11", f"task {task} slot {slot} is not on the grid of its interval")
    told = {one.slot_at: _unlisted(one) for one in recorded}
    known = {schedule.anchor_at, *since}
    if schedule.next_slot_at is not None:
        known.add(schedule.next_slot_at)
    for before, after in pairwise(sorted(known)):
        left_out = (after - before) // schedule.interval - 1 - told.get(after, 0)
        if left_out:
            yield Finding("I11", f"task {task}: {left_out} slots between {before} and {after} left no trace")


def _unlisted(occurrence: Occurrence) -> int:
    """How many slots before this one were missed and, being too many, are only counted in its note."""
    found = _UNLISTED.search(occurrence.note or "")
    return int(found[1].replace(",", "")) if found else 0


def _named(history: History, occurrence: Occurrence) -> str:
    return f"task {_task(history, occurrence.task_pk)} slot {occurrence.slot_at}"


def _task(history: History, task_pk: int) -> str:
    return history.dump.tasks.get(task_pk, f"#{task_pk}")
