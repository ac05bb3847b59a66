"""Payloads as the orchestrator sends them, and their signatures."""

import json
import time
from collections.abc import Callable
from typing import Any

from app_sdk import App, Continue, Done
from app_sdk.context import Context
from app_sdk.protocol.payload import WebhookPayload, read_payload
from app_sdk.protocol.signing import sign
from app_sdk.reply import Reply

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def app_with(handler: Callable[[Context], Any]) -> App:
    app = App("app_x", "X", secret=SECRET)
    app.task("import")(handler)
    return app


def count_to(ctx: Context, last: int) -> Done | Continue:
    """A step of a worker that counts in its own state and in the app's."""
    ctx.state["count"] = ctx.state.get("count", 0) + 1
    ctx.app_state.increment("total")
    return Done() if ctx.state["count"] == last else Continue()


def call_body(task_id: str = "app_x_import", app_state: dict[str, Any] | None = None, **worker: Any) -> bytes:
    turn = {
        "task_id": task_id,
        "task_name": "Import",
        "task_exec_id": "exec-1",
        "task_exec_created_at": "2026-01-01T00:00:00Z",
        "worker_id": 0,
        "worker_state": {},
        "retry_count": 0,
        "step": 0,
    }
    document = {
        "api_endpoint": "http://127.0.0.1:8000",
        "collector_endpoint": "http://127.0.0.1:8000/collector",
        "workspace_id": "default",
        "app_id": "app_x",
        "app_state": app_state or {},
        "kind": "task_exec_worker",
        "task_exec_worker": turn | worker,
    }
    return json.dumps(document).encode()


def payload(app_state: dict[str, Any] | None = None, **worker: Any) -> WebhookPayload:
    return read_payload(call_body(app_state=app_state, **worker))


def context(app_state: dict[str, Any] | None = None, **worker: Any) -> Context[dict[str, Any]]:
    whole = payload(app_state, **worker)
    assert whole.task_exec_worker is not None
    return Context(whole, whole.task_exec_worker, whole.task_exec_worker.worker_state)


def signed(body: bytes) -> dict[str, str]:
    return sign(SECRET, "msg_1", int(time.time()), body)


async def answer_of(app: App, body: bytes) -> dict[str, Any]:
    return read_reply(await app.handle(body, signed(body)))


def read_reply(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    answer = json.loads(reply.body)
    assert isinstance(answer, dict)
    return answer
