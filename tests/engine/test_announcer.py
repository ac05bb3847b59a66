"""NOTIFY task_created: foreign programs on PostgreSQL hear of each new simple task."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from structlog.testing import capture_logs

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.engine.announcer import Announcer
from orchestrator.store import simple_tasks
from orchestrator.store.database import Database, DatabaseOptions

PATIENCE_SECS = 30.0


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(url))
    try:
        yield database
    finally:
        await database.close()


async def test_listeners_hear_of_each_task_in_order(postgres_url: str) -> None:
    async with (
        opened(postgres_url) as database,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as listener,
    ):
        await listener.execute("LISTEN task_created")
        announcer = Announcer(database)
        for number in (1, 2, 30):
            announcer.announce(number)
        heard = [notice.payload async for notice in listener.notifies(timeout=PATIENCE_SECS, stop_after=3)]
        announcer.announce(4)
        await announcer.close()
        heard += [notice.payload async for notice in listener.notifies(timeout=PATIENCE_SECS, stop_after=1)]
        assert heard == ["1", "2", "30", "4"]


async def test_an_outage_is_told_and_survived(postgres_url: str) -> None:
    async with opened(postgres_url) as database:
        announcer = Announcer(database)
        announced: list[list[int]] = []

        async def write(work: object, numbers: list[int]) -> None:
            assert work is simple_tasks.announce
            announced.append(numbers)
            if len(announced) == 1:
                raise DatabaseUnavailable("away")

        database.write = write  # type: ignore[assignment]
        with capture_logs() as logs:
            announcer.announce(1)
            await announcer.close()
            announcer.announce(2)
            await announcer.close()
        assert announced == [[1], [2]]
        assert [(entry["log_level"], entry["count"]) for entry in logs] == [("warning", 1)]


async def test_nobody_listens_to_sqlite(sqlite_url: str) -> None:
    async with opened(sqlite_url) as database:
        announcer = Announcer(database)
        announcer.announce(1)
        assert not announcer.is_busy
