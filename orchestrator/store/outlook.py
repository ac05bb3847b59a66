"""One statement that says for whom something is due by a given instant, so that an idle node asks one question.

Each part finds at least what the statements of its loop would find then. Where many rows sleep it compares with their
first, and does not ask whether one EXISTS: PostgreSQL would make a join of that, and walk over all.
"""

from orchestrator.store.transaction import Transaction

_CALLS = """
SELECT 'calls' WHERE EXISTS (
       SELECT 1 FROM apps
        WHERE apps.status = 'active' AND apps.deleted_at IS NULL AND :until >= (
              SELECT min(due_at) FROM workers
               WHERE workers.app_pk = apps.pk AND status = 'ready' AND NOT held AND pull_task_pk IS NULL
                 AND due_at IS NOT NULL))"""
_BATCHES = """
SELECT 'batches'
 WHERE :until >= (SELECT min(due_at) FROM import_batches WHERE status = 'pending' AND due_at IS NOT NULL)"""
_EVENTS = "SELECT 'events' WHERE EXISTS (SELECT 1 FROM events WHERE seq IS NULL)"
_DELIVERIES = """
SELECT 'deliveries' WHERE EXISTS (
       SELECT 1 FROM subscriptions s
        WHERE s.status = 'active' AND s.deleted_at IS NULL AND (s.retry_at IS NULL OR s.retry_at <= :until)
          AND :until >= (SELECT min(d.due_at) FROM event_deliveries d
                          WHERE d.subscription_pk = s.pk AND d.status = 'pending'))"""
_SLOTS = "SELECT 'slots' WHERE :until >= (SELECT min(due_at) FROM schedules WHERE due_at IS NOT NULL)"
# Claims in flight are few, and have no index on their leases.
_TIMERS = """
SELECT 'timers'
 WHERE :until >= (SELECT min(due_at) FROM workers WHERE status = 'awaiting')
    OR :until >= (SELECT min(lease_until) FROM workers WHERE status = 'calling' AND pull_task_pk IS NOT NULL)
    OR :until >= (SELECT min(lease_until) FROM workers WHERE status = 'calling' AND pull_task_pk IS NULL)
    OR :until >= (SELECT min(deadline_at) FROM executions WHERE status = 'running')
    OR EXISTS (
       SELECT 1 FROM executions AS waiting
        WHERE waiting.status = 'pending' AND (waiting.run_at IS NULL OR waiting.run_at <= :until)
          AND NOT (waiting.queues AND EXISTS (
              SELECT 1 FROM executions AS running
               WHERE running.task_pk = waiting.task_pk AND running.multiple_exec_key = waiting.multiple_exec_key
                 AND running.status = 'running'
                 AND running.status IN ('pending', 'running') AND running.open_workers > 0)))"""
_DUE = " UNION ALL ".join((_CALLS, _BATCHES, _EVENTS, _DELIVERIES, _SLOTS, _TIMERS))


def due(tx: Transaction, until: int) -> list[str]:
    """What there is to do by `until`, in microseconds, by the names above."""
    return [name for (name,) in tx.rows(_DUE, until=until)]
