"""PGQueuer on PostgreSQL: a step is a job, which enqueues the job of the next step before it ends."""

import json

import asyncpg
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job

from benchmarks.peers.async_app import AsyncApp
from benchmarks.peers.part import asked, play
from benchmarks.peers.webhook import Lane

ASKED = asked()
APP = AsyncApp(ASKED.sink, ASKED.in_flight)


async def prepare() -> None:
    async with asyncpg.create_pool(ASKED.database, min_size=1) as pool:
        await Queries(AsyncpgPoolDriver(pool)).install()


async def submit(lanes: list[Lane]) -> None:
    async with asyncpg.create_pool(ASKED.database, min_size=1) as pool:
        payloads: list[bytes | None] = [json.dumps(lane).encode() for lane in lanes]
        await Queries(AsyncpgPoolDriver(pool)).enqueue(["step"] * len(lanes), payloads, [0] * len(lanes))


async def work() -> None:
    async with asyncpg.create_pool(ASKED.database) as pool:
        jobs = PgQueuer.from_asyncpg_pool(pool)
        queries = Queries(jobs.connection)

        @jobs.entrypoint("step")
        async def step(job: Job) -> None:
            assert job.payload is not None
            then = await APP.step(json.loads(job.payload))
            if then is not None:
                await queries.enqueue("step", json.dumps(then).encode())

        # A batch may be half of what runs at a time, at most.
        await jobs.run(batch_size=ASKED.in_flight // 2, max_concurrent_tasks=ASKED.in_flight)


if __name__ == "__main__":
    play(ASKED, lambda: uvloop.run(prepare()), lambda: uvloop.run(work()), lambda lanes: uvloop.run(submit(lanes)))
