"""The one database of a simulated world: a real SQLite in memory, which tells what each transaction has changed.

Triggers report every changed row to the simulation, so that the oracle sees what was committed and not what the
product says about it.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH_MICROS = int(EPOCH.timestamp()) * 1_000_000

Row = dict[str, Any]

OBSERVED = {
    "executions": "pk uid id app_pk task_pk status failing attempt open_workers multiple_exec_key run_at message",
    "workers": (
        "execution_pk worker_id app_pk status step token retry_count due_at undelivered refused node lease_until waits"
    ),
    "worker_states": "execution_pk worker_id state",
    "calls": "execution_pk worker_id token step attempt outcome spawned node",
    "import_batches": "pk execution_pk worker_id step part key items status tries due_at",
    "app_states": "app_pk version state",
    "occurrences": "task_pk slot_at outcome execution_pk note",
    "schedules": "task_pk next_slot_at",
    "apps": "pk status",
    "nodes": "id heartbeat_at",
}
_COLUMNS = {table: columns.split() for table, columns in OBSERVED.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """A row that a transaction inserted (`old` is None) or updated."""

    table: str
    old: Row | None
    new: Row

    def __str__(self) -> str:
        if self.old is None:
            return f"+ {self.table} {self.new}"
        keys = {name: value for name, value in self.new.items() if name in ("pk", "execution_pk", "worker_id")}
        changed = {name: value for name, value in self.new.items() if value != self.old[name]}
        return f"~ {self.table} {keys} {changed}"


class Store:
    """Opened once a process; `reset` begins a new world. Transactions are whole and one after the other."""

    def __init__(self) -> None:
        self._raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._raw.create_function("observe", -1, self._observe)
        self._connection = create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool).connect()
        self._changes: list[tuple[str, tuple[Any, ...]]] = []

    def reset(self, image: bytes) -> None:
        """Begin with this image of a database."""
        # Deserialized in place, SQLite would crash on the statements that the driver keeps prepared.
        source = sqlite3.connect(":memory:")
        source.deserialize(image)
        source.backup(self._raw)
        source.close()
        self._raw.execute("PRAGMA foreign_keys = ON")

    def image(self) -> bytes:
        return self._raw.serialize()

    def transact(
        self, work: Callable[[Transaction], Any], clock: Callable[[], datetime], *, commits: bool
    ) -> tuple[Any, list[Change]]:
        """Run `work` in a transaction of its own; returns its result and what it changed. Raises what `work` raises."""
        self._changes.clear()
        self._raw.execute("BEGIN")
        transaction = Transaction(self._connection, Dialect.SQLITE, clock)
        is_done = False
        try:
            result = work(transaction)
            transaction.finish()
            is_done = commits
        finally:
            self._raw.execute("COMMIT" if is_done else "ROLLBACK")
            transaction.close()
        changes = [_change(*observed) for observed in self._changes] if is_done else []
        return result, changes

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._raw.execute(sql).fetchall()

    def _observe(self, table: str, *values: Any) -> None:
        self._changes.append((table, values))


def _change(table: str, values: tuple[Any, ...]) -> Change:
    columns = _COLUMNS[table]
    old, new = values[: len(columns)], values[len(columns) :]
    is_update = old[0] is not None
    return Change(
        table, dict(zip(columns, old, strict=True)) if is_update else None, dict(zip(columns, new, strict=True))
    )


@lru_cache(maxsize=1)
def the_store() -> Store:
    """This process's store."""
    return Store()


@lru_cache(maxsize=1)
def empty_image() -> bytes:
    """A database with the schema and the triggers, and nothing in it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "template.db"
        schema.upgrade(DatabaseOptions(f"sqlite:///{path}"))
        raw = sqlite3.connect(path)
        raw.execute("PRAGMA journal_mode = DELETE")
        for table, columns in _COLUMNS.items():
            raw.executescript(_triggers(table, columns))
        image: bytes = raw.serialize()
        raw.close()
    return image


def _triggers(table: str, columns: Sequence[str]) -> str:
    new = ", ".join(f"NEW.{column}" for column in columns)
    old = ", ".join(f"OLD.{column}" for column in columns)
    none = ", ".join("NULL" for _ in columns)
    return f"""
CREATE TRIGGER observe_insert_{table} AFTER INSERT ON {table} BEGIN SELECT observe('{table}', {none}, {new}); END;
CREATE TRIGGER observe_update_{table} AFTER UPDATE ON {table} BEGIN SELECT observe('{table}', {old}, {new}); END;
"""


def instant(micros: int) -> datetime:
    """The wall clock's time when the virtual clock shows `micros`."""
    return EPOCH + timedelta(microseconds=micros)
