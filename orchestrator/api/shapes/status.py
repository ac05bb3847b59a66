"""What a workspace and its node are at."""

from typing import Any

from orchestrator.api.shapes.parts import Shown
from orchestrator.domain.states import ExecutionStatus
from orchestrator.store.counts import Counts


class ExecutionCounts(Shown):
    """Executions by status."""

    pending: int
    running: int
    succeeded: int
    failed: int
    aborted: int


class Status(Shown):
    """The node that answers, and what the caller's workspace has under way."""

    version: str
    node: str
    database: str
    executions: ExecutionCounts
    due_workers: int
    undelivered_batches: int


class Health(Shown):
    """A node that can serve."""

    status: str


def status(version: str, node: str, database: str, counts: Counts) -> dict[str, Any]:
    return {
        "version": version,
        "node": node,
        "database": database,
        "executions": {status.value: counts.executions.get(status, 0) for status in ExecutionStatus},
        "due_workers": counts.due_workers,
        "undelivered_batches": counts.undelivered_batches,
    }
