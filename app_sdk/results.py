"""How a turn of a task ends: done, to be continued, parked for a callback, to be retried, or failed for good.

Each can be returned. `Retry` and `Fail` can be raised as well, from however deep: returning keeps what the
turn recorded (state, items, mutations, new workers), raising drops it, as any other exception does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from pydantic import BaseModel

from app_sdk.durations import Duration, in_seconds


@dataclass(frozen=True, slots=True)
class Done:
    """The worker has finished; `output` becomes part of the execution's output."""

    message: str | None = None
    output: BaseModel | Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    """The worker is to be called again; `state`, when given, replaces the context's."""

    message: str | None = None
    state: BaseModel | Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Await:
    """The worker is parked until somebody calls back, at `ctx.callback_url` for one; without that it has failed.

    The callback ends the worker; with `resume` it is called again, and its context has `callback`. `timeout`: a
    timedelta or seconds, 24 hours unless told. `state` and `output` as in the other results.
    """

    message: str | None = None
    timeout: Duration = timedelta(hours=24)
    resume: bool = False
    state: BaseModel | Mapping[str, Any] | None = None
    output: BaseModel | Mapping[str, Any] | None = None


class Retry(Exception):
    """The turn did not work out and is to be tried again: after a while, or else after the task's backoff."""

    def __init__(self, message: str, after: Duration | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.after_secs = None if after is None else in_seconds(after)


class Fail(Exception):
    """The worker has failed, and trying again would not help."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


Result: TypeAlias = Done | Continue | Await | Retry | Fail
