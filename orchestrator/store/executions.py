"""The hot statements on executions and their workers: lock, load, write what changed."""

from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.store.dialect import Dialect
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction

_LOCK = """
SELECT pk, uid, workspace_id, id, app_pk, task_pk, version_pk, multiple_exec_key, created_at,
       status, failing, attempt, open_workers, deadline_at, started_at, ended_at, message, max_retries
  FROM executions WHERE pk IN :pks ORDER BY pk FOR NO KEY UPDATE"""
_LOCK_OR_SKIP = f"{_LOCK} SKIP LOCKED"

_WORKERS = """
SELECT execution_pk, worker_id, status, step, token, retry_count, idle_steps, due_at, finished, waits, passed_over,
       awaited, resumes, called_back, early_callback, undelivered, refused, node, claimed_at, lease_until, started_at
  FROM workers WHERE execution_pk IN :pks"""
# A worker's id has one digit.
_SOME_WORKERS = f"{_WORKERS} AND execution_pk * 10 + worker_id IN :keys"
_STANDINGS = "SELECT execution_pk, worker_id, status, token, passed_over FROM workers WHERE execution_pk IN :pks"

# The guard is in the write itself: a row that another transaction has moved on is not touched.
_UPDATE = """
UPDATE executions
   SET status = r.status, failing = r.failing, attempt = r.attempt, open_workers = r.open_workers,
       deadline_at = r.deadline_at, started_at = r.started_at, ended_at = r.ended_at, message = r.message
  FROM :rows AS r (pk bigint, status text, failing boolean, attempt int, open_workers int, deadline_at bigint,
                   started_at bigint, ended_at bigint, message text, was_status text, was_attempt int)
 WHERE executions.pk = r.pk AND executions.status = r.was_status AND executions.attempt = r.was_attempt"""

_UPDATE_WORKER = """
UPDATE workers
   SET status = r.status, step = r.step, token = r.token, retry_count = r.retry_count, idle_steps = r.idle_steps,
       due_at = r.due_at, finished = r.finished, waits = r.waits, passed_over = r.passed_over,
       awaited = r.awaited, resumes = r.resumes, called_back = r.called_back, early_callback = r.early_callback,
       undelivered = r.undelivered, held = r.held, refused = r.refused,
       node = r.node, claimed_at = r.claimed_at, lease_until = r.lease_until, started_at = r.started_at
  FROM :rows AS r (execution_pk bigint, worker_id int, status text, step int, token int, retry_count int,
                   idle_steps int, due_at bigint, finished boolean, waits boolean, passed_over boolean, awaited int,
                   resumes boolean, called_back boolean, early_callback boolean, undelivered int, held boolean,
                   refused text, node text, claimed_at bigint, lease_until bigint, started_at bigint,
                   was_token int, was_status text)
 WHERE workers.execution_pk = r.execution_pk AND workers.worker_id = r.worker_id
   AND workers.token = r.was_token AND workers.status = r.was_status"""

# Of a worker that goes on, everything else stays: to write it again would take twice as long.
_RENEW_WORKER = """
UPDATE workers
   SET step = r.step, token = r.token, retry_count = r.retry_count, idle_steps = r.idle_steps,
       claimed_at = r.claimed_at, lease_until = r.lease_until
  FROM :rows AS r (execution_pk bigint, worker_id int, step int, token int, retry_count int, idle_steps int,
                   claimed_at bigint, lease_until bigint, was_token int, was_status text)
 WHERE workers.execution_pk = r.execution_pk AND workers.worker_id = r.worker_id
   AND workers.token = r.was_token AND workers.status = r.was_status"""

_INSERT_WORKER = """
INSERT INTO workers (execution_pk, worker_id, app_pk, pull_task_pk, status, step, token, retry_count, idle_steps,
                     due_at, finished, waits, passed_over, awaited, resumes, called_back, early_callback,
                     undelivered, held, refused, node, claimed_at, lease_until, started_at)
SELECT * FROM :rows AS r (execution_pk bigint, worker_id int, app_pk bigint, pull_task_pk bigint, status text, step int,
                          token int, retry_count int, idle_steps int, due_at bigint, finished boolean, waits boolean,
                          passed_over boolean, awaited int, resumes boolean, called_back boolean,
                          early_callback boolean, undelivered int, held boolean, refused text, node text,
                          claimed_at bigint, lease_until bigint, started_at bigint)"""

# Without a WHERE, SQLite takes ON for the beginning of a join.
_PUT_STATE = """
INSERT INTO worker_states (execution_pk, worker_id, state)
SELECT * FROM :rows AS r (execution_pk bigint, worker_id int, state text) WHERE true
ON CONFLICT (execution_pk, worker_id) DO UPDATE SET state = excluded.state"""

_INSERT_STATE = """
INSERT INTO worker_states (execution_pk, worker_id, state, output)
SELECT * FROM :rows AS r (execution_pk bigint, worker_id int, state text, output text)"""

_TELL = """
UPDATE worker_states
   SET state = coalesce(r.state, worker_states.state),
       message = nullif(coalesce(r.message, worker_states.message), ''),
       progress = coalesce(r.progress, worker_states.progress), subtext = coalesce(r.subtext, worker_states.subtext)
  FROM :rows AS r (execution_pk bigint, worker_id int, state text, message text, progress text, subtext text)
 WHERE worker_states.execution_pk = r.execution_pk AND worker_states.worker_id = r.worker_id"""

_SET_STATE = """
UPDATE worker_states SET state = r.state
  FROM :rows AS r (execution_pk bigint, worker_id int, state text)
 WHERE worker_states.execution_pk = r.execution_pk AND worker_states.worker_id = r.worker_id"""

_FORGET_MESSAGES = """
UPDATE worker_states SET message = NULL WHERE execution_pk = :pk AND worker_id IN :worker_ids"""

# SQLite has no arrays to unnest, PostgreSQL no json_each.
_STATES = {
    Dialect.SQLITE: """
SELECT execution_pk, worker_id, state FROM worker_states
 WHERE (execution_pk, worker_id) IN
       (SELECT pk.value, id.value FROM json_each(:pks) pk JOIN json_each(:ids) id ON id.key = pk.key)""",
    Dialect.POSTGRESQL: """
SELECT execution_pk, worker_id, state FROM worker_states
 WHERE (execution_pk, worker_id) IN (SELECT pk, id FROM unnest(:pks::bigint[], :ids::int[]) AS wanted (pk, id))""",
}

_RESULTS = """
SELECT w.worker_id, w.status, s.state, s.output FROM workers w
  JOIN worker_states s ON s.execution_pk = w.execution_pk AND s.worker_id = w.worker_id
 WHERE w.execution_pk = :pk ORDER BY w.worker_id"""


def lock(pks: Iterable[int], *, skip_locked: bool = False) -> Read:
    """Lock the executions in the order of their keys and read them; `skip_locked` leaves out those held elsewhere.

    `Transaction.read_at` then tells since when they are held.
    """
    return Read(_LOCK_OR_SKIP if skip_locked else _LOCK, {"pks": sorted(pks)}, at_once=True, is_timed=True)


def workers(pks: Iterable[int], only: Iterable[tuple[int, int]] | None = None) -> Read:
    """Every worker of the executions, or only these; whoever holds an execution's lock may rely on them."""
    if only is None:
        return Read(_WORKERS, {"pks": sorted(pks)}, at_once=True)
    return Read(_SOME_WORKERS, {"pks": sorted(pks), "keys": sorted(pk * 10 + id_ for pk, id_ in only)}, at_once=True)


def standings(pks: Iterable[int]) -> Read:
    """(execution, worker id, status, token, whether it is passed over) of every worker of the executions."""
    return Read(_STANDINGS, {"pks": sorted(pks)}, at_once=True)


def write(
    tx: Transaction,
    executions: Sequence[dict[str, Any]],
    workers: Sequence[dict[str, Any]],
    renewals: Sequence[dict[str, Any]],
    new: Sequence[dict[str, Any]] = (),
) -> tuple[int, int]:
    """Update executions and workers, each behind its guard; returns how many executions and how many workers were.

    `renewals`: workers of whom only the numbers and the times of the claim have changed. `new` workers are inserted.
    """
    counts = tx.run_each(
        (_UPDATE, executions), (_UPDATE_WORKER, workers), (_RENEW_WORKER, renewals), (_INSERT_WORKER, new)
    )
    return counts[0], counts[1] + counts[2]


def put_states(tx: Transaction, rows: Sequence[dict[str, Any]]) -> int:
    """Set the JSON state of spawned workers; one that starts again keeps its output."""
    if rows:
        # They may have told something in this very commit.
        tx.settle()
    return tx.run_all(_PUT_STATE, rows)


def insert_states_soon(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """What the workers of a new execution begin with, put off."""
    tx.put_off(_INSERT_STATE, rows)


def tell(tx: Transaction, rows: Sequence[dict[str, Any]]) -> int:
    """Set a worker's state, message, progress and subtext; None keeps what is there, an empty message removes it."""
    return tx.run_all(_TELL, rows)


def tell_soon(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """As `tell`, put off."""
    more = ("message", "progress", "subtext")
    tells_more = any(row["state"] is None or any(row[name] is not None for name in more) for row in rows)
    tx.put_off(_TELL if tells_more else _SET_STATE, rows)


def forget_messages(tx: Transaction, pk: int, worker_ids: Iterable[int]) -> None:
    """Remove what the workers last told."""
    tx.run(_FORGET_MESSAGES, pk=pk, worker_ids=sorted(worker_ids))


def states(dialect: Dialect, wanted: Sequence[tuple[int, int]]) -> Read:
    """The JSON states of (execution, worker id) pairs, each as (execution, worker id, state)."""
    parameters = {"pks": [pk for pk, _ in wanted], "ids": [worker_id for _, worker_id in wanted]}
    return Read(_STATES[dialect], parameters)


def results(tx: Transaction, pk: int) -> list[tuple[int, str, str, str | None]]:
    """(worker id, status, state, output) of every worker of an execution."""
    return [(worker_id, status, state, output) for worker_id, status, state, output in tx.rows(_RESULTS, pk=pk)]


_MERGEABLE_EXECUTION = "SELECT output FROM execution_details WHERE execution_pk = :pk"
_MERGEABLE_WORKER = "SELECT output FROM worker_states WHERE execution_pk = :pk AND worker_id = :worker_id"
_SET_OUTPUT = "UPDATE execution_details SET output = :output WHERE execution_pk = :pk"
_SET_WORKER_OUTPUT = "UPDATE worker_states SET output = :output WHERE execution_pk = :pk AND worker_id = :worker_id"


def outputs(tx: Transaction, pk: int, worker_id: int) -> tuple[str | None, str | None]:
    """The JSON texts of the execution's output and of the worker's."""
    whole = tx.row(_MERGEABLE_EXECUTION, pk=pk)
    own = tx.row(_MERGEABLE_WORKER, pk=pk, worker_id=worker_id)
    return (whole[0] if whole else None, own[0] if own else None)


def set_outputs(tx: Transaction, pk: int, worker_id: int, *, whole: str, own: str) -> None:
    tx.run(_SET_OUTPUT, pk=pk, output=whole)
    tx.run(_SET_WORKER_OUTPUT, pk=pk, worker_id=worker_id, output=own)


def set_subtext(tx: Transaction, pk: int, subtext: str) -> None:
    tx.run("UPDATE execution_details SET subtext = :subtext WHERE execution_pk = :pk", pk=pk, subtext=subtext)
