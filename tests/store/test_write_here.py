"""What is written on the event loop's thread: it waits for nobody there, and is as good as what the others write."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.errors import DatabaseUnavailable, NotFound
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction
from tests.support.waiting import eventually

BOUND_SECS = 15
CUT_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(database_url))
    await database.write(lambda tx: tx.run("CREATE TABLE notes (n BIGINT, thread TEXT)"))
    yield database
    await database.close()


def note(tx: Transaction, number: int) -> str:
    thread = threading.current_thread().name
    tx.run("INSERT INTO notes VALUES (:n, :thread)", n=number, thread=thread)
    return thread


def noted(tx: Transaction) -> list[int]:
    return [number for (number,) in tx.rows("SELECT n FROM notes ORDER BY n")]


async def test_it_is_decided_on_the_event_loops_thread_and_committed(database: Database) -> None:
    assert await database.write_here(note, 1) == threading.main_thread().name
    assert await database.write(note, 2) != threading.main_thread().name
    assert await database.read(noted) == [1, 2]


async def test_what_it_raises_is_raised_and_nothing_of_it_is_left(database: Database) -> None:
    def failing(tx: Transaction) -> None:
        note(tx, 1)
        raise NotFound("there is none")

    with pytest.raises(NotFound):
        await database.write_here(failing)
    await database.write_here(note, 2)
    assert await database.read(noted) == [2]


async def test_many_at_once_come_one_after_the_other_in_their_order(database: Database) -> None:
    def count(tx: Transaction) -> int:
        [(count,)] = tx.rows("SELECT count(*) FROM notes")
        note(tx, int(count))
        return int(count)

    assert await asyncio.gather(*(database.write_here(count) for _ in range(20))) == list(range(20))


async def test_whoever_gives_up_waiting_leaves_it_to_be_done(database: Database) -> None:
    tasks = [asyncio.create_task(database.write_here(note, number)) for number in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    async def are_done() -> bool:
        return await database.read(noted) == [0, 1, 2]

    await eventually(are_done, "the transactions that nobody waits for")


async def test_a_close_waits_for_it(database_url: str) -> None:
    database = Database(DatabaseOptions(database_url))
    await database.write(lambda tx: tx.run("CREATE TABLE notes (n BIGINT, thread TEXT)"))
    writing = [asyncio.create_task(database.write_here(note, number)) for number in range(3)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*writing)
    again = Database(DatabaseOptions(database_url))
    assert await again.read(noted) == [0, 1, 2]
    await again.close()


async def test_the_event_loop_goes_on_while_postgresql_is_waited_for(postgres_url: str) -> None:
    database = Database(DatabaseOptions(postgres_url))
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
        await other.execute("CREATE TABLE notes (n BIGINT, thread TEXT)")
        async with other.transaction():
            await other.execute("LOCK TABLE notes")
            waiting = asyncio.create_task(database.write_here(note, 1))

            async def waits() -> bool:
                found = await database.read(lambda tx: tx.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))
                return bool(found)

            # This would hang where the loop stands still.
            await asyncio.wait_for(eventually(waits, "a transaction that waits for a lock"), BOUND_SECS)
            assert not waiting.done()
        await asyncio.wait_for(waiting, BOUND_SECS)
    await database.close()


async def test_a_turn_that_is_cancelled_leaves_a_good_connection_behind(postgres_url: str) -> None:
    database = Database(DatabaseOptions(postgres_url))
    await database.write_here(lambda tx: tx.run("CREATE TABLE notes (n BIGINT, thread TEXT)"))
    async with (
        await psycopg.AsyncConnection.connect(postgres_url) as other,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as observer,
    ):
        await other.execute("LOCK TABLE notes")
        waiting = asyncio.create_task(database.write_here(note, 1))

        async def waits() -> bool:
            cursor = await observer.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            return await cursor.fetchone() is not None

        await eventually(waits, "a transaction that waits for a lock")
        turn = database._turns._last
        assert turn is not None
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await other.rollback()
        await database.write_here(note, 2)
        assert await database.read(noted) == [2]
    await database.close()


async def test_nothing_is_written_once_it_is_closing(database_url: str) -> None:
    database = Database(DatabaseOptions(database_url))
    reading = asyncio.create_task(database.read(lambda tx: tx.rows("SELECT 1")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable):
        await database.write_here(note, 1)
    await closing
    assert await reading == [(1,)]
    with pytest.raises(DatabaseUnavailable):
        await database.write_here(note, 1)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_conflict_of_transactions_is_tried_again(postgres_url: str, sqlstate: str) -> None:
    database = Database(DatabaseOptions(postgres_url))
    await database.write_here(lambda tx: tx.run("CREATE TABLE notes (n BIGINT, thread TEXT)"))
    tries = iter([True, True, False])

    def conflicting(tx: Transaction) -> None:
        note(tx, 1)
        if next(tries):
            tx.run(f"DO $$ BEGIN RAISE EXCEPTION 'a conflict' USING ERRCODE = '{sqlstate}'; END $$")

    await database.write_here(conflicting)
    assert await database.read(noted) == [1]
    await database.close()


async def test_a_commit_that_fails_on_the_thread_is_undone(sqlite_url: str) -> None:
    database = Database(DatabaseOptions(sqlite_url))
    await database.write_here(lambda tx: tx.run("CREATE TABLE one (n BIGINT PRIMARY KEY)"))
    deferred = "CREATE TABLE two (n BIGINT REFERENCES one (n) DEFERRABLE INITIALLY DEFERRED)"
    await database.write_here(lambda tx: tx.run(deferred))
    with pytest.raises(IntegrityError):
        await database.write_here(lambda tx: tx.run("INSERT INTO two VALUES (7)"))
    await database.write_here(lambda tx: tx.run("INSERT INTO one VALUES (7)"))
    assert await database.read(lambda tx: tx.rows("SELECT (SELECT count(*) FROM two), (SELECT count(*) FROM one)")) == [
        (0, 1)
    ]
    await database.close()


async def test_a_connection_that_was_cut_while_it_was_idle_costs_nothing(postgres_url: str) -> None:
    database = Database(DatabaseOptions(postgres_url))
    await database.write_here(lambda tx: tx.run("CREATE TABLE notes (n BIGINT, thread TEXT)"))
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
        await other.execute(CUT_ALL)
    await database.write_here(note, 1)
    assert await database.read(noted) == [1]
    await database.close()


async def test_the_event_loop_does_not_wait_for_a_stranger_who_has_locked_the_file(sqlite_url: str) -> None:
    database = Database(DatabaseOptions(sqlite_url))
    assert database.dialect is Dialect.SQLITE
    await database.write_here(lambda tx: tx.run("CREATE TABLE notes (n BIGINT, thread TEXT)"))
    stranger = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        stranger.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(database.write_here(note, 1))
        # Were it waited for here, the five seconds of its patience would be over before the lock is let go.
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert not writing.done()
        stranger.execute("COMMIT")
        assert await asyncio.wait_for(writing, BOUND_SECS) != threading.main_thread().name
    finally:
        stranger.close()
    assert await database.write_here(note, 2) == threading.main_thread().name
    assert await database.read(noted) == [1, 2]
    await database.close()
