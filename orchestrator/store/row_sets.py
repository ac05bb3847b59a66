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
Bound = tuple[str, Sequence[Any] | Mapping[str, Any]]

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

    def bound(self, rows: Sequence[Row], dialect: Dialect) -> Iterator[Bound]:
        """The statements to run with their parameters: one on PostgreSQL, one for each part of the rows on SQLite."""
        values = [self.values_of(row) for row in rows]
        if dialect is Dialect.POSTGRESQL:
            columns = zip(self.columns.items(), zip(*values, strict=True), strict=True)
            yield _with_arrays(self.sql), {name: ARRAYS[type_](column) for (name, type_), column in columns}
            return
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


@lru_cache(maxsize=64)
def _with_arrays(sql: str) -> str:
    columns = row_set(sql).columns
    arrays = ", ".join(f":{name}" for name in columns)
    return translate(_ROWS.sub(f"unnest({arrays}) AS r ({', '.join(columns)})", sql), Dialect.POSTGRESQL)


@lru_cache(maxsize=512)
def _with_values(sql: str, length: int) -> str:
    # SQLite calls the columns of VALUES column1, column2 and so on, and lets nobody rename them.
    numbers = {name: number for number, name in enumerate(row_set(sql).columns, 1)}
    row = f"({', '.join('?' * len(numbers))})"
    values = f"(VALUES {', '.join([row] * length)}) AS r"
    return _COLUMN.sub(lambda named: f"r.column{numbers[named[1]]}", _ROWS.sub(values, sql))
