"""Reads that go together: several SELECTs, one round trip to PostgreSQL.

PostgreSQL takes them as one simple query, in which each statement has a snapshot of its own, begun when its turn has
come: what follows a lock sees what was committed while that was waited for. A simple query has no parameters, so their
values are written into the text; they are numbers, and nothing in them can be mistaken for SQL. Beside statements that
are sent one by one it takes two thirds of the CPU, of ours and of PostgreSQL's, and nobody waits between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from orchestrator.store.dialect import Dialect, translate

Numbers = int | Sequence[int]

INSTANT = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


@dataclass(slots=True)
class Read:
    """A SELECT and its parameters. `rows` is what it found, once `Transaction.read` has run it.

    `at_once`: only integers and text are selected, and no order is asked for, so that SQLite may give all rows as one.
    `is_timed`: `Transaction.read_at` then tells when its last row was read, and since when that is locked.
    """

    sql: str
    parameters: Mapping[str, Numbers]
    at_once: bool = False
    is_timed: bool = False
    rows: list[Sequence[Any]] = field(default_factory=list)


def one_query(reads: Sequence[Read]) -> str:
    """The text of all of them for PostgreSQL."""
    return ";".join(
        _template(read.sql, read.is_timed) % {name: _literal(value) for name, value in read.parameters.items()}
        for read in reads
    )


@lru_cache(maxsize=128)
def _template(sql: str, is_timed: bool) -> str:
    return translate(with_instant(sql) if is_timed else sql, Dialect.POSTGRESQL)


@lru_cache(maxsize=16)
def with_instant(sql: str) -> str:
    """The SELECT with the present instant, in microseconds, as the last column of each row: once it was locked."""
    return f"WITH read AS MATERIALIZED ({sql}) SELECT read.*, {INSTANT} FROM read"  # noqa: S608 - no value is in it


def _literal(value: Numbers) -> str:
    if isinstance(value, int):
        return f"{value:d}"
    return f"'{{{','.join([f'{number:d}' for number in value])}}}'"
