"""What the models of all nouns are made of."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Item = TypeVar("Item")

# Written by our own functions, so that a model only describes it.
Time = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T08:00:00.000000Z"]}),
]
JsonObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": True})]


def _read_instant(given: object) -> object:
    """A time as RFC 3339 writes it, in UTC; raises ValueError if it names no time zone."""
    if not isinstance(given, str):
        return given
    try:
        instant = datetime.fromisoformat(given)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("write a time with its zone, such as 2026-01-31T08:00:00Z")


Instant = Annotated[datetime, BeforeValidator(_read_instant)]


class Asked(BaseModel):
    """A body that somebody sends: read strictly, and without fields that nobody knows."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Shown(BaseModel):
    """A part of an answer. It documents; the answer itself is written by a function beside it."""

    model_config = ConfigDict(frozen=True)


class Listing(Shown, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(description="Where the next page begins; null on the last one.")


class Problem(Shown):
    """What went wrong (RFC 9457). Further members are facts about it, such as `execution_id` or `batch`."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:orchestrator:problem:already-running",
                    "title": "Another execution is in the way",
                    "status": 409,
                    "detail": "not launched: execution 0198 of this task is still running",
                    "instance": "/v1/executions",
                    "execution_id": "0198",
                }
            ]
        },
    )

    type: str = Field(description="Stable; docs/api.md lists them all.")
    title: str
    status: int
    detail: str = Field(description="What to know, and what to do next.")
    instance: str = Field(description="The address that was asked.")
    errors: list["FieldProblem"] | None = Field(default=None, description="Which fields are wrong, and why.")


class FieldProblem(Shown):
    """One wrong field."""

    field: str = Field(description="A path in the body (`$.workers[0].worker_id`), or a parameter's name.")
    message: str
