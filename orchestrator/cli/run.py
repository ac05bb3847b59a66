"""An execution as the API shows it, read for drawing; what an older or newer server leaves out is empty."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from orchestrator.cli.formats import JsonObject, one_line, parse_time
from orchestrator.domain.states import ENDED_EXECUTION, ENDED_WORKER, ExecutionStatus


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a worker says it is; `total` is None where it does not know."""

    current: float
    total: float | None
    unit: str

    @classmethod
    def read(cls, document: object) -> "Progress | None":
        """Read the API's progress; None where the worker reports none."""
        if not isinstance(document, Mapping):
            return None
        total = document.get("total")
        return cls(
            current=_number(document.get("current")),
            total=_number(total) if isinstance(total, int | float) and total > 0 else None,
            unit=one_line(document.get("unit")),
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """A worker."""

    worker_id: int
    status: str
    step: int
    retry_count: int
    due_at: datetime | None
    message: str
    progress: Progress | None

    @classmethod
    def read(cls, document: Mapping[str, object]) -> Self:
        """Read the API's worker."""
        return cls(
            worker_id=_count(document.get("worker_id")),
            status=one_line(document.get("status")),
            step=_count(document.get("step")),
            retry_count=_count(document.get("retry_count")),
            due_at=parse_time(document.get("due_at")),
            message=one_line(document.get("message")),
            progress=Progress.read(document.get("progress")),
        )

    @property
    def has_ended(self) -> bool:
        """Whether the worker is done, failed or aborted."""
        return self.status in ENDED_WORKER


@dataclass(frozen=True, slots=True)
class Totals:
    """What an execution has cost and brought so far."""

    calls: int
    retries: int
    items: int
    delivered_items: int


@dataclass(frozen=True, slots=True)
class Run:
    """An execution with its workers, by their ids."""

    id: str
    task_id: str
    status: str
    is_failing: bool
    subtext: str
    message: str
    run_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    totals: Totals
    lanes: tuple[Lane, ...]

    @classmethod
    def read(cls, document: JsonObject) -> Self:
        """Read `GET /v1/executions/{id}`."""
        totals = document.get("totals")
        counts: Mapping[str, object] = totals if isinstance(totals, dict) else {}
        workers = document.get("workers")
        lanes = [Lane.read(worker) for worker in workers] if isinstance(workers, list) else []
        return cls(
            id=one_line(document.get("id")),
            task_id=one_line(document.get("task_id")),
            status=one_line(document.get("status")),
            is_failing=document.get("failing") is True,
            subtext=one_line(document.get("subtext")),
            message=one_line(document.get("message")),
            run_at=parse_time(document.get("run_at")),
            started_at=parse_time(document.get("started_at")),
            ended_at=parse_time(document.get("ended_at")),
            totals=Totals(
                calls=_count(counts.get("calls")),
                retries=_count(counts.get("retries")),
                items=_count(counts.get("items")),
                delivered_items=_count(counts.get("delivered_items")),
            ),
            lanes=tuple(sorted(lanes, key=lambda lane: lane.worker_id)),
        )

    @property
    def has_ended(self) -> bool:
        """Whether the execution has succeeded, failed or been aborted."""
        return self.status in ENDED_EXECUTION

    @property
    def has_succeeded(self) -> bool:
        """Whether it ended well."""
        return self.status == ExecutionStatus.SUCCEEDED

    def seconds(self, now: datetime) -> float | None:
        """How long it has taken, until its end or `now`; None before its start."""
        if self.started_at is None:
            return None
        return max(((self.ended_at or now) - self.started_at).total_seconds(), 0.0)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0
