"""Very many workers at once, written straight into the tables."""

from orchestrator.store import lookups
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction
from tests.support.world import WORKSPACE

_COUNT = "WITH RECURSIVE counted (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counted WHERE i < :executions)"
_EXECUTIONS = f"""
INSERT INTO executions (uid, workspace_id, id, number, app_pk, task_pk, version_pk, status, failing, attempt,
                        open_workers, multiple_exec_key, queues, created_at, started_at, deadline_at)
{_COUNT}
SELECT 'crowd-' || :task_pk || '-' || i, :workspace_id, 'crowd-' || :task_pk || '-' || i,
       1000000 * (CAST(:task_pk AS bigint) + 1) + i, :app_pk, :task_pk, :version_pk, 'running', FALSE, 1,
       10, 'crowd-' || i, FALSE, :now, :now, :deadline_at FROM counted"""
_DETAILS = """
INSERT INTO execution_details (execution_pk, input)
SELECT pk, '{}' FROM executions WHERE task_pk = :task_pk AND id LIKE 'crowd-%'"""
_WORKERS = """
INSERT INTO workers (execution_pk, worker_id, app_pk, pull_task_pk, status, step, token, retry_count, idle_steps,
                     due_at, finished, waits, passed_over, resumes, called_back, early_callback, undelivered, held)
WITH RECURSIVE counted (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM counted WHERE i < 9)
SELECT pk, i, app_pk, NULL, 'ready', 0, 0, 0, 0, :due_at, FALSE, FALSE, FALSE, FALSE, FALSE, FALSE, 0, FALSE
  FROM executions CROSS JOIN counted WHERE task_pk = :task_pk AND id LIKE 'crowd-%'"""
_STATES = """
INSERT INTO worker_states (execution_pk, worker_id, state)
SELECT w.execution_pk, w.worker_id, '{}'
  FROM workers w JOIN executions e ON e.pk = w.execution_pk WHERE e.task_pk = :task_pk AND e.id LIKE 'crowd-%'"""

_WEEK_IN_MICROS = 7 * 86_400 * 1_000_000


def insert_crowd(tx: Transaction, task_id: str, workers: int, due_at: int) -> None:
    """Running executions of a task, with ten workers each that are all due at `due_at` (microseconds)."""
    task = lookups.task_key(tx, WORKSPACE, task_id)
    assert task is not None
    now = to_micros(tx.now())
    tx.run(
        _EXECUTIONS,
        executions=workers // 10,
        workspace_id=WORKSPACE,
        app_pk=task.app_pk,
        task_pk=task.pk,
        version_pk=task.version_pk,
        now=now,
        deadline_at=now + _WEEK_IN_MICROS,
    )
    tx.run(_DETAILS, task_pk=task.pk)
    assert tx.run(_WORKERS, task_pk=task.pk, due_at=due_at) == workers
    tx.run(_STATES, task_pk=task.pk)
