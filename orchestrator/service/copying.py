"""Everything of one database into another, empty one; both sides are held still meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from orchestrator.domain.errors import Conflict
from orchestrator.service import pull_timers, timers
from orchestrator.service.definitions import Definitions
from orchestrator.store.transfer import Row, Side, Tally, all_tables

ROWS_BETWEEN_LOOKS = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """So many rows, of so many in all, of a table are copied, or (`is_check`) read again on the target."""

    table: str
    rows: int
    total: int
    is_check: bool = False


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """How many rows of each table, and how many calls that were under way are to be made again."""

    rows: dict[str, int]
    lost_calls: int = 0


def count(source: Side) -> dict[str, int]:
    """How many rows each table of the source has."""
    return {table: source.count(table) for table in all_tables()}


def refuse_unless_empty(target: Side) -> None:
    """Raises Conflict, naming the first table that is not empty."""
    for table in all_tables():
        rows = target.count(table)
        if rows:
            raise Conflict(
                f"the target is not empty: its table {table} has {rows} row{'s' if rows > 1 else ''}; "
                "make a new database, run `orchestrator db upgrade` on it, and start no server before the copy"
            )


def copy(source: Side, target: Side, definitions: Definitions, totals: dict[str, int], tell: Tell) -> Copied:
    """Write every row into the target, read them again there, and give up the claims among them as a boot does.

    Those of executors stay theirs, with their whole time before them: no executor could reach a server meanwhile.
    Raises Conflict if the target refuses a row or has other rows afterwards, DatabaseUnavailable.
    """
    tallies = {table: _copy_table(source, target, table, totals[table], tell) for table in all_tables()}
    for table, written in tallies.items():
        _check_table(target, table, written, tell)
    target.settle()
    lost = 0
    while given_up := timers.void_claims(target.tx, definitions):
        lost += given_up
    pull_timers.begin_anew(target.tx, definitions)
    return Copied({table: tally.rows for table, tally in tallies.items()}, lost)


def _copy_table(source: Side, target: Side, table: str, total: int, tell: Tell) -> Tally:
    tally = Tally()
    with source.rows(table) as rows:
        target.put(table, _counted(rows, tally, lambda count: tell(Progress(table, count, total))))
    return tally


def _check_table(target: Side, table: str, written: Tally, tell: Tell) -> None:
    found = Tally()
    with target.rows(table) as rows:
        for _ in _counted(rows, found, lambda count: tell(Progress(table, count, written.rows, is_check=True))):
            pass
    if found != written:
        raise Conflict(
            f"the target does not hold what was copied: its table {table} has {found.rows} rows with the digest "
            f"{found.digest:032x}, the source {written.rows} with {written.digest:032x}; nothing was kept"
        )


def _counted(rows: Iterable[Row], tally: Tally, look: Callable[[int], None]) -> Iterator[Row]:
    look(0)
    for row in rows:
        tally.add(row)
        if tally.rows % ROWS_BETWEEN_LOOKS == 0:
            look(tally.rows)
        yield row
    look(tally.rows)
