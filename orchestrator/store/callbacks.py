"""Statements on the callbacks of awaits. Their users hold the execution's lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

_FIND = """
SELECT fate, digest, body, received_at FROM callbacks
 WHERE execution_pk = :pk AND worker_id = :worker_id AND step = :step"""

_INSERT = """
INSERT INTO callbacks (execution_pk, worker_id, step, fate, digest, body, received_at, settled_at)
VALUES (:execution_pk, :worker_id, :step, :fate, :digest, :body, :received_at, :settled_at)"""

_SETTLE = """
UPDATE callbacks SET fate = :fate, settled_at = :settled_at
 WHERE execution_pk = :execution_pk AND worker_id = :worker_id AND step = :step AND fate = 'kept'"""

# SQLite has no arrays to unnest, PostgreSQL no json_each.
_BODIES = {
    Dialect.SQLITE: """
SELECT c.execution_pk, c.worker_id, c.body FROM callbacks c
  JOIN json_each(:pks) pk ON pk.value = c.execution_pk
  JOIN json_each(:ids) id ON id.key = pk.key AND id.value = c.worker_id
  JOIN json_each(:steps) step ON step.key = pk.key AND step.value = c.step""",
    Dialect.POSTGRESQL: """
SELECT c.execution_pk, c.worker_id, c.body
  FROM unnest(:pks::bigint[], :ids::int[], :steps::int[]) AS wanted (pk, id, step)
  JOIN callbacks c ON (c.execution_pk, c.worker_id, c.step) = (wanted.pk, wanted.id, wanted.step)""",
}

_APPLIED = """
SELECT worker_id, step, body, settled_at FROM callbacks WHERE execution_pk = :pk AND fate = 'applied'"""

_TASK = """
SELECT e.id, w.worker_id, e.status, w.status, s.subtext, s.output
  FROM executions e
  JOIN workers w ON w.execution_pk = e.pk AND w.worker_id = :worker_id
  JOIN worker_states s ON s.execution_pk = e.pk AND s.worker_id = :worker_id
 WHERE e.pk = :pk"""


@dataclass(frozen=True, slots=True)
class KnownCallback:
    """What is recorded of an await. `body` as JSON text, `received_at` in microseconds."""

    fate: str
    digest: str | None
    body: str | None
    received_at: int


@dataclass(frozen=True, slots=True)
class TaskView:
    """A worker as callers-back see it. `output` as JSON text."""

    execution_id: str
    worker_id: int
    execution_status: str
    worker_status: str
    subtext: str | None
    output: str | None


def find(tx: Transaction, pk: int, worker_id: int, step: int) -> KnownCallback | None:
    """What is recorded of this await."""
    found = tx.row(_FIND, pk=pk, worker_id=worker_id, step=step)
    return None if found is None else KnownCallback(*found)


def insert(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.run_many(_INSERT, rows)


def settle(tx: Transaction, rows: Sequence[dict[str, Any]]) -> int:
    """Write what became of kept callbacks; how many were kept."""
    return tx.run_many(_SETTLE, rows)


def bodies(tx: Transaction, awaits: Sequence[tuple[int, int, int]]) -> dict[tuple[int, int], str]:
    """The callbacks of (execution, worker id, step), by (execution, worker id)."""
    pks, ids, steps = ([one[place] for one in awaits] for place in range(3))
    rows = tx.rows(_BODIES[tx.dialect], pks=pks, ids=ids, steps=steps)
    return {(pk, worker_id): body for pk, worker_id, body in rows}


def applied(tx: Transaction, pk: int) -> dict[tuple[int, int], tuple[str, int]]:
    """(body, microseconds of the application) of an execution's callbacks that were applied, by (worker id, step)."""
    return {(worker_id, step): (body, at) for worker_id, step, body, at in tx.rows(_APPLIED, pk=pk)}


def task(tx: Transaction, pk: int, worker_id: int) -> TaskView | None:
    """A worker that somebody calls back."""
    found = tx.row(_TASK, pk=pk, worker_id=worker_id)
    return None if found is None else TaskView(*found)
