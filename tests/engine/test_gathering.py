"""Answers of calls that began together share a commit, also when the node has nothing else to do."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from orchestrator.engine import gathering
from orchestrator.engine.gathering import LONGEST_CALL_SECS, TOGETHER_SECS, Gathering
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.service.apply import apply
from tests.engine.gate import Gate
from tests.support.fake_app import Received
from tests.support.waiting import eventually
from tests.support.world import running_world
from tests.support.writes import Write, stand_before_writes

FOR_EVER = 3600.0
APP, ANOTHER_APP = 1, 2


class Time:
    """A clock that is set by hand, in the place of the monotonic one."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(gathering, "monotonic", time)
    return time


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits waits until all have come."""
    monkeypatch.setattr(gathering, "LONGEST_WAIT_SECS", FOR_EVER)


async def is_waiting(task: asyncio.Task[None]) -> bool:
    """Whether it still waits when everything that is ready has been done."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


async def test_the_first_one_waits_for_those_that_began_with_it(time: Time, patience: None) -> None:
    calls = Gathering()
    before, first, after = calls.begin(APP), calls.begin(APP), calls.begin(APP)
    time.now += LONGEST_CALL_SECS / 2
    calls.end(first)
    others = asyncio.create_task(calls.others())
    assert await is_waiting(others)
    later = calls.begin(APP)
    calls.end(after)
    assert await is_waiting(others)
    calls.end(before)
    await others
    calls.end(later)


async def test_not_for_one_that_began_long_before(time: Time, patience: None) -> None:
    calls = Gathering()
    calls.begin(APP)
    time.now += TOGETHER_SECS * 1.5
    quick = calls.begin(APP)
    calls.end(quick)
    assert not await is_waiting(asyncio.create_task(calls.others()))


async def test_nor_after_a_call_that_took_its_time(time: Time, patience: None) -> None:
    calls = Gathering()
    slow, _ = calls.begin(APP), calls.begin(APP)
    time.now += LONGEST_CALL_SECS * 1.1
    calls.end(slow)
    assert not await is_waiting(asyncio.create_task(calls.others()))


async def test_nor_for_those_of_another_app(time: Time, patience: None) -> None:
    calls = Gathering()
    first, _ = calls.begin(APP), calls.begin(ANOTHER_APP)
    calls.end(first)
    assert not await is_waiting(asyncio.create_task(calls.others()))


async def test_nor_alone(time: Time, patience: None) -> None:
    calls = Gathering()
    calls.end(calls.begin(APP))
    assert not await is_waiting(asyncio.create_task(calls.others()))


async def test_one_that_does_not_come_is_not_waited_for_for_long(time: Time) -> None:
    calls = Gathering()
    first, missing = calls.begin(APP), calls.begin(APP)
    calls.end(first)
    await calls.others()
    assert calls._begun, "the other one is still under way"
    calls.end(missing)
    assert not await is_waiting(asyncio.create_task(calls.others()))


async def test_only_the_first_commit_waits_and_what_comes_meanwhile_is_in_it() -> None:
    let_go = asyncio.Event()
    waited: list[bool] = []
    commits: list[list[int]] = []

    async def gather() -> None:
        waited.append(True)
        await let_go.wait()

    async def commit(items: Sequence[int]) -> list[int]:
        commits.append(list(items))
        if len(commits) == 1:
            following.append(asyncio.create_task(group.submit(3)))
            await asyncio.sleep(0)
        return list(items)

    async def rescue(_item: int, error: Exception) -> int:
        raise error

    following: list[asyncio.Task[int]] = []
    group = GroupCommit[int, int](commit, rescue, gather=gather)
    tasks = [asyncio.create_task(group.submit(item)) for item in (1, 2)]
    await asyncio.sleep(0)
    assert group.is_busy
    let_go.set()
    assert await asyncio.gather(*tasks) == [1, 2]
    assert await following[0] == 3
    assert commits == [[1, 2], [3]]
    assert waited == [True]


async def test_two_answers_share_a_commit(database_url: str, monkeypatch: pytest.MonkeyPatch, patience: None) -> None:
    monkeypatch.setattr(gathering, "LONGEST_CALL_SECS", FOR_EVER)
    monkeypatch.setattr(gathering, "TOGETHER_SECS", FOR_EVER)
    gates = {worker_id: Gate({"is_done": True}) for worker_id in (0, 1)}
    commits: list[int] = []

    async def app(request: Received) -> Any:
        return await gates[request.worker["worker_id"]](request)

    async def watched(write: Write, work: Callable[..., Any], *args: Any) -> Any:
        if work is apply:
            commits.append(len(args[1]))
        return await write(work, *args)

    async with running_world(database_url, app) as world:
        await world.install()
        stand_before_writes(monkeypatch, world.database, watched)
        execution = await world.launch(workers={1: "{}"})
        for gate in gates.values():
            await gate.holds()
        gates[1].open()

        async def has_come() -> bool:
            return bool(world.node.dispatcher._applier._waiting)

        await eventually(has_come, "the first answer")
        gates[0].open()
        assert await world.ended(execution) == "succeeded"
    assert commits == [2]
