"""What holds for every request.

Its body is capped while it is read, NUL has no place in its address, its answer carries the security headers.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.answers import SECURITY_HEADERS
from orchestrator.api.errors import BadRequest, refusal
from orchestrator.domain.errors import OrchestratorError, TooLarge


class Guard:
    """ASGI middleware; `body_bytes` is the cap."""

    def __init__(self, app: ASGIApp, body_bytes: int) -> None:
        self._app = app
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is None:
            await self._app(scope, self._capped(receive), _secured(send))
        else:
            await refusal(refused, scope["path"].replace("\0", ""))(scope, receive, send)

    def _refused(self, scope: Scope) -> OrchestratorError | None:
        # PostgreSQL cannot hold NUL in a text, and no id of ours has one.
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return BadRequest("an address cannot contain NUL (%00)")
        declared = Headers(scope=scope).get("content-length", "")
        return self._too_large() if declared.isdigit() and int(declared) > self._body_bytes else None

    def _capped(self, receive: Receive) -> Receive:
        read = 0

        async def capped() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._body_bytes:
                raise self._too_large()
            return message

        return capped

    def _too_large(self) -> TooLarge:
        return TooLarge(f"a request's body may have {self._body_bytes:,} bytes", limit_bytes=self._body_bytes)


def _secured(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return secured
