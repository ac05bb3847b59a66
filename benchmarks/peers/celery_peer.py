"""Celery on Redis: a step is a task, which sends the task of the next step before it is acknowledged."""

import os
import sys

from celery import Celery

from benchmarks.peers.part import asked, nothing, play
from benchmarks.peers.sync_app import SyncApp
from benchmarks.peers.webhook import Lane

ASKED = asked()
APP = SyncApp(ASKED.sink, ASKED.in_flight)
app = Celery("peers", broker=ASKED.database.replace("unix://", "redis+socket://"))
app.conf.update(
    task_ignore_result=True,
    # By default a task is acknowledged before it runs, so that a killed worker loses the lane.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_connection_retry_on_startup=True,
    # A hundred greenlets need more connections than there are by default.
    broker_transport_options={"max_connections": 1000},
)


@app.task(name="step")
def step(lane: Lane) -> None:
    then = APP.step(lane)
    if then is not None:
        step.delay(then)


def submit(lanes: list[Lane]) -> None:
    for lane in lanes:
        step.delay(lane)


def work() -> None:
    arguments = ["--pool", ASKED.pool, "--concurrency", str(ASKED.in_flight), "--loglevel", "WARNING"]
    os.execv(
        sys.executable, [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_peer", "worker", *arguments]
    )


if __name__ == "__main__":
    play(ASKED, nothing, work, submit)
