"""The one that writes to the embedded database: a thread, and for what is brief the event loop's own.

Two threads that both want the interpreter wait for each other, and what one of them has made the other finds in the
cache of another core. So a brief transaction is decided where its answers came in, who have to wait for it anyway, and
only brought to the disk by the thread.
"""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store.turns import Turns

T = TypeVar("T")

Steps = Generator[None, None, T]
"""A transaction that stops whenever nothing is left but its commit; its end has the result."""


def to_the_end(steps: Steps[T]) -> T:
    """Go on without a stop."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class SoleWriter:
    """Runs one job after the other."""

    def __init__(self, turns: Turns) -> None:
        self._thread = ThreadPoolExecutor(1, "database-writer")
        self._turns = turns

    async def run(self, job: Callable[[], T]) -> T:
        """Run a job on the writer's thread."""
        return await self._turns.take(lambda: self._on_thread(job))

    async def run_here(self, steps: Steps[T], otherwise: Callable[[], T]) -> T:
        """Run a brief transaction, on the event loop's thread until it has decided.

        If that finds the database unavailable, `otherwise` is run on the writer's thread, where it may wait.
        """

        async def run() -> T:
            try:
                next(steps)
            except DatabaseUnavailable:
                return await self._on_thread(otherwise)
            return await self._on_thread(lambda: to_the_end(steps))

        return await self._turns.take(run)

    def shutdown(self) -> None:
        """End the thread, once the job in progress is done."""
        self._thread.shutdown()

    async def _on_thread(self, job: Callable[[], T]) -> T:
        done = asyncio.get_running_loop().run_in_executor(self._thread, job)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            # It goes on all the same, and its turn lasts as long.
            await asyncio.wait({done})
            raise
