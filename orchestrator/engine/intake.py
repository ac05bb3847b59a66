"""The intake of the built-in collector: import batches that come together are taken in with one commit."""

from collections.abc import Sequence

from orchestrator.engine.group_commit import GroupCommit
from orchestrator.service import collector
from orchestrator.service.collector import Batch
from orchestrator.store.database import Database
from orchestrator.store.share import Share

# A batch may have 10,000 items, and nobody else writes while they are written.
MOST_BATCHES = 8


class Intake:
    """One per node."""

    def __init__(self, database: Database | Share) -> None:
        self._database = database
        self._group = GroupCommit[tuple[Batch, str], bool](self._commit, self._refused, MOST_BATCHES)

    async def take_in(self, batch: Batch, key: str) -> bool:
        """Keep the batch's items; False, and nothing is kept, if one with this key has come before."""
        return await self._group.submit((batch, key))

    async def _commit(self, arrived: Sequence[tuple[Batch, str]]) -> Sequence[bool]:
        return await self._database.write(collector.take_in, arrived)

    async def _refused(self, _arrived: tuple[Batch, str], error: Exception) -> bool:
        raise error
