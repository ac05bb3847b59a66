"""Reads a dump from the database of a run that is over: a SQLite file or a PostgreSQL database, by plain SELECTs."""

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from tests.history.dump import (
    NOBODY,
    App,
    Batch,
    CallbackRow,
    CallRow,
    Dump,
    Execution,
    Occurrence,
    Schedule,
    Seed,
    Worker,
)
from tests.history.json_lines import digest, digests, object_in

Rows = Callable[[LiteralString], Iterator[tuple[Any, ...]]]

_FETCHED_AT_ONCE = 500
_MICROS = 1_000_000

_EXECUTIONS = """
SELECT e.pk, e.workspace_id, e.id, e.app_pk, e.task_pk, e.status, e.failing, e.attempt, e.open_workers, e.ended_at,
       d.input, d.beginning, d.launched_by
  FROM executions e LEFT JOIN execution_details d ON d.execution_pk = e.pk"""
_WORKERS = """
SELECT w.execution_pk, w.worker_id, w.status, w.step, w.token, w.undelivered, s.state
  FROM workers w LEFT JOIN worker_states s ON s.execution_pk = w.execution_pk AND s.worker_id = w.worker_id"""
_CALLS = """
SELECT execution_pk, worker_id, token, step, attempt, outcome, answer, items, spawned
  FROM calls ORDER BY execution_pk, worker_id, token"""
_APPS = """
SELECT a.pk, a.workspace_id, a.id, s.state, s.version FROM apps a LEFT JOIN app_states s ON s.app_pk = a.pk
 ORDER BY a.pk"""
_BATCHES = """
SELECT execution_pk, worker_id, step, part, key, item_count, status, items
  FROM import_batches ORDER BY execution_pk, worker_id, step, part"""
_COLLECTED = "SELECT batch_key, item FROM collected_items ORDER BY pk"
_COLLECTED_KEYS = "SELECT key FROM collected_batches"
_OCCURRENCES = """
SELECT task_pk, slot_at, outcome, execution_pk, note FROM occurrences ORDER BY task_pk, slot_at"""
_SCHEDULES = "SELECT task_pk, anchor_at, next_slot_at, due_at, definition FROM schedules"
_CALLBACKS = "SELECT execution_pk, worker_id, step, fate FROM callbacks"
_TASKS = "SELECT pk, id FROM task_definitions"


@contextmanager
def opened_dump(url: str) -> Iterator[Dump]:
    """The dump of a database: a path, sqlite:///path or postgresql://. Its calls can be read until the block ends."""
    with _connected(url) as rows:
        yield Dump(
            executions={row[0]: _execution(*row) for row in rows(_EXECUTIONS)},
            workers={(row[0], row[1]): _worker(*row) for row in rows(_WORKERS)},
            apps={row[0]: _app(*row) for row in rows(_APPS)},
            tasks=dict(rows(_TASKS)),
            batches=[_batch(*row) for row in rows(_BATCHES)],
            collected=_collected(rows),
            occurrences=[Occurrence(*row) for row in rows(_OCCURRENCES)],
            schedules=[_schedule(*row) for row in rows(_SCHEDULES)],
            callbacks=[CallbackRow(*row) for row in rows(_CALLBACKS)],
            calls=(_call(*row) for row in rows(_CALLS)),
        )


@contextmanager
def _connected(url: str) -> Iterator[Rows]:
    if url.startswith(("postgresql:", "postgres:")):
        with psycopg.connect(url) as connection:
            # One snapshot for all the tables.
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            yield lambda statement: _streamed(connection, statement)
        return
    path = Path(url.removeprefix("sqlite:///")).resolve(strict=True)
    file = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        file.execute("BEGIN")
        yield file.execute
    finally:
        file.close()


def _streamed(connection: psycopg.Connection[tuple[Any, ...]], statement: LiteralString) -> Iterator[tuple[Any, ...]]:
    with connection.cursor(name="history") as cursor:
        cursor.itersize = _FETCHED_AT_ONCE
        cursor.execute(statement)
        yield from cursor


def _execution(
    pk: int,
    workspace: str,
    id_: str,
    app_pk: int,
    task_pk: int,
    status: str,
    failing: object,
    attempt: int,
    open_workers: int,
    ended_at: int | None,
    input_: str | None,
    beginning: str | None,
    launched_by: str | None,
) -> Execution:
    return Execution(
        pk=pk,
        workspace=workspace,
        id=id_,
        app_pk=app_pk,
        task_pk=task_pk,
        status=status,
        failing=bool(failing),
        attempt=attempt,
        open_workers=open_workers,
        ended_at=ended_at,
        is_scheduled="schedule" in (object_in(launched_by) or {}),
        input=b"" if input_ is None else digest(json.loads(input_)),
        seeds=None if input_ is None else _seeds(input_, beginning),
    )


def _seeds(input_: str, beginning: str | None) -> Mapping[int, Seed]:
    if beginning is None:
        return {0: Seed(digest(json.loads(input_)))}
    kept = json.loads(beginning)["seeds"]
    return {
        int(worker_id): Seed(digest(seed["state"]), seed["rests"], seed.get("callback") is not None)
        for worker_id, seed in kept.items()
    }


def _worker(pk: int, id_: int, status: str, step: int, token: int, undelivered: int, state: str | None) -> Worker:
    return Worker(pk, id_, status, step, token, undelivered, None if state is None else digest(json.loads(state)))


def _call(
    pk: int,
    worker_id: int,
    token: int,
    step: int,
    attempt: int,
    outcome: str,
    answer: str | None,
    items: int,
    spawned: str | None,
) -> CallRow:
    tokens = {int(id_): token for id_, token in (object_in(spawned) or {}).items()} if spawned else NOBODY
    return CallRow(pk, worker_id, token, step, attempt, outcome, object_in(answer), items, tokens)


def _app(pk: int, workspace: str, id_: str, state: str | None, version: int | None) -> App:
    return App(pk, workspace, id_, object_in(state), version or 0)


def _batch(
    pk: int, worker_id: int, step: int, part: int, key: str, item_count: int, status: str, items: str | None
) -> Batch:
    kept = None if items is None else digests(json.loads(items))
    return Batch(pk, worker_id, step, part, sys.intern(key), item_count, status, kept)


def _collected(rows: Rows) -> dict[str, bytes]:
    kept: dict[str, list[bytes]] = {key: [] for (key,) in rows(_COLLECTED_KEYS)}
    for key, item in rows(_COLLECTED):
        kept.setdefault(key, []).append(digest(json.loads(item)))
    return {key: b"".join(parts) for key, parts in kept.items()}


def _schedule(task_pk: int, anchor_at: int, next_slot_at: int | None, due_at: int | None, definition: str) -> Schedule:
    secs = json.loads(definition).get("interval_secs")
    interval = None if secs is None else round(secs * _MICROS)
    return Schedule(task_pk, anchor_at, next_slot_at, due_at, interval)
