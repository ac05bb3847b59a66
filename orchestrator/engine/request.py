"""The request of a call: the payload exactly as the protocol has it, and its headers."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import orjson

from app_sdk.protocol.signing import sign
from orchestrator.engine.caller import Request
from orchestrator.service.callback_urls import PATH, CallbackSigner
from orchestrator.service.claim import Claim


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What every call of this node has in common."""

    api_endpoint: str
    collector_endpoint: str
    timeout_secs: float
    max_answer_bytes: int
    verify_tls: bool
    user_agent: str
    clock: Callable[[], float]
    """Seconds since the epoch, for the signature's timestamp."""
    callbacks: CallbackSigner


def build(claim: Claim, secret: str, options: RequestOptions) -> Request:
    """The signed request; its key is the same for every call of a step, its timestamp that of this call."""
    body = _body(claim, options)
    key = claim.key
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": options.user_agent,
        "Idempotency-Key": key,
        "traceparent": f"00-{claim.uid.replace('-', '')}-{secrets.token_hex(8)}-01",
        **sign(secret, key, int(options.clock()), body),
    }
    own = claim.app.verify_tls
    return Request(
        url=claim.app.webhook_endpoint or "",
        headers=headers,
        body=body,
        timeout_secs=options.timeout_secs,
        max_answer_bytes=options.max_answer_bytes,
        verify_tls=options.verify_tls if own is None else own,
    )


def _body(claim: Claim, options: RequestOptions) -> bytes:
    worker = {
        "task_id": claim.task_id,
        "task_name": claim.task_name,
        "task_exec_id": claim.execution_id,
        "task_exec_created_at": _rfc3339(claim.created_at),
        "worker_id": claim.worker_id,
        # Already JSON, and kept letter for letter: numbers and key order reach the app as it wrote them.
        "worker_state": orjson.Fragment(claim.worker_state),
        "retry_count": claim.retry_count,
        "step": claim.step,
        "timeout_in_ms": int(options.timeout_secs * 1000),
        "workers": {str(worker_id): status for worker_id, status in claim.workers.items()},
        "callback_url": f"{options.api_endpoint}{PATH}/{_signed(claim, options)}",
    }
    if claim.callback is not None:
        worker["callback"] = orjson.Fragment(claim.callback)
    if claim.worker_results is not None:
        worker["worker_results"] = orjson.Fragment(claim.worker_results)
    return orjson.dumps(
        {
            "api_endpoint": options.api_endpoint,
            "collector_endpoint": options.collector_endpoint,
            "workspace_id": claim.app.workspace_id,
            "app_id": claim.app.id,
            "app_state": orjson.Fragment(claim.app.state),
            "kind": "task_exec_worker",
            "task_exec_worker": worker,
        }
    )


def _signed(claim: Claim, options: RequestOptions) -> str:
    return options.callbacks.sign(claim.uid, claim.worker_id, claim.step)


def _rfc3339(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")
