"""One connection to an app: at most one request at a time, each with a deadline for its whole answer."""

import asyncio
import ssl
from collections.abc import Callable
from typing import NamedTuple, cast

from app_sdk.protocol.frozen import frozen
from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.answer_reader import AnswerReader


@frozen
class Deadline:
    """When a call must be over: `at` on the event loop's clock, `secs` as the operator set it."""

    at: float
    secs: float

    def missed(self, progress: str, *, sent: bool) -> NoResponse:
        message = f"no complete answer within {self.secs:g} s ({progress})"
        return NoResponse(FailureKind.TIMEOUT, message, sent)


class Origin(NamedTuple):
    """What a connection leads to, and can be used for again."""

    is_tls: bool
    verify_tls: bool
    host: str
    port: int


class Connection(asyncio.Protocol):
    """Waits for nobody's goodwill: after anything but a clean, complete answer, it is aborted."""

    def __init__(self, origin: Origin, on_lost: Callable[["Connection"], None]) -> None:
        self.origin = origin
        self.kept_since = 0.0
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._answered: asyncio.Future[Response | NoResponse] | None = None
        self._requests = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a socket, be it on the point of being closed."""
        return self._transport is not None

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._transport is not None and not self._transport.is_closing() and self._answered is None

    async def exchange(self, request: bytes, reader: AnswerReader, deadline: Deadline) -> Response | NoResponse:
        """Send `request` and wait for the answer, until the deadline at most.

        When the waiting task is cancelled, the connection is aborted with the exchange that it was in.
        """
        transport = self._transport
        if transport is None or not self.is_usable:
            message = "the server closed the connection, or spoke on it, before the request was sent"
            return NoResponse(FailureKind.CONNECTION_RESET, message, sent=False)
        loop = asyncio.get_running_loop()
        self._reader, self._answered = reader, loop.create_future()
        self._requests += 1
        timer = loop.call_at(deadline.at, self._expire, deadline)
        try:
            transport.write(request)
            return await self._answered
        finally:
            timer.cancel()
            # An answer that came before the whole request was taken leaves the rest of it on the way.
            if not reader.is_reusable or transport.get_write_buffer_size():
                transport.abort()
            self._reader = self._answered = None

    def abort(self, reason: str = "") -> None:
        """Close at once: no flushing, no TLS goodbye. An exchange under way ends as LOST, for `reason`."""
        self._settle(NoResponse(FailureKind.LOST, reason, sent=True))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            # Nobody asked: kept, it would be read as the answer to the next request.
            self.abort()
        elif reader.outcome is not None:
            reader.is_reusable = False
        else:
            reader.feed(data)
            self._settle(reader.outcome)

    def eof_received(self) -> None:
        if self._reader is not None and self._reader.outcome is None:
            self._settle(self._reader.feed_eof() or self._broken_off(self._reader, None))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reader is not None and self._reader.outcome is None:
            self._settle(self._broken_off(self._reader, exc))
        # The transport refers back to this object; the sooner the circle is open, the sooner both are freed.
        self._transport = None
        self._on_lost(self)

    def _broken_off(self, reader: AnswerReader, exc: Exception | None) -> NoResponse:
        if isinstance(exc, ssl.SSLError):
            # With TLS 1.3 a server's refusal of the handshake arrives only after it.
            return NoResponse(FailureKind.TLS, f"TLS failed: {exc.reason or exc}", sent=True)
        kept = " (kept open from an earlier call)" if self._requests > 1 else ""
        if exc is None:
            return reader.broken_off(f"the server closed the connection{kept}")
        return reader.broken_off(f"the connection{kept} was lost, {getattr(exc, 'strerror', None) or exc},")

    def _expire(self, deadline: Deadline) -> None:
        if self._reader is not None:
            self._settle(deadline.missed(self._progress(self._reader), sent=True))

    def _progress(self, reader: AnswerReader) -> str:
        untaken = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return f"{untaken:,} bytes of the request not taken yet, {reader.progress}" if untaken else reader.progress

    def _settle(self, outcome: Response | NoResponse | None) -> None:
        if outcome is None or self._answered is None or self._answered.done():
            return
        self._answered.set_result(outcome)
        if isinstance(outcome, NoResponse) and self._transport is not None:
            self._transport.abort()
