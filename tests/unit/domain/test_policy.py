"""What a task's definition asks of the engine, completed by the server's defaults."""

from datetime import timedelta
from typing import Any, get_args

from app_sdk.protocol.manifest import TaskManifest
from orchestrator.domain.policy import Delivery, OnMultipleExec, OnWorkerFailure, TaskPolicy, task_policy
from orchestrator.domain.retry import RetryPolicy

TEN_SECONDS = timedelta(seconds=10)
DEFAULTS = RetryPolicy(7, timedelta(seconds=3), 1.5, timedelta(minutes=2))


def policy(**fields: Any) -> TaskPolicy:
    return task_policy(TaskManifest.model_validate({"id": "app_x_t", "name": "T", **fields}), DEFAULTS)


def test_a_bare_task_takes_the_defaults() -> None:
    assert policy() == TaskPolicy(
        retry=DEFAULTS,
        delivery=Delivery.AT_LEAST_ONCE,
        on_worker_failure=OnWorkerFailure.FAIL,
        max_duration=timedelta(days=7),
        is_async=False,
    )


def test_a_task_may_set_everything() -> None:
    asked = policy(
        retry={"max_retries": 0, "initial_delay_secs": 0, "multiplier": 4, "max_delay_secs": 0.5},
        delivery="at_most_once",
        on_worker_failure="continue",
        max_duration_secs=90,
        is_async=True,
    )
    assert asked == TaskPolicy(
        retry=RetryPolicy(0, timedelta(), 4.0, timedelta(milliseconds=500)),
        delivery=Delivery.AT_MOST_ONCE,
        on_worker_failure=OnWorkerFailure.CONTINUE,
        max_duration=timedelta(seconds=90),
        is_async=True,
    )


def test_what_a_retry_policy_leaves_out_is_the_servers() -> None:
    assert policy(retry={"max_retries": 1}).retry == RetryPolicy(1, timedelta(seconds=3), 1.5, timedelta(minutes=2))
    assert policy(retry={"initial_delay_secs": 9}).retry == RetryPolicy(
        7, timedelta(seconds=9), 1.5, timedelta(minutes=2)
    )


def test_every_overlap_policy_of_a_manifest_is_known() -> None:
    names = get_args(TaskManifest.model_fields["on_multiple_exec"].annotation)
    assert set(names) == {policy.value for policy in OnMultipleExec}


def test_a_pull_task_is_retried_as_aidbox_does() -> None:
    asked = policy(transport="pull").retry
    assert (asked.max_retries, asked.backoff(1, 0), asked.backoff(9, 0)) == (2, TEN_SECONDS, TEN_SECONDS)


def test_aidboxs_names_map_onto_the_one_policy() -> None:
    asked = policy(transport="pull", allowedRetryCount=0, retryDelay=150_000).retry
    assert (asked.max_retries, asked.backoff(3, 0)) == (0, timedelta(seconds=150))


def test_a_pull_task_may_use_our_names_too() -> None:
    asked = policy(transport="pull", retry={"max_retries": 5, "multiplier": 2}).retry
    assert (asked.max_retries, asked.backoff(2, 0)) == (5, 2 * TEN_SECONDS)
