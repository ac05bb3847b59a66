"""The timekeeper: claims that ran out, deadlines, waits without a callback, pending executions whose turn has come."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.engine.loop import Loop
from orchestrator.service import launching, timers
from orchestrator.service.definitions import Definitions
from orchestrator.store.database import Database

# Corrections of the clock stay below it.
JUMP_SECS = 1.0


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
        self._offset_secs: float | None = None

    async def tick(self) -> timedelta | None:
        if self._watches_leases:
            lost = await self._database.write(timers.lose_leases, self._definitions)
            self._tell(lost > 0)
        self._tell(await self._database.write(timers.expire, self._definitions, self._jumps()))
        for pk in await self._database.read(timers.pending_due):
            await self._promote(pk)
        return await self._database.read(timers.next_timer)

    def _jumps(self) -> Callable[[datetime], bool]:
        """Tells whether the wall clock has gone on otherwise than this process since the last look; and at the first.

        The clock of a shared database is its own affair.
        """
        clock = asyncio.get_running_loop().time

        def has_jumped(now: datetime) -> bool:
            before, self._offset_secs = self._offset_secs, now.timestamp() - clock()
            return before is None or abs(self._offset_secs - before) > JUMP_SECS

        return has_jumped if not self._watches_leases else lambda _now: False

    async def _promote(self, pk: int) -> None:
        try:
            self._tell(await self._database.write(launching.promote, self._definitions, pk))
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            # One execution's fault must not keep all others from starting.
            self._log.error("a pending execution failed to start", execution=pk, error=repr(error), exc_info=True)

    def _tell(self, has_changed: bool) -> None:
        if has_changed:
            self._made_due()
