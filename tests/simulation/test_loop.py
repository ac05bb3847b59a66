"""The virtual event loop itself: time jumps, and processes stop, go on and die."""

import asyncio
import random
from collections.abc import Callable, Iterator

import pytest

from tests.simulation.loop import Process, Stuck, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(random.Random(1))
    yield made
    made.close()


def steps_of(loop: VirtualLoop, process: Process, log: list[tuple[str, float]]) -> None:
    """A process that takes a step each second."""

    async def steps() -> None:
        while True:
            await asyncio.sleep(1)
            log.append((process.name, loop.time()))

    loop.processes.append(process)
    loop.spawn(process, steps())


def at(loop: VirtualLoop, secs: float) -> Callable[[], bool]:
    return lambda: loop.time() >= secs


def test_time_jumps_to_the_next_timer(loop: VirtualLoop) -> None:
    log: list[tuple[str, float]] = []
    steps_of(loop, Process("one"), log)
    loop.run(at(loop, 3_600))
    assert log[:2] == [("one", 1.0), ("one", 2.0)]
    assert len(log) >= 3_599


def test_a_paused_process_goes_on_where_it_stood(loop: VirtualLoop) -> None:
    log: list[tuple[str, float]] = []
    one, two = Process("one"), Process("two")
    steps_of(loop, one, log)
    steps_of(loop, two, log)
    loop.run(at(loop, 2.0))
    one.is_paused = True
    loop.run(at(loop, 10.0))
    one.is_paused = False
    loop.run(at(loop, 12.0))
    assert [when for name, when in log if name == "one" and 2 < when < 10] == []
    assert [when for name, when in log if name == "one" and when >= 10]
    assert len([when for name, when in log if name == "two" and 2 < when < 10]) == 7


def test_a_dead_process_cleans_nothing_up(loop: VirtualLoop) -> None:
    cleaned: list[str] = []
    process = Process("one")

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            cleaned.append("up")

    loop.processes.append(process)
    loop.spawn(process, work())
    loop.spawn(loop.outside, asyncio.sleep(1000))
    loop.call_later(50, process.die)
    loop.run(at(loop, 1000))
    assert cleaned == []


def test_nothing_left_to_run_is_an_error(loop: VirtualLoop) -> None:
    with pytest.raises(Stuck):
        loop.run(lambda: False)
