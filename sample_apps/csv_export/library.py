"""The application's database: who owns which books, which exports were asked for, and which files can be downloaded."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("title", "author", "isbn", "reading_status")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS books (
    id INTEGER PRIMARY KEY, owner_id INTEGER NOT NULL, title TEXT NOT NULL, author TEXT NOT NULL, isbn TEXT NOT NULL,
    reading_status TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS asked (
    task_id INTEGER PRIMARY KEY, owner_id INTEGER NOT NULL, filename TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS csv_export (
    id INTEGER PRIMARY KEY, filename TEXT NOT NULL UNIQUE, owner_id INTEGER NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')));"""


@dataclass(frozen=True, slots=True)
class Library:
    """The database in a file, which the worker of another machine would have in common with the API."""

    path: Path

    def create(self) -> None:
        """Make the tables, unless they are there."""
        with self._open() as connection:
            connection.executescript(_SCHEMA)

    def add_book(self, owner_id: int, title: str, author: str, isbn: str = "", reading_status: str = "Unread") -> None:
        """Put a book on a user's shelf."""
        with self._open() as connection:
            values = (owner_id, title, author, isbn, reading_status)
            connection.execute(
                "INSERT INTO books (owner_id, title, author, isbn, reading_status) VALUES (?, ?, ?, ?, ?)", values
            )

    def books(self, owner_id: int) -> list[tuple[str, ...]]:
        """A user's books, in the order of COLUMNS."""
        with self._open() as connection:
            sql = "SELECT title, author, isbn, reading_status FROM books WHERE owner_id = ? ORDER BY id"
            return connection.execute(sql, (owner_id,)).fetchall()

    def note_asked(self, task_id: int, owner_id: int, filename: str) -> None:
        """Remember which file a task is to write."""
        with self._open() as connection:
            connection.execute("INSERT OR IGNORE INTO asked VALUES (?, ?, ?)", (task_id, owner_id, filename))

    def offer(self, task_id: int) -> None:
        """The task has succeeded: its file can be downloaded. Once is enough."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO csv_export (filename, owner_id) SELECT filename, owner_id FROM asked "
                "WHERE task_id = ?",
                (task_id,),
            )

    def files(self, owner_id: int) -> list[tuple[str, str]]:
        """(file name, creation time) of what a user can download, newest first."""
        with self._open() as connection:
            sql = "SELECT filename, created_at FROM csv_export WHERE owner_id = ? ORDER BY id DESC"
            return connection.execute(sql, (owner_id,)).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
