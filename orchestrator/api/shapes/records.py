"""What was recorded: calls, log lines, the slots of a schedule."""

from typing import Any, Literal

from pydantic import Field

from orchestrator.api.answers import instant, maybe_instant, raw
from orchestrator.api.shapes.parts import JsonObject, Shown, Time
from orchestrator.domain.beginning import as_object
from orchestrator.service.resuming import call_id
from orchestrator.store.record_views import CallView, LogView, OccurrenceView


class Call(Shown):
    """One HTTP request to the app."""

    id: str = Field(description="Unique within the execution: the worker and the call's token, such as 0.12.")
    worker_id: int
    step: int
    token: int
    attempt: int
    retry_count: int
    outcome: Literal["applied", "failed", "lost", "fenced", "returned"]
    failure: str | None
    http_status: int | None
    message: str | None
    notes: list[str]
    spawned: list[int] = Field(description="The workers that its answer started, or started again.")
    answer: JsonObject | None
    items: int
    node: str | None
    started_at: Time | None
    ended_at: Time
    duration_ms: float | None


class LogLine(Shown):
    """A line that an app wrote into its answer."""

    worker_id: int
    step: int
    line: str
    logged_at: Time


class Occurrence(Shown):
    """What became of a slot of a schedule."""

    slot_at: Time
    outcome: Literal["launched", "skipped", "missed", "merged"]
    reason: Literal["overlap", "paused", "app", "refused", "superseded", "too_late", "changed"] | None
    execution_id: str | None
    late_secs: float = Field(description="How long after its time it was launched.")
    slots: int = Field(description="How many slots it stands for: itself, and those just before it.")
    note: str | None
    recorded_at: Time


def call(view: CallView) -> dict[str, Any]:
    took = None if view.started_at is None else (view.ended_at - view.started_at) / 1000
    return {
        "id": call_id(view.worker_id, view.token),
        "worker_id": view.worker_id,
        "step": view.step,
        "token": view.token,
        "attempt": view.attempt,
        "retry_count": view.retry_count,
        "outcome": view.outcome,
        "failure": view.failure,
        "http_status": view.http_status,
        "message": view.message,
        "notes": view.notes.split("\n") if view.notes else [],
        "spawned": [int(worker_id) for worker_id in as_object(view.spawned)],
        "answer": raw(view.answer),
        "items": view.items,
        "node": view.node,
        "started_at": maybe_instant(view.started_at),
        "ended_at": instant(view.ended_at),
        "duration_ms": took,
    }


def log_line(view: LogView) -> dict[str, Any]:
    return {
        "worker_id": view.worker_id,
        "step": view.step,
        "line": view.line,
        "logged_at": instant(view.logged_at),
    }


def occurrence(view: OccurrenceView) -> dict[str, Any]:
    return {
        "slot_at": instant(view.slot_at),
        "outcome": view.outcome,
        "reason": view.reason,
        "execution_id": view.execution_id,
        "late_secs": view.late_by / 1_000_000,
        "slots": view.slots,
        "note": view.note,
        "recorded_at": instant(view.recorded_at),
    }
