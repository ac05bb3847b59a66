"""Statements on the steps that executors claim: which are due, which limits are reached, which claims run out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.store.dialect import Dialect
from orchestrator.store.lookups import ExecutionKey
from orchestrator.store.transaction import Transaction

# An id may name several tasks in turn, one after the other was removed: executions of each may be live.
_NAMED = """
SELECT id, pk FROM task_definitions WHERE workspace_id = :workspace_id AND id IN :names
 UNION SELECT alias, task_pk FROM task_aliases WHERE workspace_id = :workspace_id AND alias IN :names"""
_TASKS = """
SELECT t.pk, t.app_pk, t.version_pk, a.status = 'active' AND a.deleted_at IS NULL
  FROM task_definitions t JOIN apps a ON a.pk = t.app_pk WHERE t.pk IN :pks ORDER BY t.pk"""

_WAITING = """
SELECT execution_pk, worker_id, token, due_at FROM workers
 WHERE pull_task_pk = :task_pk AND status = 'ready' AND NOT held AND due_at IS NOT NULL AND due_at <= :now
 ORDER BY due_at LIMIT :places"""

# Each key has its own turn order, so that a key at its limit keeps nobody else waiting, however many wait for it.
_WAITING_BY_KEY = """
SELECT execution_pk, worker_id, token, due_at FROM (
       SELECT w.execution_pk, w.worker_id, w.token, w.due_at, coalesce(busy.claims, 0) AS claims,
              row_number() OVER (PARTITION BY e.concurrency_key ORDER BY w.due_at, w.execution_pk, w.worker_id) AS turn
         FROM workers w JOIN executions e ON e.pk = w.execution_pk
         LEFT JOIN (SELECT coalesce(e2.concurrency_key, '') AS key, count(*) AS claims
                      FROM workers w2 JOIN executions e2 ON e2.pk = w2.execution_pk
                     WHERE w2.pull_task_pk = :task_pk AND w2.status = 'calling'
                     GROUP BY coalesce(e2.concurrency_key, '')) AS busy
           ON busy.key = coalesce(e.concurrency_key, '')
        WHERE w.pull_task_pk = :task_pk AND w.status = 'ready' AND NOT w.held AND w.due_at IS NOT NULL
          AND w.due_at <= :now) AS waiting
 WHERE claims + turn <= :most ORDER BY due_at LIMIT :places"""

_FIRST_DUE = """
SELECT min(due_at) FROM workers
 WHERE pull_task_pk IN :task_pks AND status = 'ready' AND NOT held AND due_at IS NOT NULL AND due_at > :now"""
_LOCK_TASKS = "SELECT pk FROM task_definitions WHERE pk IN :pks ORDER BY pk FOR NO KEY UPDATE"
_BUSY = """
SELECT w.pull_task_pk, coalesce(e.concurrency_key, ''), count(*)
  FROM workers w JOIN executions e ON e.pk = w.execution_pk
 WHERE w.pull_task_pk IN :task_pks AND w.status = 'calling'
 GROUP BY w.pull_task_pk, coalesce(e.concurrency_key, '')"""
_INPUT_SIZES = "SELECT execution_pk, length(input) FROM execution_details WHERE execution_pk IN :pks"
_KEYS = "SELECT pk, coalesce(concurrency_key, '') FROM executions WHERE pk IN :pks"

_RUN_OUT = """
SELECT execution_pk, worker_id, token FROM workers
 WHERE status = 'calling' AND pull_task_pk IS NOT NULL AND lease_until <= :now ORDER BY lease_until LIMIT :places"""
# The signs keep SQLite from walking over all workers in the order of their key, for the few that are calling.
_CLAIMS = """
SELECT execution_pk, worker_id, token FROM workers
 WHERE status = 'calling' AND pull_task_pk IS NOT NULL AND (+execution_pk, +worker_id) > (:execution_pk, :worker_id)
 ORDER BY +execution_pk, +worker_id LIMIT :places"""
_FIRST_END = "SELECT min(lease_until) FROM workers WHERE status = 'calling' AND pull_task_pk IS NOT NULL"

_WORKER = """
SELECT e.pk, e.app_pk, e.task_pk, e.version_pk, e.multiple_exec_key, w.pull_task_pk IS NOT NULL
  FROM executions e JOIN workers w ON w.execution_pk = e.pk
 WHERE e.workspace_id = :workspace_id AND e.id = :id AND w.worker_id = :worker_id"""
_ENDED_CLAIM = """
SELECT outcome, failure, message, digest FROM calls
 WHERE execution_pk = :pk AND worker_id = :worker_id AND token = :token"""

Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task with its app and its present version; `is_active`: so is the app, as it was seen without locks."""

    pk: int
    app_pk: int
    version_pk: int
    is_active: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that is due, as it was seen without locks; `due_at` in microseconds."""

    execution_pk: int
    worker_id: int
    token: int
    due_at: int
    task_pk: int


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """A worker of an execution; `is_pull`: executors claim its steps."""

    key: ExecutionKey
    is_pull: bool


@dataclass(frozen=True, slots=True)
class EndedClaim:
    """How a claim ended, and what its executor said, as a digest."""

    outcome: str
    failure: str | None
    message: str | None
    digest: str | None


def named(tx: Transaction, workspace_id: str, names: Collection[str]) -> dict[str, set[int]]:
    """The tasks that have, or had, these ids, and those with these aliases."""
    found: dict[str, set[int]] = {}
    for name, pk in tx.rows(_NAMED, workspace_id=workspace_id, names=sorted(names)):
        found.setdefault(name, set()).add(pk)
    return found


def tasks(tx: Transaction, pks: Iterable[int]) -> list[TaskRow]:
    rows = tx.rows(_TASKS, pks=sorted(pks))
    return [TaskRow(pk, app_pk, version_pk, bool(is_active)) for pk, app_pk, version_pk, is_active in rows]


def worker(tx: Transaction, workspace_id: str, execution_id: str, worker_id: int) -> WorkerPlace | None:
    found = tx.row(_WORKER, workspace_id=workspace_id, id=execution_id, worker_id=worker_id)
    return None if found is None else WorkerPlace(ExecutionKey(*found[:-1]), bool(found[-1]))


def waiting(tx: Transaction, task_pk: int, now: int, places: int) -> list[Waiting]:
    """The due steps of a task that wait longest."""
    rows = tx.rows(_WAITING, task_pk=task_pk, now=now, places=places)
    return [Waiting(pk, worker_id, token, due_at, task_pk) for pk, worker_id, token, due_at in rows]


def waiting_by_key(tx: Transaction, task_pk: int, now: int, places: int, most: int) -> list[Waiting]:
    """As `waiting`, without those whose concurrency key would be over `most` claims."""
    rows = tx.rows(_WAITING_BY_KEY, task_pk=task_pk, now=now, places=places, most=most)
    return [Waiting(pk, worker_id, token, due_at, task_pk) for pk, worker_id, token, due_at in rows]


def first_due(tx: Transaction, task_pks: Iterable[int], now: int) -> int | None:
    """When the next step of the tasks becomes due, in microseconds."""
    [(due_at,)] = tx.rows(_FIRST_DUE, task_pks=sorted(task_pks), now=now)
    return None if due_at is None else int(due_at)


def lock_tasks(tx: Transaction, pks: Iterable[int]) -> None:
    """Take the turn of counting the claims of these tasks; held until the commit."""
    if tx.dialect is Dialect.POSTGRESQL:
        tx.rows(_LOCK_TASKS, pks=sorted(pks))


def busy(tx: Transaction, task_pks: Iterable[int]) -> dict[tuple[int, str], int]:
    """How many claims each (task, concurrency key) has; those without a key count together, under an empty one."""
    rows = tx.rows(_BUSY, task_pks=sorted(task_pks))
    return {(task_pk, key): count for task_pk, key, count in rows}


def input_sizes(tx: Transaction, execution_pks: Iterable[int]) -> Mapping[int, int]:
    """How many characters the inputs of executions have."""
    return {row[0]: row[1] for row in tx.rows(_INPUT_SIZES, pks=sorted(execution_pks))}


def keys(tx: Transaction, execution_pks: Iterable[int]) -> Mapping[int, str]:
    """The concurrency keys of executions; empty for one without."""
    return {row[0]: row[1] for row in tx.rows(_KEYS, pks=sorted(execution_pks))}


def run_out(tx: Transaction, now: int, places: int) -> list[Key]:
    """(execution, worker id, token) of pull claims whose time is up."""
    return [(pk, worker_id, token) for pk, worker_id, token in tx.rows(_RUN_OUT, now=now, places=places)]


def claims(tx: Transaction, after: tuple[int, int], places: int) -> Sequence[Key]:
    """(execution, worker id, token) of pull claims, in the order of their keys, from the one after."""
    rows = tx.rows(_CLAIMS, execution_pk=after[0], worker_id=after[1], places=places)
    return [(pk, worker_id, token) for pk, worker_id, token in rows]


def first_end(tx: Transaction) -> int | None:
    """When the next pull claim runs out, in microseconds."""
    [(until,)] = tx.rows(_FIRST_END)
    return None if until is None else int(until)


def ended_claim(tx: Transaction, pk: int, worker_id: int, token: int) -> EndedClaim | None:
    """The record of a claim that is over."""
    found = tx.row(_ENDED_CLAIM, pk=pk, worker_id=worker_id, token=token)
    return None if found is None else EndedClaim(*found)
