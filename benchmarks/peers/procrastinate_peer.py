"""procrastinate on PostgreSQL: a step is a job, which defers the job of the next step before it ends."""

import procrastinate
import uvloop

from benchmarks.peers.async_app import AsyncApp
from benchmarks.peers.part import asked, play
from benchmarks.peers.webhook import Lane

ASKED = asked()
APP = AsyncApp(ASKED.sink, ASKED.in_flight)
# Four connections, the default, would keep the jobs of one process waiting.
jobs = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=ASKED.database, max_size=20))


@jobs.task(name="step")
async def step(lane: Lane) -> None:
    then = await APP.step(lane)
    if then is not None:
        await step.defer_async(lane=then)


async def prepare() -> None:
    async with jobs.open_async():
        await jobs.schema_manager.apply_schema_async()


async def submit(lanes: list[Lane]) -> None:
    async with jobs.open_async():
        await step.batch_defer_async(*({"lane": lane} for lane in lanes))


async def work() -> None:
    async with jobs.open_async():
        await jobs.run_worker_async(concurrency=ASKED.in_flight)


if __name__ == "__main__":
    play(ASKED, lambda: uvloop.run(prepare()), lambda: uvloop.run(work()), lambda lanes: uvloop.run(submit(lanes)))
