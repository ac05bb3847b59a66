"""The part of a payload that tells an app, or an executor, of its worker's turn."""

from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from orchestrator.service.claimed import Claim


def exec_worker(claim: Claim, timeout_ms: int, callback_url: str) -> dict[str, Any]:
    """The object `task_exec_worker`. What is JSON already is kept letter for letter, its numbers and its key order."""
    worker = {
        "task_id": claim.task_id,
        "task_name": claim.task_name,
        "task_exec_id": claim.execution_id,
        "task_exec_created_at": _rfc3339(claim.created_at),
        "worker_id": claim.worker_id,
        "worker_state": orjson.Fragment(claim.worker_state),
        "retry_count": claim.retry_count,
        "step": claim.step,
        "timeout_in_ms": timeout_ms,
        "workers": orjson.Fragment(claim.workers),
        "callback_url": callback_url,
    }
    if claim.callback is not None:
        worker["callback"] = orjson.Fragment(claim.callback)
    if claim.worker_results is not None:
        worker["worker_results"] = orjson.Fragment(claim.worker_results)
    return worker


@lru_cache(maxsize=1024)
def _rfc3339(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")
