"""What a test can look at: the calls of a run, its workers, its import batches."""

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from app_sdk.protocol.answer import Progress
from app_sdk.protocol.strict_json import JsonError, loads
from orchestrator.domain.outcome import FailureKind, NoResponse, Response

CallOutcome: TypeAlias = Literal["applied", "failed", "lost", "fenced"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that is about to be made; `at` is the virtual time since the launch.

    `key` is the same for every call of a step: it is the `ctx.key` that the task sees.
    """

    worker_id: int
    step: int
    retry_count: int
    key: str
    at: timedelta
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call(Attempt):
    """A call that was made, and what came of it.

    `applied`: its answer closed the step. `failed`: the step is called again, or the worker has failed.
    `lost`: the app did its work, and nobody heard of it. `fenced`: the run was aborted meanwhile. `answer` is
    the object that the app answered, whatever became of it; None where it answered none. `notes`: what
    operators are told besides.
    """

    outcome: CallOutcome
    http_status: int | None
    answer: dict[str, Any] | None
    message: str | None
    failure: str | None
    notes: tuple[str, ...] = ()
    changed_something: bool = False


def made(
    attempt: Attempt,
    came_back: Response | NoResponse,
    outcome: CallOutcome,
    message: str | None,
    failure: FailureKind | None = None,
) -> Call:
    """The record of a call that was made."""
    facts = {field.name: getattr(attempt, field.name) for field in fields(Attempt)}
    return Call(
        **facts,
        outcome=outcome,
        http_status=came_back.status,
        answer=_answer_in(came_back.body) if isinstance(came_back, Response) else None,
        message=message,
        failure=None if failure is None else failure.value,
    )


def _answer_in(body: bytes) -> dict[str, Any] | None:
    try:
        answer = loads(body)
    except JsonError:
        return None
    return answer if isinstance(answer, dict) else None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as it is now; `state` is its worker state, `message` what it said last."""

    worker_id: int
    status: str
    step: int
    retry_count: int
    state: dict[str, Any]
    output: dict[str, Any] | None
    message: str | None
    progress: Progress | None
    due_at: timedelta | None


@dataclass(frozen=True, slots=True)
class ImportBatch:
    """Items as the collector got them; the `key` is the same at every delivery."""

    key: str
    worker_id: int
    step: int
    items: tuple[dict[str, Any], ...]
