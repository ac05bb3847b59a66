"""A second database for tests that need two."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.support.postgres import PostgresServer


@contextmanager
def fresh_database(request: pytest.FixtureRequest, directory: Path) -> Iterator[str]:
    """The URL of an empty database with the schema; `request.param` says where, "sqlite" or "postgresql"."""
    if request.param == "sqlite":
        url = f"sqlite:///{directory / 'fresh' / 'orchestrator.db'}"
        schema.upgrade(DatabaseOptions(url))
        yield url
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as url:
        schema.upgrade(DatabaseOptions(url))
        yield url
