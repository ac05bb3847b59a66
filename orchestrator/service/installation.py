"""What a workspace has under way, at a glance."""

from orchestrator.store import counts
from orchestrator.store.clock import to_micros
from orchestrator.store.counts import Counts
from orchestrator.store.transaction import Transaction


def count(tx: Transaction, workspace_id: str) -> Counts:
    """Executions by status, due workers, undelivered import batches."""
    return counts.count(tx, workspace_id, to_micros(tx.now()))
