"""A pull executor that speaks to the use cases themselves, on the database of a world that need not be started."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app_sdk.protocol.limits import DEFAULT_LIMITS, Limits
from orchestrator.service import pull_reports, pull_tasks, timers
from orchestrator.service.callback_urls import CallbackSigner, CallbackUrls
from orchestrator.service.pull_claims import HandedOut, Wanted, hand_out
from orchestrator.service.pull_reports import Failure, NamedClaim, Settled, Sign, Success
from orchestrator.service.pull_tasks import PullTask
from orchestrator.service.tokens import Scope
from tests.support.world import WORKSPACE, World, running_world

TASK = "app_test_run"
EVERYTHING = Scope(WORKSPACE)
ALLOW = {"on_multiple_exec": "allow"}


@dataclass(frozen=True, slots=True)
class Executor:
    """One that polls for the task of the world's app, unless told otherwise."""

    world: World
    name: str = "tok_1"
    scope: Scope = EVERYTHING

    async def poll(self, *definitions: str, places: int = 1) -> tuple[PullTask, ...]:
        return (await self.handed_out(*definitions, places=places)).given[0]

    async def handed_out(self, *definitions: str, places: int = 1) -> HandedOut:
        wanted = Wanted(self.scope, definitions or (TASK,), places, self.name)
        return await self.hand_out([wanted])

    async def hand_out(self, wanted: Sequence[Wanted]) -> HandedOut:
        callbacks = CallbackUrls("http://orchestrator.example", CallbackSigner(self.world.vault))
        return await self.world.database.write(hand_out, self.world.node.definitions, callbacks, wanted)

    async def one(self, *definitions: str) -> PullTask:
        """The one task that there is to be had."""
        [task] = await self.poll(*definitions)
        return task

    async def started(self, *definitions: str) -> PullTask:
        """The same, begun."""
        task = await self.one(*definitions)
        await self.start(task)
        return task

    async def start(self, task: PullTask) -> PullTask:
        return await self.world.database.write(pull_reports.start, self.world.node.definitions, self._named(task))

    async def notify(self, task: PullTask, line: str = "alive", progress: Any = None) -> datetime:
        definitions = self.world.node.definitions
        return await self.world.database.write(
            pull_reports.notify, definitions, self._named(task), Sign(line, progress)
        )

    async def succeed(self, task: PullTask, result: Any = None, limits: Limits = DEFAULT_LIMITS) -> Settled:
        definitions = self.world.node.definitions
        definition = await self.world.database.read(pull_reports.definition_of, definitions, self.scope, task.id)
        return await self._settle(task, pull_reports.checked(definition, result, limits), limits)

    async def fail(self, task: PullTask, error: Any = None) -> Settled:
        return await self._settle(task, Failure(error), DEFAULT_LIMITS)

    async def look(self, task_id: str) -> PullTask:
        """The task as it is now."""
        database, definitions = self.world.database, self.world.node.definitions
        found = await database.read(pull_tasks.find, self.scope, task_id)
        return await database.read(pull_tasks.show, definitions, found)

    async def _settle(self, task: PullTask, said: Success | Failure, limits: Limits) -> Settled:
        definitions = self.world.node.definitions
        return await self.world.database.write(pull_reports.settle, definitions, self._named(task), said, limits, 0.0)

    def _named(self, task: PullTask) -> NamedClaim:
        return NamedClaim(self.scope, task.id, str(task.exec_id))


@asynccontextmanager
async def pulled_world(url: str, **task: Any) -> AsyncIterator[Executor]:
    """A world whose loops stand still, with a pull task and an executor of it; its time moves on by `advance` only."""
    async with running_world(url, lambda request: {"is_done": True}, start=False, virtual_time=True) as world:
        await world.install({"transport": "pull", **ALLOW, **task})
        yield Executor(world)


async def time_passes(world: World) -> None:
    """What the timekeeper does at a look."""
    await world.database.write(timers.expire, world.node.definitions)
