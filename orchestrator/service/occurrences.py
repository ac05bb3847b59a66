"""The ledger of a schedule: what became of its slots, each in exactly one entry."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app_sdk.protocol.manifest import ScheduleManifest
from orchestrator.domain.cron import Cron
from orchestrator.domain.schedule import DueSlots, Interval, Schedule, all_missed
from orchestrator.store import due_schedules
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.tables import Schedule as ScheduleRow
from orchestrator.store.transaction import Transaction


class Outcome(StrEnum):
    """LAUNCHED: as an execution. MERGED: into the one that waits already. The others: not, for the reason given."""

    LAUNCHED = "launched"
    MERGED = "merged"
    SKIPPED = "skipped"
    MISSED = "missed"


class Reason(StrEnum):
    """Why a slot was not launched: SKIPPED by the first four, MISSED by the last three."""

    OVERLAP = "overlap"
    PAUSED = "paused"
    APP = "app"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    TOO_LATE = "too_late"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of a slot. `slots`: how many it stands for, itself and those just before it."""

    slot: datetime
    outcome: Outcome
    reason: Reason | None = None
    note: str | None = None
    execution_pk: int | None = None
    late: timedelta = timedelta()
    slots: int = 1


def on_record(tx: Transaction, task_pk: int, slot: datetime, now: datetime) -> frozenset[datetime]:
    """The slots from `slot` to `now` that have their entry: those of a clock that was set back come a second time."""
    found = due_schedules.recorded(tx, task_pk, to_micros(slot), to_micros(now))
    return frozenset(from_micros(slot_at) for slot_at in found)


def missed(due: DueSlots, over: Collection[datetime], reason: Reason, note: str) -> list[Entry]:
    """An entry for each slot that was passed over and is not `over` already.

    The oldest stands for those that are too many to list.
    """
    entries = [Entry(slot, Outcome.MISSED, reason, note) for slot in due.missed if slot not in over]
    unlisted = due.missed_count - len(due.missed)
    if unlisted and entries:
        oldest = entries[0].slot
        more = f"{note}; {unlisted:,} slots before this one were missed too, and are not listed"
        entries[0] = Entry(oldest, Outcome.MISSED, reason, more, slots=1 + unlisted)
    return entries


def record(tx: Transaction, task_pk: int, entries: Iterable[Entry], now: datetime) -> None:
    """Write the entries; the primary key refuses a second one for a slot."""
    due_schedules.record(tx, [_row(task_pk, entry, now) for entry in entries])


def settle(tx: Transaction, row: ScheduleRow, now: datetime) -> None:
    """A schedule ends, or becomes another: the slots that have come and nobody has looked at yet are missed."""
    if row.next_slot_at is None or from_micros(row.next_slot_at) > now:
        return
    asked = ScheduleManifest.model_validate_json(row.definition)
    slot = from_micros(row.next_slot_at)
    owed = all_missed(schedule_of(asked, row.anchor_at), slot, now)
    over = on_record(tx, row.task_pk, slot, now)
    entries = missed(owed, over, Reason.CHANGED, "the schedule was changed before this slot was looked at")
    record(tx, row.task_pk, entries, now)


def schedule_of(asked: ScheduleManifest, anchor_at: int) -> Schedule:
    """When it is due; intervals count from `anchor_at` (microseconds)."""
    if asked.cron is not None:
        return Cron(asked.cron, asked.timezone)
    assert asked.interval_secs is not None
    return Interval(timedelta(seconds=asked.interval_secs), from_micros(anchor_at))


def _row(task_pk: int, entry: Entry, now: datetime) -> dict[str, object]:
    return {
        "task_pk": task_pk,
        "slot_at": to_micros(entry.slot),
        "outcome": entry.outcome.value,
        "reason": None if entry.reason is None else entry.reason.value,
        "execution_pk": entry.execution_pk,
        "late_by": entry.late // timedelta(microseconds=1),
        "slots": entry.slots,
        "note": entry.note,
        "recorded_at": to_micros(now),
    }
