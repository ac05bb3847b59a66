"""Statements on events: written at an end, numbered after the commit, read in the order of their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

# The output is copied within the database, whatever its size. An application's name is anybody's choice. A run that
# went well says what its main worker said last, as `execution_views` shows it.
_PUBLISH = """
INSERT INTO events (id, workspace_id, app_pk, type, subject, data, is_follow_up, created_at)
SELECT :id, :workspace_id, a.pk, :type, :subject,
       :before_application || {application} || :before_result
         || CASE WHEN :has_succeeded THEN coalesce(d.output, 'null') ELSE 'null' END
         || :before_message || {message} || '}}',
       coalesce(substr(d.launched_by, 1, 9) = '{{"event":', FALSE), :created_at
  FROM execution_details d JOIN apps a ON a.pk = :app_pk WHERE d.execution_pk = :execution_pk"""
_APPLICATION = "coalesce(d.application, a.id)"
_MESSAGE = """
coalesce(CAST(:message AS text), CASE WHEN :has_succeeded THEN (
    SELECT message FROM worker_states WHERE execution_pk = :execution_pk AND worker_id = 0) END)"""
_AS_JSON = {
    Dialect.SQLITE: "json_quote({})",
    Dialect.POSTGRESQL: "coalesce(to_json({})::text, 'null')",
}
_PUBLISH_IN = {
    dialect: _PUBLISH.format(application=as_json.format(_APPLICATION), message=as_json.format(_MESSAGE))
    for dialect, as_json in _AS_JSON.items()
}

# The number that was last given. Its row is the lock of those who number.
_LAST = "SELECT value FROM settings WHERE name = 'last_event'"
_LOCK_LAST = _LAST + " FOR UPDATE"
_ENSURE_LAST = "INSERT INTO settings (name, value) VALUES ('last_event', '0') ON CONFLICT (name) DO NOTHING"
_SET_LAST = "UPDATE settings SET value = :value WHERE name = 'last_event'"
_HAS_UNNUMBERED = "SELECT 1 FROM events WHERE seq IS NULL LIMIT 1"
_UNNUMBERED = "SELECT pk, workspace_id, type, is_follow_up FROM events WHERE seq IS NULL ORDER BY pk LIMIT :places"
_NUMBER = """
UPDATE events SET seq = numbered.seq
  FROM (SELECT pk, :last + row_number() OVER (ORDER BY pk) AS seq FROM events WHERE pk IN :pks) AS numbered
 WHERE events.pk = numbered.pk"""

_HEADS = "SELECT pk, seq, type, created_at FROM events WHERE workspace_id = :workspace_id AND seq > :after"
_EVENT = "SELECT id, seq, type, subject, data, created_at FROM events WHERE pk = :pk"


@dataclass(frozen=True, slots=True)
class Unnumbered:
    """An event whose transaction is committed, and that nobody has been told of yet."""

    pk: int
    workspace_id: str
    type: str
    is_follow_up: bool


@dataclass(frozen=True, slots=True)
class Head:
    """An event but for its data, which may be large; times in microseconds."""

    pk: int
    seq: int
    type: str
    created_at: int


@dataclass(frozen=True, slots=True)
class EventView:
    """An event as it was published; `data` is JSON text, times are in microseconds."""

    id: str
    seq: int
    type: str
    subject: str
    data: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Range:
    """Which events of a workspace are meant: numbers above `after`, written from `since` to before `until`."""

    workspace_id: str
    after: int = 0
    app_pk: int | None = None
    since: int | None = None
    until: int | None = None


def publish(tx: Transaction, rows: Sequence[dict[str, Any]]) -> int:
    """Write an event for each of the executions that end in this transaction; how many."""
    return tx.run_many(_PUBLISH_IN[tx.dialect], rows) if rows else 0


def last(tx: Transaction) -> int:
    """The highest number that was given so far."""
    found = tx.row(_LAST)
    return 0 if found is None else int(found[0])


def lock_last(tx: Transaction) -> int:
    """As `last`, and nobody else gives numbers until the commit."""
    found = tx.row(_LOCK_LAST)
    if found is None:
        tx.run(_ENSURE_LAST)
        found = tx.row(_LOCK_LAST)
    assert found is not None
    return int(found[0])


def has_unnumbered(tx: Transaction) -> bool:
    return tx.row(_HAS_UNNUMBERED) is not None


def unnumbered(tx: Transaction, places: int) -> list[Unnumbered]:
    """The first events without a number."""
    return [Unnumbered(*row) for row in tx.rows(_UNNUMBERED, places=places)]


def number(tx: Transaction, found: Sequence[Unnumbered], after: int) -> None:
    """Give them the numbers above `after`, in the order of their keys."""
    tx.run(_NUMBER, pks=[one.pk for one in found], last=after)
    tx.run(_SET_LAST, value=str(after + len(found)))


def heads(tx: Transaction, wanted: Range, places: int) -> list[Head]:
    """The first numbered events of the range, in the order of their numbers."""
    sql = _HEADS
    if wanted.app_pk is not None:
        sql += " AND app_pk = :app_pk"
    if wanted.since is not None:
        sql += " AND created_at >= :since"
    if wanted.until is not None:
        sql += " AND created_at < :until"
    rows = tx.rows(
        sql + " ORDER BY seq LIMIT :places",
        workspace_id=wanted.workspace_id,
        after=wanted.after,
        app_pk=wanted.app_pk,
        since=wanted.since,
        until=wanted.until,
        places=places,
    )
    return [Head(*row) for row in rows]


def find(tx: Transaction, pk: int) -> EventView | None:
    """The event with this key; None once it was purged."""
    found = tx.row(_EVENT, pk=pk)
    return None if found is None else EventView(*found)
