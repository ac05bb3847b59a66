"""The file of SQLite shrinks after a purge, and its log does not grow for ever."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.store import schema, sqlite_upkeep
from orchestrator.store.database import Database, DatabaseOptions


@pytest.fixture
def path(sqlite_url: str) -> Path:
    options = DatabaseOptions(sqlite_url)
    schema.upgrade(options)
    return options.sqlite_path


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        yield raw


def fill(raw: sqlite3.Connection, rows: int) -> None:
    raw.execute(
        "INSERT INTO settings (name, value) WITH RECURSIVE n (i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i, hex(zeroblob(2000)) FROM n",
        (rows,),
    )


def pages(raw: sqlite3.Connection) -> int:
    return int(raw.execute("PRAGMA page_count").fetchone()[0])


async def test_free_pages_are_given_back_a_bite_at_a_time(
    sqlite_url: str, path: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_upkeep, "RESERVE_PAGES", 10)
    monkeypatch.setattr(sqlite_upkeep, "BITE_PAGES", 100)
    fill(raw, 1000)
    full = pages(raw)
    raw.execute("DELETE FROM settings")
    database = Database(DatabaseOptions(sqlite_url))
    sizes = [full]
    try:
        while await database.tend():
            sizes.append(pages(raw))
    finally:
        await database.close()
    assert len(sizes) > 2
    assert all(100 <= before - after <= 110 for before, after in itertools.pairwise(sizes)), sizes
    assert sizes[-1] < full // 4


def test_a_reserve_stays(path: Path, raw: sqlite3.Connection) -> None:
    fill(raw, 500)
    full = pages(raw)
    raw.execute("DELETE FROM settings")
    assert not sqlite_upkeep.tend(raw, path)
    assert pages(raw) == full


def test_a_file_that_cannot_give_back_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_upkeep, "RESERVE_PAGES", 10)
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as raw:
        raw.execute("CREATE TABLE settings (name TEXT, value TEXT)")
        fill(raw, 200)
        raw.execute("DELETE FROM settings")
        assert not sqlite_upkeep.tend(raw, tmp_path / "old.db")


def test_a_large_log_is_cut_off_once_no_reader_needs_it(
    path: Path, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_upkeep, "LARGE_WAL_BYTES", 100_000)
    monkeypatch.setattr(sqlite_upkeep, "CHECKPOINT_WAIT_MS", 1)
    log = path.with_name(path.name + "-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM settings").fetchone()
        fill(raw, 200)
        sqlite_upkeep.tend(raw, path)
        assert log.stat().st_size > 100_000
        reader.execute("COMMIT")
    sqlite_upkeep.tend(raw, path)
    assert log.stat().st_size == 0
    assert raw.execute("PRAGMA busy_timeout").fetchone()[0] == sqlite_upkeep.BUSY_TIMEOUT_MS
