"""taskiq on Redis streams: a step is a task, which sends the task of the next step before it is acknowledged."""

import os
import sys

import uvloop
from taskiq_redis import RedisStreamBroker

from benchmarks.peers.async_app import AsyncApp
from benchmarks.peers.part import asked, play
from benchmarks.peers.webhook import Lane

ASKED = asked()
APP = AsyncApp(ASKED.sink, ASKED.in_flight)
# By default it gives up, and is started anew, when it has been stopped for more than a few seconds.
broker = RedisStreamBroker(ASKED.database, socket_timeout=None)


@broker.task(task_name="step")
async def step(lane: Lane) -> None:
    then = await APP.step(lane)
    if then is not None:
        await step.kiq(then)


async def prepare() -> None:
    # Only what is sent after the consumers' group was made reaches a worker.
    await broker.startup()
    await broker.shutdown()


async def submit(lanes: list[Lane]) -> None:
    await broker.startup()
    for lane in lanes:
        await step.kiq(lane)
    await broker.shutdown()


def work() -> None:
    options = {"--workers": ASKED.processes, "--max-async-tasks": ASKED.in_flight, "--log-level": "WARNING"}
    arguments = [str(word) for option in options.items() for word in option]
    os.execv(
        sys.executable, [sys.executable, "-m", "taskiq", "worker", "benchmarks.peers.taskiq_peer:broker", *arguments]
    )


if __name__ == "__main__":
    play(ASKED, lambda: uvloop.run(prepare()), work, lambda lanes: uvloop.run(submit(lanes)))
