"""Statements that find what time has overtaken. All read without locks; their users check again under the locks."""

from orchestrator.store.transaction import Transaction

_LEASES = """
SELECT execution_pk, worker_id, token FROM workers
 WHERE status = 'calling' AND pull_task_pk IS NULL AND lease_until < :now ORDER BY lease_until LIMIT :places"""
_CLAIMS = (
    "SELECT execution_pk, worker_id, token FROM workers WHERE status = 'calling' AND pull_task_pk IS NULL LIMIT :places"
)
_CLAIMS_OF_NODE = """
SELECT execution_pk, worker_id, token FROM workers WHERE status = 'calling' AND pull_task_pk IS NULL AND node = :node"""
_WAITS = """
SELECT execution_pk, worker_id FROM workers
 WHERE status = 'awaiting' AND due_at <= :now ORDER BY due_at LIMIT :places"""
_DEADLINES = """
SELECT pk FROM executions WHERE status = 'running' AND deadline_at <= :now ORDER BY deadline_at LIMIT :places"""
_FIRST_WAIT = "SELECT min(due_at) FROM workers WHERE status = 'awaiting'"
_FIRST_DEADLINE = "SELECT min(deadline_at) FROM executions WHERE status = 'running'"


def leases(tx: Transaction, now: int, places: int) -> list[tuple[int, int, int]]:
    """(execution, worker id, token) of a node's claims whose lease has run out."""
    return [(pk, worker_id, token) for pk, worker_id, token in tx.rows(_LEASES, now=now, places=places)]


def claims(tx: Transaction, places: int) -> list[tuple[int, int, int]]:
    """(execution, worker id, token) of every claim of a node; pull claims belong to their executors."""
    return [(pk, worker_id, token) for pk, worker_id, token in tx.rows(_CLAIMS, places=places)]


def claims_of(tx: Transaction, node: str) -> list[tuple[int, int, int]]:
    """(execution, worker id, token) of the claims that a node holds."""
    return [(pk, worker_id, token) for pk, worker_id, token in tx.rows(_CLAIMS_OF_NODE, node=node)]


def waits(tx: Transaction, now: int, places: int) -> list[tuple[int, int]]:
    """(execution, worker id) of workers whose callback did not come in time."""
    return [(pk, worker_id) for pk, worker_id in tx.rows(_WAITS, now=now, places=places)]


def deadlines(tx: Transaction, now: int, places: int) -> list[int]:
    """Executions that have run longer than their task allows."""
    return [pk for (pk,) in tx.rows(_DEADLINES, now=now, places=places)]


def first(tx: Transaction) -> tuple[int | None, int | None]:
    """The next timeout of a wait and the next deadline, in microseconds."""
    [(wait,)] = tx.rows(_FIRST_WAIT)
    [(deadline,)] = tx.rows(_FIRST_DEADLINE)
    return wait, deadline
