"""The scheduler: APScheduler's timer wakes it when a slot is due; what is due is read from the tables.

Nothing is stored in APScheduler, so a restart, a late wake-up or a second node changes nothing.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.engine.loop import Loop
from orchestrator.service import scheduling
from orchestrator.service.definitions import Definitions
from orchestrator.service.launching import NewId
from orchestrator.service.scheduling import Turn
from orchestrator.store.database import Database

_JOB = "next-slot"
# What is due and held by another node is looked at again, without a race for the same row.
HELD_LOOK = timedelta(milliseconds=100)


class Scheduler(Loop):
    """One per node. `launched` is told when an execution was created."""

    name = "scheduler"

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        new_id: NewId,
        launched: Callable[[], None],
        poll_interval: timedelta,
    ) -> None:
        super().__init__(poll_interval)
        self._database = database
        self._definitions = definitions
        self._new_id = new_id
        self._launched = launched
        # By default a wake-up that is a second late would be dropped without a word.
        self._timer = AsyncIOScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None})

    def start(self) -> None:
        self._timer.start()
        super().start()

    async def stop(self) -> None:
        """Finish the launch in progress, and begin no other."""
        await super().stop()
        if self._timer.running:
            self._timer.shutdown(wait=False)

    async def tick(self) -> timedelta | None:
        turns = set()
        due = await self._database.read(scheduling.due_tasks)
        # Nodes that see the same slots at the same instant are not to reach for each of them at the same instant.
        random.shuffle(due)
        for task_pk in due:
            turns.add(await self._launch(task_pk))
        due_in = await self._database.read(scheduling.next_due)
        if due_in:
            at = datetime.now(UTC) + due_in
            self._timer.add_job(self._ring, DateTrigger(at), id=_JOB, replace_existing=True)
        if due_in != timedelta() or None in turns:
            # Whatever becomes of the timer, the tables are looked at again after the poll interval.
            return None
        return HELD_LOOK if turns == {Turn.NOTHING} else timedelta()

    async def _launch(self, task_pk: int) -> Turn | None:
        """What it came to; None if it failed."""
        try:
            turn = await self._database.write(scheduling.launch_due, self._definitions, task_pk, self._new_id)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback; the next wake-up is planned
            # One task's fault must not keep the schedules of all others from being looked at.
            self._log.error("a schedule failed", task=task_pk, error=repr(error), exc_info=True)
            return None
        if turn is Turn.LAUNCHED:
            self._launched()
        return turn

    async def _ring(self) -> None:
        self.wake()
