"""Apps and their tasks."""

from typing import Any, Literal

import orjson
from pydantic import ConfigDict, Field, model_validator

from app_sdk.protocol.answer import Mutation
from app_sdk.protocol.manifest import ScheduleManifest
from orchestrator.api.answers import instant, maybe_instant, raw
from orchestrator.api.shapes.executions import ExecutionStatus
from orchestrator.api.shapes.parts import Asked, JsonObject, Shown, Time
from orchestrator.domain.retry import RetryPolicy
from orchestrator.service.app_queries import ShownApp, ShownTask

_MANIFEST: dict[str, Any] = {
    "id": "app_catalog",
    "name": "Catalogue",
    "version": "1.0.0",
    "webhook_endpoint": "https://apps.example.com/catalog",
    "tasks": [{"id": "app_catalog_import", "name": "Import the catalogue", "on_multiple_exec": "discard_new"}],
}


class Installation(Asked):
    """An app to install."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"manifest": _MANIFEST}]})

    manifest: dict[str, Any]
    secret_key: str | None = Field(default=None, min_length=1, max_length=1024, description="Made up if left out.")
    activate: bool = Field(default=True, description="False: it is installed, and not called before it is activated.")


class ManifestChange(Asked):
    """A manifest that takes the place of the installed one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"manifest": _MANIFEST}]})

    manifest: dict[str, Any]


class Registration(Asked):
    """Tasks of the transport pull, as entries of a manifest."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"tasks": [{"id": "app_crm_enrich", "name": "Enrich", "transport": "pull", "aliases": ["crm.enrich"]}]}
            ]
        }
    )

    tasks: list[dict[str, Any]] = Field(max_length=1000)


class Registered(Shown):
    """The tasks that were registered."""

    app_id: str
    task_ids: list[str]
    changed: bool = Field(description="Whether this has added some, or brought them up to date.")


class Stop(Asked):
    """Why an app is stopped."""

    reason: str | None = Field(default=None, max_length=500)


class NewSecret(Asked):
    """The secret to change to; made up if left out."""

    secret_key: str | None = Field(default=None, min_length=1, max_length=1024)


class StateMutation(Asked):
    """One change of the app state."""

    operation: Literal["set", "delete", "increment"]
    key: str
    value: Any = Field(default=None, description="Needed but for delete; a number for increment.")

    @model_validator(mode="after")
    def _has_its_value(self) -> "StateMutation":
        if self.operation != "delete" and "value" not in self.model_fields_set:
            raise ValueError(f"{self.operation} needs a value")
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if self.operation == "increment" and not is_number:
            raise ValueError("increment needs a number as its value")
        return self

    def mutation(self) -> Mutation:
        """The domain's own form of it."""
        return Mutation(self.operation, self.key, self.value)


class StateChange(Asked):
    """Changes of the app state, made all together or not at all."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"mutations": [{"operation": "increment", "key": "runs", "value": 1}]}]}
    )

    mutations: list[StateMutation] = Field(min_length=1)


class RateLimit(Shown):
    """At most `calls` calls in `per_secs` seconds."""

    calls: int
    per_secs: float


class App(Shown):
    """An installed app."""

    id: str
    name: str
    status: Literal["initializing", "active", "stopped"]
    status_reason: str | None
    version: str | None
    webhook_endpoint: str | None
    max_concurrent_calls: int
    rate_limit: RateLimit | None
    manifest: JsonObject
    created_at: Time
    updated_at: Time
    tasks: list[str] = Field(description="The ids of its tasks.")


class AppWithSecret(App):
    """An installed app, with its secret, which is told only now. A replayed answer leaves it out."""

    secret_key: str | None = None


class AppState(Shown):
    """An app's JSON state."""

    state: JsonObject


class Schedule(Shown):
    """When a task is launched by itself."""

    cron: str | None
    timezone: str
    interval_secs: float | None
    jitter_secs: float
    catch_up: Literal["latest", "all", "none"]


class Retry(Shown):
    """How unsuccessful calls are repeated."""

    max_retries: int
    initial_delay_secs: float
    multiplier: float
    max_delay_secs: float


class LastExecution(Shown):
    """A task's newest execution."""

    id: str
    status: ExecutionStatus
    created_at: Time


class Task(Shown):
    """A task of an app."""

    id: str
    app_id: str
    name: str
    description: str | None
    aliases: list[str]
    is_paused: bool
    schedule: Schedule | None
    next_slot_at: Time | None
    on_multiple_exec: Literal["allow", "discard_new", "retry_later", "abort_existing"]
    retry: Retry
    delivery: Literal["at_least_once", "at_most_once"]
    max_duration_secs: float
    transport: Literal["webhook", "pull"]
    last_execution: LastExecution | None


def app(shown: ShownApp) -> dict[str, Any]:
    view = shown.app
    rate = {"calls": view.rate_calls, "per_secs": view.rate_per_secs}
    return {
        "id": view.id,
        "name": view.name,
        "status": view.status,
        "status_reason": view.status_reason,
        "version": orjson.loads(view.manifest).get("version"),
        "webhook_endpoint": view.webhook_endpoint,
        "max_concurrent_calls": view.max_concurrent_calls,
        "rate_limit": None if view.rate_calls is None else rate,
        "manifest": raw(view.manifest),
        "created_at": instant(view.created_at),
        "updated_at": instant(view.updated_at),
        "tasks": list(shown.task_ids),
    }


def task(shown: ShownTask) -> dict[str, Any]:
    row, manifest, policy = shown.row, shown.definition.manifest, shown.definition.policy
    return {
        "id": row.id,
        "app_id": row.app_id,
        "name": manifest.name,
        "description": manifest.description,
        "aliases": manifest.aliases,
        "is_paused": row.is_paused,
        "schedule": _schedule(manifest.effective_schedule),
        "next_slot_at": maybe_instant(row.next_slot_at),
        "on_multiple_exec": manifest.on_multiple_exec,
        "retry": _retry(policy.retry),
        "delivery": policy.delivery.value,
        "max_duration_secs": policy.max_duration.total_seconds(),
        "transport": manifest.transport,
        "last_execution": _last_execution(shown),
    }


def _schedule(asked: ScheduleManifest | None) -> dict[str, Any] | None:
    if asked is None:
        return None
    return {
        "cron": asked.cron,
        "timezone": asked.timezone,
        "interval_secs": asked.interval_secs,
        "jitter_secs": asked.jitter_secs,
        "catch_up": asked.catch_up,
    }


def _retry(policy: RetryPolicy) -> dict[str, Any]:
    return {
        "max_retries": policy.max_retries,
        "initial_delay_secs": policy.initial_delay.total_seconds(),
        "multiplier": policy.multiplier,
        "max_delay_secs": policy.max_delay.total_seconds(),
    }


def _last_execution(shown: ShownTask) -> dict[str, Any] | None:
    row = shown.row
    if row.last_execution_id is None:
        return None
    return {
        "id": row.last_execution_id,
        "status": row.last_status,
        "created_at": maybe_instant(row.last_created_at),
    }
