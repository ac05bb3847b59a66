"""What an app receives: the webhook payload, Rimdian's fields and ours."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH, JsonError, loads


class PayloadError(ValueError):
    """A webhook body that is not a payload: `problem` at `path`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def _null_as_empty(value: object) -> object:
    return {} if value is None else value


# Rimdian sends null for a state that nobody has set.
JsonObject = Annotated[dict[str, Any], BeforeValidator(_null_as_empty)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class WorkerResult(_Wire):
    """How another worker of the execution ended, for the one that waited for it."""

    status: str
    state: JsonObject = Field(default_factory=dict)
    output: dict[str, Any] | None = None


class Callback(_Wire):
    """What the third party said that a worker was parked for."""

    status: str | None = None
    output: JsonObject = Field(default_factory=dict)
    logs: str | list[str] | None = None
    subtext: str | None = None


class TaskExecWorker(_Wire):
    """One worker's turn; the fields after `retry_count` are additions of this orchestrator."""

    task_id: str
    task_name: str = ""
    task_exec_id: str
    task_exec_created_at: datetime | None = None
    worker_id: int = Field(ge=0, le=9)
    worker_state: JsonObject = Field(default_factory=dict)
    retry_count: int = 0
    step: int | None = None
    timeout_in_ms: int | None = None
    workers: dict[int, str] = Field(default_factory=dict)
    callback_url: str | None = None
    callback: Callback | None = None
    worker_results: dict[int, WorkerResult] | None = None


class WebhookPayload(_Wire):
    """The body of one call to an app; `task_exec_worker` is there when `kind` says so."""

    api_endpoint: str = ""
    collector_endpoint: str = ""
    workspace_id: str
    app_id: str
    app_state: JsonObject = Field(default_factory=dict)
    kind: str
    task_exec_worker: TaskExecWorker | None = None


def read_payload(body: bytes) -> WebhookPayload:
    """Read a webhook body; raises PayloadError, naming the JSON path."""
    try:
        payload = WebhookPayload.model_validate(loads(body, max_depth=MAX_DEPTH + ENVELOPE_DEPTH))
    except JsonError as error:
        raise PayloadError(error.path, error.problem) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise PayloadError(json_path(first["loc"]), first["msg"]) from None
    if payload.kind == "task_exec_worker" and payload.task_exec_worker is None:
        raise PayloadError("$.task_exec_worker", "missing, although kind is task_exec_worker")
    return payload
