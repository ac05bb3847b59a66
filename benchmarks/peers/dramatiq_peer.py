"""dramatiq on Redis: a step is a message, which sends the message of the next step before it is acknowledged."""

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.part import asked, nothing, play
from benchmarks.peers.sync_app import SyncApp
from benchmarks.peers.webhook import Lane

ASKED = asked()
APP = SyncApp(ASKED.sink, ASKED.in_flight)
dramatiq.set_broker(RedisBroker(url=ASKED.database))


@dramatiq.actor(actor_name="step")
def step(lane: Lane) -> None:
    then = APP.step(lane)
    if then is not None:
        step.send(then)


def submit(lanes: list[Lane]) -> None:
    for lane in lanes:
        step.send(lane)


def work() -> None:
    arguments = ["--processes", str(ASKED.processes), "--threads", str(ASKED.in_flight)]
    os.execv(sys.executable, [sys.executable, "-m", "dramatiq", "benchmarks.peers.dramatiq_peer", *arguments])


if __name__ == "__main__":
    play(ASKED, nothing, work, submit)
