"""Statements that show import batches to people."""

from dataclasses import dataclass

from orchestrator.store.transaction import Transaction

_BATCHES = """
SELECT b.pk, b.key, e.id, b.worker_id, b.step, b.part, b.item_count, b.status, b.tries, b.due_at, b.message,
       b.created_at, b.ended_at
  FROM import_batches b JOIN executions e ON e.pk = b.execution_pk
 WHERE b.workspace_id = :workspace_id"""


@dataclass(frozen=True, slots=True)
class BatchView:
    """An import batch without its items; times in microseconds."""

    pk: int
    key: str
    execution_id: str
    worker_id: int
    step: int
    part: int
    item_count: int
    status: str
    tries: int
    due_at: int | None
    message: str | None
    created_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which batches are listed; None does not restrict."""

    statuses: tuple[str, ...] | None = None
    execution_pk: int | None = None


def find(tx: Transaction, workspace_id: str, key: str) -> BatchView | None:
    found = tx.row(_BATCHES + " AND b.key = :key", workspace_id=workspace_id, key=key)
    return None if found is None else BatchView(*found)


def listed(tx: Transaction, workspace_id: str, wanted: Filter, before: int | None, limit: int) -> list[BatchView]:
    """Batches, newest first, from the one after the key `before`."""
    sql = _BATCHES
    if wanted.execution_pk is not None:
        sql += " AND b.execution_pk = :execution_pk"
    if wanted.statuses is not None:
        sql += " AND b.status IN :statuses"
    if before is not None:
        sql += " AND b.pk < :before"
    rows = tx.rows(
        sql + " ORDER BY b.pk DESC LIMIT :limit",
        workspace_id=workspace_id,
        execution_pk=wanted.execution_pk,
        statuses=list(wanted.statuses or ()),
        before=before,
        limit=limit,
    )
    return [BatchView(*row) for row in rows]
