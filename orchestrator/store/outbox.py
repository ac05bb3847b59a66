"""The hot statements on import batches.

Only the first undelivered batch of a worker has a due time; the next one gets it when that one is out of the way.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.transaction import Transaction

_PUT = """
INSERT INTO import_batches (workspace_id, execution_pk, worker_id, step, part, key, items, item_count, status, tries,
                            due_at, created_at)
SELECT r.workspace_id, r.execution_pk, r.worker_id, r.step, r.part, r.key, r.items, r.item_count, 'pending', 0,
       r.due_at, r.created_at
  FROM :rows AS r (workspace_id text, execution_pk bigint, worker_id int, step int, part int, key text, items text,
                   item_count int, due_at bigint, created_at bigint)"""

# The due time moves on by the lease when a node takes a batch: should the node die, another one takes it then.
_DUE = """
SELECT pk FROM import_batches
 WHERE status = 'pending' AND due_at IS NOT NULL AND due_at <= :now
 ORDER BY due_at LIMIT :places FOR UPDATE SKIP LOCKED"""
_TAKE = "UPDATE import_batches SET due_at = :until, node = :node, tries = tries + 1 WHERE pk IN :pks"
# A heuristic, without locks: who takes one in has the lock of its execution.
_FIND_DUE = """
SELECT pk, workspace_id, execution_pk, worker_id, key, items, tries FROM import_batches
 WHERE status = 'pending' AND due_at IS NOT NULL AND due_at <= :now ORDER BY due_at LIMIT :places"""
_TRY = "UPDATE import_batches SET tries = tries + 1 WHERE pk = :pk AND status = 'pending' AND due_at <= :now"
# One that is taken or answered at this moment is not waited for: it is out of the way, or found at the next look.
_RELEASE = """
UPDATE import_batches SET due_at = :now, node = NULL WHERE pk IN
       (SELECT b.pk FROM import_batches b JOIN nodes n ON n.id = b.node
         WHERE b.node IS NOT NULL AND n.heartbeat_at < :before LIMIT :places FOR UPDATE OF b SKIP LOCKED)"""
_OF_NODE = "SELECT pk FROM import_batches WHERE node = :node FOR UPDATE SKIP LOCKED"
_GIVE_BACK = "UPDATE import_batches SET due_at = :now, node = NULL WHERE pk IN :pks"
_READ = """
SELECT b.pk, b.workspace_id, b.execution_pk, b.worker_id, b.key, b.items, b.tries, w.secret_encrypted
  FROM import_batches b JOIN workspaces w ON w.id = b.workspace_id WHERE b.pk IN :pks ORDER BY b.pk"""
_FIRST_DUE = "SELECT min(due_at) FROM import_batches WHERE status = 'pending' AND due_at IS NOT NULL"

_DELIVERED = """
UPDATE import_batches
   SET status = :status, items = NULL, due_at = NULL, node = NULL, ended_at = :now, message = :message
 WHERE pk = :pk AND status IN ('pending', 'refused')"""
_POSTPONE = """
UPDATE import_batches SET due_at = :due_at, node = NULL, message = :message WHERE pk = :pk AND status = 'pending'"""
_REFUSE = """
UPDATE import_batches SET status = 'refused', due_at = NULL, node = NULL, message = :message
 WHERE pk = :pk AND status = 'pending'"""
_NEXT = """
UPDATE import_batches SET due_at = :now
 WHERE due_at IS NULL AND status = 'pending' AND pk =
       (SELECT min(pk) FROM import_batches
         WHERE execution_pk = :execution_pk AND worker_id = :worker_id AND status IN ('pending', 'refused'))"""
_FIRST_REFUSED = """
SELECT key, message FROM import_batches WHERE execution_pk = :execution_pk AND status = 'refused' ORDER BY pk LIMIT 1"""
_REDELIVER = """
UPDATE import_batches SET status = 'pending', due_at = :now WHERE pk = :pk AND status = 'refused'"""
_EXPIRE_LEASES = "UPDATE import_batches SET due_at = :now, node = NULL WHERE status = 'pending' AND due_at > :now"


@dataclass(frozen=True, slots=True)
class OutgoingBatch:
    """A batch as the sender needs it; `items` is a JSON array, the workspace's secret is still encrypted."""

    pk: int
    workspace_id: str
    execution_pk: int
    worker_id: int
    key: str
    items: str
    tries: int
    secret_encrypted: str


@dataclass(frozen=True, slots=True)
class DueBatch:
    """A batch as the built-in collector needs it; `items` is a JSON array."""

    pk: int
    workspace_id: str
    execution_pk: int
    worker_id: int
    key: str
    items: str
    tries: int


def put(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.run_all(_PUT, rows)


def take(tx: Transaction, places: int, node: str, now: int, until: int) -> list[OutgoingBatch]:
    """Take up to `places` due batches for a node until `until`; both times in microseconds."""
    pks = [pk for (pk,) in tx.rows(_DUE, now=now, places=places)]
    if not pks:
        return []
    tx.run(_TAKE, pks=pks, node=node, until=until)
    return [OutgoingBatch(*row) for row in tx.rows(_READ, pks=pks)]


def due(tx: Transaction, places: int, now: int) -> list[DueBatch]:
    """Up to `places` due batches, which stay where they are."""
    return [DueBatch(*row) for row in tx.rows(_FIND_DUE, now=now, places=places)]


def begin_try(tx: Transaction, pk: int, now: int) -> bool:
    """Count a try; False if the batch is no longer due."""
    return tx.run(_TRY, pk=pk, now=now) == 1


def release_lost(tx: Transaction, before: int, places: int, now: int) -> int:
    """Make due what nodes were sending that have been silent since `before`; returns how many batches it was."""
    return tx.run(_RELEASE, before=before, places=places, now=now)


def release_unknown(tx: Transaction, node: str, known: Collection[int], now: int) -> None:
    """Make due what is noted as being sent by a node, but for the batches that it knows of."""
    pks = [pk for (pk,) in tx.rows(_OF_NODE, node=node) if pk not in known]
    if pks:
        tx.run(_GIVE_BACK, pks=pks, now=now)


def first_due(tx: Transaction) -> int | None:
    """When the next batch is due, in microseconds; None if none is waiting."""
    found = tx.row(_FIRST_DUE)
    return found[0] if found else None


def close(tx: Transaction, pk: int, status: str, message: str | None, now: int) -> bool:
    """Mark a batch as delivered or discarded and drop its items; False if it already was."""
    return tx.run(_DELIVERED, pk=pk, status=status, message=message, now=now) == 1


def postpone(tx: Transaction, pk: int, due_at: int, message: str) -> None:
    tx.run(_POSTPONE, pk=pk, due_at=due_at, message=message)


def refuse(tx: Transaction, pk: int, message: str) -> bool:
    """Keep a batch that the collector refused, with its words; False if it is no longer pending."""
    return tx.run(_REFUSE, pk=pk, message=message) == 1


def release_next(tx: Transaction, execution_pk: int, worker_id: int, now: int) -> None:
    """Make the worker's first undelivered batch due, unless a refused one is before it."""
    tx.run(_NEXT, execution_pk=execution_pk, worker_id=worker_id, now=now)


def first_refused(tx: Transaction, execution_pk: int) -> tuple[str, str] | None:
    """The key of the execution's first refused batch, and what the collector said."""
    found = tx.row(_FIRST_REFUSED, execution_pk=execution_pk)
    return None if found is None else (found[0], found[1])


def redeliver(tx: Transaction, pk: int, now: int) -> bool:
    """Make a refused batch due again; False if it is not refused."""
    return tx.run(_REDELIVER, pk=pk, now=now) == 1


def void_leases(tx: Transaction, now: int) -> None:
    """At the boot of the only server: nobody else is sending."""
    tx.run(_EXPIRE_LEASES, now=now)


_FIND = """
SELECT pk, execution_pk, worker_id, status, message FROM import_batches
 WHERE workspace_id = :workspace_id AND key = :key"""


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """A batch as an operator's verb needs it."""

    pk: int
    execution_pk: int
    worker_id: int
    status: str
    message: str | None


def find(tx: Transaction, workspace_id: str, key: str) -> KnownBatch | None:
    found = tx.row(_FIND, workspace_id=workspace_id, key=key)
    return None if found is None else KnownBatch(*found)
