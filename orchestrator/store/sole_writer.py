"""The one thread that writes to the embedded database, and its right of way.

It and the event loop's thread both want the interpreter. By turns, the writer is done with deciding when the loop has
made its calls, and then nobody has anything to do while the disk commits. So who ships a transaction to an idle writer
lets it decide first, and goes on while it commits: that is a sixth more steps a second.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# Most transactions have decided after two or three milliseconds; one that takes longer shares the interpreter again.
GIVE_WAY_SECS = 0.005


class SoleWriter:
    """Runs one job after the other. Belongs to one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "database-writer")
        self._waiting: set[asyncio.Future[Any]] = set()
        self._is_busy = False

    @property
    def is_idle(self) -> bool:
        """Whether a job would begin at once."""
        # A caller that was cancelled waits no longer; its job may go on all the same.
        return not self._waiting and not self._is_busy

    async def run(self, job: Callable[[Callable[[], None]], T]) -> T:
        """Run a job, which calls what it is given once it has decided; the loop stands still so long, 5 ms at most."""
        decided = threading.Event()
        has_right_of_way = self.is_idle
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._do, job, decided)
        self._waiting.add(done)
        done.add_done_callback(self._waiting.discard)
        if has_right_of_way:
            decided.wait(GIVE_WAY_SECS)
        return await done

    def shutdown(self) -> None:
        """Wait for the jobs in progress."""
        self._thread.shutdown()

    def _do(self, job: Callable[[Callable[[], None]], T], decided: threading.Event) -> T:
        self._is_busy = True
        try:
            return job(decided.set)
        finally:
            self._is_busy = False
            # Also when it has failed before it could decide.
            decided.set()
