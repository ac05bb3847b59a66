"""Callbacks and tasks in the words of VibeIQ."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from orchestrator.api.answers import raw
from orchestrator.api.shapes.parts import Asked, JsonObject, Shown
from orchestrator.service.callback_effects import Callback
from orchestrator.service.callbacks import task_status
from orchestrator.store.callbacks import TaskView

_SAID: dict[str, Any] = {
    "logs": ["line one", "line two"],
    "status": "SUCCESS",
    "output": {"zipFileLocation": "https://example.com/jpeg"},
    "subtext": "Completed with 90/100 passing",
}


class SignedCallback(Asked):
    """What a third party says of what a worker awaits."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SAID]})

    task_id: str | None = Field(default=None, alias="taskId", description="If given, that of the URL's own await.")
    status: Literal["SUCCESS", "FAILURE"] = Field(
        description="FAILURE: the worker has failed, without retry, and its execution fails."
    )
    output: dict[str, Any] | None = Field(default=None, description="Merged over the task's own; these keys win.")
    logs: str | list[str] | None = Field(default=None, description="A text is one line; a list is a line each.")
    subtext: str | None = Field(default=None, description="Shown beside the task and beside its execution.")

    def callback(self) -> Callback:
        """The use case's own form of it."""
        return Callback(self.status == "SUCCESS", self.output, self.logs, self.subtext)


class TaskCallback(SignedCallback):
    """The same, with the task that it is for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"taskId": "12345678", **_SAID}]})

    task_id: str = Field(
        alias="taskId",
        description="`<execution id>` (worker 0), `<execution id>:<worker id>` or `<execution id>:<worker id>:<step>`. "
        "Without a step: the open await, or the one that the call in flight may open.",
    )


class SubtextChange(Asked):
    """The line to show beside a task and beside its execution."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"subtext": "Completed with 90/100 passing"}]})

    subtext: str


class CalledBackTask(Shown):
    """A worker, as much as those may see of it who only have its callback URL."""

    id: str = Field(description="The execution's id; `:<worker id>` follows for another worker than 0.")
    status: Literal["PENDING", "ACTIVE", "AWAITING", "COMPLETE", "FAILED"]


class EventWorkflowTask(CalledBackTask):
    """A worker, as those see it who call back with a token."""

    subtext: str | None
    output: JsonObject | None


def task(view: TaskView) -> dict[str, Any]:
    """A worker in the words of VibeIQ."""
    return {**called_back(view), "subtext": view.subtext, "output": raw(view.output)}


def called_back(view: TaskView) -> dict[str, Any]:
    """The part of it that tells nothing of what was done before."""
    return {
        "id": f"{view.execution_id}:{view.worker_id}" if view.worker_id else view.execution_id,
        "status": task_status(view),
    }
