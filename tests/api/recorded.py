"""Rows of calls, as the engine records them."""

from typing import Any

from orchestrator.store.transaction import Transaction
from tests.api.doors import Json


def pk_of(tx: Transaction) -> int:
    """The last execution's key."""
    found = tx.row("SELECT max(pk) FROM executions")
    assert found is not None
    return int(found[0])


def a_call(pk: int, token: int, **more: Any) -> Json:
    """An applied call of worker 0."""
    return {
        "execution_pk": pk,
        "worker_id": 0,
        "token": token,
        "step": token - 1,
        "attempt": 1,
        "retry_count": 0,
        "outcome": "applied",
        "failure": None,
        "http_status": 200,
        "message": None,
        "notes": None,
        "spawned": None,
        "rests": None,
        "answer": None,
        "digest": None,
        "items": 0,
        "node": "node-1",
        "started_at": token * 1_000_000,
        "ended_at": token * 1_000_000 + 1_500,
        **more,
    }
