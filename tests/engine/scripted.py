"""One world for all the rows of a table: each row is an execution of its own, answered by its own script."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.support.fake_app import Received
from tests.support.script import Script, Step
from tests.support.world import World, running_world

ONE_RETRY = {"max_retries": 1, "initial_delay_secs": 0, "max_delay_secs": 0}


@dataclass(frozen=True, slots=True)
class Run:
    """An execution that has ended, and everything that was recorded about it."""

    id: str
    status: str
    message: str | None
    workers: dict[int, dict[str, Any]]
    calls: list[dict[str, Any]]
    received: list[Received]

    @property
    def worker(self) -> dict[str, Any]:
        return self.workers[0]

    @property
    def state(self) -> Any:
        return json.loads(self.worker["state"])


@dataclass(slots=True)
class Scripted:
    """A world whose app answers by a script."""

    world: World
    script: Script
    numbers: Iterator[int] = field(default_factory=count)

    async def start(self, *steps: Step, state: Any = None, task_id: str = "app_test_run", **order: Any) -> str:
        """Launch an execution whose worker 0 is answered with `steps`; returns its id."""
        execution_id = f"run-{next(self.numbers)}"
        self.script.write(execution_id, *steps)
        await self.world.launch(task_id, state, id=execution_id, **order)
        return execution_id

    async def run(self, *steps: Step, state: Any = None, task_id: str = "app_test_run", **order: Any) -> Run:
        """Launch, and wait for the end."""
        return await self.ended(await self.start(*steps, state=state, task_id=task_id, **order))

    async def ended(self, execution_id: str) -> Run:
        """Wait for the end of an execution."""
        status = await self.world.ended(execution_id)
        return Run(
            id=execution_id,
            status=status,
            message=await self.world.message(execution_id),
            workers=await self.world.workers(execution_id),
            calls=await self.world.calls(execution_id),
            received=self.script.received[execution_id],
        )


@asynccontextmanager
async def scripted_world(url: str, **options: Any) -> AsyncIterator[Scripted]:
    """A world with a script; the app is not installed yet."""
    script = Script()
    async with running_world(url, script, **options) as world:
        yield Scripted(world, script)
