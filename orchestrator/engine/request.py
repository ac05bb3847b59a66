"""The request of a call: the payload exactly as the protocol has it, and its headers."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from app_sdk.protocol.signing import Signer
from orchestrator.engine.caller import Request
from orchestrator.service.callback_urls import CallbackSigner, CallbackUrls
from orchestrator.service.claimed import Claim
from orchestrator.service.payloads import exec_worker


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


def build(claim: Claim, signer: Signer, options: RequestOptions) -> Request:
    """The signed request; its key is the same for every call of a step, its timestamp that of this call."""
    body = _body(claim, options)
    key = claim.key
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": options.user_agent,
        "Idempotency-Key": key,
        "traceparent": f"00-{claim.uid.replace('-', '')}-{_span_id()}-01",
        **signer.sign(key, int(options.clock()), body),
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


def _span_id() -> str:
    # It tells calls apart, and guards nothing.
    return f"{random.getrandbits(64):016x}"


def _body(claim: Claim, options: RequestOptions) -> bytes:
    urls = CallbackUrls(options.api_endpoint, options.callbacks)
    callback_url = urls.of(claim.uid, claim.worker_id, claim.step)
    return orjson.dumps(
        {
            "api_endpoint": options.api_endpoint,
            "collector_endpoint": options.collector_endpoint,
            "workspace_id": claim.app.workspace_id,
            "app_id": claim.app.id,
            "app_state": orjson.Fragment(claim.app.state),
            "kind": "task_exec_worker",
            "task_exec_worker": exec_worker(claim, int(options.timeout_secs * 1000), callback_url),
        }
    )
