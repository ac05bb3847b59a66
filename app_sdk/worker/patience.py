"""Waiting: for a server that is away, and for an end that was asked for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from app_sdk.worker.server import AwayError

_PAUSES_SECS = (0.2, 1.0, 3.0, 5.0)
_log = logging.getLogger("app_sdk.worker")

T = TypeVar("T")


@dataclass(slots=True)
class Stop:
    """How a worker comes to its end. `asked`: nothing new is begun; `hurried`: what runs is ended."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)


async def again(work: Callable[[], Awaitable[T]], what: str, unless: asyncio.Event) -> T:
    """Do it until the server answers. Raises AwayError where it does not, and the event has come."""
    failures = 0
    while True:
        try:
            return await work()
        except AwayError as error:
            if unless.is_set():
                raise
            pause = _PAUSES_SECS[min(failures, len(_PAUSES_SECS) - 1)]
            failures += 1
            _log.warning("the server is away while a worker %s: %s; again in %g s", what, error, pause)
            await until(unless, asyncio.sleep(pause))


async def until(event: asyncio.Event, work: Awaitable[T]) -> T | None:
    """The result of the work; None if the event comes first: then the work is cancelled."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() and not event.is_set() else None
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
