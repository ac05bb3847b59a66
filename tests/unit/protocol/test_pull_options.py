"""What a manifest may say about pull tasks."""

import json
from typing import Any

import pytest

from app_sdk.protocol.manifest import ManifestError, TaskManifest, read_manifest
from tests.unit.protocol.test_manifest import manifest


def pulled(**fields: Any) -> TaskManifest:
    [task] = read_manifest(manifest({"transport": "pull", **fields}, webhook_endpoint=None)).tasks
    return task


def test_a_pull_task_has_aidboxs_defaults() -> None:
    task = pulled()
    assert (task.pull_result, task.requested_to_start_timeout, task.in_progress_timeout) == ("output", 10_000, 120_000)
    assert (task.allowed_retry_count, task.retry_delay, task.concurrency_limit) == (None, None, None)


def test_a_pull_task_is_kept_in_the_words_it_came_in() -> None:
    words = {"inProgressTimeout": 5000, "concurrencyLimit": 2, "concurrencyPath": ["params", "customer"], "mine": 1}
    task = pulled(**words, allowedRetryCount=None)
    kept = json.loads(task.model_dump_json(exclude_unset=True))
    assert kept == {"id": task.id, "name": task.name, "transport": "pull", **words}
    assert TaskManifest.model_validate(kept) == task


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"transport": "pull", "retry": {}, "allowedRetryCount": 1}, "give retry, or allowedRetryCount and retryDelay"),
        ({"transport": "pull", "retry": {}, "retryDelay": 1}, "give retry, or allowedRetryCount and retryDelay"),
        ({"transport": "pull", "concurrencyPath": ["params"]}, "a concurrencyPath goes with a concurrencyLimit"),
        ({"transport": "pull", "concurrencyLimit": 1, "concurrencyPath": []}, "concurrencyPath: list should have"),
        ({"transport": "pull", "requestedToStartTimeout": 0}, "requestedToStartTimeout: input should be greater"),
        ({"transport": "pull", "inProgressTimeout": "5"}, "inProgressTimeout: input should be a valid integer"),
    ],
)
def test_a_pull_task_that_contradicts_itself_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ManifestError) as refusal:
        read_manifest(manifest(fields))
    assert problem in str(refusal.value)


def test_a_webhook_task_may_have_an_input_schema() -> None:
    [task] = read_manifest(manifest({"input_schema": {"type": "object"}})).tasks
    assert task.input_schema == {"type": "object"}
