"""Pollers: executors that wait for work at this node, served first come, first served, many in one transaction.

Nothing but memory is held while they wait. They are woken like every loop, and look by themselves when something
becomes due.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.engine.loop import Loop
from orchestrator.service import pull_timers
from orchestrator.service.callback_urls import CallbackUrls
from orchestrator.service.definitions import Definitions
from orchestrator.service.pull_claims import HandedOut, Wanted, hand_out
from orchestrator.service.pull_tasks import PullTask
from orchestrator.store.database import Database

Tasks = tuple[PullTask, ...]

# Asked for in one transaction; those behind them have their turn in the next, at once.
MOST_ASKED_FOR = 2_000
# An executor that comes while the node drains would otherwise ask again and again.
PAUSE_WHILE_DRAINING_SECS = 1.0


@dataclass(eq=False, slots=True)
class _Poller:
    """One who waits; `until` by the loop's clock."""

    wanted: Wanted
    until: float
    given: asyncio.Future[Tasks]


class Pollers(Loop):
    """One per node, whatever its role. `made_due` is told when claims were given back."""

    name = "pollers"

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        callbacks: CallbackUrls,
        poll_interval: timedelta,
        made_due: Callable[[], None],
    ) -> None:
        super().__init__(poll_interval)
        self._database = database
        self._definitions = definitions
        self._callbacks = callbacks
        self._made_due = made_due
        self._waiting: dict[_Poller, None] = {}
        self._unwanted: list[PullTask] = []
        self._draining = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def poll(self, wanted: Wanted, patience: timedelta) -> Tasks:
        """Wait for work for as long as `patience`, none of it for a single look; empty if there was none.

        Whoever stops waiting (cancels) gets nothing: what was claimed meanwhile is given back.
        """
        loop = asyncio.get_running_loop()
        if self._draining:
            await asyncio.sleep(min(patience.total_seconds(), PAUSE_WHILE_DRAINING_SECS))
            return ()
        poller = _Poller(wanted, loop.time() + patience.total_seconds(), loop.create_future())
        self._waiting[poller] = None
        self.wake()
        try:
            return await poller.given
        except asyncio.CancelledError:
            if not poller.given.cancelled():
                # The answer was there, and was not taken.
                self.give_back(poller.given.result())
            raise
        finally:
            self._waiting.pop(poller, None)

    def give_back(self, tasks: Sequence[PullTask]) -> None:
        """Give back what its executor will never hear of."""
        self._unwanted += tasks
        self.wake()

    def stop_waiting(self) -> None:
        """From now on nothing is handed out: those who wait are told that there is nothing."""
        self._draining = True
        for poller in self._waiting:
            if not poller.given.done():
                poller.given.set_result(())

    async def tick(self) -> timedelta | None:
        await self._return_unwanted()
        asking = [poller for poller in self._waiting if not poller.given.done()]
        if not asking or self._draining:
            return None
        served = asking[:MOST_ASKED_FOR]
        handed_out = await self._hand_out(served)
        self._answer(served, handed_out)
        if self._unwanted or len(asking) > len(served):
            return timedelta()
        return self._next_look(handed_out.wait)

    async def _hand_out(self, served: Sequence[_Poller]) -> HandedOut:
        wanted = [poller.wanted for poller in served]
        try:
            return await self._database.write(hand_out, self._definitions, self._callbacks, wanted)
        except DatabaseUnavailable as error:
            # Executors die of a poll that fails. What may have been claimed goes back by itself, not being started.
            self._log.warning("nothing was handed out: the database is away", error=error.message)
            return HandedOut(((),) * len(served), None)
        except Exception as error:  # noqa: BLE001 - logged; each poll's own transaction then tells whose fault it is
            self._log.warning("polls are answered one by one", error=repr(error))
            return HandedOut(tuple([await self._hand_out_to(poller) for poller in served]), None)

    async def _hand_out_to(self, poller: _Poller) -> Tasks:
        """For one poller, whose fault must not keep the others waiting."""
        try:
            handed_out = await self._database.write(hand_out, self._definitions, self._callbacks, [poller.wanted])
        except DatabaseUnavailable:
            return ()
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._log.error(
                "a poll cannot be answered", tasks=poller.wanted.definitions, error=repr(error), exc_info=True
            )
            return ()
        return handed_out.given[0]

    def _answer(self, served: Sequence[_Poller], handed_out: HandedOut) -> None:
        now = asyncio.get_running_loop().time()
        for poller, tasks in zip(served, handed_out.given, strict=True):
            if poller.given.done():
                # It has hung up, or the node drains.
                self._unwanted += tasks
            elif tasks or poller.until <= now:
                poller.given.set_result(tasks)

    def _next_look(self, wait: timedelta | None) -> timedelta | None:
        now = asyncio.get_running_loop().time()
        ends = [timedelta(seconds=max(0.0, one.until - now)) for one in self._waiting if not one.given.done()]
        return min([*ends, *([] if wait is None else [wait])], default=None)

    async def _return_unwanted(self) -> None:
        unwanted, self._unwanted = self._unwanted, []
        if not unwanted:
            return
        claims = [(task.row.execution_pk, task.row.worker_id, task.row.token) for task in unwanted]
        try:
            await self._database.write(pull_timers.give_back, self._definitions, claims)
        except DatabaseUnavailable as error:
            self._log.warning("claims go back by their timeout", claims=len(claims), error=error.message)
            return
        self._made_due()
