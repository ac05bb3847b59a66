"""Statements on deliveries: events on their way to subscriptions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.transaction import Transaction

_PUT = """
INSERT INTO event_deliveries (subscription_pk, event_pk, status, tries, due_at, created_at)
VALUES (:subscription_pk, :event_pk, 'pending', 0, :now, :now) ON CONFLICT (subscription_pk, event_pk) DO NOTHING"""
_PUT_AGAIN = """
INSERT INTO event_deliveries (subscription_pk, event_pk, status, tries, due_at, created_at)
VALUES (:subscription_pk, :event_pk, 'pending', 0, :now, :now)
ON CONFLICT (subscription_pk, event_pk)
   DO UPDATE SET status = 'pending', tries = 0, due_at = :now, node = NULL, ended_at = NULL"""
_PUT_FAILED_AGAIN = """
UPDATE event_deliveries SET status = 'pending', tries = 0, due_at = :now, ended_at = NULL
 WHERE subscription_pk = :subscription_pk AND event_pk = :event_pk AND status = 'failed'"""

_IS_OPEN = "s.status = 'active' AND s.deleted_at IS NULL"
# In a random order, so that none is always served last.
_READY = f"""
SELECT s.pk, s.failures FROM subscriptions s
 WHERE {_IS_OPEN} AND (s.retry_at IS NULL OR s.retry_at <= :now) AND EXISTS (
       SELECT 1 FROM event_deliveries d WHERE d.subscription_pk = s.pk AND d.status = 'pending' AND d.due_at <= :now)
 ORDER BY random() LIMIT :places"""  # noqa: S608 - a text of ours
_LOCK_PROBE = """
SELECT pk FROM subscriptions WHERE pk = :pk AND (retry_at IS NULL OR retry_at <= :now) FOR NO KEY UPDATE SKIP LOCKED"""
_TAKE_PROBE = "UPDATE subscriptions SET retry_at = :until WHERE pk = :pk"
_DUE = """
SELECT event_pk FROM event_deliveries
 WHERE subscription_pk = :pk AND status = 'pending' AND due_at <= :now
 ORDER BY due_at, event_pk LIMIT :places FOR UPDATE SKIP LOCKED"""
# The due time moves on by the lease when a node takes one: should the node die, another one takes it then.
_TAKE = """
UPDATE event_deliveries SET due_at = :until, node = :node, tries = tries + 1
 WHERE subscription_pk = :pk AND event_pk IN :event_pks"""
_READ = """
SELECT d.subscription_pk, d.event_pk, d.tries, s.kind, s.target_url, s.secret_encrypted, s.task_pk,
       e.id, e.workspace_id, e.seq, e.type, e.subject, e.data, e.created_at, d.due_at
  FROM event_deliveries d JOIN subscriptions s ON s.pk = d.subscription_pk JOIN events e ON e.pk = d.event_pk
 WHERE d.subscription_pk = :pk AND d.event_pk IN :event_pks ORDER BY d.event_pk"""
_FIRST_DUE = f"""
SELECT s.retry_at, (SELECT min(d.due_at) FROM event_deliveries d
                     WHERE d.subscription_pk = s.pk AND d.status = 'pending')
  FROM subscriptions s WHERE {_IS_OPEN}"""  # noqa: S608 - a text of ours

_KEY = "subscription_pk = :subscription_pk AND event_pk = :event_pk AND status = 'pending'"
_CLOSE = f"""
UPDATE event_deliveries SET status = :status, due_at = NULL, node = NULL, message = :message, ended_at = :now
 WHERE {_KEY}"""  # noqa: S608 - a text of ours
_LOCK = f"SELECT tries FROM event_deliveries WHERE {_KEY} FOR UPDATE"  # noqa: S608 - a text of ours
_POSTPONE = f"""
UPDATE event_deliveries SET due_at = :due_at, node = NULL, message = :message WHERE {_KEY}"""  # noqa: S608
_HASTEN = """
UPDATE event_deliveries SET due_at = :now
 WHERE subscription_pk = :pk AND status = 'pending' AND node IS NULL AND due_at > :now"""

# A try that came to nothing on our side is none. Whoever has taken the delivery since has counted one of its own.
_GIVE_BACK = f"""
UPDATE event_deliveries SET due_at = :now, node = NULL, tries = tries - 1
 WHERE {_KEY} AND node IS NOT NULL AND tries = :tries"""  # noqa: S608 - a text of ours
_OF_NODE = """
SELECT subscription_pk, event_pk, tries, due_at FROM event_deliveries
 WHERE status = 'pending' AND node = :node ORDER BY subscription_pk, event_pk"""
_END_PROBE = "UPDATE subscriptions SET retry_at = :now WHERE pk = :subscription_pk AND retry_at = :until"
_VOID_PROBES = """
UPDATE subscriptions SET retry_at = :now WHERE retry_at IN
       (SELECT due_at FROM event_deliveries d
         WHERE d.subscription_pk = subscriptions.pk AND d.status = 'pending' AND d.node IS NOT NULL)"""
_VOID_LEASES = """
UPDATE event_deliveries SET due_at = :now, node = NULL, tries = tries - 1
 WHERE status = 'pending' AND node IS NOT NULL"""

_LISTED = """
SELECT d.event_pk, e.id, e.seq, e.type, e.subject, d.status, d.tries, d.due_at, d.message, d.created_at, d.ended_at
  FROM event_deliveries d JOIN events e ON e.pk = d.event_pk WHERE d.subscription_pk = :pk"""
_PENDING = """
SELECT count(*) FROM event_deliveries WHERE subscription_pk = :pk AND status = 'pending'"""


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event as the sender needs it; `data` is JSON text, the secret is still encrypted, times in microseconds.

    From `lease_until` on another node may take it.
    """

    subscription_pk: int
    event_pk: int
    tries: int
    kind: str
    target_url: str | None
    secret_encrypted: str | None
    task_pk: int | None
    id: str
    workspace_id: str
    seq: int
    type: str
    subject: str
    data: str
    created_at: int
    lease_until: int


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery for people; times in microseconds."""

    event_pk: int
    event_id: str
    seq: int
    type: str
    subject: str
    status: str
    tries: int
    due_at: int | None
    message: str | None
    created_at: int
    ended_at: int | None


def put(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Note events for subscriptions; one that is noted already stays as it is."""
    tx.run_many(_PUT, rows)


def put_again(tx: Transaction, rows: Sequence[dict[str, Any]], *, only_failed: bool) -> int:
    """Make deliveries due anew, as if they had never been tried; how many."""
    return tx.run_many(_PUT_FAILED_AGAIN if only_failed else _PUT_AGAIN, rows)


def take(tx: Transaction, places: int, node: str, now: int, until: int) -> list[OutgoingEvent]:
    """Take up to `places` due deliveries for a node, until `until`, a fair share of each subscription's.

    Times are in microseconds. Of a subscription that fails, it is one, and no other is taken before `until`.
    """
    ready = tx.rows(_READY, now=now, places=places)
    share = max(1, places // len(ready)) if ready else 0
    taken: list[OutgoingEvent] = []
    for pk, failures in ready:
        if not failures:
            taken += _take(tx, pk, share, node, (now, until))
        elif tx.rows(_LOCK_PROBE, pk=pk, now=now):
            tx.run(_TAKE_PROBE, pk=pk, until=until)
            taken += _take(tx, pk, 1, node, (now, until))
    return taken


def _take(tx: Transaction, pk: int, places: int, node: str, lease: tuple[int, int]) -> list[OutgoingEvent]:
    now, until = lease
    due = [event_pk for (event_pk,) in tx.rows(_DUE, pk=pk, now=now, places=places)]
    if not due:
        return []
    tx.run(_TAKE, pk=pk, event_pks=due, node=node, until=until)
    return [OutgoingEvent(*row) for row in tx.rows(_READ, pk=pk, event_pks=due)]


def first_due(tx: Transaction) -> int | None:
    """When the next delivery is due, in microseconds; None if none waits."""
    due = [max(due_at, retry_at or 0) for retry_at, due_at in tx.rows(_FIRST_DUE) if due_at is not None]
    return min(due, default=None)


def lock(tx: Transaction, event: OutgoingEvent) -> bool:
    """Whether the delivery is still to be made, and by whoever has taken it as `event`."""
    found = tx.row(_LOCK, subscription_pk=event.subscription_pk, event_pk=event.event_pk)
    return found is not None and found[0] == event.tries


def close(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Deliveries that are over, whatever their status is then."""
    tx.run_many(_CLOSE, rows)


def postpone(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Deliveries that are tried again later."""
    tx.run_many(_POSTPONE, rows)


def give_back(tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Deliveries whose try, the one of this number, came to nothing on our side: due now, as if it had not been."""
    tx.run_many(_GIVE_BACK, rows)


def release_unknown(tx: Transaction, node: str, known: Collection[tuple[int, int]], now: int) -> None:
    """Give back what is noted as being sent by a node, but for the (subscription, event) that it knows of."""
    names = "subscription_pk", "event_pk", "tries", "until"
    found = [{**dict(zip(names, row, strict=True)), "now": now} for row in tx.rows(_OF_NODE, node=node)]
    unknown = [row for row in found if (row["subscription_pk"], row["event_pk"]) not in known]
    # Subscriptions are locked before deliveries, everywhere.
    tx.run_many(_END_PROBE, unknown)
    give_back(tx, unknown)


def void_leases(tx: Transaction, now: int) -> None:
    """At the boot of the only server: nobody else is sending."""
    tx.run(_VOID_PROBES, now=now)
    tx.run(_VOID_LEASES, now=now)


def hasten(tx: Transaction, subscription_pk: int, now: int) -> None:
    """Make due at once what would be tried later, but for what is under way."""
    tx.run(_HASTEN, pk=subscription_pk, now=now)


def pending(tx: Transaction, subscription_pk: int) -> int:
    """How many events the subscription has still to be told of."""
    [(count,)] = tx.rows(_PENDING, pk=subscription_pk)
    return int(count)


def listed(
    tx: Transaction, subscription_pk: int, status: str | None, before: int | None, limit: int
) -> list[DeliveryView]:
    """A subscription's deliveries, those of the newest events first, from the one after the event's key `before`."""
    sql = _LISTED
    if status is not None:
        sql += " AND d.status = :status"
    if before is not None:
        sql += " AND d.event_pk < :before"
    sql += " ORDER BY d.event_pk DESC LIMIT :limit"
    rows = tx.rows(sql, pk=subscription_pk, status=status, before=before, limit=limit)
    return [DeliveryView(*row) for row in rows]
