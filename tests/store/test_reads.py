"""Reads that go together, on both databases: each finds its own rows, and sees what was committed before its turn."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest
from sqlalchemy import text

from orchestrator.store import reads
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.reads import PREPARED, Prepared, Read
from orchestrator.store.transaction import Transaction
from tests.engine.held_back import held_back
from tests.support.waiting import eventually


class Refused(Exception):
    pass


SELECT = "SELECT pk, label FROM things WHERE pk IN :pks"
# What is a parameter, a format or a list elsewhere is none within quotes.
ODD = "SELECT label FROM things WHERE label <> '100 %; {1,2}' AND pk >= :least ORDER BY pk"
LOCK = "SELECT pk FROM things WHERE pk IN :pks ORDER BY pk FOR NO KEY UPDATE"
LABELS = ("", "plain", "100 %; {1,2}", "it's \\ \N{SEEDLING}")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(database_url, pool_size=3))

    def create(tx: Transaction) -> None:
        tx.run("CREATE TABLE things (pk bigint PRIMARY KEY, label text)")
        for pk, label in enumerate(LABELS, -1):
            tx.run("INSERT INTO things VALUES (:pk, :label)", pk=pk, label=label)

    await database.write(create)
    yield database
    await database.close()


async def test_each_finds_its_own_rows(database: Database) -> None:
    def use_case(tx: Transaction) -> None:
        some = Read(SELECT, {"pks": [2, -1, 77]}, at_once=True)
        none = Read(SELECT, {"pks": []})
        odd = Read(ODD, {"least": -(2**62)})
        tx.read(Read(LOCK, {"pks": [0, 1]}), some, none, odd)
        assert sorted(map(tuple, some.rows)) == [(-1, ""), (2, LABELS[3])]
        assert none.rows == []
        assert odd.rows == [("",), ("plain",), (LABELS[3],)]

    for _ in range(12):
        # A driver that prepares what it has seen often enough would fail later than at once.
        await database.write(use_case)


async def test_what_was_put_off_comes_first(database: Database) -> None:
    def use_case(tx: Transaction) -> None:
        relabel = "UPDATE things SET label = r.label FROM :rows AS r (pk bigint, label text) WHERE things.pk = r.pk"
        tx.put_off(relabel, [{"pk": 0, "label": "new"}])
        read = Read(SELECT, {"pks": [0]})
        tx.read(read)
        assert list(map(tuple, read.rows)) == [(0, "new")]

    await database.write(use_case)


async def test_a_timed_read_tells_when_and_nothing_more_in_its_rows(database: Database) -> None:
    def use_case(tx: Transaction) -> tuple[list[tuple[int, ...]], datetime, datetime, datetime]:
        before = tx.now()
        read = Read(LOCK, {"pks": [0, 1]}, is_timed=True)
        tx.read(read, Read(SELECT, {"pks": [0]}))
        return [tuple(row) for row in read.rows], before, tx.read_at(), tx.now()

    rows, before, at, after = await database.write(use_case)
    assert rows == [(0,), (1,)]
    assert before <= at <= after
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


async def test_what_follows_a_lock_sees_what_was_committed_while_that_was_waited_for(database: Database) -> None:
    if database.dialect is Dialect.SQLITE:
        pytest.skip("there is one writer, and nobody waits for a row")

    def first(tx: Transaction) -> None:
        tx.read(Read(LOCK, {"pks": [0]}))
        tx.run("UPDATE things SET label = 'of the first' WHERE pk = 1")

    def second(tx: Transaction) -> str:
        read = Read(SELECT, {"pks": [1]})
        tx.read(Read(LOCK, {"pks": [0]}), read)
        [(_, label)] = read.rows
        return str(label)

    def waits(tx: Transaction) -> bool:
        sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(tx.rows(sql))

    async def is_waiting() -> bool:
        return await database.read(waits)

    async with held_back(database, first) as held:
        other = asyncio.create_task(database.write(second))
        await eventually(is_waiting, "the second to wait for the first's lock")
        await held.commit()
        assert await other == "of the first"


async def test_what_was_prepared_is_prepared_again_once_the_driver_has_dropped_it(database: Database) -> None:
    def use_case(tx: Transaction, fails: bool, alters: bool) -> list[int]:
        if alters:
            tx.run("ALTER TABLE things ADD COLUMN more int")
        read = Read(LOCK, {"pks": [0, 1]})
        tx.read(read)
        if fails:
            raise Refused
        return [pk for (pk,) in read.rows]

    for _ in range(2):
        assert await database.write(use_case, fails=False, alters=False) == [0, 1]
        with pytest.raises(Refused):
            await database.write(use_case, fails=True, alters=False)
    for _ in range(12):
        # Enough for the driver to have prepared statements of its own, which it drops together with ours.
        await database.write(lambda tx: tx.rows("SELECT label FROM things WHERE pk = :pk", pk=0))
        await database.write(use_case, fails=False, alters=False)
    assert await database.write(use_case, fails=False, alters=True) == [0, 1]
    assert await database.write(use_case, fails=False, alters=False) == [0, 1]


async def test_a_plan_does_not_outlive_the_smallness_of_its_table(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))
    wanted = Read(SELECT, {"pks": [1]})

    def plan(tx: Transaction) -> str:
        tx.read(wanted)
        prepared: Prepared = tx._connection.info[PREPARED]
        return "\n".join(line for (line,) in tx.rows(f"EXPLAIN EXECUTE {prepared.names[wanted.sql]}('{{1}}')"))

    def create(tx: Transaction) -> None:
        tx.run("CREATE TABLE things (pk bigint PRIMARY KEY, label text)")
        tx.run("INSERT INTO things VALUES (1, 'one')")
        tx.run("ANALYZE things")

    await database.write(create)
    assert "Seq Scan" in await database.write(plan)
    await database.write(lambda tx: tx.run("INSERT INTO things SELECT n, 'more' FROM generate_series(2, 20000) AS n"))
    assert "Seq Scan" in await database.write(plan), "it was kept, as long as it may be"
    monkeypatch.setattr(reads, "PLAN_SECS", 0.0)
    assert "Seq Scan" not in await database.write(plan)
    await database.close()


def refuse(_tx: Transaction) -> None:
    raise Refused


def ask_and_refuse(tx: Transaction) -> None:
    tx.rows("SELECT label FROM things WHERE pk = :pk", pk=0)
    raise Refused


@pytest.mark.parametrize("use_case", [refuse, ask_and_refuse])
@pytest.mark.parametrize("writes", [False, True])
async def test_what_is_refused_leaves_nothing_prepared_behind(
    postgres_url: str, use_case: Callable[[Transaction], None], writes: bool
) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))

    def read(tx: Transaction) -> int:
        tx.read(Read("SELECT n FROM generate_series(1, 3) AS n WHERE n IN :some", {"some": [1]}))
        [(count,)] = tx.rows("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'orchestrator%'")
        return int(count)

    await database.write(lambda tx: tx.run("CREATE TABLE things (pk bigint PRIMARY KEY, label text)"))
    for _ in range(20):
        assert await database.write(read) == 1
        with pytest.raises(Refused):
            await (database.write if writes else database.read)(use_case)
    await database.close()


@pytest.mark.parametrize("writes", [False, True])
async def test_an_idle_connection_that_was_cut_is_replaced_also_under_the_orm(postgres_url: str, writes: bool) -> None:
    database, other = (Database(DatabaseOptions(postgres_url, pool_size=1)) for _ in range(2))

    def orm(tx: Transaction) -> int:
        return int(tx.session.execute(text("SELECT pg_backend_pid()")).scalar_one())

    pid = await database.read(orm)
    await other.write(lambda tx: tx.rows("SELECT pg_terminate_backend(:pid, 10000)", pid=pid))
    assert await (database.write if writes else database.read)(orm) != pid
    await database.close()
    await other.close()


async def test_an_instant_and_the_monotonic_clock_tell_each_other_never_too_early(database: Database) -> None:
    def told(tx: Transaction) -> tuple[datetime, datetime, float, float]:
        before, moment = tx.now(), monotonic()
        tx.read(Read(SELECT, {"pks": [0]}, is_timed=True))
        between = monotonic()
        return before, tx.from_monotonic(moment), between, tx.to_monotonic(tx.now())

    before, instant, between, later = await database.write(told)

    assert timedelta() <= instant - before < timedelta(seconds=30)
    assert 0 <= later - between < 30
