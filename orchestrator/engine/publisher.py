"""The publisher: gives events their numbers once their transactions are committed, and notes who is to be told."""

from collections.abc import Callable
from datetime import timedelta

from orchestrator.engine.loop import Loop
from orchestrator.service import publishing
from orchestrator.store.database import Database


class Publisher(Loop):
    """One per node; nodes take turns. `noted` is told when there is something to deliver."""

    name = "publisher"

    def __init__(self, database: Database, noted: Callable[[], None], poll_interval: timedelta) -> None:
        super().__init__(poll_interval)
        self._database = database
        self._noted = noted

    async def tick(self) -> timedelta | None:
        # A look costs less than a turn.
        if not await self._database.read(publishing.is_due):
            return None
        published = await self._database.write(publishing.publish)
        if published.deliveries:
            self._noted()
        return timedelta() if published.events == publishing.BATCH else None
