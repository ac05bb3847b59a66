"""Work that is done in turns, one after the other, in the order in which it was asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from orchestrator.domain.errors import DatabaseUnavailable

T = TypeVar("T")


class Turns:
    """Whoever is cancelled leaves what it asked for to be done all the same."""

    def __init__(self) -> None:
        self._last: asyncio.Task[Any] | None = None
        self._is_closed = False

    async def take(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work when its turn has come; returns or raises what it does. Raises DatabaseUnavailable if closed."""
        if self._is_closed:
            raise DatabaseUnavailable("the database is not available: it is closed")
        task = self._last = asyncio.create_task(_after(self._last, work))
        try:
            return await asyncio.shield(task)
        finally:
            # An error's traceback leads here, and from here to the task that holds the error.
            del task

    async def close(self) -> None:
        """Wait until all has been done that was asked for; from now on nothing more is."""
        self._is_closed = True
        await _end_of(self._last)


async def _after(one_before: asyncio.Task[Any] | None, work: Callable[[], Awaitable[T]]) -> T:
    await _end_of(one_before)
    # If this fails, too, each error would keep the one before alive.
    del one_before
    return await work()


async def _end_of(task: asyncio.Task[Any] | None) -> None:
    if task is not None and not task.done():
        await asyncio.wait({task})
