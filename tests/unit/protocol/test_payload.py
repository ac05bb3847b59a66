"""The payload as an app reads it: Rimdian's own and ours."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app_sdk.protocol.payload import PayloadError, read_payload

RIMDIAN_WORKER: dict[str, Any] = {
    "task_id": "app_myapp_task1",
    "task_name": "My Task 1",
    "task_exec_id": "xxxxxxxx",
    "task_exec_created_at": "2024-01-01T00:00:00Z",
    "worker_id": 0,
    "worker_state": {"key1": "value1"},
    "retry_count": 0,
}
RIMDIAN: dict[str, Any] = {
    "api_endpoint": "https://api.example.com",
    "collector_endpoint": "https://collector.example.com",
    "workspace_id": "acme_workspace1",
    "app_id": "app_myapp",
    "app_state": {"key1": "value1"},
    "kind": "task_exec_worker",
    "task_exec_worker": RIMDIAN_WORKER,
}


def body(worker: dict[str, Any] | None = None, **changes: Any) -> bytes:
    return json.dumps(RIMDIAN | {"task_exec_worker": RIMDIAN_WORKER | (worker or {})} | changes).encode()


def test_the_payload_of_the_documentation_is_read() -> None:
    payload = read_payload(body())
    worker = payload.task_exec_worker
    assert worker is not None
    assert (payload.app_id, payload.app_state) == ("app_myapp", {"key1": "value1"})
    assert worker.task_exec_created_at == datetime(2024, 1, 1, tzinfo=UTC)
    assert (worker.worker_state, worker.retry_count) == ({"key1": "value1"}, 0)
    assert (worker.step, worker.timeout_in_ms, worker.callback_url, worker.worker_results) == (
        None,
        None,
        None,
        None,
    )
    assert worker.workers == {}


def test_the_fields_of_our_own_are_read() -> None:
    payload = read_payload(
        body(
            {
                "step": 4,
                "timeout_in_ms": 19_950,
                "workers": {"0": "calling", "3": "done"},
                "callback_url": "https://here.example.com/cb",
                "callback": {"status": "SUCCESS", "output": {"rows": 5}},
                "worker_results": {"3": {"status": "done", "state": {"n": 1}, "output": None}},
            }
        )
    )
    worker = payload.task_exec_worker
    assert worker is not None
    assert worker.workers == {0: "calling", 3: "done"}
    assert worker.worker_results is not None
    assert worker.worker_results[3].state == {"n": 1}
    assert worker.callback is not None
    assert worker.callback.output == {"rows": 5}
    assert (worker.step, worker.timeout_in_ms) == (4, 19_950)


def test_states_that_are_null_are_empty() -> None:
    payload = read_payload(body({"worker_state": None}, app_state=None))
    assert payload.app_state == {}
    assert payload.task_exec_worker is not None
    assert payload.task_exec_worker.worker_state == {}


def test_unknown_fields_and_other_kinds_are_kept() -> None:
    document = {"workspace_id": "w", "app_id": "app_x", "kind": "data_hook", "data_hook": {"id": "h"}}
    payload = read_payload(json.dumps(document).encode())
    assert payload.kind == "data_hook"
    assert payload.model_extra == {"data_hook": {"id": "h"}}


def test_a_state_of_the_full_depth_arrives() -> None:
    deep = json.loads("[" * 63 + "]" * 63)
    payload = read_payload(body({"worker_state": {"deep": deep}}))
    assert payload.task_exec_worker is not None
    assert payload.task_exec_worker.worker_state == {"deep": deep}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (b"", "$"),
        (b"[]", "$"),
        (b'{"kind":"a","kind":"b"}', "$.kind"),
        (json.dumps({key: RIMDIAN[key] for key in RIMDIAN if key != "app_id"}).encode(), "$.app_id"),
        (body(task_exec_worker=None), "$.task_exec_worker"),
        (body({"worker_id": 10}), "$.task_exec_worker.worker_id"),
        (body({"worker_state": []}), "$.task_exec_worker.worker_state"),
        (body({"task_exec_created_at": "yesterday"}), "$.task_exec_worker.task_exec_created_at"),
    ],
)
def test_what_is_no_payload_is_refused_with_its_path(document: bytes, path: str) -> None:
    with pytest.raises(PayloadError) as refusal:
        read_payload(document)
    assert refusal.value.path == path
