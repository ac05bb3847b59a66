"""Declaring Python tasks: `@task`, `@on_event` and `ScheduledTask`, and what a manifest says of them."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

from app_sdk.durations import Duration, in_seconds
from app_sdk.protocol.event_pattern import pattern_problem
from app_sdk.tasks.application import Application

P = ParamSpec("P")
R = TypeVar("R")

LATE_RETRIES = 3
BY_HAND = "default"
"""The application of a task that was launched without one."""

# The name is a part of the routing keys of the task's events: `core.task.{name}.success.v1`, 255 bytes at most.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_declared: dict[str, "PythonTask[Any, Any]"] = {}
_scheduled: dict[str, "ScheduledTask"] = {}


class PythonTaskOptions(TypedDict, total=False):
    """How a Python task is run; what is left out is as it says.

    `acks_late`: done only when it has ended, and made again when its worker is lost (False: begun once, never again).
    `max_retries` (3) and `retry_delay` (10 s) go with it. `max_duration` (a week) ends it, wherever it is.
    `concurrency_limit` (none): so many at once, on all workers together.
    """

    name: str
    description: str
    acks_late: bool
    max_retries: int
    retry_delay: Duration
    max_duration: Duration
    concurrency_limit: int


class PythonTask(Generic[P, R]):
    """A declared task. Called, it is the function itself, there and then: so it is tested."""

    def __init__(
        self,
        function: Callable[Concatenate[Application, P], R],
        patterns: Sequence[str],
        options: PythonTaskOptions,
    ) -> None:
        update_wrapper(self, function)
        self.function = function
        self.name = options.get("name") or f"{function.__module__}.{function.__qualname__}"
        self.patterns = tuple(patterns)
        self.options = options
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r}: a task is a function at the top of a module, or has a name= of its own")
        if not self.acks_late and ("max_retries" in options or "retry_delay" in options):
            raise ValueError(f"{self.name} is never made again: its retries need acks_late=True")
        _declare(_declared, self.name, self, lambda known: known.origin == self.origin)

    def __call__(self, app: Application, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(app, *args, **kwargs)

    @property
    def acks_late(self) -> bool:
        """Whether it counts as done only when it has ended."""
        return self.options.get("acks_late", False)

    @property
    def origin(self) -> str:
        """The dotted path of the function."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def module(self) -> str:
        """Where it was declared."""
        return self.function.__module__

    def entry(self) -> dict[str, Any]:
        """Its entry in a manifest, without the id."""
        retries = self.options.get("max_retries", LATE_RETRIES) if self.acks_late else 0
        documented = (inspect.getdoc(self.function) or "").partition("\n\n")[0].replace("\n", " ")
        entry: dict[str, Any] = {
            "name": self.name,
            "description": self.options.get("description", documented) or None,
            "aliases": [self.name],
            "transport": "pull",
            "on_multiple_exec": "allow",
            "delivery": "at_least_once" if self.acks_late else "at_most_once",
            "allowedRetryCount": retries,
        }
        if "retry_delay" in self.options:
            entry["retryDelay"] = round(in_seconds(self.options["retry_delay"]) * 1000)
        if "max_duration" in self.options:
            entry["max_duration_secs"] = in_seconds(self.options["max_duration"])
        if "concurrency_limit" in self.options:
            entry["concurrencyLimit"] = self.options["concurrency_limit"]
        if self.patterns:
            entry["on_events"] = list(self.patterns)
        return entry


class ScheduleOptions(TypedDict, total=False):
    """When a scheduled task runs, besides its schedule; `name` tells those of one task apart ("scheduled")."""

    name: str
    application: str
    timezone: str
    jitter: Duration


class ScheduledTask:
    """A task that is launched by itself, such as `ScheduledTask(enrich, [1001], schedule="0 3 * * *")`.

    `schedule` is a cron expression, or how long from one to the next (a timedelta, or seconds). It is called for the
    `application`; for the task's top package, where none is named. Raises ValueError for arguments that do not fit.
    """

    def __init__(
        self,
        task: PythonTask[Any, Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        schedule: str | Duration,
        **options: Unpack[ScheduleOptions],
    ) -> None:
        self.task = task
        self.name = f"{task.name}.{options.get('name', 'scheduled')}"
        application = Application(options.get("application", task.module.partition(".")[0]))
        input_ = arguments(task, application, args, kwargs or {})
        self._schedule = _when(schedule, options) | {"state": input_, "application": application.name}
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name")
        _declare(_scheduled, self.name, self, lambda known: known.entry() == self.entry())

    def entry(self) -> dict[str, Any]:
        """Its entry in a manifest, without the id."""
        entry = self.task.entry() | {"name": self.name, "aliases": [self.name]}
        return entry | {"is_cron": True, "schedule": self._schedule}


@overload
def task(function: Callable[Concatenate[Application, P], R], /) -> PythonTask[P, R]: ...
@overload
def task(
    **options: Unpack[PythonTaskOptions],
) -> Callable[[Callable[Concatenate[Application, P], R]], PythonTask[P, R]]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Unpack[PythonTaskOptions]) -> Any:
    """Declare a function as a task; its first argument is the Application, always.

    Its name is its full dotted path. It may be an `async def`. What it returns is its result: a summary that is JSON
    and has at most 64 KiB. Raises ValueError for options that contradict each other.
    """
    if function is not None:
        return PythonTask(function, (), options)
    return lambda decorated: PythonTask(decorated, (), options)


def on_event(
    *patterns: str, **options: Unpack[PythonTaskOptions]
) -> Callable[[Callable[[Application, dict[str, Any]], R]], PythonTask[[dict[str, Any]], R]]:
    """Declare a function as the handler of events whose type fits a pattern, such as `core.task.#.failure.v1`.

    It is called with the Application that the event tells of, and the event: `type`, `subject`, `time`, `data`. Each
    event launches it once. Raises ValueError for what is no pattern.
    """
    if not patterns:
        raise ValueError("name the events, such as core.task.#.failure.v1")
    for pattern in patterns:
        if problem := pattern_problem(pattern):
            raise ValueError(f"{pattern!r}: {problem}")
    return lambda decorated: PythonTask(decorated, patterns, options)


def arguments(
    task: "PythonTask[Any, Any] | str", app: Application, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The input of a task that is called so. Raises ValueError where a known task cannot be."""
    if isinstance(task, PythonTask):
        if task.patterns:
            raise ValueError(f"{task.name} is launched by events")
        try:
            inspect.signature(task.function).bind(app, *args, **kwargs)
        except TypeError as error:
            raise ValueError(f"{task.name} cannot be called so: {error}") from None
    return {"application": app.name, "args": list(args), "kwargs": dict(kwargs)}


def called_with(input_: Mapping[str, Any]) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
    """The application's name and the arguments in an input; one that somebody wrote by hand holds keyword arguments."""
    if input_.keys() <= {"application", "args", "kwargs"}:
        return input_.get("application", BY_HAND), input_.get("args", []), input_.get("kwargs", {})
    return BY_HAND, [], input_


def called_by_event(event: Mapping[str, Any]) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
    """The application's name and the arguments of a handler; `event` as it was launched with."""
    return event["data"]["application"], [event], {}


def declared_in(modules: Iterable[str]) -> dict[str, PythonTask[Any, Any] | ScheduledTask]:
    """What was declared in these modules and beneath them, by name; schedules go with their tasks."""
    roots = tuple(modules)
    found: dict[str, PythonTask[Any, Any] | ScheduledTask] = {
        name: one
        for name, one in _declared.items()
        if any(one.module == root or one.module.startswith(f"{root}.") for root in roots)
    }
    return found | {name: one for name, one in _scheduled.items() if one.task.name in found}


T = TypeVar("T")


def _declare(known: dict[str, T], name: str, one: T, is_same: Callable[[T], bool]) -> None:
    """Keep it under its name; one that was declared before must be the same, read anew."""
    if name in known and not is_same(known[name]):
        raise ValueError(f"there is another task called {name}: give one of them a name= of its own")
    known[name] = one


def _when(schedule: str | Duration, options: ScheduleOptions) -> dict[str, Any]:
    when: dict[str, Any] = {"jitter_secs": in_seconds(options["jitter"])} if "jitter" in options else {}
    if isinstance(schedule, str):
        return when | {"cron": schedule, "timezone": options.get("timezone", "UTC")}
    if "timezone" in options:
        raise ValueError("a timezone goes with a cron expression")
    return when | {"interval_secs": in_seconds(schedule)}
