"""The lookout: the poll of all loops in one. Idle, a node asks the database one question in an interval, not thirty."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from orchestrator.engine.loop import Loop
from orchestrator.service.outlook import Concern, due_within
from orchestrator.store.database import Database

# How often a loop ticks by itself all the same, should the lookout ever overlook something.
SELDOM = timedelta(minutes=1)
AFTER_CALLS = timedelta(milliseconds=20)


class Lookout(Loop):
    """One per node. `wakes` are told when something of their concern is due before the next look.

    So each loop learns in time when that is, and keeps the instant by itself.
    """

    name = "lookout"

    def __init__(
        self, database: Database, poll_interval: timedelta, wakes: Mapping[Concern, Callable[[], None]]
    ) -> None:
        super().__init__(poll_interval)
        self._database = database
        self._wakes = wakes

    async def tick(self) -> timedelta | None:
        # Mostly it is woken since there is something to be called, and would only be in the way of that now.
        await asyncio.sleep(AFTER_CALLS.total_seconds())
        for concern in await self._database.read(due_within, self._poll_interval + AFTER_CALLS):
            self._wakes[concern]()
        return None
