"""Schedules: every due slot is launched once, or recorded with the reason why not.

The slot moves on, its outcome is recorded and the execution is created in one transaction. APScheduler only wakes us;
the truth is in the tables, so that a restart or a second node changes nothing.
"""

from datetime import datetime, timedelta

from app_sdk.protocol import strict_json
from app_sdk.protocol.manifest import ScheduleManifest
from orchestrator.domain.cron import Cron
from orchestrator.domain.errors import AlreadyRunning, Conflict
from orchestrator.domain.policy import OnMultipleExec
from orchestrator.domain.schedule import DueSlots, Interval, Schedule, due_slots, jittered
from orchestrator.domain.states import AppStatus
from orchestrator.service.definitions import Definitions
from orchestrator.service.launching import LaunchOrder, NewId, launch
from orchestrator.store import due_schedules, groups
from orchestrator.store.clock import from_micros, maybe_micros, to_micros
from orchestrator.store.due_schedules import DueSchedule
from orchestrator.store.transaction import Transaction

GRACE = timedelta(seconds=60)
# A slot that is launched so late is on time all the same: a loop was busy, a wake-up was lost.
ON_TIME = timedelta(seconds=5)
BACKLOG_LOOK = timedelta(seconds=1)
BATCH = 100


def due_tasks(tx: Transaction) -> list[int]:
    """The tasks whose slot has come; each is launched in a transaction of its own."""
    return due_schedules.due(tx, to_micros(tx.now()), BATCH)


def next_due(tx: Transaction) -> timedelta | None:
    """How long until the next slot of any task; None if there is no schedule."""
    due_at = due_schedules.first_due(tx)
    return None if due_at is None else max(timedelta(), from_micros(due_at) - tx.now())


def launch_due(tx: Transaction, definitions: Definitions, task_pk: int, new_id: NewId) -> bool:
    """Launch, or record as skipped, what a task's schedule owes; True if an execution was created."""
    now = tx.now()
    due = due_schedules.lock(tx, task_pk, to_micros(now))
    if due is None:
        return False
    asked = ScheduleManifest.model_validate_json(due.definition)
    # A slot is not late while its own jitter still holds it back.
    grace = GRACE + timedelta(seconds=asked.jitter_secs)
    slots = due_slots(_schedule(asked, due), from_micros(due.slot_at), now, asked.catch_up, grace)
    if asked.catch_up == "all" and _is_missed(asked, due, now) and _is_running(tx, task_pk, now):
        # It follows when the run before it has ended.
        due_schedules.postpone(tx, task_pk, due.slot_at, to_micros(now + BACKLOG_LOOK))
        return False
    coming = slots.next_slot
    moved = coming and jittered(coming, due.task_id, asked.jitter_secs)
    if not due_schedules.advance(tx, task_pk, due.slot_at, maybe_micros(coming), maybe_micros(moved)):
        return False
    record = _missed(due, slots, now)
    if slots.launch is not None:
        record.append(_launch_slot(tx, definitions, due, slots.launch, now, new_id))
    due_schedules.record(tx, record)
    return bool(record) and record[-1]["execution_pk"] is not None


def _is_missed(asked: ScheduleManifest, due: DueSchedule, now: datetime) -> bool:
    return now - jittered(from_micros(due.slot_at), due.task_id, asked.jitter_secs) > ON_TIME


def _is_running(tx: Transaction, task_pk: int, now: datetime) -> bool:
    running, _ = groups.members(tx, task_pk, "", to_micros(now))
    return bool(running)


def _schedule(asked: ScheduleManifest, due: DueSchedule) -> Schedule:
    if asked.cron is not None:
        return Cron(asked.cron, asked.timezone)
    return Interval(timedelta(seconds=asked.interval_secs or 0), from_micros(due.anchor_at))


def _missed(due: DueSchedule, slots: DueSlots, now: datetime) -> list[dict[str, object]]:
    late = f"more than {GRACE.total_seconds():.0f} s late, and catch_up is none"
    reason = late if slots.launch is None else "later slots were due as well"
    record = [_outcome(due, slot, now, "missed", None, reason) for slot in slots.missed]
    unlisted = slots.missed_count - len(slots.missed)
    if unlisted:
        record[0]["note"] = f"{reason}; {unlisted:,} slots before this one were missed too, and are not listed"
    return record


def _launch_slot(
    tx: Transaction, definitions: Definitions, due: DueSchedule, slot: datetime, now: datetime, new_id: NewId
) -> dict[str, object]:
    if due.app_status != AppStatus.ACTIVE:
        return _outcome(due, slot, now, "skipped", None, f"the app was {due.app_status}")
    if due.is_paused:
        return _outcome(due, slot, now, "skipped", None, "the task was paused")
    order = LaunchOrder(
        workspace_id=due.workspace_id,
        app_pk=due.app_pk,
        task_pk=due.task_pk,
        version_pk=due.version_pk,
        launched_by=strict_json.dumps({"schedule": slot.isoformat()}).decode(),
    )
    try:
        launched = launch(tx, definitions, order, new_id)
    except Conflict as refusal:
        policy = definitions.read(tx, {due.version_pk})[due.version_pk].on_multiple_exec
        is_merged = policy is OnMultipleExec.RETRY_LATER and isinstance(refusal, AlreadyRunning)
        outcome = "merged" if is_merged else "skipped"
        return _outcome(due, slot, now, outcome, None, refusal.message)
    late_secs = (now - slot).total_seconds()
    note = f"late by {late_secs:.0f} s" if late_secs >= 1 else None
    return _outcome(due, slot, now, "launched", launched.pk, note)


def _outcome(
    due: DueSchedule, slot: datetime, now: datetime, outcome: str, execution_pk: int | None, note: str | None
) -> dict[str, object]:
    return {
        "task_pk": due.task_pk,
        "slot_at": to_micros(slot),
        "outcome": outcome,
        "execution_pk": execution_pk,
        "note": note,
        "recorded_at": to_micros(now),
    }
