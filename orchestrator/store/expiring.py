"""Statements that remove, in bounded batches, what is past its time and belongs to no execution.

Records of the doors and of schedules, what the built-in collector has, and the definitions that nobody needs any more.
"""

from dataclasses import dataclass

from orchestrator.store.transaction import Transaction

_FORGET_REQUESTS = """
DELETE FROM idempotency_records WHERE (workspace_id, token_id, route, key) IN
       (SELECT workspace_id, token_id, route, key FROM idempotency_records
         WHERE created_at <= :until ORDER BY created_at LIMIT :places FOR UPDATE SKIP LOCKED)"""
_FORGET_OCCURRENCES = """
DELETE FROM occurrences WHERE (task_pk, slot_at) IN
       (SELECT task_pk, slot_at FROM occurrences
         WHERE recorded_at <= :until ORDER BY recorded_at LIMIT :places FOR UPDATE SKIP LOCKED)"""

# Items are numbered as they are taken in, so the oldest are the first; nothing else is looked at.
_FORGET_ITEMS = """
DELETE FROM collected_items WHERE pk IN
       (SELECT pk FROM (SELECT pk, received_at FROM collected_items
                         ORDER BY pk LIMIT :places FOR UPDATE SKIP LOCKED) AS oldest
         WHERE received_at <= :until)"""
# A batch that our own outbox still holds will come again.
_FORGET_KEYS = """
DELETE FROM collected_batches WHERE (workspace_id, key) IN
       (SELECT c.workspace_id, c.key FROM collected_batches c
         WHERE c.received_at <= :until AND NOT EXISTS (
               SELECT 1 FROM import_batches b WHERE b.key = c.key AND b.status IN ('pending', 'refused'))
         ORDER BY c.received_at LIMIT :places FOR UPDATE OF c SKIP LOCKED)"""

# As with items; one that has no number yet is still to be published.
_OLD_EVENTS = """
SELECT pk FROM (SELECT pk, seq, created_at FROM events ORDER BY pk LIMIT :places FOR UPDATE SKIP LOCKED) AS oldest
 WHERE created_at <= :until AND seq IS NOT NULL"""
_DROP_EVENTS = ("DELETE FROM event_deliveries WHERE event_pk IN :pks", "DELETE FROM events WHERE pk IN :pks")
_DELETED_SUBSCRIPTION = """
SELECT pk FROM subscriptions WHERE deleted_at IS NOT NULL ORDER BY pk LIMIT 1 FOR UPDATE SKIP LOCKED"""
_DROP_DELIVERIES = """
DELETE FROM event_deliveries WHERE (subscription_pk, event_pk) IN
       (SELECT subscription_pk, event_pk FROM event_deliveries
         WHERE subscription_pk = :pk ORDER BY event_pk LIMIT :places)"""
_DROP_SUBSCRIPTION = "DELETE FROM subscriptions WHERE pk = :pk"

# Whether there is an execution is asked in the order of an index: of the first one from there on, and whose it is. A
# plain EXISTS made PostgreSQL read all of them.
_UNUSED_VERSIONS = """
SELECT v.pk FROM task_versions v JOIN task_definitions t ON t.pk = v.task_pk
 WHERE (t.removed_at <= :until OR (v.pk <> t.version_pk AND EXISTS (
           SELECT 1 FROM task_versions later
            WHERE later.task_pk = v.task_pk AND later.version > v.version AND later.created_at <= :until)))
   AND coalesce((SELECT e.version_pk FROM executions e
                  WHERE e.version_pk >= v.pk ORDER BY e.version_pk LIMIT 1) <> v.pk, TRUE)
 ORDER BY v.pk LIMIT :places"""
_GONE_TASKS = """
SELECT t.pk FROM task_definitions t
 WHERE t.removed_at <= :until
   AND coalesce((SELECT e.task_pk FROM executions e
                  WHERE e.task_pk >= t.pk ORDER BY e.task_pk, e.pk LIMIT 1) <> t.pk, TRUE)
   AND NOT EXISTS (SELECT 1 FROM task_versions v WHERE v.task_pk = t.pk)
 ORDER BY t.pk LIMIT :places"""
_GONE_APPS = """
SELECT a.pk FROM apps a
 WHERE a.deleted_at <= :until
   AND coalesce((SELECT e.app_pk FROM executions e
                  WHERE e.app_pk >= a.pk ORDER BY e.app_pk, e.status LIMIT 1) <> a.pk, TRUE)
   AND NOT EXISTS (SELECT 1 FROM task_definitions t WHERE t.app_pk = a.pk)
 ORDER BY a.pk LIMIT :places"""

_DROP_VERSIONS = "DELETE FROM task_versions WHERE pk IN :pks"
_DROP_SLOTS = """
DELETE FROM occurrences WHERE (task_pk, slot_at) IN
       (SELECT task_pk, slot_at FROM occurrences WHERE task_pk IN :pks ORDER BY task_pk, slot_at LIMIT :places)"""
_DROP_TASKS = ("DELETE FROM overlap_groups WHERE task_pk IN :pks", "DELETE FROM task_definitions WHERE pk IN :pks")
_DROP_APPS = (
    "DELETE FROM tokens WHERE app_pk IN :pks",
    "DELETE FROM app_states WHERE app_pk IN :pks",
    "DELETE FROM apps WHERE pk IN :pks",
)


@dataclass(frozen=True, slots=True)
class Unneeded:
    """Keys of definitions that no execution names any more."""

    versions: list[int]
    tasks: list[int]
    apps: list[int]

    def __bool__(self) -> bool:
        return bool(self.versions or self.tasks or self.apps)


def forget_requests(tx: Transaction, until: int, places: int) -> int:
    """Drop the oldest records of requests with an Idempotency-Key; how many."""
    return tx.run(_FORGET_REQUESTS, until=until, places=places)


def forget_occurrences(tx: Transaction, until: int, places: int) -> int:
    """Drop the oldest records of slots; how many."""
    return tx.run(_FORGET_OCCURRENCES, until=until, places=places)


def forget_items(tx: Transaction, until: int, places: int) -> int:
    """Drop the oldest items of the built-in collector; how many."""
    return tx.run(_FORGET_ITEMS, until=until, places=places)


def forget_keys(tx: Transaction, until: int, places: int) -> int:
    """Drop the oldest keys that the built-in collector knows second deliveries by; how many."""
    return tx.run(_FORGET_KEYS, until=until, places=places)


def forget_events(tx: Transaction, until: int, places: int) -> int:
    """Drop the oldest events with their deliveries; how many."""
    pks = [pk for (pk,) in tx.rows(_OLD_EVENTS, until=until, places=places)]
    for sql in _DROP_EVENTS if pks else ():
        tx.run(sql, pks=pks)
    return len(pks)


def forget_subscription(tx: Transaction, places: int) -> bool:
    """Drop a deleted subscription, or so many of its deliveries; False if there is none."""
    found = tx.row(_DELETED_SUBSCRIPTION)
    if found is None:
        return False
    if tx.run(_DROP_DELIVERIES, pk=found[0], places=places) < places:
        tx.run(_DROP_SUBSCRIPTION, pk=found[0])
    return True


def unneeded(tx: Transaction, until: int, places: int) -> Unneeded:
    """Versions replaced, tasks removed, apps deleted at `until` or before, that no execution needs."""
    found = ([pk for (pk,) in tx.rows(sql, until=until, places=places)] for sql in _FINDERS)
    return Unneeded(*found)


def drop_unneeded(tx: Transaction, these: Unneeded, places: int) -> None:
    """Remove them; of tasks with more than `places` slots on record, as many slots, and no task."""
    tx.run(_DROP_VERSIONS, pks=these.versions)
    if tx.run(_DROP_SLOTS, pks=these.tasks, places=places) < places:
        for sql in _DROP_TASKS:
            tx.run(sql, pks=these.tasks)
    for sql in _DROP_APPS:
        tx.run(sql, pks=these.apps)


_FINDERS = (_UNUSED_VERSIONS, _GONE_TASKS, _GONE_APPS)
