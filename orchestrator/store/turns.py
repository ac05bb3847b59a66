"""Work that is done in turns, one after the other, in the order in which it was asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Turns:
    """Whoever is cancelled leaves what it asked for to be done all the same."""

    def __init__(self) -> None:
        self._last: asyncio.Task[Any] | None = None

    async def take(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work when its turn has come; returns or raises what it does."""
        task = self._last = asyncio.create_task(_after(self._last, work))
        return await asyncio.shield(task)

    async def all_done(self) -> None:
        """Wait until everything has been done that was asked for by now."""
        await _end_of(self._last)


async def _after(one_before: asyncio.Task[Any] | None, work: Callable[[], Awaitable[T]]) -> T:
    await _end_of(one_before)
    return await work()


async def _end_of(task: asyncio.Task[Any] | None) -> None:
    if task is not None and not task.done():
        await asyncio.wait({task})
