"""What people ask of executions: to launch, change or abort one."""

from typing import Any

from pydantic import ConfigDict, Field

from orchestrator.api.shapes.parts import Asked, Instant
from orchestrator.service.orders import LaunchRequest


class WorkerStart(Asked):
    """Another worker than 0 that starts with the execution."""

    worker_id: int = Field(json_schema_extra={"minimum": 1, "maximum": 9})
    initial_state: dict[str, Any] | None = None


class Run(Asked):
    """What to launch a task with."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"state": {"pages": 12}, "workers": [{"worker_id": 1, "initial_state": {}}]}]}
    )

    state: dict[str, Any] | None = Field(default=None, description="The input; it is the first state of worker 0.")
    id: str | None = Field(default=None, description="1 to 128 characters without a colon; made up if left out.")
    workers: list[WorkerStart] = Field(default=[])
    multiple_exec_key: str | None = Field(default=None, description="The overlap policy holds among equal keys.")
    run_at: Instant | None = Field(default=None, description="It stays pending until then.")
    name: str | None = None
    application: str | None = Field(
        default=None, min_length=1, max_length=255, description="Who it is for, as its events tell; else the app."
    )

    def request(self, task: str) -> LaunchRequest:
        """The use case's own form of it."""
        return LaunchRequest(
            task=task,
            input=self.state,
            workers=[(worker.worker_id, worker.initial_state) for worker in self.workers],
            id=self.id,
            multiple_exec_key=self.multiple_exec_key,
            run_at=self.run_at,
            name=self.name,
            application=self.application,
        )


class Launch(Run):
    """What to launch: a task, by its id or one of its aliases."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"task_id": "app_catalog_import", "state": {"pages": 12}}]}
    )

    task_id: str


class Resume(Asked):
    """Which call to go on from."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"call": "0.12"}]})

    call: str = Field(description="The id of a call of this execution, as `calls` lists it.")
    id: str | None = Field(default=None, description="The new execution's; made up if left out.")
    name: str | None = Field(default=None, max_length=255)


class Abort(Asked):
    """Why an execution is aborted."""

    message: str | None = Field(default=None, max_length=500)


class ExecutionChange(Asked):
    """What people may change about an execution."""

    subtext: str = Field(max_length=500)
