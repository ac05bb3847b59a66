"""Pull tasks as Aidbox's clients know them: what they send, and the resources that they get."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from orchestrator.api.answers import instant
from orchestrator.domain.pulling import claim_id
from orchestrator.service.pull_claims import MOST_AT_ONCE
from orchestrator.service.pull_queries import Logged, PullQuery
from orchestrator.service.pull_reports import Sign
from orchestrator.service.pull_tasks import PullTask
from orchestrator.store.record_views import CallView

LONGEST_WAIT_MS = 600_000
_LONGEST_LINE = 10_000
Id = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Names = Annotated[list[str], Field(max_length=500)]
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]


def _read_instant(given: object) -> object:
    """A time; one without a zone is taken for UTC, as Aidbox's own examples have it."""
    if not isinstance(given, str):
        return given
    try:
        found = datetime.fromisoformat(given)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("write a time, such as 2026-01-31T08:00:00Z") from None


class Params(BaseModel):
    """What a method takes. Members that nobody here knows are passed over: clients of other servers send more."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Poll(Params):
    """Which tasks an executor can do, how many it takes at once, and what it calls itself."""

    task_definitions: Names | None = Field(default=None, alias="taskDefinitions")
    workflow_definitions: Names | None = Field(default=None, alias="workflowDefinitions")
    max_batch_size: int = Field(default=1, ge=1, alias="maxBatchSize")
    timeout_ms: int = Field(default=60_000, ge=0, alias="timeout")
    executor: str | None = Field(default=None, min_length=1, max_length=255)

    @property
    def places(self) -> int:
        return min(self.max_batch_size, MOST_AT_ONCE)


class Claimed(Params):
    """The claim that is spoken of."""

    id: Id
    exec_id: Id = Field(alias="execId")


class Notify(Claimed):
    """A sign of life."""

    notification: Literal["heartbeat", "progress", "awf.task/heartbeat", "awf.task/progress"]
    message: str | None = Field(default=None, max_length=_LONGEST_LINE)
    current: Whole | None = Field(default=None, alias="progress-current")
    total: Whole | None = Field(default=None, alias="progress-total")
    unit: str | None = Field(default=None, alias="progress-unit", max_length=255)

    @property
    def lacks_progress(self) -> bool:
        return self.notification.endswith("progress") and self.current is None

    @property
    def sign(self) -> Sign:
        if not self.notification.endswith("progress"):
            return Sign(self.message or "heartbeat")
        of = "" if self.total is None else f"/{self.total}"
        unit = f" {self.unit}" if self.unit else ""
        progress = {"current": self.current, "total": self.total, "unit": self.unit}
        return Sign(self.message or f"progress {self.current}{of}{unit}", progress)


class Succeed(Claimed):
    """What an executor has come to."""

    result: Any = None


class Fail(Claimed):
    """What an executor has failed with. A published client sends it as `result`."""

    error: Any = None
    result: Any = None

    @property
    def said(self) -> Any:
        return self.error if "error" in self.model_fields_set else self.result


class Create(Params):
    """A task to launch."""

    definition: Id
    params: dict[str, Any] | None = None
    id: str | None = None
    label: str | None = None
    execute_at: Annotated[datetime | None, BeforeValidator(_read_instant)] = Field(default=None, alias="executeAt")


class Named(Params):
    """The task that is spoken of."""

    id: Id


class Status(Named):
    """What is wanted about it. The question marks belong to the names."""

    include_log: bool = Field(default=False, alias="include-log?")
    include_settings: bool = Field(default=False, alias="include-settings?")


class Filter(Params):
    """Which tasks are wanted."""

    include: Names | None = Field(default=None, alias="includeDefinitions")
    exclude: Names | None = Field(default=None, alias="excludeDefinitions")
    status: str | None = None
    outcome: str | None = None
    ilike: str | None = Field(default=None, max_length=500)


class Sort(Params):
    """In which order."""

    created_at: Literal["asc", "desc"] | None = Field(default=None, alias="createdAt")
    last_updated: Literal["asc", "desc"] | None = Field(default=None, alias="lastUpdated")


class List(Params):
    """Which tasks are wanted, in which order; the latest first, if none is said."""

    filter: Filter = Filter()
    sort: Sort = Sort()

    @property
    def query(self) -> PullQuery:
        wanted = self.filter
        statuses = None if wanted.status is None else [wanted.status]
        outcomes = None if wanted.outcome is None else [wanted.outcome]
        return PullQuery(wanted.include, wanted.exclude, statuses, outcomes, wanted.ilike)

    @property
    def order(self) -> tuple[str, bool]:
        if self.sort.last_updated is not None:
            return "lastUpdated", self.sort.last_updated == "desc"
        return "createdAt", self.sort.created_at != "asc"


def resource(task: PullTask) -> dict[str, Any]:
    """The AidboxTask. What is JSON already stays as it is."""
    row = task.row
    shown = {
        "resourceType": "AidboxTask",
        "id": task.id,
        "execId": task.exec_id,
        "definition": task.called,
        "label": row.name,
        "params": orjson.Fragment(task.params),
        "status": row.status,
        "outcome": row.outcome,
        "outcomeReason": task.outcome_reason,
        "result": task.result,
        "error": task.error,
        "retryCount": task.attempts,
        "inProgressTimeoutAt": instant(row.lease_until) if row.status == "in-progress" and row.lease_until else None,
        "executeAt": None if task.execute_at is None else instant(task.execute_at),
        "task_exec_worker": task.turn,
        "app_state": None if task.app_state is None else orjson.Fragment(task.app_state),
        "meta": {
            "createdAt": instant(row.created_at),
            "lastUpdated": instant(row.updated_at),
            "versionId": str(row.updated_at),
        },
    }
    return {name: value for name, value in shown.items() if value is not None}


def settings(task: PullTask) -> dict[str, Any]:
    """The settings of the task's definition; durations in milliseconds."""
    asked, retry = task.definition.manifest, task.definition.policy.retry
    shown = {
        "allowedRetryCount": retry.max_retries,
        "retryDelay": int(retry.initial_delay.total_seconds() * 1000),
        "requestedToStartTimeout": asked.requested_to_start_timeout,
        "inProgressTimeout": asked.in_progress_timeout,
        "concurrencyLimit": asked.concurrency_limit,
        "concurrencyPath": asked.concurrency_path,
    }
    return {name: value for name, value in shown.items() if value is not None}


_ENDS: Mapping[str, tuple[str, str]] = {
    "applied": ("awf.task/success", "in-progress"),
    "failed": ("awf.task/fail", "in-progress"),
    "returned": ("awf.task/requested-to-start-timeout", "requested"),
}


def log(task: PullTask, logged: Logged) -> list[dict[str, Any]]:
    """The AidboxTaskLog of a task, oldest first."""
    subject = {"resourceType": "AidboxTask", "id": task.id}
    entries = [(call.ended_at, _end(task, call)) for call in logged.calls]
    for line in logged.lines:
        said = {"action": "awf.task/notify", "action-params": {"message": line.line}}
        entries.append((line.logged_at, said))
    return [
        {"resourceType": "AidboxTaskLog", "subject": subject, "at": instant(at), **said}
        for at, said in sorted(entries, key=lambda entry: entry[0])
    ]


def _end(task: PullTask, call: CallView) -> dict[str, Any]:
    action, before = _ENDS.get(call.outcome, (f"awf.task/{call.outcome}", "in-progress"))
    if call.failure == "in_progress_timeout":
        action = "awf.task/in-progress-timeout"
    said = {"execId": claim_id(task.row.uid, call.worker_id, call.token), "message": call.message}
    return {"action": action, "status-before": before, "action-params": said}


def plain(value: Any) -> Any:
    """The same answer without anything that only JSON's writer knows."""
    return json.loads(orjson.dumps(value))
