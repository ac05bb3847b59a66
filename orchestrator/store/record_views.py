"""Statements that show what happened: calls, log lines, the slots of a schedule."""

from dataclasses import dataclass

from orchestrator.store.transaction import Transaction

_CALLS = """
SELECT worker_id, step, token, attempt, retry_count, outcome, failure, http_status, message, notes, spawned,
       {answer}, items, node, started_at, ended_at
  FROM calls WHERE execution_pk = :pk"""
_CALLS_ORDER = " ORDER BY ended_at DESC, worker_id DESC, token DESC LIMIT :limit"
_LOGS = "SELECT pk, worker_id, step, line, logged_at FROM log_lines WHERE execution_pk = :pk"
_OCCURRENCES = """
SELECT o.slot_at, o.outcome, o.reason, e.id, o.late_by, o.slots, o.note, o.recorded_at
  FROM occurrences o LEFT JOIN executions e ON e.pk = o.execution_pk WHERE o.task_pk = :pk"""

Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class CallView:
    """A call as it was recorded. `notes` is one to a line; `spawned` an object; JSON as text, times in microseconds."""

    worker_id: int
    step: int
    token: int
    attempt: int
    retry_count: int
    outcome: str
    failure: str | None
    http_status: int | None
    message: str | None
    notes: str | None
    spawned: str | None
    answer: str | None
    items: int
    node: str | None
    started_at: int | None
    ended_at: int

    @property
    def place(self) -> Place:
        """Where it stands in a list."""
        return self.ended_at, self.worker_id, self.token


@dataclass(frozen=True, slots=True)
class LogView:
    """A line that an app logged; `logged_at` in microseconds."""

    pk: int
    worker_id: int
    step: int
    line: str
    logged_at: int


@dataclass(frozen=True, slots=True)
class OccurrenceView:
    """What became of a slot of a schedule; times in microseconds."""

    slot_at: int
    outcome: str
    reason: str | None
    execution_id: str | None
    late_by: int
    slots: int
    note: str | None
    recorded_at: int


def calls(
    tx: Transaction, pk: int, worker_id: int | None, before: Place | None, limit: int, *, with_answers: bool = True
) -> list[CallView]:
    """An execution's calls (of one worker, where one is given), newest first, from the one after `before`."""
    sql = _CALLS.format(answer="answer" if with_answers else "NULL")
    sql += "" if worker_id is None else " AND worker_id = :worker_id"
    ended_at, last_worker, last_token = before or (None, None, None)
    if before is not None:
        sql += " AND (ended_at, worker_id, token) < (:ended_at, :last_worker, :last_token)"
    rows = tx.rows(
        sql + _CALLS_ORDER,
        pk=pk,
        worker_id=worker_id,
        ended_at=ended_at,
        last_worker=last_worker,
        last_token=last_token,
        limit=limit,
    )
    return [CallView(*row) for row in rows]


def logs(tx: Transaction, pk: int, before: int | None, limit: int, worker_id: int | None = None) -> list[LogView]:
    """An execution's log lines (of one worker, where one is given), newest first, from the one after `before`."""
    sql = _LOGS + ("" if before is None else " AND pk < :before")
    sql += "" if worker_id is None else " AND worker_id = :worker_id"
    rows = tx.rows(f"{sql} ORDER BY pk DESC LIMIT :limit", pk=pk, before=before, worker_id=worker_id, limit=limit)
    return [LogView(*row) for row in rows]


def occurrences(tx: Transaction, task_pk: int, before: int | None, limit: int) -> list[OccurrenceView]:
    """What became of a task's slots, latest slot first, from the one after `before` (microseconds)."""
    sql = _OCCURRENCES + ("" if before is None else " AND o.slot_at < :before")
    rows = tx.rows(sql + " ORDER BY o.slot_at DESC LIMIT :limit", pk=task_pk, before=before, limit=limit)
    return [OccurrenceView(*row) for row in rows]
