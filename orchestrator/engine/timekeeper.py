"""The timekeeper: claims that ran out, deadlines, waits without a callback, pending executions whose turn has come."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.engine.loop import Loop
from orchestrator.service import launching, timers
from orchestrator.service.definitions import Definitions
from orchestrator.service.timers import Chore
from orchestrator.store.database import Database
from orchestrator.store.transaction import Transaction


class Timekeeper(Loop):
    """One per node; every node may do the same work at the same time. `made_due` is told when workers became due.

    `watches_leases` is False on the embedded database: its own claims are void at boot, and a jump of the wall clock
    must not take a call away from the one process that is making it. Executors' claims are watched on both; there,
    they get their whole time again after a boot or a jump.
    """

    name = "timekeeper"

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        made_due: Callable[[], None],
        poll_interval: timedelta,
        *,
        watches_leases: bool,
    ) -> None:
        super().__init__(poll_interval)
        self._database = database
        self._definitions = definitions
        self._made_due = made_due
        self._watches_leases = watches_leases
        self._has_failed = False
        self._is_only_freed = False
        # By the event loop's clock, as the next one. None: there is no timer; in the past: that is not known.
        self._next_at: float | None = 0.0
        self._looks_again_at = 0.0

    def wake(self) -> None:
        self._is_only_freed = False
        super().wake()

    def free(self) -> None:
        """Executions have ended: those that are pending behind them may begin, and no timer is due for that."""
        self._is_only_freed |= not self._woken.is_set()
        super().wake()

    async def tick(self) -> timedelta | None:
        is_only_freed = self._is_only_freed and self._time() < self._looks_again_at
        self._is_only_freed = self._has_failed = False
        if not is_only_freed:
            self._next_at, self._looks_again_at = 0.0, self._time() + self._poll_interval.total_seconds()
        lost = not is_only_freed and await self._do_overdue()
        due = await self._database.read(timers.pending_due)
        if due:
            # What starts may have a deadline before it.
            self._next_at = 0.0
        started = [await self._do_one(launching.promote, pk) for pk in due]
        if lost or (any(started) and len(due) == timers.BATCH):
            # There may be more than a batch of them; the timers below do not tell.
            return timedelta()
        if due or not is_only_freed:
            await self._find_next()
        # What has failed is still overdue: it is tried again at the next poll, not at once and for ever.
        return None if self._has_failed else self._wait()

    async def _find_next(self) -> None:
        wait = await self._database.read(timers.next_timer)
        self._next_at = None if wait is None else self._time() + wait.total_seconds()

    def _wait(self) -> timedelta | None:
        if self._next_at is None:
            return None
        return timedelta(seconds=max(0.0, self._next_at - self._time()))

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    async def _do_overdue(self) -> bool:
        """True if claims were lost: there may be more than a batch of them."""
        lost = await self._do(timers.lose_leases) if self._watches_leases else False
        await self._do(timers.expire)
        return lost

    async def _do(self, chore: Chore) -> bool:
        """Do it for all executions in one transaction; where that fails, for each in one of its own."""
        try:
            has_done = await self._database.write(chore, self._definitions, None) > 0
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - logged; each execution's own transaction then tells whose fault it is
            self._log.warning("what is overdue goes one by one", chore=chore.__name__, error=repr(error))
            late = await self._database.read(timers.late_executions)
            return any([await self._do_one(chore, pk) for pk in late])
        self._tell(has_done)
        return has_done

    async def _do_one(self, work: Callable[[Transaction, Definitions, int], int], pk: int) -> bool:
        """Do it for one execution, whose fault must not keep the others from going on; True if it was done."""
        try:
            has_done = await self._database.write(work, self._definitions, pk) > 0
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._has_failed = True
            what = work.__name__
            self._log.error("an execution cannot go on", execution=pk, what=what, error=repr(error), exc_info=True)
            return False
        self._tell(has_done)
        return has_done

    def _tell(self, has_changed: bool) -> None:
        if has_changed:
            self._made_due()
