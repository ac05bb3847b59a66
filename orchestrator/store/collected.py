"""Statements of the built-in collector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.transaction import Transaction

_SEE = """
INSERT INTO collected_batches (workspace_id, key, item_count, received_at)
VALUES (:workspace_id, :key, :item_count, :received_at) ON CONFLICT (workspace_id, key) DO NOTHING"""
_PUT = """
INSERT INTO collected_items (workspace_id, batch_key, kind, item, received_at)
SELECT * FROM :rows AS r (workspace_id text, batch_key text, kind text, item text, received_at bigint)"""
_ITEMS = "SELECT pk, kind, item, batch_key, received_at FROM collected_items WHERE workspace_id = :workspace_id"


@dataclass(frozen=True, slots=True)
class CollectedView:
    """An item as it was taken in: JSON text; `received_at` in microseconds."""

    pk: int
    kind: str
    item: str
    batch_key: str
    received_at: int


def see_batch(tx: Transaction, workspace_id: str, key: str, item_count: int, now: int) -> bool:
    """Note that a batch has come; False if it had come before."""
    written = tx.run(_SEE, workspace_id=workspace_id, key=key, item_count=item_count, received_at=now)
    return written == 1


def put(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Keep items, given by the names of their columns, in their order."""
    tx.run_all(_PUT, rows)


def newest_first(
    tx: Transaction, workspace_id: str, kind: str | None, before: int | None, limit: int
) -> list[CollectedView]:
    """Items (of one kind, where one is given), from the one after the key `before`."""
    sql = _of_kind(kind) + ("" if before is None else " AND pk < :before") + " ORDER BY pk DESC LIMIT :limit"
    return [
        CollectedView(*row) for row in tx.rows(sql, workspace_id=workspace_id, kind=kind, before=before, limit=limit)
    ]


def oldest_first(tx: Transaction, workspace_id: str, kind: str | None, after: int, limit: int) -> list[CollectedView]:
    """Items (of one kind, where one is given) with a key above `after`."""
    sql = _of_kind(kind) + " AND pk > :after ORDER BY pk LIMIT :limit"
    return [CollectedView(*row) for row in tx.rows(sql, workspace_id=workspace_id, kind=kind, after=after, limit=limit)]


def _of_kind(kind: str | None) -> str:
    return _ITEMS + ("" if kind is None else " AND kind = :kind")
