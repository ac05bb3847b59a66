"""The manifest: what an app is called, where it listens, and which tasks it registers.

Rimdian's keys and ours; keys that neither names are kept as they came.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationError, model_validator

from app_sdk.protocol.cron import cron_problem
from app_sdk.protocol.event_pattern import pattern_problem
from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.limits import DEFAULT_LIMITS
from app_sdk.protocol.manifested import TEN_YEARS_SECS, Manifested
from app_sdk.protocol.pull_options import PullOptions
from app_sdk.protocol.strict_json import JsonError, dumps, loads

SEVEN_DAYS_SECS = 7 * 24 * 3600.0

_ID_PATTERN = r"^appx?_[a-z0-9]+$"
_ALIAS = re.compile(r"[^\s:]{1,255}")


class ManifestError(ValueError):
    """A manifest that cannot be installed: every problem with its path."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {problem}" for path, problem in problems))
        self.problems = list(problems)


def _known_cron(expression: str) -> str:
    problem = cron_problem(expression)
    if problem:
        raise ValueError(problem)
    return expression


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone is called {name!r}; write it like Europe/Paris") from None
    return name


def is_http_url(url: str) -> bool:
    """Whether it is a full URL of HTTP, with a host."""
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return is_http and not re.search(r"\s", url)


def _http_url(url: str) -> str:
    if not is_http_url(url):
        raise ValueError("write a full URL, such as https://app.example.com/webhook")
    return url


def _plain_alias(alias: str) -> str:
    if not _ALIAS.fullmatch(alias):
        raise ValueError("an alias has 1 to 255 characters, and neither spaces nor colons")
    return alias


def _launchable(state: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(dumps(state))
    except JsonError as error:
        raise ValueError(f"no state: {error}") from None
    if size > DEFAULT_LIMITS.worker_state_bytes:
        raise ValueError(f"a state has at most {DEFAULT_LIMITS.worker_state_bytes:,} bytes, and this one {size:,}")
    return state


def _event_pattern(pattern: str) -> str:
    problem = pattern_problem(pattern)
    if problem:
        raise ValueError(problem)
    return pattern


HttpUrl = Annotated[str, Field(max_length=2048), AfterValidator(_http_url)]
Alias = Annotated[str, AfterValidator(_plain_alias)]
EventPattern = Annotated[str, AfterValidator(_event_pattern)]
Seconds = Annotated[float, Field(ge=0, le=TEN_YEARS_SECS, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=TEN_YEARS_SECS, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=255)]


class RetryManifest(Manifested):
    """How a task is retried; None leaves the number to the server."""

    max_retries: int | None = Field(default=None, ge=0)
    initial_delay_secs: Seconds | None = None
    multiplier: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    max_delay_secs: Seconds | None = None


class RateLimit(Manifested):
    """At most `calls` calls in any `per_secs` seconds."""

    calls: int = Field(ge=1)
    per_secs: PositiveSeconds


class ScheduleManifest(Manifested):
    """When a task is launched: by cron in a time zone, or at an interval."""

    cron: Annotated[str, AfterValidator(_known_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    # A shorter one would be over before a launch is; and below a microsecond it would be no time at all.
    interval_secs: Annotated[float, Field(ge=0.001, le=TEN_YEARS_SECS, allow_inf_nan=False)] | None = None
    jitter_secs: Seconds = 0
    catch_up: Literal["latest", "all", "none"] = "latest"
    # The input of what it launches, and the application that it is for.
    state: Annotated[dict[str, Any], AfterValidator(_launchable)] = Field(default_factory=dict)
    application: Name | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> "ScheduleManifest":
        if (self.cron is None) == (self.interval_secs is None):
            raise ValueError("give either cron or interval_secs")
        if self.cron is None and "timezone" in self.model_fields_set:
            raise ValueError("a timezone goes with cron; intervals run in UTC")
        return self


class TaskManifest(PullOptions):
    """One task that an app registers."""

    id: Name
    name: Name
    description: str | None = None
    aliases: list[Alias] = Field(default_factory=list)
    is_cron: bool = False
    minutes_interval: int = Field(default=0, ge=0, le=int(TEN_YEARS_SECS) // 60)
    schedule: ScheduleManifest | None = None
    on_multiple_exec: Literal["allow", "discard_new", "retry_later", "abort_existing"] = "discard_new"
    retry: RetryManifest = RetryManifest()
    delivery: Literal["at_least_once", "at_most_once"] = "at_least_once"
    on_worker_failure: Literal["fail", "continue"] = "fail"
    max_duration_secs: PositiveSeconds = SEVEN_DAYS_SECS
    transport: Literal["webhook", "pull"] = "webhook"
    is_async: bool = False
    on_events: list[EventPattern] = Field(default_factory=list, max_length=20)

    @property
    def asks_for_retries(self) -> bool:
        """Whether it says itself how often it is retried."""
        return self.retry.max_retries is not None or self.allowed_retry_count is not None

    @property
    def effective_schedule(self) -> ScheduleManifest | None:
        """The schedule, Rimdian's `minutes_interval` read as one; None for a task launched by hand only."""
        if self.schedule is not None:
            return self.schedule
        return ScheduleManifest(interval_secs=self.minutes_interval * 60.0) if self.is_cron else None

    @model_validator(mode="after")
    def _is_retried_in_one_way(self) -> "TaskManifest":
        aidboxs = {"allowed_retry_count", "retry_delay"} & self.model_fields_set
        if self.transport == "pull" and "retry" in self.model_fields_set and aidboxs:
            raise ValueError("give retry, or allowedRetryCount and retryDelay, not both")
        return self

    @model_validator(mode="after")
    def _has_one_clear_schedule(self) -> "TaskManifest":
        if self.is_cron and self.schedule is None and self.minutes_interval < 1:
            raise ValueError("is_cron needs minutes_interval (1 or more) or schedule")
        if self.schedule is None:
            return self
        if self.is_cron and self.minutes_interval:
            raise ValueError("give minutes_interval or schedule, not both")
        if "is_cron" in self.model_fields_set and not self.is_cron:
            raise ValueError("is_cron is false, and yet there is a schedule")
        if self.schedule.catch_up == "all" and self.on_multiple_exec != "allow":
            raise ValueError("catch_up all needs on_multiple_exec allow")
        return self


class AppManifest(Manifested):
    """An app, as it is installed."""

    id: str = Field(pattern=_ID_PATTERN, max_length=64)
    name: Name
    version: str | None = None
    webhook_endpoint: HttpUrl | None = None
    tasks: list[TaskManifest] = Field(default_factory=list)
    max_concurrent_calls: int = Field(default=20, ge=1)
    rate_limit: RateLimit | None = None
    verify_tls: bool | None = None


def read_manifest(data: bytes | Mapping[str, Any]) -> AppManifest:
    """Read a manifest from its JSON text or the object itself; raises ManifestError with every problem."""
    try:
        document = loads(data) if isinstance(data, bytes) else dict(data)
        manifest = AppManifest.model_validate(document)
    except JsonError as error:
        raise ManifestError([(error.path, error.problem)]) from None
    except ValidationError as error:
        raise ManifestError([_problem(detail) for detail in error.errors(include_url=False)]) from None
    problems = [*_id_problems(manifest), *_name_problems(manifest)]
    if manifest.webhook_endpoint is None and any(task.transport == "webhook" for task in manifest.tasks):
        problems.append(("$.webhook_endpoint", "needed, since the app has a task of transport webhook"))
    if problems:
        raise ManifestError(problems)
    return manifest


def _problem(detail: Mapping[str, Any]) -> tuple[str, str]:
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "model_type":
        message = "write a JSON object"
    if detail["type"] == "string_pattern_mismatch" and detail["loc"] == ("id",):
        message = "write app_ or appx_ and small letters or digits, such as app_shop"
    return json_path(detail["loc"]), message[:1].lower() + message[1:]


def _id_problems(manifest: AppManifest) -> list[tuple[str, str]]:
    prefix = f"{manifest.id}_"
    return [
        (f"$.tasks[{position}].id", f"must begin with {prefix}")
        for position, task in enumerate(manifest.tasks)
        if not task.id.startswith(prefix) or task.id == prefix
    ]


def _name_problems(manifest: AppManifest) -> list[tuple[str, str]]:
    """A task may be named by its id or an alias, so that none may be given twice."""
    problems = []
    owners: dict[str, str] = {}
    for position, task in enumerate(manifest.tasks):
        places = [("id", task.id), *((f"aliases[{n}]", alias) for n, alias in enumerate(task.aliases))]
        for place, name in places:
            if name in owners:
                problems.append((f"$.tasks[{position}].{place}", f"{name} is taken by {owners[name]}"))
            owners.setdefault(name, f"$.tasks[{position}].{place}")
    return problems
