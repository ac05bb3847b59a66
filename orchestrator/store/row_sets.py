"""Statements over many rows at once, where `executemany` would run one for each of them.

    UPDATE workers SET step = r.step FROM :rows AS r (pk bigint, step int) WHERE workers.pk = r.pk

PostgreSQL reads the rows from an array for each column, SQLite from a list of VALUES. That is one round trip, and on
SQLite one wait for the interpreter's lock, where each row had its own. Rows that are given twice are the caller's
fault: which of them is written is undefined.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from orchestrator.store.dialect import Dialect, translate
from orchestrator.store.postgresql_arrays import ARRAYS

Row = Mapping[str, Any]

_ROWS = re.compile(r":rows AS r \(([^)]*)\)")
_COLUMN = re.compile(r"\br\.(\w+)")

# SQLite's list is of one of these lengths, so that few texts are ever prepared: 40 rows go as 32 and 8.
_LENGTHS = (256, 128, 64, 32, 16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class RowSet:
    """A statement with the columns of its rows, by name, and their types."""

    sql: str
    columns: Mapping[str, str]
    values_of: Callable[[Row], tuple[Any, ...]]

    def arrays(self, rows: Sequence[Row], prefix: str) -> dict[str, Any]:
        """The parameters for PostgreSQL, an array for each column; their names begin with `prefix`."""
        columns = zip(*[self.values_of(row) for row in rows], strict=True)
        typed = zip(self.columns.items(), columns, strict=True)
        return {f"{prefix}{name}": ARRAYS[type_](column) for (name, type_), column in typed}

    def parts(self, rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
        """The statements to run on SQLite, one for each part of the rows, with their parameters."""
        values = [self.values_of(row) for row in rows]
        begin = 0
        for length in _LENGTHS:
            while len(values) - begin >= length:
                part = values[begin : begin + length]
                yield _with_values(self.sql, length), [value for row in part for value in row]
                begin += length


@lru_cache(maxsize=64)
def row_set(sql: str) -> RowSet:
    """The statement, read once."""
    told = _ROWS.search(sql)
    if told is None:
        raise ValueError(f"the statement has no rows: {sql}")
    columns = dict(column.split() for column in told[1].split(","))
    getter = itemgetter(*columns)
    return RowSet(sql, columns, getter if len(columns) > 1 else lambda row: (getter(row),))


def together(statements: Sequence[tuple[str, Sequence[Row]]], counted: int = 1) -> tuple[str, dict[str, Any]]:
    """One statement for PostgreSQL that does all of these, and tells of the last of them how many rows it wrote.

    Where several are `counted`, from the end, it gives their numbers as its one row. They see the database as it was
    before all of them, so no two may write the same row.
    """
    parameters: dict[str, Any] = {}
    for number, (sql, rows) in enumerate(statements):
        parameters |= row_set(sql).arrays(rows, _prefix(number))
    return _joined(tuple(sql for sql, _ in statements), counted), parameters


@lru_cache(maxsize=64)
def _joined(statements: tuple[str, ...], counted: int) -> str:
    texts = [_with_arrays(sql, _prefix(number)) for number, sql in enumerate(statements)]
    if counted > 1:
        begin = len(texts) - counted
        texts[begin:] = [f"{text} RETURNING 1" for text in texts[begin:]]
        counts = ", ".join(f"(SELECT count(*) FROM s{number})" for number in range(begin, len(texts)))  # noqa: S608
        texts.append(f"SELECT {counts}")
    before = ", ".join(f"s{number} AS ({text})" for number, text in enumerate(texts[:-1]))
    return translate(f"WITH {before} {texts[-1]}" if before else texts[-1], Dialect.POSTGRESQL)


def _with_arrays(sql: str, prefix: str) -> str:
    columns = row_set(sql).columns
    arrays = ", ".join(f":{prefix}{name}" for name in columns)
    return _ROWS.sub(f"unnest({arrays}) AS r ({', '.join(columns)})", sql)


def _prefix(number: int) -> str:
    return f"s{number}_"


@lru_cache(maxsize=512)
def _with_values(sql: str, length: int) -> str:
    # SQLite calls the columns of VALUES column1, column2 and so on, and lets nobody rename them.
    numbers = {name: number for number, name in enumerate(row_set(sql).columns, 1)}
    row = f"({', '.join('?' * len(numbers))})"
    values = f"(VALUES {', '.join([row] * length)}) AS r"
    return _COLUMN.sub(lambda named: f"r.column{numbers[named[1]]}", _ROWS.sub(values, sql))
