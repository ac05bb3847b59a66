"""Statements that find executions past their time, and remove them with all that belongs to them.

What is found is found without locks; `lock` checks it again. The records of an execution (calls, log lines, import
batches) are what there may be many of, so that they are counted and bounded; its workers are ten at most. A callback
goes with the call that it ended the wait of, and is not counted on its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.store.transaction import Transaction

# Walked in the order of the index, a page at a time, past those that must stay. Whether one is its task's newest, the
# next entry of another index tells: asked with NOT EXISTS, PostgreSQL may walk over all executions for each.
_ENDED = """
SELECT e.pk, e.ended_at,
       EXISTS (SELECT 1 FROM import_batches b WHERE b.execution_pk = e.pk AND b.status IN ('pending', 'refused')),
       coalesce((SELECT newer.task_pk FROM executions newer WHERE (newer.task_pk, newer.pk) > (e.task_pk, e.pk)
                  ORDER BY newer.task_pk, newer.pk LIMIT 1) <> e.task_pk, TRUE)
       AND EXISTS (SELECT 1 FROM task_definitions t WHERE t.pk = e.task_pk AND t.removed_at IS NULL)
  FROM executions e
 WHERE e.workspace_id = :workspace_id AND e.status = :status AND e.ended_at <= :until
   AND (e.ended_at, e.pk) > (:after_at, :after_pk)"""
_ENDED_ORDER = " ORDER BY e.ended_at, e.pk LIMIT :places"

_COUNT_CALLS = "SELECT execution_pk, count(*) FROM calls WHERE execution_pk IN :pks GROUP BY execution_pk"
_COUNT_LINES = "SELECT execution_pk, count(*) FROM log_lines WHERE execution_pk IN :pks GROUP BY execution_pk"
_COUNT_BATCHES = "SELECT execution_pk, count(*) FROM import_batches WHERE execution_pk IN :pks GROUP BY execution_pk"

# Against a retry: whoever has the execution's row first wins, and the other one finds it changed, or gone.
_LOCK = """
SELECT pk, task_pk, multiple_exec_key FROM executions
 WHERE pk IN :pks AND status = :status AND ended_at <= :until ORDER BY pk FOR UPDATE SKIP LOCKED"""
_HELD_BACK = """
SELECT DISTINCT execution_pk FROM import_batches WHERE execution_pk IN :pks AND status IN ('pending', 'refused')"""

_DROP_RECORDS = (
    "DELETE FROM calls WHERE execution_pk IN :pks",
    "DELETE FROM log_lines WHERE execution_pk IN :pks",
    "DELETE FROM import_batches WHERE execution_pk IN :pks",
    "DELETE FROM callbacks WHERE execution_pk IN :pks",
)
_DROP = (
    "DELETE FROM worker_states WHERE execution_pk IN :pks",
    "DELETE FROM workers WHERE execution_pk IN :pks",
    "DELETE FROM execution_details WHERE execution_pk IN :pks",
    "DELETE FROM executions WHERE pk IN :pks",
)
_LEAVE_RECORDS = "INSERT INTO purged_executions (execution_pk) VALUES (:pk)"
_NEXT_LEFT = "SELECT execution_pk FROM purged_executions ORDER BY execution_pk LIMIT 1 FOR UPDATE SKIP LOCKED"
_DROP_LEFT = (
    """
DELETE FROM calls WHERE execution_pk = :pk AND (worker_id, token) IN
       (SELECT worker_id, token FROM calls WHERE execution_pk = :pk ORDER BY worker_id, token LIMIT :places)""",
    """
DELETE FROM log_lines WHERE pk IN (SELECT pk FROM log_lines WHERE execution_pk = :pk ORDER BY pk LIMIT :places)""",
    """
DELETE FROM import_batches WHERE pk IN
       (SELECT pk FROM import_batches WHERE execution_pk = :pk ORDER BY pk LIMIT :places)""",
    """
DELETE FROM callbacks WHERE execution_pk = :pk AND (worker_id, step) IN
       (SELECT worker_id, step FROM callbacks WHERE execution_pk = :pk ORDER BY worker_id, step LIMIT :places)""",
)
_NOTHING_LEFT = "DELETE FROM purged_executions WHERE execution_pk = :pk"

# A group's row is its lock and nothing else: who needs it again makes it again. The one without a key stays.
_LOCK_GROUP = """
SELECT g.key FROM overlap_groups g
 WHERE g.task_pk = :task_pk AND g.key = :key AND NOT EXISTS (
       SELECT 1 FROM executions e WHERE e.task_pk = :task_pk AND e.multiple_exec_key = :key
          AND e.status IN ('pending', 'running') AND e.open_workers > 0)
   FOR UPDATE OF g SKIP LOCKED"""
_DROP_GROUP = "DELETE FROM overlap_groups WHERE task_pk = :task_pk AND key = :key"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which executions are meant: of one status, ended at `until` (microseconds) or before; None does not restrict."""

    workspace_id: str
    status: str
    until: int
    app_pks: Sequence[int] | None = None
    task_pks: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution past its time. It stays all the same if a batch of it is undelivered, or it is its task's newest."""

    pk: int
    ended_at: int
    is_held_back: bool
    is_newest: bool


@dataclass(frozen=True, slots=True)
class Records:
    """How much an execution has left behind."""

    calls: int = 0
    log_lines: int = 0
    import_batches: int = 0

    @property
    def rows(self) -> int:
        return self.calls + self.log_lines + self.import_batches


def ended(tx: Transaction, wanted: Filter, after: tuple[int, int], places: int) -> list[Ended]:
    """Executions in the order of their ends, from the one after `after` (its end and its key)."""
    sql = _ENDED
    if wanted.app_pks is not None:
        sql += " AND e.app_pk IN :app_pks"
    if wanted.task_pks is not None:
        sql += " AND e.task_pk IN :task_pks"
    rows = tx.rows(
        sql + _ENDED_ORDER,
        workspace_id=wanted.workspace_id,
        status=wanted.status,
        until=wanted.until,
        app_pks=list(wanted.app_pks or ()),
        task_pks=list(wanted.task_pks or ()),
        after_at=after[0],
        after_pk=after[1],
        places=places,
    )
    return [Ended(pk, ended_at, bool(held_back), bool(newest)) for pk, ended_at, held_back, newest in rows]


def records(tx: Transaction, pks: Sequence[int]) -> dict[int, Records]:
    """What each of the executions has left behind."""
    calls, lines, batches = (_counted(tx, sql, pks) for sql in (_COUNT_CALLS, _COUNT_LINES, _COUNT_BATCHES))
    return {pk: Records(calls.get(pk, 0), lines.get(pk, 0), batches.get(pk, 0)) for pk in pks}


def lock(tx: Transaction, pks: Sequence[int], status: str, until: int) -> dict[int, tuple[int, str]]:
    """Lock those that are still past their time and wait for no delivery; their (task, group's key) by key."""
    locked = {pk: (task_pk, key) for pk, task_pk, key in tx.rows(_LOCK, pks=sorted(pks), status=status, until=until)}
    held_back = {pk for (pk,) in tx.rows(_HELD_BACK, pks=sorted(locked))}
    return {pk: group for pk, group in locked.items() if pk not in held_back}


def drop(tx: Transaction, pks: Sequence[int]) -> None:
    """Remove executions that are locked, but for their records."""
    for sql in _DROP:
        tx.run(sql, pks=sorted(pks))


def drop_records(tx: Transaction, pks: Sequence[int]) -> None:
    """Remove the records of executions, however many there are."""
    for sql in _DROP_RECORDS:
        tx.run(sql, pks=sorted(pks))


def leave_records(tx: Transaction, pks: Sequence[int]) -> None:
    """Note that the records of these executions are still to be removed."""
    tx.run_many(_LEAVE_RECORDS, [{"pk": pk} for pk in pks])


def drop_left_records(tx: Transaction, places: int) -> int | None:
    """Remove up to `places` records of an execution that is gone; how many. None if there is no such execution."""
    found = tx.row(_NEXT_LEFT)
    if found is None:
        return None
    removed = 0
    for sql in _DROP_LEFT:
        if removed < places:
            removed += tx.run(sql, pk=found[0], places=places - removed)
    if removed < places:
        tx.run(_NOTHING_LEFT, pk=found[0])
    return removed


def drop_group(tx: Transaction, task_pk: int, key: str) -> None:
    """Remove an overlap group's row, unless it is in use."""
    if tx.rows(_LOCK_GROUP, task_pk=task_pk, key=key):
        tx.run(_DROP_GROUP, task_pk=task_pk, key=key)


def _counted(tx: Transaction, sql: str, pks: Sequence[int]) -> dict[int, int]:
    return {row[0]: row[1] for row in tx.rows(sql, pks=list(pks))}
