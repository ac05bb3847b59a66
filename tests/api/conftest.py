"""The API over an empty database. Each database is made once, and emptied before each test that uses it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestrator.store import schema
from orchestrator.store.database import Database, DatabaseOptions
from tests.api.doors import Api, open_api
from tests.support.postgres import PostgresServer


def opened(url: str) -> Iterator[Database]:
    options = DatabaseOptions(url, pool_size=5)
    schema.upgrade(options)
    database = Database(options)
    yield database
    asyncio.run(database.close())


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database on SQLite, for one test after the other."""
    yield from opened(f"sqlite:///{tmp_path_factory.mktemp('api') / 'orchestrator.db'}")


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> Iterator[Database]:
    """A database on PostgreSQL, for one test after the other."""
    with postgres_server.database() as url:
        yield from opened(url)


@pytest.fixture(params=["sqlite_database", "postgres_database"], ids=["sqlite", "postgresql"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """The API, on each of the two databases."""
    async with open_api(request.getfixturevalue(request.param)) as api:
        yield api


@pytest.fixture
async def api_on_sqlite(sqlite_database: Database) -> AsyncIterator[Api]:
    """The API, for what does not depend on the database."""
    async with open_api(sqlite_database) as api:
        yield api


@pytest.fixture
async def api_on_postgresql(postgres_database: Database) -> AsyncIterator[Api]:
    """The API, for what only PostgreSQL can show: two transactions at the same time."""
    async with open_api(postgres_database) as api:
        yield api
