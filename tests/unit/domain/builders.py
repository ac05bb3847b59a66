"""Executions, claims and answers in as few words as a test needs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app_sdk.protocol.answer import Answer, read_answer
from app_sdk.protocol.strict_json import dumps
from orchestrator.domain.consequence import Reckoning
from orchestrator.domain.execution import ClosedStep, Execution
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import OnWorkerFailure, TaskPolicy
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Lease, Worker

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONTINUE = TaskPolicy(on_worker_failure=OnWorkerFailure.CONTINUE)
BAD_REQUEST = Unsuccessful("HTTP 400", is_final=True)


def answer(**fields: Any) -> Answer:
    """What the engine reads when an app answers with these fields."""
    return read_answer(dumps(fields))


def pending(*ids: int, policy: TaskPolicy | None = None) -> Execution:
    """An execution with the workers `ids` (worker 0 if there are none), not yet started."""
    return Execution(policy or TaskPolicy(), {id_: Worker(id_) for id_ in ids or (0,)})


def running(*ids: int, policy: TaskPolicy | None = None) -> Execution:
    """The same, started at NOW, with nothing touched since."""
    execution = pending(*ids, policy=policy)
    execution.start(NOW)
    execution.touched.clear()
    return execution


def claim(execution: Execution, worker_id: int = 0, now: datetime = NOW) -> int:
    """Claim a worker that may be claimed; returns the token."""
    assert execution.may_claim(worker_id, execution.workers[worker_id].token, now)
    return execution.claim(worker_id, Lease("node", now, now + timedelta(seconds=30))).token


def reply(
    execution: Execution,
    worker_id: int = 0,
    *,
    state_changed: bool = False,
    batches: int = 0,
    now: datetime = NOW,
    **fields: Any,
) -> ClosedStep:
    """Apply an answer with these fields to a worker that is calling."""
    return execution.close_step(
        worker_id, answer(**fields), state_changed=state_changed, batches=batches, now=now, reckoning=Reckoning(now)
    )


def step(execution: Execution, worker_id: int = 0, *, now: datetime = NOW, **fields: Any) -> ClosedStep:
    """One whole turn: claim the worker, and apply what it answers."""
    claim(execution, worker_id, now)
    return reply(execution, worker_id, now=now, **fields)


def fail(execution: Execution, worker_id: int = 0, call: Unsuccessful = BAD_REQUEST, now: datetime = NOW) -> None:
    """Let the call in flight of a worker fail."""
    execution.fail_call(worker_id, call, now=now, reckoning=Reckoning(now))


def spawning(*ids: int) -> list[dict[str, Any]]:
    """The field `new_workers` for these ids."""
    return [{"worker_id": id_, "initial_state": {}} for id_ in ids]


def statuses(execution: Execution) -> dict[int, WorkerStatus]:
    return {id_: worker.status for id_, worker in sorted(execution.workers.items())}
