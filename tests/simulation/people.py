"""What people and their programs do to the world: launch, abort, retry, resume, stop apps, redeliver, discard."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson

from orchestrator.domain.errors import Conflict, DatabaseUnavailable
from orchestrator.domain.states import AppStatus
from orchestrator.service import apps, delivering, ending, launching, resuming, scheduling, tasks, timers
from orchestrator.service.definitions import Definitions
from orchestrator.service.launching import LaunchOrder
from orchestrator.service.tokens import Caller, Role, Scope
from orchestrator.store import lookups
from orchestrator.store.transaction import Transaction
from tests.simulation.books import Books, require
from tests.simulation.database import SimulatedDatabase
from tests.simulation.manifests import LAUNCHED_BY_HAND, SLOT_SECS, WORKSPACE
from tests.simulation.profile import Profile

_CALLER = Caller("tok_simulation", "the simulation", Role.ADMIN, Scope(WORKSPACE))


class People:
    """Their requests meet the same faults of the database as the nodes; a request whose outcome is unknown stays so."""

    def __init__(
        self,
        profile: Profile,
        books: Books,
        database: SimulatedDatabase,
        definitions: Definitions,
        new_id: Callable[[], str],
    ) -> None:
        self._profile = profile
        self._books = books
        self._database = database
        self._definitions = definitions
        self._new_id = new_id
        self._dice = random.Random(f"people {profile.seed}")

    async def do(self, deed: str) -> None:
        """Do one thing; what is refused, or meets a database that is away, is left at that."""
        try:
            await getattr(self, f"_{deed}")()
            self._books.counters[f"people {deed}"] += 1
        except Conflict:
            self._books.counters[f"people {deed} refused"] += 1
        except DatabaseUnavailable:
            self._books.counters[f"people {deed} unknown"] += 1

    async def _launch(self) -> None:
        dice = self._dice
        task = dice.choice(LAUNCHED_BY_HAND)
        state = {
            "left": dice.randint(0, self._profile.longest),
            "spawns": dice.choice((0, 0, 1, 2)),
            "rounds": dice.choice((0, 0, 1, 2)),
        }
        workers = {}
        if dice.random() < 0.25:
            workers = {
                n: orjson.dumps({"left": dice.randint(0, 2)}).decode() for n in range(1, dice.choice((2, 3, 10)))
            }
        later_secs = dice.uniform(0, 6) if dice.random() < 0.15 else None
        key = dice.choice(("", "", "blue"))

        def launch(tx: Transaction) -> None:
            found = lookups.task_key(tx, WORKSPACE, task)
            assert found is not None
            if found.app_status != AppStatus.ACTIVE:
                raise Conflict("the app is stopped")
            order = LaunchOrder(
                WORKSPACE,
                found.app_pk,
                found.pk,
                found.version_pk,
                input=orjson.dumps(state).decode(),
                workers=workers,
                multiple_exec_key=key,
                run_at=None if later_secs is None else tx.now() + timedelta(seconds=later_secs),
            )
            launching.launch(tx, self._definitions, order, self._new_id)

        await self._database.write(launch)

    def _one_in(self, *statuses: str) -> int | None:
        rows = self._books.executions.values()
        pk: int | None = self._chosen([row["pk"] for row in rows if row["status"] in statuses])
        return pk

    def _chosen(self, candidates: list[Any]) -> Any:
        return self._dice.choice(candidates) if candidates else None

    async def _abort(self) -> None:
        pk = self._one_in("pending", "running")
        if pk is None:
            return
        before = self._books.executions[pk]

        def abort(tx: Transaction) -> None:
            ending.abort(tx, self._definitions, WORKSPACE, before["id"], None)

        await self._database.write(abort)
        now = self._books.executions[pk]
        is_over = now["status"] == "aborted" or now["attempt"] > before["attempt"]
        require(is_over, f"the abort of execution {pk} was acknowledged, and it is {now['status']}")

    async def _retry(self) -> None:
        pk = self._one_in("failed", "aborted")
        if pk is not None:
            execution_id = self._books.executions[pk]["id"]

            def retry(tx: Transaction) -> None:
                ending.retry(tx, self._definitions, WORKSPACE, execution_id)

            await self._database.write(retry)

    async def _resume(self) -> None:
        post = self._chosen([post for post in self._books.posts.values() if post.seen is not None])
        if post is None or (*post.lane, post.token) not in self._books.outcomes:
            return
        pk, worker_id = post.lane
        scope, named = _CALLER.scope, resuming.call_id(worker_id, post.token)
        past = await self._database.read(resuming.look_back, scope, self._books.executions[pk]["id"], named)
        told = self._books.claims[pk, worker_id, post.token].state
        seed = orjson.loads(past.beginning.seeds[worker_id].state)
        require(seed == told, f"resumed from call {named} with the state {seed}, and the call was told {told}")

        def resume(tx: Transaction) -> None:
            order = resuming.order(tx, _CALLER, past, None, None)
            launching.launch(tx, self._definitions, order, self._new_id)

        await self._database.write(resume)

    async def _stop_app(self) -> None:
        app_id = self._dice.choice(sorted(self._books.apps.values()))
        await self._set_status(app_id, AppStatus.STOPPED)
        await asyncio.sleep(self._dice.uniform(0.1, 5))
        await self._set_status(app_id, AppStatus.ACTIVE)

    async def _set_status(self, app_id: str, status: AppStatus) -> None:
        def set_status(tx: Transaction) -> None:
            apps.set_status(tx, WORKSPACE, app_id, status)

        await self._database.write(set_status)

    async def _pause_task(self) -> None:
        if not self._profile.has_schedule:
            return
        task = self._dice.choice(sorted(SLOT_SECS))
        await self._set_paused(task, is_paused=True)
        await asyncio.sleep(self._dice.uniform(0.1, 9))
        await self._set_paused(task, is_paused=False)

    async def _set_paused(self, task: str, *, is_paused: bool) -> None:
        def set_paused(tx: Transaction) -> None:
            tasks.set_paused(tx, WORKSPACE, task, paused=is_paused)

        await self._database.write(set_paused)

    def _refused_batch(self) -> str | None:
        refused = [row["key"] for row in self._books.batches.values() if row["status"] == "refused"]
        key: str | None = self._chosen(refused)
        return key

    async def _redeliver(self) -> None:
        key = self._refused_batch()
        if key is not None:

            def redeliver(tx: Transaction) -> None:
                delivering.redeliver(tx, self._definitions, WORKSPACE, key)

            await self._database.write(redeliver)

    async def _discard(self) -> None:
        key = self._refused_batch()
        if key is not None:

            def discard(tx: Transaction) -> None:
                delivering.discard(tx, self._definitions, WORKSPACE, key, "the simulation")

            await self._database.write(discard)

    async def _rescue(self) -> None:
        """A timekeeper may look at any instant."""
        if not self._profile.is_embedded:
            await self._database.write(timers.lose_leases, self._definitions)

    async def _promote(self) -> None:
        for pk in await self._database.read(timers.pending_due):
            await self._database.write(launching.promote, self._definitions, pk)

    async def _launch_due(self) -> None:
        for task_pk in await self._database.read(scheduling.due_tasks):
            await self._database.write(scheduling.launch_due, self._definitions, task_pk, self._new_id)

    async def make_peace(self) -> None:
        """Let everything come to its end: apps active, schedules paused, refused batches redelivered."""
        for task in sorted(SLOT_SECS) if self._profile.has_schedule else ():
            await self._set_paused(task, is_paused=True)
        while True:
            # An answer of 410 from before the peace may be applied only now.
            for app_pk, app_id in self._books.apps.items():
                if self._books.app_status[app_pk] != "active":
                    await self._set_status(app_id, AppStatus.ACTIVE)
            if self._refused_batch() is not None:
                await self.do("redeliver")
            await asyncio.sleep(3)
