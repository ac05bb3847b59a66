"""A step of a script that is held back until the test lets it go."""

import asyncio
from typing import Any

from tests.support.fake_app import Received
from tests.support.waiting import eventually


class Gate:
    """Holds calls until it is opened, and knows how many it has held."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._opened = asyncio.Event()
        self.held = 0

    async def __call__(self, request: Received) -> Any:
        self.held += 1
        await self._opened.wait()
        return self._answer

    async def holds(self, count: int = 1) -> None:
        """Wait until so many calls have come."""

        async def probe() -> bool:
            return self.held >= count

        await eventually(probe, f"{count} held calls")

    def open(self) -> None:
        self._opened.set()
