"""How connections to PostgreSQL are set up, directly and through a pooler in transaction mode."""

import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import psycopg
import pytest

from orchestrator.domain.errors import CommitUnknown
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction
from tests.support.postgres import PostgresServer

BACKEND_KEY_DATA = b"K"
LENGTH = struct.Struct("!I")
SETTINGS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "synchronous_commit",
    "plan_cache_mode",
)
# Far above what is awaited, and below what was waited for once.
BOUND_SECS = 10
LONGER_THAN_IDLE_SECS = 2.2
WANTED = ["30s", "10s", "2s", "on", "force_custom_plan"]


class Pooler:
    """Tells its clients a backend's pid of its own devising, as poolers do, and refuses start-up options."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.startups: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._upstream)
        with client, server:
            startup = _message(client, has_type=False)
            self.startups.append(startup)
            server.sendall(startup)
            while True:
                answer = _message(server)
                if answer[:1] == BACKEND_KEY_DATA:
                    answer = answer[:5] + LENGTH.pack(4_000_000) + answer[9:]
                client.sendall(answer)
                if answer[:1] == b"Z":
                    break
            upwards = threading.Thread(target=_copy, args=(client, server), daemon=True)
            upwards.start()
            _copy(server, client)


def _message(source: socket.socket, *, has_type: bool = True) -> bytes:
    head = _exactly(source, 5 if has_type else 4)
    (length,) = LENGTH.unpack(head[-4:])
    return head + _exactly(source, length - 4)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        assert piece, "closed in the middle of a message"
        data += piece
    return data


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def pooler(server: PostgresServer) -> Iterator[Pooler]:
    made = Pooler(str(server.directory / ".s.PGSQL.5432"))
    try:
        yield made
    finally:
        made.close()


def settings(tx: Transaction) -> list[str]:
    return [str(tx.rows(f"SELECT current_setting('{name}')")[0][0]) for name in SETTINGS]


def prepared(tx: Transaction) -> int:
    [(count,)] = [tx.rows("SELECT count(*) FROM pg_prepared_statements") for _ in range(12)][-1]
    return int(count)


def read_together(tx: Transaction) -> list[list[Any]]:
    some = "SELECT n FROM generate_series(1, 3) AS n WHERE n IN :some AND n >= :least ORDER BY n"
    reads = Read(some, {"some": [1, 2], "least": 2}), Read(some, {"some": [1, 2], "least": -5}, is_timed=True)
    tx.read(*reads)
    return [read.rows for read in reads]


def name(tx: Transaction) -> str:
    return str(tx.rows("SELECT current_setting('application_name')")[0][0])


async def test_a_connection_cannot_be_stuck_for_long_and_prepares_its_statements(postgres_url: str) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))
    try:
        assert await database.read(settings) == WANTED
        assert await database.read(prepared) > 0
        assert await database.read(name) == "orchestrator"
    finally:
        await database.close()


async def test_the_name_in_the_url_counts(postgres_url: str) -> None:
    database = Database(DatabaseOptions(f"{postgres_url}&application_name=mine", pool_size=1))
    try:
        assert await database.read(name) == "mine"
    finally:
        await database.close()


async def test_behind_a_pooler_nothing_outlives_a_transaction(
    postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGOPTIONS", raising=False)
    with pooler(postgres_server) as between:
        path = postgres_url.partition("@/")[2].partition("?")[0]
        url = f"postgresql://postgres@127.0.0.1:{between.port}/{path}?sslmode=disable&gssencmode=disable"
        database = Database(DatabaseOptions(url, pool_size=1))
        try:
            assert await database.write(settings) == WANTED
            for write in (database.write, database.write_here):
                for _ in range(12):
                    assert await write(read_together) == [[(2,)], [(1,), (2,)]]
            assert await database.read(prepared) == 0
            raw = database._connections._opened[0].connection.driver_connection
            assert raw is not None
            after = [raw.execute(f"SHOW {name}").fetchone()[0] for name in SETTINGS[:3]]
            assert after == ["0", "0", "0"], "what was set for the session meets another client"
        finally:
            await database.close()
        assert all(b"options" not in startup for startup in between.startups)


CUT_AT_THE_COMMIT = """
CREATE TABLE notes (words text);
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.words = 'cut' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION cut()"""


@pytest.mark.parametrize("write", [Database.write, Database.write_here])
async def test_a_connection_that_is_lost_in_the_commit_leaves_its_outcome_unknown(
    postgres_url: str, write: Callable[..., Awaitable[None]]
) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))

    def note(tx: Transaction, words: str) -> None:
        tries.append(words)
        tx.run("INSERT INTO notes VALUES (:words)", words=words)

    tries: list[str] = []
    try:
        await database.write(lambda tx: tx.run(CUT_AT_THE_COMMIT))
        with pytest.raises(CommitUnknown):
            await write(database, note, "cut")
        assert tries == ["cut"], "it is not for the database to do it again"
        # Of what only reads nothing can be in doubt: it is read again.
        cuts = iter([True, False])

        def read(tx: Transaction) -> int:
            tx.run("INSERT INTO notes VALUES (:words)", words="cut" if next(cuts) else "kept")
            return 1

        assert await database.read(read) == 1
        await write(database, note, "kept")
    finally:
        await database.close()


@pytest.mark.parametrize("write", [Database.write, Database.write_here])
async def test_who_stands_still_in_a_transaction_is_not_waited_for_and_does_it_again(
    postgres_url: str, write: Callable[..., Awaitable[None]]
) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))
    has_locked, is_over = threading.Event(), threading.Event()

    def stand_still(tx: Transaction) -> None:
        tries.append(tx.rows("UPDATE notes SET words = words || ', mine' RETURNING words")[0][0])
        has_locked.set()
        assert is_over.wait(BOUND_SECS)
        tx.run("UPDATE notes SET words = words || ', twice'")

    def go_on() -> None:
        with psycopg.connect(postgres_url) as other:
            assert has_locked.wait(BOUND_SECS)
            other.execute("UPDATE notes SET words = 'another''s'")
        is_over.set()

    tries: list[str] = []
    other = threading.Thread(target=go_on)
    try:
        await database.write(lambda tx: tx.run("CREATE TABLE notes AS SELECT 'first' AS words"))
        other.start()
        await write(database, stand_still)
        [(words,)] = await database.read(lambda tx: tx.rows("SELECT words FROM notes"))
    finally:
        other.join()
        await database.close()
    assert tries == ["first, mine", "another's, mine"]
    assert words == "another's, mine, twice"


@pytest.mark.parametrize("write", [Database.write, Database.write_here])
@pytest.mark.parametrize("is_before_the_commit", [False, True])
async def test_a_use_case_that_takes_its_time_is_done_again_with_more_of_it(
    postgres_url: str, write: Callable[..., Awaitable[None]], is_before_the_commit: bool
) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))

    def note(tx: Transaction) -> None:
        tries.append(1)
        tx.run("INSERT INTO notes VALUES ('slow')")
        # Work, for which nothing that could be waited for stands.
        sleep(LONGER_THAN_IDLE_SECS)
        if not is_before_the_commit:
            tx.run("INSERT INTO notes VALUES ('twice')")

    tries: list[int] = []
    try:
        await database.write(lambda tx: tx.run("CREATE TABLE notes (words text)"))
        await write(database, note)
        noted = await database.read(lambda tx: tx.rows("SELECT words FROM notes ORDER BY words"))
    finally:
        await database.close()
    assert noted == ([("slow",)] if is_before_the_commit else [("slow",), ("twice",)])
    assert len(tries) == 2


async def test_who_only_reads_may_take_its_time(postgres_url: str) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))

    def look(tx: Transaction) -> None:
        tries.append(1)
        tx.freeze()
        tx.rows("SELECT 1")
        sleep(LONGER_THAN_IDLE_SECS)
        tx.rows("SELECT 1")

    tries: list[int] = []
    try:
        await database.read(look)
    finally:
        await database.close()
    assert tries == [1]
