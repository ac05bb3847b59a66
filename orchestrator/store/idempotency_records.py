"""Statements on what a POST with an Idempotency-Key was answered."""

from dataclasses import dataclass

from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(:lock)"
_FIND = """
SELECT body_hash, status, answer FROM idempotency_records
 WHERE workspace_id = :workspace_id AND token_id = :token_id AND route = :route AND key = :key
   AND created_at > :since"""
# One that is too old to count is in the way only of this statement.
_PUT = """
INSERT INTO idempotency_records (workspace_id, token_id, route, key, body_hash, status, answer, created_at)
VALUES (:workspace_id, :token_id, :route, :key, :body_hash, :status, :answer, :created_at)
ON CONFLICT (workspace_id, token_id, route, key) DO UPDATE
   SET body_hash = excluded.body_hash, status = excluded.status, answer = excluded.answer,
       created_at = excluded.created_at"""


@dataclass(frozen=True, slots=True)
class RecordKey:
    """What an Idempotency-Key is unique within, and the key."""

    workspace_id: str
    token_id: str
    route: str
    key: str


@dataclass(frozen=True, slots=True)
class Record:
    """An answer that was given; `answer` is JSON text."""

    body_hash: str
    status: int
    answer: str


def try_lock(tx: Transaction, lock: int) -> bool:
    """Take a lock until the commit; False if another transaction has it. `lock` is a signed 64-bit number.

    SQLite: its one writer runs one transaction after the other.
    """
    if tx.dialect is Dialect.SQLITE:
        return True
    [(taken,)] = tx.rows(_TRY_LOCK, lock=lock)
    return bool(taken)


def find(tx: Transaction, key: RecordKey, since: int) -> Record | None:
    """The record, unless it is from `since` (microseconds) or before."""
    found = tx.row(_FIND, **_named(key), since=since)
    return None if found is None else Record(*found)


def put(tx: Transaction, key: RecordKey, record: Record, now: int) -> None:
    tx.run(
        _PUT,
        **_named(key),
        body_hash=record.body_hash,
        status=record.status,
        answer=record.answer,
        created_at=now,
    )


def _named(key: RecordKey) -> dict[str, str]:
    return {"workspace_id": key.workspace_id, "token_id": key.token_id, "route": key.route, "key": key.key}
