"""Statements that go back over the recorded calls of an execution, for one that goes on from an earlier call."""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.store.transaction import Transaction

# Answers of up to 10 MiB each: as few at a time as may be in memory together.
_PAGE = 50

_CALL = """
SELECT step, coalesce(started_at, ended_at) FROM calls
 WHERE execution_pk = :pk AND worker_id = :worker_id AND token = :token"""

# Along the primary key.
_APPLIED = """
SELECT worker_id, token, step, ended_at, items, answer, spawned, rests FROM calls
 WHERE execution_pk = :pk AND (worker_id, token) > (:worker_id, :token) AND outcome = 'applied'
 ORDER BY worker_id, token LIMIT :places"""

_BEGINNING = "SELECT beginning FROM execution_details WHERE execution_pk = :pk"


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call whose answer was applied. JSON as text, `ended_at` in microseconds."""

    worker_id: int
    token: int
    step: int
    ended_at: int
    items: int
    answer: str | None
    spawned: str | None
    rests: str | None


def call(tx: Transaction, pk: int, worker_id: int, token: int) -> tuple[int, int] | None:
    """(step, microseconds of its start) of a call; None if it is not recorded."""
    found = tx.row(_CALL, pk=pk, worker_id=worker_id, token=token)
    return None if found is None else (found[0], found[1])


def applied(tx: Transaction, pk: int) -> Iterator[PastCall]:
    """Every call whose answer was applied: worker after worker, and each worker's in their order."""
    worker_id, token = -1, -1
    while True:
        rows = tx.rows(_APPLIED, pk=pk, worker_id=worker_id, token=token, places=_PAGE)
        for row in rows:
            yield PastCall(*row)
        if len(rows) < _PAGE:
            return
        worker_id, token = rows[-1][:2]


def beginning(tx: Transaction, pk: int) -> str | None:
    """What the execution began with, as JSON text; None where that is worker 0 with the input."""
    found = tx.row(_BEGINNING, pk=pk)
    return found[0] if found else None
