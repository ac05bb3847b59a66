"""The deals of each application, in a SQLite file of its own."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

DEALS = 200


@contextmanager
def opened(application: str) -> Iterator[sqlite3.Connection]:
    """The database of an application, made with 200 deals of coworker 1 when it is first opened.

    It is in the folder CRM_DATA, else in the present one; what the block has done is committed at its end.
    """
    path = Path(os.environ.get("CRM_DATA", ".")) / f"crm-{application}.db"
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS deals (id INTEGER PRIMARY KEY, coworker INTEGER NOT NULL)")
        if connection.execute("SELECT count(*) FROM deals").fetchone() == (0,):
            connection.executemany("INSERT INTO deals VALUES (?, 1)", ((number,) for number in range(1, DEALS + 1)))
        yield connection
