"""What is committed is on the disk; a database that would lose it is recognised."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from orchestrator.store import durability, schema
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.transaction import Transaction

FULL = 2


async def off(url: str) -> list[str]:
    database = Database(DatabaseOptions(url, pool_size=1))
    try:
        return await database.read(durability.switched_off)
    finally:
        await database.close()


async def test_what_is_off_is_named(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The PostgreSQL of the tests may lose everything with the power: it lives as long as they do.
    assert "fsync" in await off(postgres_url)
    monkeypatch.setattr(durability, "_NEEDED", ("enable_seqscan",))
    assert await off(postgres_url) == []


async def test_sqlite_needs_nothing(tmp_path: object) -> None:
    assert await off(f"sqlite:///{tmp_path}/orchestrator.db") == []


async def on_every_connection(options: DatabaseOptions, look: Callable[[Transaction], Any]) -> list[Any]:
    """What each of the threads of a Database finds, readers and writers, all of them busy at once."""
    database = Database(options)
    try:
        reads = [database.read(look) for _ in range(8)]
        return await asyncio.gather(*reads, *(database.write(look) for _ in range(8)))
    finally:
        await database.close()


async def test_every_connection_to_sqlite_waits_for_the_disk(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(sqlite3.Connection):
        """Tells at its end how it was set up, as also those do that are opened for a migration only."""

        def close(self) -> None:
            found.append(self.execute("PRAGMA synchronous").fetchone()[0])
            super().close()

    found: list[int] = []
    connect = sqlite3.dbapi2.connect

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(*arguments, **{**options, "factory": Watched})
        return opened

    monkeypatch.setattr(sqlite3.dbapi2, "connect", watched)
    monkeypatch.setattr(sqlite3, "connect", watched)
    options = DatabaseOptions(sqlite_url)
    schema.upgrade(options)
    opened_for_the_schema = len(found)
    await on_every_connection(options, lambda tx: tx.rows("SELECT 1"))

    assert opened_for_the_schema >= 1
    assert len(found) - opened_for_the_schema >= 2, "the writer, and a reader"
    assert set(found) == {FULL}


async def test_every_connection_to_postgresql_waits_for_the_disk(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        # Whatever the database itself, or its role, is set to.
        operator.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$"
        )

    def look(tx: Transaction) -> tuple[Any, ...]:
        tx.rows("SELECT pg_sleep(0.02)")
        return tx.rows("SELECT pg_backend_pid(), current_setting('synchronous_commit')")[0]

    found = await on_every_connection(DatabaseOptions(postgres_url, pool_size=4), look)
    assert len({pid for pid, _ in found}) == 4
    assert {value for _, value in found} == {"on"}
