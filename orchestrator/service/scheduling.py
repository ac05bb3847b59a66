"""Schedules: every due slot is launched once, or recorded with the reason why not.

The slot moves on, its outcome is recorded and the execution is created in one transaction. APScheduler only wakes us;
the truth is in the tables, so that a restart or a second node changes nothing.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import Enum, auto

from app_sdk.protocol import strict_json
from app_sdk.protocol.manifest import ScheduleManifest
from orchestrator.domain.errors import AlreadyRunning, Conflict, Invalid
from orchestrator.domain.policy import OnMultipleExec
from orchestrator.domain.schedule import DueSlots, due_slots, jittered
from orchestrator.domain.states import AppStatus
from orchestrator.service import occurrences
from orchestrator.service.definitions import Definitions
from orchestrator.service.launching import LaunchOrder, NewId, launch
from orchestrator.service.occurrences import Entry, Outcome, Reason
from orchestrator.store import due_schedules, groups
from orchestrator.store.clock import from_micros, maybe_micros, to_micros
from orchestrator.store.due_schedules import DueSchedule
from orchestrator.store.transaction import Transaction

GRACE = timedelta(seconds=60)
# A slot that is launched so late is on time all the same: a loop was busy, a wake-up was lost.
ON_TIME = timedelta(seconds=5)
# From here on people are told.
LATE = timedelta(seconds=1)
BACKLOG_LOOK = timedelta(seconds=1)
BATCH = 100


class Turn(Enum):
    """What a look at a due schedule came to. RECORDED: it moved on, without an execution.

    NOTHING: it is held by another node, which was quicker, or its slot waits for a run to end.
    """

    LAUNCHED = auto()
    RECORDED = auto()
    NOTHING = auto()


def due_tasks(tx: Transaction) -> list[int]:
    """The tasks whose slot has come; each is launched in a transaction of its own."""
    return due_schedules.due(tx, to_micros(tx.now()), BATCH)


def next_due(tx: Transaction) -> timedelta | None:
    """How long until the next slot of any task; None if there is no schedule."""
    due_at = due_schedules.first_due(tx)
    return None if due_at is None else max(timedelta(), from_micros(due_at) - tx.now())


def launch_due(tx: Transaction, definitions: Definitions, task_pk: int, new_id: NewId) -> Turn:
    """Launch, or record as skipped, what a task's schedule owes. Slots that are on record are stepped over."""
    now = tx.now()
    due = due_schedules.lock(tx, task_pk, to_micros(now))
    if due is None:
        return Turn.NOTHING
    asked = ScheduleManifest.model_validate_json(due.definition)
    # A slot is not late while its own jitter still holds it back.
    grace = GRACE + timedelta(seconds=asked.jitter_secs)
    schedule = occurrences.schedule_of(asked, due.anchor_at)
    slots = due_slots(schedule, from_micros(due.slot_at), now, asked.catch_up, grace)
    over = occurrences.on_record(tx, task_pk, from_micros(due.slot_at), now)
    launches = slots.launch if slots.launch not in over else None
    if asked.catch_up == "all" and launches and _is_missed(asked, due, now) and _is_running(tx, task_pk, now):
        # It follows when the run before it has ended.
        due_schedules.postpone(tx, task_pk, due.slot_at, to_micros(now + BACKLOG_LOOK))
        return Turn.NOTHING
    coming = slots.next_slot
    moved = coming and jittered(coming, due.task_id, asked.jitter_secs)
    if not due_schedules.advance(tx, task_pk, due.slot_at, maybe_micros(coming), maybe_micros(moved)):
        return Turn.NOTHING
    entries = _missed(slots, over)
    if launches is not None:
        entries.append(_launch_slot(tx, definitions, due, launches, now, new_id))
    occurrences.record(tx, task_pk, entries, now)
    return Turn.LAUNCHED if any(entry.outcome is Outcome.LAUNCHED for entry in entries) else Turn.RECORDED


def _is_missed(asked: ScheduleManifest, due: DueSchedule, now: datetime) -> bool:
    return now - jittered(from_micros(due.slot_at), due.task_id, asked.jitter_secs) > ON_TIME


def _is_running(tx: Transaction, task_pk: int, now: datetime) -> bool:
    running, _ = groups.members(tx, task_pk, "", to_micros(now))
    return bool(running)


def _missed(slots: DueSlots, over: Collection[datetime]) -> list[Entry]:
    if slots.launch is None:
        note = f"more than {GRACE.total_seconds():.0f} s late, and catch_up is none"
        return occurrences.missed(slots, over, Reason.TOO_LATE, note)
    return occurrences.missed(slots, over, Reason.SUPERSEDED, "later slots were due as well")


def _launch_slot(
    tx: Transaction, definitions: Definitions, due: DueSchedule, slot: datetime, now: datetime, new_id: NewId
) -> Entry:
    if due.app_status != AppStatus.ACTIVE:
        return Entry(slot, Outcome.SKIPPED, Reason.APP, f"the app was {due.app_status}")
    if due.is_paused:
        return Entry(slot, Outcome.SKIPPED, Reason.PAUSED, "the task was paused")
    asked = ScheduleManifest.model_validate_json(due.definition)
    order = LaunchOrder(
        workspace_id=due.workspace_id,
        app_pk=due.app_pk,
        task_pk=due.task_pk,
        version_pk=due.version_pk,
        input=strict_json.dumps(asked.state).decode(),
        application=asked.application,
        launched_by=strict_json.dumps({"schedule": slot.isoformat()}).decode(),
    )
    try:
        launched = launch(tx, definitions, order, new_id)
    except AlreadyRunning as refusal:
        policy = definitions.read(tx, {due.version_pk})[due.version_pk].on_multiple_exec
        outcome = Outcome.MERGED if policy is OnMultipleExec.RETRY_LATER else Outcome.SKIPPED
        return Entry(slot, outcome, Reason.OVERLAP, refusal.message)
    except (Conflict, Invalid) as refusal:
        return Entry(slot, Outcome.SKIPPED, Reason.REFUSED, refusal.message)
    late = max(timedelta(), now - jittered(slot, due.task_id, asked.jitter_secs))
    note = f"late by {late.total_seconds():.0f} s" if late >= LATE else None
    return Entry(slot, Outcome.LAUNCHED, note=note, execution_pk=launched.pk, late=late)
