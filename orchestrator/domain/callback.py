"""Callbacks of third parties: which await one is meant for, and what becomes of it.

An await is a worker and the step whose answer parks it. A third party may be quicker than that answer, may tell the
same twice or the contrary, may come after the timeout, or after an abort. All of that is decided here.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto

from orchestrator.domain.errors import Conflict, Gone, NotFound
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Worker

# Where it may be called again, its present step may still be answered with an await.
_MAY_PARK = frozenset({WorkerStatus.READY, WorkerStatus.CALLING, WorkerStatus.FAILED, WorkerStatus.ABORTED})


class Fate(StrEnum):
    """What became of an await's callback.

    UNUSED: its step closed without parking. TIMED_OUT: none came in time.
    """

    KEPT = "kept"
    APPLIED = "applied"
    UNUSED = "unused"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Known:
    """What is recorded of an await; `digest` tells callbacks apart, and is None where none came in time."""

    fate: Fate
    digest: str | None


class Verdict(Enum):
    """What to do with a callback. REPEATED: nothing, it has come before. TIME_OUT: it came too late, say so."""

    KEEP = auto()
    APPLY = auto()
    REPEATED = auto()
    TIME_OUT = auto()


def step_meant(worker: Worker, step: int | None) -> int:
    """The step of the await that is meant. Raises NotFound for a step that was not reached yet.

    None means the open await, else the last one, or, where the worker has had none yet, the one that its call in
    flight may open.
    """
    if step is None:
        return worker.awaited if worker.has_awaited and worker.awaited is not None else worker.step
    if not 0 <= step <= worker.step:
        raise NotFound(f"worker {worker.worker_id} has had no step {step} yet")
    return step


def judge(worker: Worker, step: int, known: Known | None, digest: str, now: datetime) -> Verdict:
    """What becomes of a callback with this digest for the await of this step.

    Raises Gone after the timeout; Conflict where another callback came before, or the worker awaits none.
    """
    if known is not None:
        return _again(worker, step, known, digest)
    if worker.status is WorkerStatus.AWAITING and worker.awaited == step:
        is_late = worker.due_at is not None and worker.due_at <= now
        return Verdict.TIME_OUT if is_late else Verdict.APPLY
    if worker.step == step and worker.token > 0 and worker.status in _MAY_PARK:
        return Verdict.KEEP
    raise Conflict(
        f"worker {worker.worker_id} awaits no callback for its step {step}: it is {worker.status}",
        worker_status=worker.status.value,
    )


def too_late(worker_id: int, step: int) -> Gone:
    """The error of a callback after the timeout."""
    return Gone(f"the callback came too late: worker {worker_id} awaited none for its step {step} any more")


def _again(worker: Worker, step: int, known: Known, digest: str) -> Verdict:
    if known.fate is Fate.TIMED_OUT:
        raise too_late(worker.worker_id, step)
    if known.digest != digest:
        raise Conflict(
            f"another callback came before, for step {step} of worker {worker.worker_id}; it was {known.fate}",
            outcome=known.fate.value,
        )
    return Verdict.REPEATED
