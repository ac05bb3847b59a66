"""What `@app.task` and `App` can be told, and how it reads in the manifest."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from app_sdk.durations import Duration, in_seconds


class RetryOptions(TypedDict, total=False):
    """How a task is retried; what is left out is the server's default."""

    max_retries: int
    initial_delay_secs: float
    multiplier: float
    max_delay_secs: float


class RateLimitOptions(TypedDict):
    """At most `calls` calls in any `per_secs` seconds."""

    calls: int
    per_secs: float


class AppOptions(TypedDict, total=False):
    """What a manifest may say about the app; `extra` is added to it as it is."""

    version: str
    description: str
    max_concurrent_calls: int
    rate_limit: RateLimitOptions
    verify_tls: bool
    extra: Mapping[str, Any]


class TaskOptions(TypedDict, total=False):
    """What a manifest may say about a task; `every` or `cron` launches it by itself."""

    name: str
    description: str
    aliases: list[str]
    every: Duration
    cron: str
    timezone: str
    jitter: Duration
    catch_up: Literal["latest", "all", "none"]
    on_multiple_exec: Literal["allow", "discard_new", "retry_later", "abort_existing"]
    retry: RetryOptions
    delivery: Literal["at_least_once", "at_most_once"]
    on_worker_failure: Literal["fail", "continue"]
    max_duration: Duration
    is_async: bool
    on_events: list[str]


_AS_THEY_ARE = (
    "description",
    "aliases",
    "on_multiple_exec",
    "retry",
    "delivery",
    "on_worker_failure",
    "is_async",
    "on_events",
)


def task_entry(task_id: str, name: str, options: TaskOptions) -> dict[str, Any]:
    """The task's entry in the manifest; raises ValueError for a schedule that contradicts itself."""
    entry: dict[str, Any] = {"id": task_id, "name": options.get("name", name), "is_cron": False}
    entry |= {key: value for key, value in options.items() if key in _AS_THEY_ARE}
    if "max_duration" in options:
        entry["max_duration_secs"] = in_seconds(options["max_duration"])
    return entry | _recurrence(options)


def _recurrence(options: TaskOptions) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if "jitter" in options:
        details["jitter_secs"] = in_seconds(options["jitter"])
    if "catch_up" in options:
        details["catch_up"] = options["catch_up"]
    if "timezone" in options:
        details["timezone"] = options["timezone"]
    if "every" in options and "cron" in options:
        raise ValueError("a task runs every so often or by cron, not both")
    if "every" in options:
        return _interval(in_seconds(options["every"]), details)
    if "cron" in options:
        return {"is_cron": True, "schedule": {"cron": options["cron"]} | details}
    if details:
        raise ValueError(f"{' and '.join(details)} need every= or cron=")
    return {}


def _interval(secs: float, details: dict[str, Any]) -> dict[str, Any]:
    # Rimdian's own engine knows whole minutes, and nothing else.
    if secs >= 60 and secs % 60 == 0 and not details:
        return {"is_cron": True, "minutes_interval": int(secs) // 60}
    return {"is_cron": True, "schedule": {"interval_secs": secs} | details}
