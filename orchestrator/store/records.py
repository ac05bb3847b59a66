"""Statements that record what happened: calls, log lines."""

from collections.abc import Sequence
from typing import Any

from orchestrator.store.transaction import Transaction

# A claim has one record. It may exist already: as `lost`, which a late answer turns into `fenced`; or as `applied`,
# when a commit whose outcome was unknown is tried again, and then it stands.
_RECORD_CALL = """
INSERT INTO calls (execution_pk, worker_id, token, step, attempt, retry_count, outcome, failure, http_status,
                   message, notes, spawned, rests, answer, digest, items, node, started_at, ended_at)
SELECT * FROM :rows AS r (execution_pk bigint, worker_id int, token int, step int, attempt int, retry_count int,
                          outcome text, failure text, http_status int, message text, notes text, spawned text,
                          rests text, answer text, digest text, items int, node text, started_at bigint,
                          ended_at bigint)
 WHERE true
ON CONFLICT (execution_pk, worker_id, token) DO UPDATE
   SET outcome = excluded.outcome, failure = excluded.failure, http_status = excluded.http_status,
       message = excluded.message, notes = excluded.notes, spawned = excluded.spawned,
       rests = excluded.rests, answer = excluded.answer, ended_at = excluded.ended_at
 WHERE calls.outcome = 'lost'"""

_LOG = """
INSERT INTO log_lines (execution_pk, worker_id, step, line, logged_at)
SELECT * FROM :rows AS r (execution_pk bigint, worker_id int, step int, line text, logged_at bigint)"""


def record_calls(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.run_all(_RECORD_CALL, rows)


def record_calls_soon(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """As `record_calls`, put off."""
    tx.put_off(_RECORD_CALL, rows)


def log(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    tx.run_all(_LOG, rows)
