"""The collecting loop: in the place of the deliverer, where the collector is the built-in one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.domain.retry import RetryPolicy
from orchestrator.engine.loop import Loop
from orchestrator.service import collecting
from orchestrator.service.collecting import Collected
from orchestrator.service.definitions import Definitions
from orchestrator.store.database import Database
from orchestrator.store.outbox import DueBatch

# What another node has under its lock at this moment is looked for again so soon.
PASSED_OVER_LOOK = timedelta(milliseconds=20)
# After so many such looks in a row it is waited for.
PATIENT_LOOKS = 10


@dataclass(frozen=True, slots=True)
class CollectingOptions:
    """`places`: batches of one commit."""

    places: int
    retry: RetryPolicy
    poll_interval: timedelta


class Collecting(Loop):
    """One per node. `made_due` is told when held workers may go on, `freed` when executions have ended."""

    name = "collecting"

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        options: CollectingOptions,
        made_due: Callable[[], None],
        freed: Callable[[], None],
    ) -> None:
        super().__init__(options.poll_interval)
        self._database = database
        self._definitions = definitions
        self._options = options
        self._made_due = made_due
        self._freed = freed
        self._vain_looks = 0

    async def tick(self) -> timedelta | None:
        try:
            collected = await self._database.write(collecting.collect, self._definitions, self._options.places)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - logged; each batch's own transaction then tells which is to blame
            self._log.warning("batches are taken in one by one", error=repr(error))
            return await self._one_by_one()
        self._tell(collected)
        # Those that are due all the same belong to executions that are locked.
        if collected.batches or collected.wait != timedelta():
            self._vain_looks = 0
            return collected.wait
        self._vain_looks += 1
        return await self._one_by_one() if self._vain_looks > PATIENT_LOOKS else PASSED_OVER_LOOK

    async def drained(self, _within: timedelta) -> bool:
        """Nothing is ever under way but a tick: there is nothing to wait for."""
        return True

    async def _one_by_one(self) -> timedelta | None:
        self._vain_looks = 0
        for batch in await self._database.read(collecting.due_batches, self._options.places):
            try:
                collected = await self._database.write(collecting.collect_one, self._definitions, batch)
            except DatabaseUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - logged, and the batch is tried again later
                await self._put_off(batch, error)
            else:
                self._tell(collected)
        return timedelta()

    async def _put_off(self, batch: DueBatch, error: Exception) -> None:
        self._log.error("a batch could not be taken in", batch=batch.key, error=repr(error), exc_info=True)
        await self._database.write(collecting.postpone, batch, repr(error), self._options.retry)

    def _tell(self, collected: Collected) -> None:
        if collected.made_due:
            self._made_due()
        if collected.has_freed:
            self._freed()
