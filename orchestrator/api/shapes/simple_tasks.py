"""Simple tasks in BookLogr's words, and its own forms of saying no."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from orchestrator.api.answers import instant, maybe_instant, raw
from orchestrator.api.shapes.parts import Shown, Time
from orchestrator.service.simple_tasks import SimpleTask as Task


class NewSimpleTask(Shown):
    """What to do, and with what. Further members are ignored."""

    model_config = ConfigDict(
        frozen=True, extra="allow", json_schema_extra={"examples": [{"type": "csv_export", "data": {"shelf": "read"}}]}
    )

    type: str = Field(description="A task's id, or one of its aliases.")
    data: Any = Field(description="The input. Any JSON; an object where the app is to find its keys at once.")


class Created(Shown):
    """A task has been created."""

    message: str
    task_id: int = Field(description="The execution's number.")


class SimpleTask(Shown):
    """A task."""

    id: int
    type: str = Field(description="As it was created.")
    data: Any = Field(description="As it was sent.")
    status: Literal["fresh", "started", "success", "failure"]
    worker: str | None = Field(description="Who took it last, as `name:uuid` or `uuid`.")
    created_at: Time
    updated_on: Time | None = Field(description="When it was taken, or has ended.")
    created_by: int | None = Field(description="The owner of the token that created it.")


class Said(Shown):
    """A message."""

    message: str


class Missing(Shown):
    """Keys are missing."""

    status: Literal["error"]
    message: str
    missing: list[str]


class Refused(Shown):
    """It cannot be done."""

    error: str
    message: str


def task(found: Task) -> dict[str, Any]:
    """A task in BookLogr's words."""
    return {
        "id": found.number,
        "type": found.type,
        "data": raw(found.data),
        "status": found.status,
        "worker": found.worker,
        "created_at": instant(found.created_at),
        "updated_on": maybe_instant(found.updated_on),
        "created_by": found.created_by,
    }
