"""The registrar: gives this node's signs of life, and frees what nodes hold that give none any more."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.domain.vigilance import Vigilance
from orchestrator.engine.loop import Loop
from orchestrator.service import nodes
from orchestrator.service.definitions import Definitions
from orchestrator.service.nodes import NodeStatus
from orchestrator.store.database import Database
from orchestrator.store.nodes import NodeFacts

# So many signs of life fall into the time after which a silent node is held to be gone.
BEATS_PER_TIMEOUT = 5
# Receivers take a signature that is up to five minutes old.
WORST_OFFSET_SECS = 60.0


class Registrar(Loop):
    """One per node. `made_due` is told when claims or import batches of a lost node were given up.

    `judges` is False on the embedded database: nobody else can have a claim there.
    """

    name = "registrar"

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        facts: NodeFacts,
        timeout: timedelta,
        made_due: Callable[[], None],
        *,
        judges: bool,
    ) -> None:
        super().__init__(timeout / BEATS_PER_TIMEOUT)
        self._database = database
        self._definitions = definitions
        self._facts = facts
        self._timeout = timeout
        self._made_due = made_due
        self._judges = judges
        self._status = NodeStatus.LIVE
        self._is_off = False
        self._vigilance = Vigilance(timeout.total_seconds())
        self.others = 0
        """How many other nodes were alive at the last beat."""

    async def tick(self) -> timedelta | None:
        if not self._vigilance.has_begun:
            await self._database.write(nodes.forget)
        beat = await self._database.write(nodes.beat, self._facts, self._status, self._timeout)
        self.others = beat.others
        self._compare_clocks(beat.at)
        if self._vigilance.beat(asyncio.get_running_loop().time()) and self._judges:
            freed = await self._database.write(nodes.lose_silent, self._definitions, self._timeout)
            if freed.is_something:
                what = {"claims": freed.claims, "batches": freed.batches}
                self._log.warning("took over the claims of a silent node", **what)
                self._made_due()
                # There may be more than a batch of them.
                return timedelta()
        return None

    def _compare_clocks(self, at: datetime) -> None:
        """Leases and due times go by the database's clock; but signatures carry this machine's, and grow old."""
        offset = abs((datetime.now(UTC) - at).total_seconds())
        is_off = offset > WORST_OFFSET_SECS
        if is_off and not self._is_off:
            self._log.warning("this machine's clock differs from the database's: apps may refuse calls", secs=offset)
        self._is_off = is_off

    def drain(self) -> None:
        """Say that this node takes nothing new any more."""
        self._status = NodeStatus.DRAINING
        self.wake()

    async def leave(self) -> None:
        """Say that this node has stopped in good order."""
        try:
            await self._database.write(nodes.leave, self._facts.id)
        except DatabaseUnavailable as error:
            self._log.warning("left without saying so", error=error.message)
