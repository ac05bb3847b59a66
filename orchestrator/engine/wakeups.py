"""Wake-ups between nodes: the notifier rings when this node has made work due, the listener hears the others.

Both are a courtesy; a node that hears nothing finds the same work at its next poll.
"""

import asyncio
from collections.abc import Callable

import structlog

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store import listening
from orchestrator.store.database import Database
from orchestrator.store.listening import ListenUnsupported

# At most ten rings a second for each node, however much it makes due: a ring takes a lock over the whole database.
RING_INTERVAL_SECS = 0.1
_RECONNECT_SECS = 1.0
_LONGEST_RECONNECT_SECS = 30.0
_UNSUPPORTED_SECS = 300.0


class Notifier:
    """Rings for the other nodes, while `has_others` says that there are any."""

    def __init__(self, database: Database, has_others: Callable[[], bool]) -> None:
        self._database = database
        self._has_others = has_others
        self._last = -RING_INTERVAL_SECS
        self._planned: asyncio.TimerHandle | None = None
        self._ringing: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("notifier")

    def ring(self) -> None:
        """Something is due that another node could do; call it after the commit."""
        if self._planned is not None or not self._has_others():
            return
        loop = asyncio.get_running_loop()
        wait = max(0.0, self._last + RING_INTERVAL_SECS - loop.time())
        self._planned = loop.call_later(wait, self._begin)

    async def close(self) -> None:
        """Ring at once if a ring is planned, and wait until it is done."""
        if self._planned is not None:
            self._planned.cancel()
            self._begin()
        if self._ringing:
            await asyncio.wait(self._ringing)

    def _begin(self) -> None:
        self._planned = None
        self._last = asyncio.get_running_loop().time()
        task = asyncio.create_task(self._ring(), name="notifier")
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)

    async def _ring(self) -> None:
        try:
            await self._database.write(listening.notify)
        except DatabaseUnavailable as error:
            self._log.warning("nobody was notified; the others find the work by polling", error=error.message)


class Listener:
    """Calls `wake` for each ring, on a connection of its own, for as long as the node runs."""

    def __init__(self, url: str, wake: Callable[[], None]) -> None:
        self._url = url
        self._wake = wake
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("listener")
        self.hears = asyncio.Event()
        """Set while the connection stands."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="listener")

    async def stop(self) -> None:
        """Hang up."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        wait = _RECONNECT_SECS
        while True:
            try:
                await self._listen()
            except ListenUnsupported:
                self._log.info("LISTEN does not last here (a transaction pooler?): work of other nodes is polled for")
                wait = _UNSUPPORTED_SECS
            except DatabaseUnavailable as error:
                self._log.warning("not listening; work of other nodes is polled for", error=error.message)
            if self.hears.is_set():
                self.hears.clear()
                wait = _RECONNECT_SECS
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_RECONNECT_SECS)

    async def _listen(self) -> None:
        async with listening.listening(self._url) as notices:
            self.hears.set()
            # What was rung before is not repeated.
            self._wake()
            async for _ in notices:
                self._wake()
