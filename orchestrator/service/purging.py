"""Purge: executions that ended long enough ago go, with all that belongs to them, a bounded batch at a time.

One looks first, without locks, and removes then, each batch in a transaction of its own that checks again. What stays,
however old: an execution that has not ended, one with a batch that was not delivered (or was refused, and may be
delivered again), and the newest of each task that is still there, which lists show.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta

from orchestrator.domain.errors import Invalid
from orchestrator.domain.retention import SHORTEST
from orchestrator.domain.states import ENDED_EXECUTION, ExecutionStatus
from orchestrator.service import paging
from orchestrator.service.paging import Page
from orchestrator.store import purging
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.purging import Ended, Filter, Records
from orchestrator.store.transaction import Transaction

# What a transaction removes at most: a few hundredths of a second of the one writer that SQLite has.
EXECUTIONS = 100
ROWS = 2_000
# What one look takes in, where nothing is removed.
LOOK = 1_000

STATUSES = tuple(sorted(ENDED_EXECUTION))
_KIND = "purge"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which executions are to go; None does not restrict."""

    workspace_id: str
    until: datetime
    statuses: Sequence[ExecutionStatus] = STATUSES
    app_pks: Sequence[int] | None = None
    task_pks: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a look goes on: which of the statuses, and after which execution of it."""

    status: int = 0
    ended_at: int = -(2**63)
    pk: int = -1


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look has found, all of one status; `following` is None at the end.

    `held_back` wait for a delivery, `newest` are the last of their tasks: both stay.
    """

    status: ExecutionStatus
    records: dict[int, Records]
    held_back: int
    newest: int
    following: Place | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How much has gone, or would go."""

    executions: int = 0
    calls: int = 0
    log_lines: int = 0
    import_batches: int = 0
    held_back: int = 0
    newest: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(own + its for own, its in zip(astuple(self), astuple(other), strict=True)))


def until(now: datetime, age: timedelta, field: str | None = None) -> datetime:
    """The instant that lies `age` back. Raises Invalid for less than what an Idempotency-Key is remembered."""
    if age < SHORTEST:
        raise Invalid(f"at least {SHORTEST.total_seconds():.0f} seconds", field=field)
    return now - age


def cursor(wanted: Selection, place: Place | None) -> str | None:
    """Where to go on, as a text for whoever asks; it fixes the instant too. None at the end."""
    if place is None:
        return None
    return paging.cursor_of(_KIND, (to_micros(wanted.until), place.status, place.ended_at, place.pk))


def resumed(wanted: Selection, given: str | None) -> tuple[Selection, Place]:
    """The selection, and where to begin. Raises Invalid for what is not a cursor of this selection."""
    numbers = Page(cursor=given).numbers(_KIND, 4)
    if numbers is None:
        return wanted, Place()
    instant, status, ended_at, pk = numbers
    # The clock has moved on since it was given; an instant that is still to come, it never named.
    if instant > to_micros(wanted.until) or status not in range(len(wanted.statuses)):
        raise Invalid("this is not a cursor of this purge; take next_cursor from its answer", field="cursor")
    return replace(wanted, until=from_micros(instant)), Place(status, ended_at, pk)


def look(tx: Transaction, wanted: Selection, place: Place, places: int = LOOK, rows: int | None = None) -> Sight:
    """Look over the next `places` executions, of which all but the first have no more than `rows` records together."""
    status = wanted.statuses[place.status]
    found = purging.ended(tx, _filter(wanted, status), (place.ended_at, place.pk), places)
    records = purging.records(tx, [one.pk for one in found if not (one.is_held_back or one.is_newest)])
    seen = found if rows is None else _within(found, records, rows)
    if seen and (len(found) == places or len(seen) < len(found)):
        following: Place | None = Place(place.status, seen[-1].ended_at, seen[-1].pk)
    else:
        following = Place(place.status + 1) if place.status + 1 < len(wanted.statuses) else None
    return Sight(
        status=status,
        records={one.pk: records[one.pk] for one in seen if one.pk in records},
        held_back=sum(one.is_held_back for one in seen),
        newest=sum(one.is_newest and not one.is_held_back for one in seen),
        following=following,
    )


def remove(tx: Transaction, wanted: Selection, sight: Sight, most: int = ROWS) -> Tally:
    """Remove what was seen and is still past its time; what a concurrent retry or purge has, stays or is gone.

    An execution with over `most` records goes at once, and its records later, by `remove_left`.
    """
    doomed = purging.lock(tx, sorted(sight.records), sight.status, to_micros(wanted.until))
    if not doomed:
        return tally(replace(sight, records={}))
    many = [pk for pk in doomed if sight.records[pk].rows > most]
    purging.leave_records(tx, many)
    purging.drop_records(tx, [pk for pk in doomed if pk not in many])
    purging.drop(tx, sorted(doomed))
    for task_pk, key in sorted(set(doomed.values())):
        if key:
            purging.drop_group(tx, task_pk, key)
    return tally(replace(sight, records={pk: sight.records[pk] for pk in doomed}))


def remove_left(tx: Transaction, most: int = ROWS) -> int | None:
    """Remove up to `most` records of executions that are gone; None if there are none."""
    return purging.drop_left_records(tx, most)


def tally(sight: Sight) -> Tally:
    """Count what was seen."""
    every = sight.records.values()
    return Tally(
        executions=len(every),
        calls=sum(one.calls for one in every),
        log_lines=sum(one.log_lines for one in every),
        import_batches=sum(one.import_batches for one in every),
        held_back=sight.held_back,
        newest=sight.newest,
    )


def _filter(wanted: Selection, status: ExecutionStatus) -> Filter:
    return Filter(wanted.workspace_id, status.value, to_micros(wanted.until), wanted.app_pks, wanted.task_pks)


def _within(found: Sequence[Ended], records: dict[int, Records], rows: int) -> Sequence[Ended]:
    """As many from the start as have `rows` records together; at least one with records."""
    left = rows
    for position, one in enumerate(found):
        needed = records[one.pk].rows if one.pk in records else 0
        if needed > left and left < rows:
            return found[:position]
        left -= needed
    return found
