"""Where import batches arrive: a world for all tests of a module, each with an execution and a collector of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestrator.service import delivering
from tests.engine.scripted import Run, Scripted, scripted_world
from tests.support.fake_app import Handler, Received
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World

SOON = {"initial_delay_secs": 0.01, "max_delay_secs": 0.01}


@dataclass(slots=True)
class Desk:
    """Hands each batch that comes to `collect`, and keeps it."""

    scripted: Scripted
    collect: Handler
    received: list[Received] = field(default_factory=list)

    @property
    def world(self) -> World:
        return self.scripted.world

    @property
    def numbers(self) -> list[int]:
        """The numbers of the items that came, in their order."""
        return numbers_of(self.received)

    @property
    def keys(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.received]

    async def start(self, *steps: Any) -> str:
        return await self.scripted.start(*steps)

    async def run(self, *steps: Any) -> Run:
        return await self.scripted.run(*steps)

    async def batches(self, execution: str) -> list[tuple[str, str, str | None]]:
        """(status, key, message) of every batch of the execution, in their order."""
        rows = await self.world.rows(
            """SELECT b.status, b.key, b.message FROM import_batches b
                 JOIN executions e ON e.pk = b.execution_pk WHERE e.id = :id ORDER BY b.pk""",
            id=execution,
        )
        return [(status, key, message) for status, key, message in rows]

    async def statuses(self, execution: str) -> list[str]:
        return [status for status, _, _ in await self.batches(execution)]

    async def all_are(self, execution: str, *wanted: str) -> None:
        """Wait until the batches are in these statuses, in their order."""

        async def probe() -> bool:
            return await self.statuses(execution) == list(wanted)

        await eventually(probe, f"batches that are {', '.join(wanted)}")

    async def has_received(self, count: int) -> bool:
        return len(self.received) >= count

    async def is_put_off(self, execution: str, tries: int) -> bool:
        """Whether the first batch waits after so many tries, or more."""
        rows = await self.world.rows(
            """SELECT b.tries, b.message FROM import_batches b
                 JOIN executions e ON e.pk = b.execution_pk WHERE e.id = :id ORDER BY b.pk LIMIT 1""",
            id=execution,
        )
        return any(tried >= tries and str(message).startswith(f"try {tried}:") for tried, message in rows)

    async def worker_is(self, execution: str, status: str) -> bool:
        return bool((await self.world.workers(execution))[0]["status"] == status)

    async def redeliver(self, key: str) -> None:
        await self.world.database.write(delivering.redeliver, self.world.node.definitions, WORKSPACE, key)
        self.world.node.wake()

    async def discard(self, key: str, who: str) -> None:
        await self.world.database.write(delivering.discard, self.world.node.definitions, WORKSPACE, key, who)
        self.world.node.wake()


@asynccontextmanager
async def open_desk(url: str, collect: Handler | None = None, **options: Any) -> AsyncIterator[Desk]:
    """A desk in a world of its own, with a task that is retried and delivered at once."""

    def arrive(request: Received) -> Any:
        desk.received.append(request)
        return desk.collect(request)

    async with scripted_world(url, collect=arrive, **{"retry": SOON, **options}) as scripted:
        desk = Desk(scripted, collect or take_in)
        await scripted.world.install()
        yield desk


def take_in(request: Received) -> Any:
    """The answer of a collector that takes everything."""
    return {}


def items(count: int, kind: str = "n", first: int = 0) -> list[dict[str, Any]]:
    """So many items, numbered from `first`."""
    return [{"kind": kind, "n": first + number} for number in range(count)]


def three_batches(middle: str = "n") -> list[dict[str, Any]]:
    """Items 0 to 599, which make three batches; those of the second one are of the kind `middle`."""
    return [*items(250), *items(250, middle, 250), *items(100, first=500)]


def numbers_of(requests: list[Received]) -> list[int]:
    return [item["n"] for request in requests for item in request.payload["items"]]
