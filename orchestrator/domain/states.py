"""The life cycle: every status, and the table of allowed moves.

This module alone knows which move is allowed. `docs/architecture.md` draws the same two tables, and a
test compares the drawing with them.
"""

from collections.abc import Mapping
from enum import StrEnum

from orchestrator.domain.errors import IllegalMove


class AppStatus(StrEnum):
    """INITIALIZING: installed, never activated. ACTIVE: called. STOPPED: nothing is claimed."""

    INITIALIZING = "initializing"
    ACTIVE = "active"
    STOPPED = "stopped"


class ExecutionStatus(StrEnum):
    """PENDING: waits for a running execution to end, or for its start time. The last three are final."""

    # Looked up with every step: an Enum's own hash is a function in Python.
    __hash__ = str.__hash__

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


class WorkerStatus(StrEnum):
    """READY: due now or later. AWAITING: a callback. WAITING: for the other workers."""

    __hash__ = str.__hash__

    READY = "ready"
    CALLING = "calling"
    AWAITING = "awaiting"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


ENDED_EXECUTION = frozenset({ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED, ExecutionStatus.ABORTED})
ENDED_WORKER = frozenset({WorkerStatus.DONE, WorkerStatus.FAILED, WorkerStatus.ABORTED})

EXECUTION_MOVES: Mapping[ExecutionStatus, frozenset[ExecutionStatus]] = {
    ExecutionStatus.PENDING: frozenset({ExecutionStatus.RUNNING, ExecutionStatus.ABORTED}),
    ExecutionStatus.RUNNING: ENDED_EXECUTION,
    ExecutionStatus.SUCCEEDED: frozenset(),
    # A retry is a new attempt of the same execution; it may have to wait its turn.
    ExecutionStatus.FAILED: frozenset({ExecutionStatus.PENDING}),
    ExecutionStatus.ABORTED: frozenset({ExecutionStatus.PENDING}),
}

_OPEN_ENDS = frozenset({WorkerStatus.FAILED, WorkerStatus.ABORTED})

WORKER_MOVES: Mapping[WorkerStatus, frozenset[WorkerStatus]] = {
    WorkerStatus.READY: frozenset({WorkerStatus.CALLING}) | _OPEN_ENDS,
    WorkerStatus.CALLING: frozenset(
        {WorkerStatus.READY, WorkerStatus.AWAITING, WorkerStatus.WAITING, WorkerStatus.DONE}
    )
    | _OPEN_ENDS,
    WorkerStatus.AWAITING: frozenset({WorkerStatus.READY, WorkerStatus.DONE}) | _OPEN_ENDS,
    WorkerStatus.WAITING: frozenset({WorkerStatus.READY}) | _OPEN_ENDS,
    # A done worker may be spawned anew, or fail because the collector refused one of its batches.
    WorkerStatus.DONE: frozenset({WorkerStatus.READY, WorkerStatus.FAILED}),
    # A retry resumes them; one that was done before the collector refused a batch is so again.
    WorkerStatus.FAILED: frozenset({WorkerStatus.READY, WorkerStatus.WAITING, WorkerStatus.DONE}),
    WorkerStatus.ABORTED: frozenset({WorkerStatus.READY, WorkerStatus.WAITING}),
}


def check_execution_move(from_: ExecutionStatus, to: ExecutionStatus) -> ExecutionStatus:
    """Return `to`; raises IllegalMove when the table does not allow it."""
    if to not in EXECUTION_MOVES[from_]:
        raise IllegalMove(f"an execution cannot go from {from_} to {to}")
    return to


def check_worker_move(from_: WorkerStatus, to: WorkerStatus) -> WorkerStatus:
    """Return `to`; raises IllegalMove when the table does not allow it."""
    if to not in WORKER_MOVES[from_]:
        raise IllegalMove(f"a worker cannot go from {from_} to {to}")
    return to
