"""Statements on schedules whose slot has come, and on the record of what became of each slot."""

from dataclasses import dataclass

from orchestrator.store.transaction import Transaction

# SKIP LOCKED shares the work between nodes; that a slot launches once rests on the lock and on the guard below.
_DUE = """
SELECT s.task_pk FROM schedules s
 WHERE s.due_at IS NOT NULL AND s.due_at <= :now ORDER BY s.due_at LIMIT :places"""
_LOCK = """
SELECT s.task_pk, s.definition, s.anchor_at, s.next_slot_at
  FROM schedules s WHERE s.task_pk = :task_pk AND s.due_at IS NOT NULL AND s.due_at <= :now FOR UPDATE SKIP LOCKED"""
_TASK = """
SELECT t.id, t.workspace_id, t.app_pk, t.version_pk, t.is_paused, a.status
  FROM task_definitions t JOIN apps a ON a.pk = t.app_pk WHERE t.pk = :task_pk"""
_ADVANCE = """
UPDATE schedules SET next_slot_at = :next_slot_at, due_at = :due_at
 WHERE task_pk = :task_pk AND next_slot_at = :slot_at"""
_POSTPONE = "UPDATE schedules SET due_at = :due_at WHERE task_pk = :task_pk AND next_slot_at = :slot_at"
_RECORD = """
INSERT INTO occurrences (task_pk, slot_at, outcome, reason, execution_pk, late_by, slots, note, recorded_at)
VALUES (:task_pk, :slot_at, :outcome, :reason, :execution_pk, :late_by, :slots, :note, :recorded_at)"""
_RECORDED = """
SELECT slot_at FROM occurrences WHERE task_pk = :task_pk AND slot_at BETWEEN :first AND :last"""
_FIRST = "SELECT min(due_at) FROM schedules WHERE due_at IS NOT NULL"


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule under its lock, with its task; times in microseconds."""

    task_pk: int
    definition: str
    anchor_at: int
    slot_at: int
    task_id: str
    workspace_id: str
    app_pk: int
    version_pk: int
    is_paused: bool
    app_status: str


def due(tx: Transaction, now: int, places: int) -> list[int]:
    """The tasks whose slot has come; read without locks."""
    return [pk for (pk,) in tx.rows(_DUE, now=now, places=places)]


def lock(tx: Transaction, task_pk: int, now: int) -> DueSchedule | None:
    """Lock a schedule that is still due; None if another node has it, or was quicker."""
    found = tx.row(_LOCK, task_pk=task_pk, now=now)
    task = tx.row(_TASK, task_pk=task_pk)
    if found is None or task is None:
        return None
    _, definition, anchor_at, slot_at = found
    task_id, workspace_id, app_pk, version_pk, is_paused, app_status = task
    return DueSchedule(
        task_pk=task_pk,
        definition=definition,
        anchor_at=anchor_at,
        slot_at=slot_at,
        task_id=task_id,
        workspace_id=workspace_id,
        app_pk=app_pk,
        version_pk=version_pk,
        is_paused=bool(is_paused),
        app_status=app_status,
    )


def advance(tx: Transaction, task_pk: int, slot_at: int, next_slot_at: int | None, due_at: int | None) -> bool:
    """Move on from a slot; False if somebody else already has."""
    return tx.run(_ADVANCE, task_pk=task_pk, slot_at=slot_at, next_slot_at=next_slot_at, due_at=due_at) == 1


def postpone(tx: Transaction, task_pk: int, slot_at: int, due_at: int) -> None:
    """Look at the same slot again later."""
    tx.run(_POSTPONE, task_pk=task_pk, slot_at=slot_at, due_at=due_at)


def record(tx: Transaction, rows: list[dict[str, object]]) -> None:
    """Write what became of slots; the primary key refuses a second outcome for one."""
    tx.run_many(_RECORD, rows)


def recorded(tx: Transaction, task_pk: int, first: int, last: int) -> frozenset[int]:
    """The task's slots from `first` to `last` that have an outcome already."""
    return frozenset(slot_at for (slot_at,) in tx.rows(_RECORDED, task_pk=task_pk, first=first, last=last))


def first_due(tx: Transaction) -> int | None:
    found = tx.row(_FIRST)
    return found[0] if found else None
