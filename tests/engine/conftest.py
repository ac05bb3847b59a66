"""Databases that have the schema already: every test here begins with a copy. And the desk of the imports' tests."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TextIO

import pytest
import pytest_asyncio
import structlog
from structlog.typing import ExcInfo

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.engine.desk import Desk, open_desk, take_in
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema."""
    path = tmp_path_factory.mktemp("template") / "orchestrator.db"
    schema.upgrade(DatabaseOptions(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database with the schema."""
    with postgres_server.database() as url:
        schema.upgrade(DatabaseOptions(url))
        yield url.partition("@/")[2].partition("?")[0]


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """A SQLite file of the test's own."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database, on each of the two, that the tests of a module share."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        yield f"sqlite:///{shutil.copy(template, tmp_path_factory.mktemp('shared'))}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database(request.getfixturevalue("postgres_template")) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_desk(shared_database_url: str) -> AsyncIterator[Desk]:
    """A desk that the tests of a module share."""
    async with open_desk(shared_database_url) as desk:
        yield desk


@pytest.fixture
def desk(shared_desk: Desk) -> Desk:
    """The desk as it was at first."""
    shared_desk.received.clear()
    shared_desk.collect = take_in
    return shared_desk


@pytest.fixture(scope="session", autouse=True)
def plain_log() -> None:
    """Errors that a test provokes are told in a line; the default renders a page for each, which takes a second."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(exception_formatter=_silent)]
    )


def _silent(sio: TextIO, exc_info: ExcInfo) -> None:
    """The line has the error already."""
