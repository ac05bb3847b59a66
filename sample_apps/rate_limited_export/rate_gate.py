"""A limit in front of a webhook: too many calls are answered 429, with Retry-After."""

import math
import time
from collections.abc import Callable
from http import HTTPStatus

from app_sdk.asgi import Receive, Scope, Send
from sample_apps.serving import Asgi, send_problem
from sample_apps.token_bucket import TokenBucket


class RateGate:
    """An ASGI application in front of another, as an API gateway would be.

    The app never sees a call that is refused: nothing of its step has happened, and the orchestrator makes it
    again, for the same step and with the same Idempotency-Key, no earlier than Retry-After says.
    """

    def __init__(self, behind: Asgi, bucket: TokenBucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._behind = behind
        self._bucket = bucket
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ASGI."""
        wait_secs = self._bucket.take(self._clock()) if scope["type"] == "http" else 0.0
        if not wait_secs:
            await self._behind(scope, receive, send)
            return
        detail = f"more calls than this app takes; welcome again in {wait_secs:.2f} s"
        await send_problem(send, HTTPStatus.TOO_MANY_REQUESTS, detail, retry_after(wait_secs))


def retry_after(wait_secs: float) -> dict[str, str]:
    """The header Retry-After, which counts in whole seconds."""
    return {"retry-after": str(math.ceil(wait_secs))}
