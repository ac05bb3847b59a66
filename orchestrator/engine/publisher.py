"""The publisher: gives events their numbers once their transactions are committed, and notes who is to be told."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from orchestrator.engine.loop import Loop
from orchestrator.service import publishing
from orchestrator.store.database import Database

# Under load every commit ends something; to publish after each of them would double the work of the one writer.
REST = timedelta(milliseconds=50)


class Publisher(Loop):
    """One per node; nodes take turns. `noted` is told when there is something to deliver."""

    name = "publisher"

    def __init__(self, database: Database, noted: Callable[[], None], poll_interval: timedelta) -> None:
        super().__init__(poll_interval)
        self._database = database
        self._noted = noted
        self._not_before = 0.0

    async def tick(self) -> timedelta | None:
        time = asyncio.get_running_loop().time
        # Of less than a microsecond nothing is left in a timedelta: to return it would be to tick without a pause.
        if (rest := timedelta(seconds=self._not_before - time())) > timedelta():
            return rest
        # A look costs less than a turn.
        if not await self._database.read(publishing.is_due):
            return None
        published = await self._database.write(publishing.publish)
        if published.deliveries:
            self._noted()
        if published.events == publishing.BATCH:
            return timedelta()
        self._not_before = time() + REST.total_seconds()
        return None
