"""The webhook of a step, for the peers: about 1 KB of state, signed as the orchestrator signs."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

WORKERS = 10
"""Workers of an execution."""

Lane = dict[str, Any]
"""One worker of one execution, as a message: `execution`, `worker`, and the `state` of its next step."""

_KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def lanes(executions: int, steps: int) -> list[Lane]:
    """Ten lanes an execution, each before the first of its steps."""
    names = [f"exec_{uuid4().hex[:12]}" for _ in range(executions)]
    state = {"step": 0, "steps": steps, "rows": ["x" * 10] * 65}
    return [{"execution": name, "worker": worker, "state": state} for name in names for worker in range(WORKERS)]


def request(lane: Lane) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of the lane's next call."""
    worker = {"task_exec_id": lane["execution"], "worker_id": lane["worker"], "worker_state": lane["state"]}
    body = json.dumps({"kind": "task_exec_worker", "task_exec_worker": worker}).encode()
    message = f"msg_{lane['execution']}_{lane['worker']}_{lane['state']['step']}"
    timestamp = str(int(time.time()))
    digest = hmac.new(_KEY, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return body, {
        "Content-Type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def following(lane: Lane, answer: bytes) -> Lane | None:
    """The lane with its new state, or None when it is done."""
    told = json.loads(answer)
    return None if told["is_done"] else {**lane, "state": told["updated_worker_state"]}
