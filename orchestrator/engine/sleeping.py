"""Sleep to the instant, which event loops alone do not."""

import asyncio
from time import monotonic

# Less than a microsecond may be no time at all for an event loop.
LEAST_SLEEP_SECS = 1e-6


async def until(instant: float) -> None:
    """Sleep until `time.monotonic` shows that. Event loops may wake up to a millisecond early; this does not."""
    while (left := instant - monotonic()) > 0:  # noqa: ASYNC110 - there is nothing to wait for but time
        await asyncio.sleep(max(left, LEAST_SLEEP_SECS))
