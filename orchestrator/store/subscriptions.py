"""Statements on subscriptions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.transaction import Transaction

_INSERT = """
INSERT INTO subscriptions (id, workspace_id, kind, target_url, task_pk, pattern, secret_encrypted, status, failures,
                           created_at, updated_at)
VALUES (:id, :workspace_id, :kind, :target_url, :task_pk, :pattern, :secret_encrypted, 'active', 0, :now, :now)"""
_SUBSCRIPTIONS = """
SELECT s.pk, s.id, s.workspace_id, s.kind, s.target_url, t.id, s.pattern, s.status, s.status_reason, s.failures,
       s.failing_since, s.retry_at, s.created_at, s.updated_at
  FROM subscriptions s LEFT JOIN task_definitions t ON t.pk = s.task_pk
 WHERE s.deleted_at IS NULL AND s.workspace_id = :workspace_id"""
_PATTERNS = """
SELECT pk, workspace_id, kind, pattern FROM subscriptions
 WHERE deleted_at IS NULL AND status <> 'disabled' AND workspace_id IN :workspace_ids ORDER BY pk"""
_OF_TASK = "SELECT pattern, pk FROM subscriptions WHERE task_pk = :task_pk AND deleted_at IS NULL"
_SET_PATTERN = "UPDATE subscriptions SET pattern = :pattern, updated_at = :now WHERE pk = :pk"
_DELETE = "UPDATE subscriptions SET deleted_at = :now, secret_encrypted = NULL WHERE pk = :pk AND deleted_at IS NULL"
_LOCK = """
SELECT pk, status, status_reason, failures, failing_since, retry_at FROM subscriptions
 WHERE pk IN :pks ORDER BY pk FOR NO KEY UPDATE"""
_SET_STANDING = """
UPDATE subscriptions
   SET status = :status, status_reason = :status_reason, failures = :failures, failing_since = :failing_since,
       retry_at = :retry_at, updated_at = :now
 WHERE pk = :pk"""


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A subscription without its secret; times in microseconds."""

    pk: int
    id: str
    workspace_id: str
    kind: str
    target_url: str | None
    task_id: str | None
    pattern: str
    status: str
    status_reason: str | None
    failures: int
    failing_since: int | None
    retry_at: int | None
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscription wants to be told of."""

    pk: int
    workspace_id: str
    kind: str
    pattern: str


def insert(tx: Transaction, row: dict[str, Any]) -> None:
    tx.run(_INSERT, **row)


def find(tx: Transaction, workspace_id: str, id_: str) -> SubscriptionView | None:
    found = tx.row(_SUBSCRIPTIONS + " AND s.id = :id", workspace_id=workspace_id, id=id_)
    return None if found is None else SubscriptionView(*found)


def listed(tx: Transaction, workspace_id: str, before: int | None, limit: int) -> list[SubscriptionView]:
    """A workspace's subscriptions, newest first, from the one after the key `before`."""
    sql = _SUBSCRIPTIONS + ("" if before is None else " AND s.pk < :before") + " ORDER BY s.pk DESC LIMIT :limit"
    return [SubscriptionView(*row) for row in tx.rows(sql, workspace_id=workspace_id, before=before, limit=limit)]


def wanted(tx: Transaction, workspace_ids: Sequence[str]) -> list[Wanted]:
    """The patterns of every subscription for which events are noted."""
    return [Wanted(*row) for row in tx.rows(_PATTERNS, workspace_ids=list(workspace_ids))]


def of_task(tx: Transaction, task_pk: int) -> dict[str, int]:
    """The keys of a task's own subscriptions, by their patterns."""
    return dict(tx.rows(_OF_TASK, task_pk=task_pk))


def set_pattern(tx: Transaction, pk: int, pattern: str, now: int) -> None:
    tx.run(_SET_PATTERN, pk=pk, pattern=pattern, now=now)


def delete(tx: Transaction, pk: int, now: int) -> None:
    """End it now; its deliveries are removed later, and its row after them."""
    tx.run(_DELETE, pk=pk, now=now)


def lock(tx: Transaction, pks: Sequence[int]) -> dict[int, tuple[Any, ...]]:
    """Lock subscriptions in the order of their keys; (status, reason, failures, failing since, retry at) by key."""
    return {row[0]: row[1:] for row in tx.rows(_LOCK, pks=sorted(pks))}


def set_standing(tx: Transaction, row: dict[str, Any]) -> None:
    tx.run(_SET_STANDING, **row)
