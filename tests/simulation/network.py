"""The simulated network: the `Caller` of a node, and how an exchange ends for the node that waits for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.caller import Request
from tests.simulation.loop import PROCESS

Outcome = Response | NoResponse


@dataclass(frozen=True, slots=True)
class Exchange:
    """What becomes of a request: `outcome` is known after `secs`, and then `seen` is told what the node sees."""

    outcome: Outcome
    secs: float
    seen: Callable[[str], None]


Receiver = Callable[[str, Request], Exchange]


def answered(status: int, body: bytes, retry_after_secs: float | None = None) -> Response:
    return Response(status, body, None if retry_after_secs is None else timedelta(seconds=retry_after_secs))


def unanswered(kind: FailureKind, *, sent: bool = True) -> NoResponse:
    return NoResponse(kind, f"simulated: {kind}", sent=sent)


class SimulatedCaller:
    """A node's caller. `receive` is the other side: it is reached at once, its answer takes its time."""

    def __init__(self, receive: Receiver, timeout_secs: float) -> None:
        self._receive = receive
        self._timeout_secs = timeout_secs
        self._under_way: dict[asyncio.Future[Outcome], None] = {}

    async def post(self, request: Request) -> Outcome:
        loop = asyncio.get_running_loop()
        exchange = self._receive(PROCESS.get().name, request)
        done: asyncio.Future[Outcome] = loop.create_future()
        if exchange.secs < self._timeout_secs:
            loop.call_later(exchange.secs, _settle, done, exchange.outcome)
        loop.call_later(self._timeout_secs, _settle, done, unanswered(FailureKind.TIMEOUT))
        self._under_way[done] = None
        try:
            outcome = await done
        finally:
            del self._under_way[done]
        exchange.seen(_as_seen(outcome))
        return outcome

    async def close(self) -> None:
        for done in list(self._under_way):
            _settle(done, unanswered(FailureKind.LOST))


def _as_seen(outcome: Outcome) -> str:
    if isinstance(outcome, NoResponse) and outcome.sent:
        return "lost" if outcome.kind is FailureKind.LOST else "cut off"
    return "ended"


def _settle(done: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not done.done():
        done.set_result(outcome)
