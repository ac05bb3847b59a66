"""The nodes' way to the database: latency on both sides of each transaction, and every way in which it can go wrong."""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestrator.domain.errors import DatabaseUnavailable, OrchestratorError
from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction
from tests.simulation.books import Commit
from tests.simulation.loop import PROCESS, Process, VirtualLoop
from tests.simulation.profile import Profile
from tests.simulation.store import EPOCH_MICROS, Store, instant

P = ParamSpec("P")
T = TypeVar("T")


class SimulatedDatabase(Database):
    """Has the interface of the product's. One for the whole world; a transaction runs at one instant of virtual time."""

    def __init__(
        self,
        store: Store,
        loop: VirtualLoop,
        profile: Profile,
        committed: Callable[[Commit], None],
        kill: Callable[[Process], None],
    ) -> None:
        # On purpose without the product's own: it would open files and threads.
        self.dialect = Dialect.SQLITE if profile.is_embedded else Dialect.POSTGRESQL
        self.is_kind = False
        self.is_away = False
        self._store = store
        self._loop = loop
        self._profile = profile
        self._committed = committed
        self._kill = kill
        self._dice = random.Random(f"database {profile.seed}")

    async def write(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        fate = self._fate()
        await self._latency(fate == "crash_before_commit")
        if self.is_away or fate == "refused_commit":
            # Refused at the commit: the work was done, and is rolled back.
            if not self.is_away:
                self._try(work, *args, **kwargs)
            raise DatabaseUnavailable(f"simulated: {'away' if self.is_away else fate}")
        result, changes = self._store.transact(lambda tx: work(tx, *args, **kwargs), self._now, commits=True)
        if changes:
            at = EPOCH_MICROS + self._loop.micros
            self._committed(Commit(at, PROCESS.get().name, work.__name__, changes))
            await self._latency(fate == "crash_after_commit")
        if fate == "unknown_commit":
            raise DatabaseUnavailable(f"simulated: {fate}")
        return result  # type: ignore[no-any-return]

    async def read(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._latency(False)
        if self.is_away:
            raise DatabaseUnavailable("simulated: away")
        result, _ = self._store.transact(lambda tx: work(tx, *args, **kwargs), self._now, commits=False)
        return result  # type: ignore[no-any-return]

    async def close(self) -> None:
        """There is nothing to close."""

    def _try(self, work: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        try:
            self._store.transact(lambda tx: work(tx, *args, **kwargs), self._now, commits=False)
        except OrchestratorError:
            return

    def _fate(self) -> str | None:
        if self.is_kind:
            return None
        for fate in ("refused_commit", "unknown_commit", "crash_before_commit", "crash_after_commit"):
            if self._dice.random() < self._profile.rate(fate):
                return fate
        return None

    async def _latency(self, crashes: bool) -> None:
        await asyncio.sleep(min(self._dice.expovariate(1 / self._profile.latency_secs), 1.0))
        process = PROCESS.get()
        if crashes and process is not self._loop.outside:
            self._kill(process)
            # A dead process runs nothing more: this is never resumed.
            await self._loop.create_future()

    def _now(self) -> datetime:
        return instant(self._loop.micros)
