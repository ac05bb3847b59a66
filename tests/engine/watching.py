"""What a test sees of a node at work: requests held at a turnstile, and how often a loop has looked for work."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from orchestrator.engine.loop import Loop
from tests.support.fake_app import Received
from tests.support.waiting import eventually

ENOUGH_LOOKS = 5


@dataclass(slots=True)
class Turnstile:
    """A handler that holds each request until it is let through, and then answers with `answer`."""

    answer: Callable[[Received], Any] = lambda request: {"is_done": True}
    inside: list[Received] = field(default_factory=list)
    most: int = 0
    let_through: int = 0
    _turns: dict[int, asyncio.Event] = field(default_factory=dict)
    _is_open: bool = False

    async def __call__(self, request: Received) -> Any:
        self.inside.append(request)
        self.most = max(self.most, len(self.inside))
        turn = self._turns[id(request)] = asyncio.Event()
        if self._is_open:
            turn.set()
        try:
            await turn.wait()
        finally:
            self.inside.remove(request)
        self.let_through += 1
        return self.answer(request)

    def let(self, count: int) -> None:
        """Let those go that have waited longest."""
        for request in self.inside[:count]:
            self._turns[id(request)].set()

    async def passes(self, count: int) -> None:
        """Let that many through, one after the other."""
        for wanted in range(self.let_through + 1, self.let_through + 1 + count):
            await self.holds(1)
            self.let(1)
            await eventually(partial(self._has_let, wanted), "a request to be let through")

    def open(self) -> None:
        """Let everybody go, also those who are still to come."""
        self._is_open = True
        self.let(len(self.inside))

    def close(self) -> None:
        """Hold those who come from now on."""
        self._is_open = False

    async def holds(self, count: int) -> None:
        """Wait until that many requests stand before it at once."""

        async def probe() -> bool:
            return len(self.inside) >= count

        await eventually(probe, f"{count} requests at the turnstile")

    async def _has_let(self, count: int) -> bool:
        return self.let_through >= count


@dataclass(slots=True)
class Ticks:
    """How often a loop has ticked."""

    loop: Loop
    count: int = 0

    async def enough(self) -> None:
        """Wait until the loop, woken again and again, has looked so often that it has missed nothing."""
        wanted = self.count + ENOUGH_LOOKS

        async def probe() -> bool:
            self.loop.wake()
            return self.count >= wanted

        await eventually(probe, f"{ENOUGH_LOOKS} ticks of the {self.loop.name}")


def count_ticks(monkeypatch: pytest.MonkeyPatch, loop: Loop) -> Ticks:
    """Count the ticks of a loop from now on."""
    ticks = Ticks(loop)
    tick = loop.tick

    async def counted() -> Any:
        wait = await tick()
        ticks.count += 1
        return wait

    monkeypatch.setattr(loop, "tick", counted)
    return ticks
