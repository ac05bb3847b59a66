"""Statements that show workers as pull tasks: to executors, and to whoever created them. None of them locks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.transaction import Transaction

# In the words of executors. A worker whose app is called is in progress as soon as it is claimed.
_STATUS = """
CASE WHEN w.status IN ('done', 'failed', 'aborted') THEN 'done'
     WHEN w.status = 'calling' AND w.pull_task_pk IS NOT NULL AND w.started_at IS NULL THEN 'requested'
     WHEN w.status = 'calling' THEN 'in-progress'
     WHEN e.status = 'pending' AND coalesce(e.run_at, 0) <= :now THEN 'created'
     WHEN w.status = 'ready' AND w.due_at <= :now AND NOT w.held THEN 'ready'
     ELSE 'waiting' END"""
_OUTCOME = "CASE w.status WHEN 'done' THEN 'succeeded' WHEN 'failed' THEN 'failed' WHEN 'aborted' THEN 'canceled' END"
_UPDATED = """
CASE WHEN w.status = 'calling' THEN coalesce(w.started_at, w.claimed_at)
     WHEN w.status = 'aborted' THEN coalesce(e.ended_at, e.created_at)
     ELSE coalesce(c.ended_at, e.started_at, e.created_at) END"""

# The last claim that has come to something; one that was given back has not.
_FROM = """
  FROM workers w
  JOIN executions e ON e.pk = w.execution_pk
  JOIN task_definitions t ON t.pk = e.task_pk
  JOIN execution_details d ON d.execution_pk = w.execution_pk
  JOIN worker_states s ON s.execution_pk = w.execution_pk AND s.worker_id = w.worker_id
  LEFT JOIN calls c ON c.execution_pk = w.execution_pk AND c.worker_id = w.worker_id AND c.token = (
            SELECT max(token) FROM calls
             WHERE execution_pk = w.execution_pk AND worker_id = w.worker_id
               AND outcome IN ('applied', 'failed', 'lost'))
  LEFT JOIN callbacks b ON b.execution_pk = c.execution_pk AND b.worker_id = c.worker_id AND b.step = c.step
            AND c.outcome = 'applied' AND b.fate = 'applied'
 WHERE """
_VIEW = f"""
SELECT e.pk, e.uid, e.id, e.number, e.task_pk, e.version_pk, t.id, d.name, d.input, e.message, e.created_at, e.run_at,
       w.worker_id, w.token, w.retry_count, w.due_at, w.lease_until, w.node, s.state,
       {_STATUS} AS shown_status, {_OUTCOME} AS shown_outcome, {_UPDATED} AS updated_at,
       c.token, c.outcome, c.failure, c.message, c.retry_count,
       CASE WHEN w.status IN ('done', 'failed') THEN c.answer END,
       CASE WHEN w.status = 'done' THEN b.body END, w.status = 'awaiting'
{_FROM}"""
_COUNT = f"SELECT count(*) {_FROM}"
_SIZES = f"""
SELECT w.execution_pk, w.worker_id,
       length(d.input) + length(s.state) + coalesce(length(c.answer), 0) + coalesce(length(b.body), 0),
       {_UPDATED} AS updated_at
{_FROM}"""
_ORDERS = {"createdAt": "e.pk", "lastUpdated": "updated_at"}


@dataclass(frozen=True, slots=True)
class PullTaskRow:
    """A worker as a pull task. JSON as text, times in microseconds; the `last_` fields are of its last claim.

    `last_callback` is what its await was called back with. `is_parked`: it awaits that still; due at its timeout.
    """

    execution_pk: int
    uid: str
    execution_id: str
    number: int
    task_pk: int
    version_pk: int
    task_id: str
    name: str | None
    input: str
    execution_message: str | None
    created_at: int
    run_at: int | None
    worker_id: int
    token: int
    retry_count: int
    due_at: int | None
    lease_until: int | None
    executor: str | None
    state: str
    status: str
    outcome: str | None
    updated_at: int
    last_token: int | None
    last_outcome: str | None
    last_failure: str | None
    last_message: str | None
    last_retry_count: int | None
    last_answer: str | None
    last_callback: str | None
    is_parked: bool


@dataclass(frozen=True, slots=True)
class Most:
    """How much a list may be: rows, and characters of what they hold; one row it is in any case."""

    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class PullFilter:
    """Which pull tasks are listed; None does not restrict. `text`: somewhere in it, in any case."""

    app_pk: int | None = None
    task_pks: Sequence[int] | None = None
    but_task_pks: Sequence[int] | None = None
    statuses: Sequence[str] | None = None
    outcomes: Sequence[str] | None = None
    text: str | None = None


def of_executions(tx: Transaction, pks: Iterable[int], now: int) -> dict[tuple[int, int], PullTaskRow]:
    """The workers of these executions, by (execution, worker id)."""
    rows = tx.rows(_VIEW + "w.execution_pk IN :pks", pks=sorted(pks), now=now)
    shown = [PullTaskRow(*row) for row in rows]
    return {(one.execution_pk, one.worker_id): one for one in shown}


def listed(
    tx: Transaction, workspace_id: str, wanted: PullFilter, order: tuple[str, bool], now: int, most: Most
) -> list[PullTaskRow]:
    """The first pull tasks in an order: by `createdAt` or `lastUpdated`, and whether the latest come first."""
    conditions, parameters = _conditions(workspace_id, wanted, now)
    by, is_descending = order
    direction = "DESC" if is_descending else "ASC"
    sql = f"{_SIZES}{conditions} ORDER BY {_ORDERS[by]} {direction}, e.pk {direction}, w.worker_id LIMIT :limit"
    places: list[tuple[int, int]] = []
    size = 0
    for pk, worker_id, length, _ in tx.rows(sql, **parameters, limit=most.rows):
        size += length
        if places and size > most.size:
            break
        places.append((pk, worker_id))
    pks = sorted({pk for pk, _ in places})
    rows = [
        PullTaskRow(*row) for row in tx.rows(f"{_VIEW}{conditions} AND w.execution_pk IN :pks", **parameters, pks=pks)
    ]
    found = {(row.execution_pk, row.worker_id): row for row in rows}
    # What has changed since is not wanted any more.
    return [found[place] for place in places if place in found]


def count(tx: Transaction, workspace_id: str, wanted: PullFilter, now: int) -> int:
    conditions, parameters = _conditions(workspace_id, wanted, now)
    [(total,)] = tx.rows(_COUNT + conditions, **parameters)
    return int(total)


def _conditions(workspace_id: str, wanted: PullFilter, now: int) -> tuple[str, dict[str, Any]]:
    conditions = ["e.workspace_id = :workspace_id AND w.pull_task_pk IS NOT NULL"]
    parameters: dict[str, Any] = {"workspace_id": workspace_id, "now": now}
    for name, condition, value in (
        ("app_pk", "e.app_pk = :app_pk", wanted.app_pk),
        ("task_pks", "w.pull_task_pk IN :task_pks", wanted.task_pks),
        ("but_task_pks", "NOT (w.pull_task_pk IN :but_task_pks)", wanted.but_task_pks),
        ("statuses", f"({_STATUS}) IN :statuses", wanted.statuses),
        ("outcomes", f"({_OUTCOME}) IN :outcomes", wanted.outcomes),
        ("pattern", _TEXT, None if wanted.text is None else _pattern(wanted.text)),
    ):
        if value is not None:
            conditions.append(condition)
            parameters[name] = list(value) if isinstance(value, tuple | list) else value
    return " AND ".join(conditions), parameters


_TEXT = """
lower(e.id || ' ' || t.id || ' ' || coalesce(d.name, '') || ' ' || d.input || ' ' || coalesce(s.output, '') || ' '
      || coalesce(e.message, '')) LIKE :pattern ESCAPE '!'"""


def _pattern(text: str) -> str:
    escaped = "".join(f"!{one}" if one in "!%_" else one for one in text.lower())
    return f"%{escaped}%"
