"""A PostgreSQL that is gone without a word: nobody waits for it for long."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store import database as database_module
from orchestrator.store import listening, postgresql_network, transfer
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.postgresql_network import network_timeouts
from orchestrator.store.transaction import Transaction
from tests.support.postgres import PostgresServer

# Far above what is awaited, and far below what would be waited for otherwise.
BOUND_SECS = 15

Way = Callable[..., Awaitable[Any]]
WAYS = [pytest.param(way, id=way.__name__) for way in (Database.read, Database.write, Database.write_here)]


class Line:
    """A TCP way to the server. What is `cut` carries nothing any more, and is not closed: its peers see no end."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._dead: set[int] = set()
        self.is_dead_for_new_ones = False
        self.made = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Every connection there is leads nowhere from now on."""
        self._dead.update(map(id, self._open))

    def close(self) -> None:
        self._listener.close()
        for one in self._open:
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.made += 1
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._upstream)
            self._open += [client, server]
            if self.is_dead_for_new_ones:
                self.cut()
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                if id(source) not in self._dead:
                    target.sendall(piece)
        except OSError:
            return


@contextmanager
def line_to(server: PostgresServer) -> Iterator[Line]:
    line = Line(str(server.directory / ".s.PGSQL.5432"))
    try:
        yield line
    finally:
        line.close()


@pytest.fixture
def line(postgres_server: PostgresServer) -> Iterator[Line]:
    with line_to(postgres_server) as line:
        yield line


@pytest.fixture
def url(line: Line, postgres_url: str) -> str:
    name = postgres_url.partition("@/")[2].partition("?")[0]
    # libpq's shortest timeout of a connection is 2 s.
    return f"postgresql://postgres@127.0.0.1:{line.port}/{name}?sslmode=disable&gssencmode=disable&connect_timeout=2"


def one(tx: Transaction) -> int:
    [(number,)] = tx.rows("SELECT 1")
    return int(number)


@pytest.mark.parametrize("way", WAYS)
async def test_a_statement_that_nobody_answers_is_made_again_elsewhere(
    line: Line, url: str, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    monkeypatch.setattr(postgresql_network, "SILENCE_SECS", 0.3)
    database = Database(DatabaseOptions(url, pool_size=1))
    async with asyncio.timeout(BOUND_SECS):
        assert await way(database, one) == 1
        line.cut()
        assert await way(database, one) == 1
        assert line.made == 2
        await database.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_is_gone_is_away(line: Line, url: str, monkeypatch: pytest.MonkeyPatch, way: Way) -> None:
    monkeypatch.setattr(postgresql_network, "SILENCE_SECS", 0.3)
    database = Database(DatabaseOptions(url, pool_size=1))
    async with asyncio.timeout(BOUND_SECS):
        assert await way(database, one) == 1
        line.is_dead_for_new_ones = True
        line.cut()
        with pytest.raises(DatabaseUnavailable):
            await way(database, one)
        await database.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_database_is_closed_though_a_statement_is_never_answered(
    line: Line, url: str, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    monkeypatch.setattr(database_module, "CLOSE_SECS", 0.3)
    database = Database(DatabaseOptions(url, pool_size=2))
    async with asyncio.timeout(BOUND_SECS):
        await asyncio.gather(*(way(database, one) for _ in range(4)))
        line.cut()
        waiting = [asyncio.ensure_future(way(database, one)) for _ in range(5)]
        await asyncio.sleep(0)
        await database.close()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, DatabaseUnavailable)


@pytest.mark.parametrize("way", WAYS)
async def test_a_close_waits_for_what_is_answered(postgres_url: str, way: Way) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))
    slow = asyncio.ensure_future(way(database, lambda tx: tx.rows("SELECT pg_sleep(0.2), 7")))
    await asyncio.sleep(0)
    await database.close()
    [(_, number)] = await slow
    assert number == 7


async def test_a_listener_notices_that_its_connection_leads_nowhere(
    line: Line, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_network, "SILENCE_SECS", 0.3)
    monkeypatch.setattr(listening, "PROBE_SECS", 0.05)

    async def listen() -> None:
        async with listening.listening(url) as notices:
            line.cut()
            await anext(notices)

    async with asyncio.timeout(BOUND_SECS):
        with pytest.raises(DatabaseUnavailable, match="has not answered"):
            await listen()


async def test_one_that_is_stopped_meanwhile_stops(line: Line, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PROBE_SECS", 0.05)
    entered = asyncio.Event()

    async def listen() -> None:
        async with listening.listening(url) as notices:
            line.cut()
            entered.set()
            await anext(notices)

    listener = asyncio.create_task(listen())
    async with asyncio.timeout(BOUND_SECS):
        await entered.wait()
        listener.cancel()
        await asyncio.wait({listener})


def parameters(raw: object) -> dict[str, str]:
    assert isinstance(raw, psycopg.Connection)
    return raw.info.get_parameters()


async def test_every_connection_has_timeouts_unless_the_url_says_otherwise(postgres_url: str) -> None:
    wanted = {name: str(value) for name, value in network_timeouts(postgres_url).items()}
    assert wanted["connect_timeout"] == "5"
    assert wanted["tcp_user_timeout"] == "15000"
    for url, expected in (
        (postgres_url, wanted),
        (
            f"{postgres_url}&tcp_user_timeout=9&keepalives_idle=8",
            {**wanted, "tcp_user_timeout": "9", "keepalives_idle": "8"},
        ),
    ):
        database = Database(DatabaseOptions(url, pool_size=1))
        await database.read(one)
        given = parameters(database._connections._opened[0].connection.driver_connection)
        await database.close()
        with transfer.opened(DatabaseOptions(url), "source", for_writing=False) as side:
            given_to_copy = parameters(side._raw)
        for given_parameters in (given, given_to_copy):
            assert {name: given_parameters.get(name) for name in expected} == expected
