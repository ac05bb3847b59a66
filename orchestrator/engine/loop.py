"""The one loop: `tick` does what is due and returns how long to sleep; a wake-up cuts the sleep short.

Stopping, the longest sleep and what happens after an error are written here, once.
"""

import asyncio
from abc import ABC, abstractmethod
from datetime import timedelta

import structlog

AFTER_ERROR = timedelta(seconds=1)


class Loop(ABC):
    """Runs `tick` until stopped. Wake-ups are a courtesy: whatever they announce is found by polling (`lookout`)."""

    name = "loop"

    def __init__(self, poll_interval: timedelta) -> None:
        self._poll_interval = poll_interval
        self._woken = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(self.name)

    @abstractmethod
    async def tick(self) -> timedelta | None:
        """Do what is due. Returns how long nothing will be due; None: until woken, or until the next poll."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    def wake(self) -> None:
        """Tick now; safe to call at any time, from the loop's thread."""
        self._woken.set()

    async def stop(self) -> None:
        """Let the tick in progress finish, and begin no other. Whoever waits no longer does not cut the tick off."""
        self._stopping = True
        self.wake()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            wait = await self._tick()
            await self._sleep(self._poll_interval if wait is None else min(wait, self._poll_interval))

    async def _tick(self) -> timedelta | None:
        try:
            return await self.tick()
        except Exception as error:  # noqa: BLE001 - logged with its traceback; the loop goes on
            # A database that is away must not end the loop: it tries again until it is back.
            self._log.error("tick failed", loop=self.name, error=repr(error), exc_info=True)
            return AFTER_ERROR

    async def _sleep(self, wait: timedelta) -> None:
        if wait <= timedelta():
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(wait.total_seconds()):
                await self._woken.wait()
        except TimeoutError:
            return
