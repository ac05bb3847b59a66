"""Executions that ended some time ago, written straight into the tables."""

from dataclasses import dataclass
from datetime import timedelta

from orchestrator.store import lookups
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction
from tests.support.world import WORKSPACE

_COUNT = "WITH RECURSIVE counted (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counted WHERE i < :count)"
_EXECUTIONS = f"""
INSERT INTO executions (uid, workspace_id, id, number, app_pk, task_pk, version_pk, status, failing, attempt,
                        open_workers, multiple_exec_key, queues, created_at, started_at, ended_at)
{_COUNT}
SELECT :name || '-' || i, :workspace_id, :name || '-' || i, :first + i, :app_pk, :task_pk, :version_pk, :status, FALSE,
       1, 0, :key, FALSE, :ended_at + i, :ended_at + i, :ended_at + i FROM counted"""
_DETAILS = """
INSERT INTO execution_details (execution_pk, input) SELECT pk, '{}' FROM executions WHERE uid LIKE :pattern"""
_WORKERS = """
INSERT INTO workers (execution_pk, worker_id, app_pk, pull_task_pk, status, step, token, retry_count, idle_steps,
                     finished, waits, passed_over, resumes, called_back, early_callback, undelivered, held)
SELECT pk, 0, app_pk, NULL, 'failed', 1, 1, 0, 0, FALSE, FALSE, FALSE, FALSE, FALSE, FALSE, 0, FALSE
  FROM executions WHERE uid LIKE :pattern"""
_STATES = """
INSERT INTO worker_states (execution_pk, worker_id, state) SELECT pk, 0, '{}' FROM executions WHERE uid LIKE :pattern"""
_CALLS = f"""
INSERT INTO calls (execution_pk, worker_id, token, step, attempt, retry_count, outcome, answer, items, ended_at)
{_COUNT} SELECT pk, 0, i, i, 1, 0, 'applied', :answer, 0, ended_at
  FROM executions CROSS JOIN counted WHERE uid LIKE :pattern"""
_CALLBACKS = f"""
INSERT INTO callbacks (execution_pk, worker_id, step, fate, received_at, settled_at)
{_COUNT} SELECT pk, 0, i, 'timed_out', ended_at, ended_at FROM executions CROSS JOIN counted WHERE uid LIKE :pattern"""
_LINES = f"""
INSERT INTO log_lines (execution_pk, worker_id, step, line, logged_at)
{_COUNT} SELECT pk, 0, i, 'a line', ended_at FROM executions CROSS JOIN counted WHERE uid LIKE :pattern"""
_BATCHES = """
INSERT INTO import_batches (workspace_id, execution_pk, worker_id, step, part, key, items, item_count, status, tries,
                            created_at)
SELECT workspace_id, pk, 0, 0, 0, 'imp_' || uid, NULL, 1, :status, 1, ended_at
  FROM executions WHERE uid LIKE :pattern"""

_PARTS = ("execution_details", "workers", "worker_states", "calls", "callbacks", "log_lines", "import_batches")


@dataclass(frozen=True, slots=True)
class Past:
    """`count` executions, called `<name>-1` and so on, that ended `days` ago in this status."""

    name: str
    count: int = 1
    days: float = 100
    status: str = "succeeded"
    task_id: str = "app_test_run"
    key: str = ""
    calls: int = 2
    callbacks: int = 0
    log_lines: int = 1
    batch: str | None = "delivered"
    answer: str = "{}"


def insert_past(tx: Transaction, past: Past) -> None:
    """Write the executions, a worker each, and what they left behind."""
    task = lookups.task_key(tx, WORKSPACE, past.task_id)
    assert task is not None
    [(first,)] = tx.rows("SELECT coalesce(max(number), 1000000) FROM executions")
    written = tx.run(
        _EXECUTIONS,
        count=past.count,
        name=past.name,
        workspace_id=WORKSPACE,
        first=first,
        app_pk=task.app_pk,
        task_pk=task.pk,
        version_pk=task.version_pk,
        status=past.status,
        key=past.key,
        ended_at=to_micros(tx.now() - timedelta(days=past.days)),
    )
    assert written == past.count
    pattern = f"{past.name}-%"
    for sql in (_DETAILS, _WORKERS, _STATES):
        assert tx.run(sql, pattern=pattern) == past.count
    if past.calls:
        tx.run(_CALLS, count=past.calls, pattern=pattern, answer=past.answer)
    if past.callbacks:
        tx.run(_CALLBACKS, count=past.callbacks, pattern=pattern)
    if past.log_lines:
        tx.run(_LINES, count=past.log_lines, pattern=pattern)
    if past.batch is not None:
        tx.run(_BATCHES, status=past.batch, pattern=pattern)


def left_behind(tx: Transaction) -> dict[str, int]:
    """How many rows each table has that belong to no execution."""
    counts = {}
    for table in _PARTS:
        [(count,)] = tx.rows(f"SELECT count(*) FROM {table} WHERE execution_pk NOT IN (SELECT pk FROM executions)")
        counts[table] = count
    return {table: count for table, count in counts.items() if count}
