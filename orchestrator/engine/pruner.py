"""The pruner: removes what has served its time."""

from datetime import timedelta

from orchestrator.engine.loop import Loop
from orchestrator.service import idempotency
from orchestrator.store.database import Database

INTERVAL = timedelta(hours=1)


class Pruner(Loop):
    """One per node; every node may do the same work at the same time."""

    name = "pruner"

    def __init__(self, database: Database) -> None:
        super().__init__(INTERVAL)
        self._database = database

    async def tick(self) -> timedelta | None:
        forgotten = await self._database.write(idempotency.forget_expired)
        if forgotten:
            self._log.info("forgot expired idempotency keys", count=forgotten)
        return None
