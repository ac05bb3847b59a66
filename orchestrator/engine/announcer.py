"""The announcer: NOTIFY task_created for each new simple task, for foreign programs that listen on PostgreSQL."""

import asyncio

import structlog

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store import simple_tasks
from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect

# NOTIFY takes a lock over the whole database at its commit: many share one.
INTERVAL_SECS = 0.1
# Whoever listens must look by itself now and then, as it must after any reconnect.
MOST_KEPT = 10_000


class Announcer:
    """Announces what it is told after the commit, soon and in order; what a lasting outage holds up is given up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: list[int] = []
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("announcer")

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be announced."""
        return self._task is not None and not self._task.done()

    def announce(self, number: int) -> None:
        """A task with this number has been created; call it after the commit."""
        if self._database.dialect is not Dialect.POSTGRESQL or len(self._numbers) >= MOST_KEPT:
            return
        self._numbers.append(number)
        if not self.is_busy:
            self._task = asyncio.create_task(self._run(), name="announcer")

    async def close(self) -> None:
        """Wait until everything is announced, or given up."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._numbers:
            numbers, self._numbers = self._numbers, []
            try:
                await self._database.write(simple_tasks.announce, numbers)
            except DatabaseUnavailable as error:
                self._log.warning("new tasks were not announced", count=len(numbers), error=error.message)
            await asyncio.sleep(INTERVAL_SECS)
