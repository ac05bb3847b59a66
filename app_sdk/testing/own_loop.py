"""An event loop for the asynchronous tasks of a test that has none."""

import asyncio
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class OwnLoop:
    """Made when it is needed for the first time, kept for all that follows, closed with this object.

    What an app keeps open between its calls, such as an HTTP client, belongs to one loop. asyncio.Runner would
    run its loop once more to close it, which fails where the last reference is dropped inside another loop.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine to its end."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            weakref.finalize(self, self._loop.close)
        return self._loop.run_until_complete(coroutine)
