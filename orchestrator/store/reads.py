"""Reads that go together: several SELECTs, one round trip to PostgreSQL.

PostgreSQL takes them as one simple query, in which each statement has a snapshot of its own, begun when its turn has
come: what follows a lock sees what was committed while that was waited for. They are prepared once a connection, and
executed by name: to parse and plan them takes PostgreSQL as long as to run them. A simple query has no parameters, so
their values are written into the text; they are numbers, and nothing in them can be mistaken for SQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from typing import Any

from orchestrator.store.dialect import numbered

Numbers = int | Sequence[int]

PREPARED = "prepared"
"""Under which a connection keeps its `Prepared`."""

PLAN_SECS = 2.0
_GENERIC = "SET LOCAL plan_cache_mode = force_generic_plan"

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


@dataclass(slots=True)
class Prepared:
    """What a connection to PostgreSQL has prepared; `names` by statement. That is nothing unless it `is_kept`.

    What is prepared has one plan for all of its parameters, which is made anew after PLAN_SECS: the one that was best
    for a table with twenty rows walks over the 200,000 that it has soon after.
    """

    is_kept: bool
    names: dict[str, str] = field(default_factory=dict)
    planned_at: float = field(default_factory=monotonic)
    ever: int = 0

    def query(self, reads: Sequence[Read], *, is_first: bool) -> str:
        """The text of all reads. `is_first`: nothing was read so in this transaction before."""
        if not self.is_kept:
            return ";".join(_filled_in(read) for read in reads)
        words = [_GENERIC] if is_first else []
        if monotonic() > self.planned_at + PLAN_SECS:
            words.append("DISCARD PLANS")
            self.planned_at = monotonic()
        for sql in {statement_of(read): None for read in reads}:
            if sql not in self.names:
                self.ever += 1
                self.names[sql] = f"orchestrator_{self.ever}"
                words.append(f"PREPARE {self.names[sql]} AS {numbered(sql)[0]}")
        return ";".join([*words, *(self._execute(read) for read in reads)])

    def forget(self) -> None:
        """Prepare all anew, since something is not there: the driver drops all with its own, as after a rollback.

        No name is given again.
        """
        self.names.clear()

    def _execute(self, read: Read) -> str:
        sql = statement_of(read)
        values = ",".join(_literal(read.parameters[name]) for name in numbered(sql)[1])
        return f"EXECUTE {self.names[sql]}({values})" if values else f"EXECUTE {self.names[sql]}"


def statement_of(read: Read) -> str:
    """The statement as PostgreSQL runs it, but for its parameters."""
    return with_instant(read.sql) if read.is_timed else read.sql


def _filled_in(read: Read) -> str:
    sql, names = numbered(statement_of(read))
    for number, name in reversed(list(enumerate(names, 1))):
        sql = sql.replace(f"${number}", _literal(read.parameters[name]))
    return sql


@lru_cache(maxsize=16)
def with_instant(sql: str) -> str:
    """The SELECT with the present instant, in microseconds, as the last column of each row: once it was locked."""
    return f"WITH read AS MATERIALIZED ({sql}) SELECT read.*, {INSTANT} FROM read"  # noqa: S608 - no value is in it


def _literal(value: Numbers) -> str:
    if isinstance(value, int):
        return f"{value:d}"
    return f"'{{{','.join([f'{number:d}' for number in value])}}}'"
