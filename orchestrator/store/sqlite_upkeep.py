"""What PostgreSQL does by itself, done for SQLite: by its one writer, between two transactions, a little at a time.

An automatic checkpoint never waits, so where reads overlap without a gap the write-ahead log would grow for ever. And
free pages are used again, but a file whose history was shortened would stay as large as it ever was.

No `PRAGMA optimize`: without statistics SQLite takes an index wherever it can, and our statements are written for that.
Those of a table that had three rows when it was looked at let it scan that table, also when it has grown.
"""

import sqlite3
from pathlib import Path

LARGE_WAL_BYTES = 64 * 1024**2
# How long a checkpoint waits for readers, while the writer waits for it; if they are slower, the next one finds them.
CHECKPOINT_WAIT_MS = 200
BUSY_TIMEOUT_MS = 5000

# Free pages are a reserve, until they are more than a quarter of the file; then they go in bites of 4 MiB.
RESERVE_PAGES = 4096
BITE_PAGES = 1024


def prepare_new_file(raw: sqlite3.Connection) -> None:
    """Let a database that has no table yet be able to give back free pages; means nothing to any other."""
    raw.execute("PRAGMA auto_vacuum = INCREMENTAL")


def tend(raw: sqlite3.Connection, path: Path) -> bool:
    """Do one of what is necessary; True if there may be more to do. Not within a transaction."""
    if _wal_bytes(path) > LARGE_WAL_BYTES:
        _checkpoint(raw)
    return _give_back(raw)


def _checkpoint(raw: sqlite3.Connection) -> None:
    raw.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_MS}")
    try:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        raw.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def _give_back(raw: sqlite3.Connection) -> bool:
    free, every = (_number(raw, name) for name in ("freelist_count", "page_count"))
    if free <= max(RESERVE_PAGES, every // 4):
        return False
    # Each step of it gives back one page; only a script is taken through all of its steps.
    raw.executescript(f"PRAGMA incremental_vacuum({BITE_PAGES})")
    # A file from before it was made so keeps its pages.
    return _number(raw, "freelist_count") < free


def _wal_bytes(path: Path) -> int:
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _number(raw: sqlite3.Connection, name: str) -> int:
    return int(raw.execute(f"PRAGMA {name}").fetchone()[0])
