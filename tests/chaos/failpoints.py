"""The twelve points of a step at which a process can be killed, as patches of the product.

The product knows nothing of them: they are put into it from outside, in a process that a test has started for that,
and nothing that an operator can set arms one. A patch whose target is gone raises at once, so that no point is ever
passed over in silence.
"""

import asyncio
import contextvars
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.outcome import Response
from orchestrator.engine import dispatcher
from orchestrator.engine.answer_reader import AnswerReader
from orchestrator.engine.connection import Connection
from orchestrator.engine.deliverer import Deliverer
from orchestrator.engine.dispatcher import Dispatcher
from orchestrator.service import apply
from tests.chaos.clock import now

_COMMIT_SECS = 0.003

_in_call: contextvars.ContextVar[bool] = contextvars.ContextVar("in_call", default=False)
"""Whether what runs is a call of an app: the deliverer uses the same connections."""


class Trigger:
    """Counts how often its point is reached, and kills the process the n-th time, after saying when in `mark`."""

    def __init__(self, hits: int, mark: str, dice: random.Random) -> None:
        self._left = hits
        self._mark = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._counting = threading.Lock()
        self.dice = dice

    def is_turn(self) -> bool:
        """Count; True the n-th time, and only then."""
        with self._counting:
            self._left -= 1
            return self._left == 0

    def kill(self) -> None:
        """End this process as a power cut would."""
        os.write(self._mark, repr(now()).encode())
        os.kill(os.getpid(), signal.SIGKILL)
        # Another thread may be the one that the signal reaches first; this one must not go on.
        signal.pause()

    def hit(self) -> None:
        if self.is_turn():
            self.kill()


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the life of a step. `most_hits`: what a burst of work is sure to reach, several times over."""

    name: str
    says: str
    arm: Callable[[Trigger], None]
    most_hits: int


def arm(name: str, hits: int, mark: str, seed: str) -> None:
    """Patch the product in this process, so that it is killed when the point is reached for the `hits`-th time."""
    POINTS[name].arm(Trigger(hits, mark, random.Random(seed)))


def _swap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the original's place. Raises AttributeError if there is none."""
    original = getattr(owner, name)
    if not callable(original):
        raise AttributeError(f"{owner.__name__}.{name} is no function any more")
    setattr(owner, name, make(original))


def _before_claim_commit(trigger: Trigger) -> None:
    def make(next_claims: Any) -> Any:
        def patched(*arguments: Any) -> Any:
            claimed = next_claims(*arguments)
            if claimed.claims:
                trigger.hit()
            return claimed

        return patched

    _swap(dispatcher, "next_claims", make)
    _swap(apply, "next_claims", make)


def _after_claim(trigger: Trigger) -> None:
    def make(call: Any) -> Any:
        async def patched(self: Dispatcher, claim: Any) -> Any:
            trigger.hit()
            return await call(self, claim)

        return patched

    _swap(Dispatcher, "_call", make)


def _decided(trigger: Trigger) -> None:
    def make(call: Any) -> Any:
        async def patched(self: Dispatcher, claim: Any) -> Any:
            decided = await call(self, claim)
            trigger.hit()
            return decided

        return patched

    # What it returns is the answer, read and decided on.
    _swap(Dispatcher, "_call", make)


def _watch_calls() -> None:
    """Tell the calls of apps from deliveries."""

    def make(call: Any) -> Any:
        async def patched(self: Dispatcher, claim: Any) -> Any:
            token = _in_call.set(True)
            try:
                return await call(self, claim)
            finally:
                _in_call.reset(token)

        return patched

    _swap(Dispatcher, "_call", make)


def _exchange(before: Callable[[Connection, bytes, AnswerReader], None]) -> None:
    """Do `before` in every exchange with an app, when it is connected and nothing is sent."""
    _watch_calls()

    def make(exchange: Any) -> Any:
        async def patched(self: Connection, request: bytes, reader: AnswerReader, deadline: Any) -> Any:
            if _in_call.get() and self.is_usable:
                before(self, request, reader)
            return await exchange(self, request, reader, deadline)

        return patched

    _swap(Connection, "exchange", make)


def _connected(trigger: Trigger) -> None:
    _exchange(lambda _connection, _request, _reader: trigger.hit())


def _half_sent(trigger: Trigger) -> None:
    def before(connection: Connection, request: bytes, _reader: AnswerReader) -> None:
        if trigger.is_turn():
            transport = connection._transport
            assert transport is not None
            # The transport would send only when the event loop goes round.
            descriptor = transport.get_extra_info("socket").fileno()
            sent = os.write(descriptor, request[: len(request) // 2])
            assert 0 < sent < len(request)
            trigger.kill()

    _exchange(before)


def _sent(trigger: Trigger) -> None:
    class Watching(AnswerReader):
        __slots__ = ()

        def feed(self, data: bytes) -> None:
            # The answer is there after all, and unread: it is the last moment.
            trigger.kill()

    def before(connection: Connection, _request: bytes, reader: AnswerReader) -> None:
        if trigger.is_turn():
            loop = asyncio.get_running_loop()

            def kill_when_sent() -> None:
                transport = connection._transport
                if transport is None or not transport.get_write_buffer_size():
                    trigger.kill()
                loop.call_soon(kill_when_sent)

            reader.__class__ = Watching
            # The next round sends; the one after it finds that nothing is left to send.
            loop.call_soon(lambda: loop.call_soon(kill_when_sent))

    _exchange(before)


def _reading(trigger: Trigger, split: Callable[[bytes], int]) -> None:
    """Kill when the first part of an answer has been read; `split` says where it ends."""

    class Split(AnswerReader):
        __slots__ = ()

        def feed(self, data: bytes) -> None:
            if trigger.is_turn():
                super().feed(data[: split(data)])
                assert self._is_head_read
                assert self.outcome is None
                trigger.kill()
            super().feed(data)

    def before(_connection: Connection, _request: bytes, reader: AnswerReader) -> None:
        reader.__class__ = Split

    _exchange(before)


def _head_read(trigger: Trigger) -> None:
    _reading(trigger, _end_of_head)


def _body_half_read(trigger: Trigger) -> None:
    _reading(trigger, lambda data: (_end_of_head(data) + len(data)) // 2)


def _end_of_head(data: bytes) -> int:
    end = data.find(b"\r\n\r\n")
    assert end > 0, "the witness app sends the head of an answer in one piece"
    return end + 4


def _inside_apply(trigger: Trigger) -> None:
    def make(save: Any) -> Any:
        def patched(*arguments: Any) -> Any:
            done = save(*arguments)
            trigger.hit()
            return done

        return patched

    # `apply` writes app states before it, and the records of the calls, with imports, after it.
    _swap(apply, "save", make)


def _committing(trigger: Trigger) -> None:
    def kill_soon() -> None:
        time.sleep(trigger.dice.uniform(0, _COMMIT_SECS))
        trigger.kill()

    def make(applying: Any) -> Any:
        def patched(*arguments: Any) -> Any:
            applied = applying(*arguments)
            if trigger.is_turn():
                threading.Thread(target=kill_soon, daemon=True).start()
            return applied

        return patched

    _swap(dispatcher, "apply", make)


def _committed(trigger: Trigger) -> None:
    def make(announce: Any) -> Any:
        def patched(self: Dispatcher, applied: Any) -> Any:
            trigger.hit()
            return announce(self, applied)

        return patched

    _swap(Dispatcher, "_announce", make)


def _delivered(trigger: Trigger) -> None:
    def make(record: Any) -> Any:
        async def patched(self: Deliverer, deliveries: Sequence[Any]) -> Any:
            outcomes = [delivery.outcome for delivery in deliveries]
            if any(isinstance(outcome, Response) and 200 <= outcome.status < 300 for outcome in outcomes):
                trigger.hit()
            return await record(self, deliveries)

        return patched

    _swap(Deliverer, "_record", make)


POINTS = {
    point.name: point
    for point in (
        Point("claiming", "before the commit of the claim", _before_claim_commit, 6),
        Point("claimed", "after that commit, before connecting", _after_claim, 40),
        Point("connected", "connected, nothing sent", _connected, 40),
        Point("half-sent", "half of the request sent", _half_sent, 40),
        Point("sent", "request sent, no answer yet", _sent, 40),
        Point("head-read", "head of the answer received", _head_read, 40),
        Point("half-read", "half of its body received", _body_half_read, 40),
        Point("decided", "decided, before the transaction of the apply", _decided, 40),
        Point("applying", "inside that transaction, guards passed, half written", _inside_apply, 15),
        Point("committing", "its COMMIT under way (0 to 3 ms after the last write)", _committing, 15),
        Point("committed", "after that COMMIT, before anybody is woken", _committed, 15),
        Point("delivered", "the collector has taken a batch, its row is still open", _delivered, 8),
    )
}
