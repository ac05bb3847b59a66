"""Waiting for a condition instead of sleeping."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECS = 20.0


async def eventually(probe: Callable[[], Awaitable[T | None]], what: str, patience_secs: float = PATIENCE_SECS) -> T:
    """The first result of `probe` that is true; fails, naming what was waited for, when it takes too long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_secs
    while not (found := await probe()):
        assert loop.time() < until, f"waited {patience_secs:g} s in vain for {what}"
        await asyncio.sleep(0.005)
    return found
