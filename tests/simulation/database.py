"""The nodes' way to the database: latency on both sides of each transaction, and every way in which it can go wrong."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestrator.domain.errors import DatabaseUnavailable, OrchestratorError
from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction
from tests.simulation.books import Commit
from tests.simulation.loop import PROCESS, Process, VirtualLoop
from tests.simulation.profile import DATABASE_FAULTS, Profile
from tests.simulation.store import EPOCH_MICROS, Store, instant

P = ParamSpec("P")
T = TypeVar("T")


class SimulatedDatabase(Database):
    """Has the interface of the product's. One for the whole world; a transaction takes no virtual time."""

    def __init__(
        self,
        store: Store,
        loop: VirtualLoop,
        profile: Profile,
        counters: Counter[str],
        committed: Callable[[Commit], None],
    ) -> None:
        # On purpose without the product's own: it would open files and threads.
        self.dialect = Dialect.SQLITE if profile.is_embedded else Dialect.POSTGRESQL
        self.is_kind = False
        self.is_away = False
        self.kill: Callable[[Process], None] = Process.die
        self.pause: Callable[[Process], None] = Process.die
        self._store = store
        self._loop = loop
        self._profile = profile
        self._counters = counters
        self._committed = committed
        self._dice = random.Random(f"database {profile.seed}")

    async def write(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        fate = self._fate()
        await self._latency()
        if fate == "crash_before_commit":
            await self._suffer(fate)
        if self.is_away:
            raise DatabaseUnavailable("simulated: away")
        if fate == "refused_commit":
            self._in_vain(work, *args, **kwargs)
            self._counters[f"refused commit of {work.__name__}"] += 1
            raise DatabaseUnavailable("simulated: refused at the commit")
        result, changes = self._store.transact(lambda tx: work(tx, *args, **kwargs), self._now, commits=True)
        if changes:
            at = EPOCH_MICROS + self._loop.micros
            self._committed(Commit(at, PROCESS.get().name, work.__name__, changes))
            await self._suffer(fate)
            await self._latency()
        if fate == "unknown_commit":
            self._counters[f"unknown commit of {work.__name__}"] += bool(changes)
            raise DatabaseUnavailable("simulated: the outcome of the commit is unknown")
        return result  # type: ignore[no-any-return]

    async def write_here(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.write(work, *args, **kwargs)

    async def read(self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        await self._latency()
        if self.is_away:
            raise DatabaseUnavailable("simulated: away")
        result, _ = self._store.transact(lambda tx: work(tx, *args, **kwargs), self._now, commits=False)
        return result  # type: ignore[no-any-return]

    async def tend(self) -> bool:
        """There is no file to look after."""
        return False

    async def close(self) -> None:
        """There is nothing to close."""

    def _in_vain(self, work: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        try:
            self._store.transact(lambda tx: work(tx, *args, **kwargs), self._now, commits=False)
        except OrchestratorError:
            return

    def _fate(self) -> str | None:
        if self.is_kind:
            return None
        for fate in DATABASE_FAULTS:
            if self._dice.random() < self._profile.rate(fate):
                return fate
        return None

    async def _latency(self) -> None:
        await asyncio.sleep(min(self._dice.expovariate(1 / self._profile.latency_secs), 1.0))

    async def _suffer(self, fate: str | None) -> None:
        """What befalls the node, and not the database."""
        process = PROCESS.get()
        if process is self._loop.outside or fate is None:
            return
        if fate.startswith("crash"):
            self._counters[fate] += 1
            self.kill(process)
            # A dead process runs nothing more: this is never resumed.
            await self._loop.create_future()
        if fate.startswith("pause"):
            self.pause(process)

    def _now(self) -> datetime:
        return instant(self._loop.micros)
