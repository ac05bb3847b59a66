"""What a task asks of the engine, as frozen values: its definition, completed by the server's defaults."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from app_sdk.protocol.manifest import RetryManifest, TaskManifest
from app_sdk.protocol.pull_options import DEFAULT_ALLOWED_RETRIES, DEFAULT_RETRY_DELAY_MS
from orchestrator.domain.retry import RetryPolicy


class Delivery(StrEnum):
    """AT_LEAST_ONCE: late acknowledgement. AT_MOST_ONCE: early; what may have arrived is not repeated."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class OnWorkerFailure(StrEnum):
    """FAIL: the others end as soon as their calls are back. CONTINUE: they run to their end first."""

    FAIL = "fail"
    CONTINUE = "continue"


class OnMultipleExec(StrEnum):
    """What a launch does while an execution of the same task and key runs."""

    ALLOW = "allow"
    DISCARD_NEW = "discard_new"
    RETRY_LATER = "retry_later"
    ABORT_EXISTING = "abort_existing"


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    """The part of a task's definition that decisions depend on."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    on_worker_failure: OnWorkerFailure = OnWorkerFailure.FAIL
    max_duration: timedelta = timedelta(days=7)
    is_async: bool = False

    def retried(self, max_retries: int | None) -> "TaskPolicy":
        """The policy of an execution whose launch asked for so many retries; None leaves it as it is."""
        return self if max_retries is None else replace(self, retry=replace(self.retry, max_retries=max_retries))


def task_policy(task: TaskManifest, defaults: RetryPolicy) -> TaskPolicy:
    """The policy of `task`; what its `retry` leaves out comes from `defaults`, for pull tasks from Aidbox's."""
    return TaskPolicy(
        retry=_retry_policy(task.retry, _pull_defaults(task, defaults) if task.transport == "pull" else defaults),
        delivery=Delivery(task.delivery),
        on_worker_failure=OnWorkerFailure(task.on_worker_failure),
        max_duration=timedelta(seconds=task.max_duration_secs),
        is_async=task.is_async,
    )


def _retry_policy(asked: RetryManifest, defaults: RetryPolicy) -> RetryPolicy:
    return RetryPolicy(
        max_retries=defaults.max_retries if asked.max_retries is None else asked.max_retries,
        initial_delay=_seconds(asked.initial_delay_secs, defaults.initial_delay),
        multiplier=defaults.multiplier if asked.multiplier is None else asked.multiplier,
        max_delay=_seconds(asked.max_delay_secs, defaults.max_delay),
    )


def _pull_defaults(task: TaskManifest, defaults: RetryPolicy) -> RetryPolicy:
    """A few retries, each after the same wait."""
    count, delay_ms = task.allowed_retry_count, task.retry_delay
    delay = timedelta(milliseconds=DEFAULT_RETRY_DELAY_MS if delay_ms is None else delay_ms)
    return RetryPolicy(
        max_retries=DEFAULT_ALLOWED_RETRIES if count is None else count,
        initial_delay=delay,
        multiplier=1.0,
        max_delay=max(delay, defaults.max_delay),
    )


def _seconds(asked: float | None, default: timedelta) -> timedelta:
    return default if asked is None else timedelta(seconds=asked)
