"""Executions as simple tasks (BookLogr). On PostgreSQL foreign programs read the same in the view `tasks`."""

from dataclasses import dataclass

from orchestrator.store.transaction import Transaction

NOTIFIED = "task_created"

# A claim that its executor has not started is not under way yet, and one that was given back never was.
_VIEW = """
SELECT e.id, e.number, e.status, coalesce(d.launched_as, t.id), d.launched_as IS NOT NULL, d.input, d.owner_id,
       e.created_at, e.ended_at, e.app_pk
  FROM executions e
  JOIN execution_details d ON d.execution_pk = e.pk
  JOIN task_definitions t ON t.pk = e.task_pk
 WHERE e.workspace_id = :workspace_id AND e.number = :number"""
_TAKEN = """
SELECT claim.node, claim.since FROM (
       SELECT w.node, coalesce(w.started_at, w.claimed_at) AS since
         FROM workers w JOIN executions e ON e.pk = w.execution_pk
        WHERE e.workspace_id = :workspace_id AND e.number = :number
          AND w.status = 'calling' AND (w.pull_task_pk IS NULL OR w.started_at IS NOT NULL)
        UNION ALL
       SELECT c.node, c.started_at
         FROM calls c JOIN executions e ON e.pk = c.execution_pk
        WHERE e.workspace_id = :workspace_id AND e.number = :number
          AND c.attempt = e.attempt AND c.outcome <> 'returned') AS claim
 ORDER BY claim.since DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class SimpleTaskView:
    """An execution as a simple task. `is_simple` ones were created as such. Times in microseconds, `input` is JSON.

    `worker` had it last in the present attempt, and took it at `taken_at`; None while nobody has.
    """

    execution_id: str
    number: int
    status: str
    type: str
    is_simple: bool
    input: str
    owner_id: int | None
    created_at: int
    ended_at: int | None
    app_pk: int
    worker: str | None
    taken_at: int | None


def find(tx: Transaction, workspace_id: str, number: int) -> SimpleTaskView | None:
    """The execution with this number."""
    found = tx.row(_VIEW, workspace_id=workspace_id, number=number)
    if found is None:
        return None
    worker, taken_at = tx.row(_TAKEN, workspace_id=workspace_id, number=number) or (None, None)
    # SQLite has no booleans.
    values = (*found[:4], bool(found[4]), *found[5:], worker, taken_at)
    return SimpleTaskView(*values)


def number_of(tx: Transaction, pk: int) -> int:
    """The number of an execution that exists."""
    [(number,)] = tx.rows("SELECT number FROM executions WHERE pk = :pk", pk=pk)
    return int(number)


def announce(tx: Transaction, numbers: list[int]) -> None:
    """Tell whoever listens of new tasks, after the commit (PostgreSQL)."""
    for number in numbers:
        tx.run("SELECT pg_notify(:channel, :number)", channel=NOTIFIED, number=str(number))
