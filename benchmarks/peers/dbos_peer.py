"""DBOS on PostgreSQL or SQLite: a lane is a workflow, a step of it is a step of DBOS, whose result is stored."""

import os
import threading

from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.peers.async_app import AsyncApp
from benchmarks.peers.part import asked, play
from benchmarks.peers.webhook import Lane

ASKED = asked()
APP = AsyncApp(ASKED.sink, ASKED.in_flight)
QUEUE = "lanes"


@DBOS.step(name="step")
async def step(lane: Lane) -> Lane | None:
    return await APP.step(lane)


@DBOS.workflow(name="walk")
async def walk(lane: Lane | None) -> None:
    while lane is not None:
        lane = await step(lane)


def launch() -> None:
    config: DBOSConfig = {
        "name": "peers",
        "system_database_url": ASKED.database,
        "application_version": "1",
        # By default all processes are the same executor, `local`.
        "executor_id": str(os.getpid()),
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()


def prepare() -> None:
    launch()
    # A place that has become free would stay so for up to a second, by default.
    DBOS.register_queue(QUEUE, worker_concurrency=ASKED.in_flight, polling_interval_sec=0.1)
    DBOS.destroy()


def submit(lanes: list[Lane]) -> None:
    client = DBOSClient(system_database_url=ASKED.database, application_name="peers")
    for lane in lanes:
        client.enqueue({"queue_name": QUEUE, "workflow_name": "walk"}, lane)
    client.destroy()


def work() -> None:
    launch()
    threading.Event().wait()


if __name__ == "__main__":
    play(ASKED, prepare, work, submit)
