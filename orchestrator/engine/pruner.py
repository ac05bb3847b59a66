"""The pruner: removes what has served its time, in small bites, and lets the database recover from it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta

from orchestrator.domain.retention import Retention
from orchestrator.engine.loop import Loop
from orchestrator.service import expiring, purging, workspaces
from orchestrator.service.purging import Place, Selection, Tally
from orchestrator.store.database import Database

INTERVAL = timedelta(minutes=10)
# After each bite it rests nine times as long, so that it never takes more than a tenth of the one who writes.
REST = 9
SHORTEST_REST = timedelta(milliseconds=10)


class Pruner(Loop):
    """One per node; every node may do the same work at the same time."""

    name = "pruner"

    def __init__(self, database: Database, retention: Retention) -> None:
        super().__init__(INTERVAL)
        self._database = database
        self._retention = retention
        self._round: AsyncIterator[None] | None = None
        self._held_back: dict[tuple[str, ...], int] = {}

    async def tick(self) -> timedelta | None:
        """Take the next bite of the round; after the last one nothing is due for ten minutes."""
        round_, self._round = self._round or self._all(), None
        began = asyncio.get_running_loop().time()
        try:
            await anext(round_)
        except StopAsyncIteration:
            return None
        self._round = round_
        return max(timedelta(seconds=REST * (asyncio.get_running_loop().time() - began)), SHORTEST_REST)

    async def _all(self) -> AsyncIterator[None]:
        """Each step is one transaction that writes, or a look."""
        for chore in (self._left_records, self._executions, self._records, self._events, self._definitions):
            async for _ in chore():
                yield
        while await self._database.tend():
            yield

    async def _left_records(self) -> AsyncIterator[None]:
        while await self._database.write(purging.remove_left) is not None:
            yield

    async def _executions(self) -> AsyncIterator[None]:
        now = await self._database.read(lambda tx: tx.now())
        for workspace_id in await self._database.read(workspaces.ids):
            for status, age in self._retention.executions.items():
                wanted = Selection(workspace_id, purging.until(now, age), (status,))
                async for _ in self._of(wanted):
                    yield

    async def _of(self, wanted: Selection) -> AsyncIterator[None]:
        place: Place | None = Place()
        total = Tally()
        while place is not None:
            sight = await self._database.read(purging.look, wanted, place, purging.EXECUTIONS, purging.ROWS)
            if not sight.records:
                total += purging.tally(sight)
            else:
                total += await self._database.write(purging.remove, wanted, sight)
                yield
            place = sight.following
        self._tell(wanted, total)

    def _tell(self, wanted: Selection, total: Tally) -> None:
        """One line for a round, where something has gone, or another number of executions waits for a delivery."""
        what = (wanted.workspace_id, *wanted.statuses)
        if total.executions or total.held_back != self._held_back.get(what, 0):
            status = ", ".join(wanted.statuses)
            self._log.info("purged", workspace=wanted.workspace_id, status=status, **asdict(total))
        self._held_back[what] = total.held_back

    async def _records(self) -> AsyncIterator[None]:
        items = self._retention.collected_items
        for forget, age in (
            (expiring.forget_occurrences, self._retention.occurrences),
            (expiring.forget_items, items),
            (expiring.forget_keys, items),
        ):
            while age is not None and await self._database.write(forget, age) == expiring.ROWS:
                yield
        while await self._database.write(expiring.forget_requests) == expiring.ROWS:
            yield

    async def _events(self) -> AsyncIterator[None]:
        age = self._retention.events
        while age is not None and await self._database.write(expiring.forget_events, age):
            yield
        while await self._database.write(expiring.forget_subscription):
            yield

    async def _definitions(self) -> AsyncIterator[None]:
        while these := await self._database.read(expiring.unneeded):
            await self._database.write(expiring.drop_unneeded, these)
            yield
