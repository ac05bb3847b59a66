"""The databases that tests run on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this test process's own, started when the first test asks for it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template() -> str:
    """The database that each test's own is a copy of."""
    return "template1"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A fresh database on PostgreSQL."""
    with postgres_server.database(postgres_template) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh database on SQLite; the file does not exist yet."""
    return f"sqlite:///{tmp_path / 'orchestrator.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database, on each of the two."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url = request.getfixturevalue(fixture)
    assert isinstance(url, str)
    return url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `-k postgresql` find the tests that need it without saying so in their ids."""
    for item in items:
        if isinstance(item, pytest.Function) and "postgres_url" in item.fixturenames:
            item.extra_keyword_matches.add("postgresql")
