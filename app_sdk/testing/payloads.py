"""The payload of a call, as a server sends it."""

from datetime import datetime
from typing import Any

from app_sdk.context import DEFAULT_TIMEOUT_SECS
from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH, dumps
from app_sdk.testing.books import Books
from app_sdk.testing.scenario import Launch
from orchestrator.domain.worker import Worker

_SERVER = "http://127.0.0.1:8000"


def payload_body(
    launch: Launch,
    launched_at: datetime,
    workers: dict[int, Worker],
    worker: Worker,
    books: Books,
    callback: dict[str, Any] | None,
) -> bytes:
    """The JSON of a call of `worker`, claimed already; `callback` is what it was called back with."""
    turn: dict[str, Any] = {
        "task_id": launch.task.id,
        "task_name": launch.task.name,
        "task_exec_id": launch.execution_id,
        "task_exec_created_at": launched_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "worker_id": worker.worker_id,
        "worker_state": books.state(worker.worker_id),
        "retry_count": worker.retry_count,
        "step": worker.step,
        "timeout_in_ms": int(DEFAULT_TIMEOUT_SECS * 1000),
        "workers": {str(one): workers[one].status.value for one in sorted(workers)},
        "callback_url": f"{_SERVER}/external-events/callback/{_signed(launch, worker)}",
    }
    if worker.is_released:
        turn["worker_results"] = _results(workers, worker.worker_id, books)
    if callback is not None:
        turn["callback"] = callback
    document = {
        "api_endpoint": _SERVER,
        "collector_endpoint": f"{_SERVER}/collector",
        "workspace_id": "default",
        "app_id": launch.manifest.id,
        "app_state": books.app_state,
        "kind": "task_exec_worker",
        "task_exec_worker": turn,
    }
    return dumps(document, max_depth=MAX_DEPTH + ENVELOPE_DEPTH)


def _signed(launch: Launch, worker: Worker) -> str:
    return f"{launch.execution_id}.{worker.worker_id}.{worker.step}.signature"


def _results(workers: dict[int, Worker], but: int, books: Books) -> dict[str, Any]:
    return {
        str(worker_id): {
            "status": workers[worker_id].status.value,
            "state": books.state(worker_id),
            "output": books.outputs.get(worker_id),
        }
        for worker_id in sorted(workers)
        if worker_id != but
    }
