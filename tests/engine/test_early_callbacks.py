"""Callbacks that come before the answer that parks their worker, or too late; and the races between the two."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.errors import Conflict, Gone
from orchestrator.domain.outcome import Response
from orchestrator.service import timers
from orchestrator.service.callback_effects import APPLIED_EARLY, UNUSED_EARLY
from orchestrator.service.callbacks import task_status
from orchestrator.service.claimed import Claim
from tests.engine.by_hand import ByHand, answered, reported
from tests.engine.third_party import ThirdParty
from tests.support.fake_app import Received
from tests.support.world import World, running_world

DONE = {"is_done": True}
AWAIT: dict[str, Any] = {"await_callback": {"timeout_in_secs": 60}}
RESUMING: dict[str, Any] = {"await_callback": {"timeout_in_secs": 60, "resume": True}}


def nobody(request: Received) -> Any:
    raise AssertionError("nobody calls in this test")


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with running_world(database_url, nobody, start=False, virtual_time=True) as world:
        await world.install({"on_multiple_exec": "allow"}, max_concurrent_calls=100)
        yield world


@pytest.fixture
def third(world: World) -> ThirdParty:
    return ThirdParty(world)


@pytest.fixture
def hand(world: World) -> ByHand:
    return ByHand(world)


async def called(world: World, hand: ByHand) -> tuple[str, Claim]:
    execution = await world.launch(wakes=None)
    return execution, (await hand.claim())[0]


async def test_it_is_kept_and_applied_with_the_answer_that_parks(world: World, third: ThirdParty, hand: ByHand) -> None:
    execution, claim = await called(world, hand)
    said: dict[str, Any] = {"output": {"a": 2}, "logs": ["early"], "subtext": "early"}
    kept = await third.call_back(execution, **said)
    assert (task_status(kept.task), await third.fates(execution)) == ("ACTIVE", {(0, 0): "kept"})
    await third.call_back(f"{execution}:0:0", **said)
    with pytest.raises(Conflict, match="another callback came before, for step 0 of worker 0; it was kept"):
        await third.call_back(execution, output={"a": 3})
    assert (await third.shown(execution)).lines == []
    applied = await hand.turn([claim], **AWAIT, output={"a": 1, "b": 1}, logs="late", subtext="late")
    assert (applied.renewed, applied.freed_groups) == ({}, applied.freed_groups)
    assert len(applied.freed_groups) == 1
    shown = await third.shown(execution)
    assert (shown.status, shown.output, shown.worker_output) == ("succeeded", {"a": 2, "b": 1}, {"a": 2, "b": 1})
    assert (shown.subtext, shown.worker_subtext) == ("early", "early")
    assert shown.lines == [(0, 0, "late"), (0, 0, "early")]
    [call] = await world.calls(execution)
    assert (call["notes"], await third.fates(execution)) == (APPLIED_EARLY, {(0, 0): "applied"})
    await third.call_back(execution, **said)


async def test_with_resume_the_next_claim_carries_it(world: World, third: ThirdParty, hand: ByHand) -> None:
    execution, claim = await called(world, hand)
    await third.call_back(execution, output={"n": 1})
    applied = await hand.turn([claim], **RESUMING)
    assert (applied.renewed, applied.made_due) == ({}, True)
    again = (await hand.claim())[0]
    assert (again.step, again.callback) == (1, '{"status":"SUCCESS","output":{"n":1}}')
    renewed = (await hand.turn([again])).renewed[0]
    assert (renewed.step, renewed.callback) == (2, None)


async def test_a_failure_that_came_early_fails_the_worker(world: World, third: ThirdParty, hand: ByHand) -> None:
    execution, claim = await called(world, hand)
    await third.call_back(execution, succeeded=False)
    await hand.turn([claim], **RESUMING, message="handed over")
    shown = await third.shown(execution)
    assert (shown.status, shown.worker_message) == ("failed", "the callback reported a failure")


@pytest.mark.parametrize("answer", [DONE, {}, {"is_error": True}, {"is_error": True, **DONE}])
async def test_it_is_unused_where_the_step_closes_without_parking(
    world: World, third: ThirdParty, hand: ByHand, answer: dict[str, Any]
) -> None:
    execution, claim = await called(world, hand)
    await third.call_back(execution, output={"a": 1}, logs="never")
    await hand.turn([claim], **answer)
    shown = await third.shown(execution)
    assert (shown.output, shown.lines) == (None, [])
    [call] = await world.calls(execution)
    assert (call["notes"].splitlines()[-1], await third.fates(execution)) == (UNUSED_EARLY, {(0, 0): "unused"})
    await third.call_back(f"{execution}:0:0", output={"a": 1}, logs="never")
    with pytest.raises(Conflict, match="it was unused"):
        await third.call_back(f"{execution}:0:0")


async def test_it_waits_through_calls_that_close_no_step(world: World, third: ThirdParty, hand: ByHand) -> None:
    execution, claim = await called(world, hand)
    await third.call_back(execution)
    await hand.apply(reported(claim, Response(400, b"no")))
    assert await world.status(execution) == "failed"
    await world.retry(execution)
    await hand.turn(list((await hand.claim()).values()), **AWAIT)
    assert (await world.status(execution), await third.fates(execution)) == ("succeeded", {(0, 0): "applied"})


async def test_between_the_calls_of_a_step_it_is_kept_too(world: World, third: ThirdParty, hand: ByHand) -> None:
    execution, claim = await called(world, hand)
    await hand.apply(reported(claim, Response(503, b"later")))
    await third.call_back(execution)
    world.advance(timedelta(minutes=1))
    await hand.turn(list((await hand.claim()).values()), **AWAIT)
    assert await world.status(execution) == "succeeded"


async def test_an_answer_that_is_fenced_uses_nothing(world: World, third: ThirdParty, hand: ByHand) -> None:
    execution, claim = await called(world, hand)
    await third.call_back(execution)
    await world.abort(execution)
    await hand.turn([claim], **AWAIT)
    assert (await world.status(execution), await third.fates(execution)) == ("aborted", {(0, 0): "kept"})
    await world.retry(execution)
    await hand.turn(list((await hand.claim()).values()), **AWAIT)
    assert await world.status(execution) == "succeeded"


@pytest.mark.parametrize("who", ["timekeeper", "third party"])
async def test_after_the_timeout_it_is_too_late(world: World, third: ThirdParty, hand: ByHand, who: str) -> None:
    execution, claim = await called(world, hand)
    await hand.turn([claim], **AWAIT)
    world.advance(timedelta(seconds=61))
    if who == "timekeeper":
        assert await world.database.write(timers.expire, world.node.definitions)
        with pytest.raises(Gone):
            await third.call_back(execution)
    else:
        refused = (await third.call_back(execution)).refused
        assert refused is not None
        assert "too late: worker 0 awaited none for its step 0 any more" in refused.message
        assert not await world.database.write(timers.expire, world.node.definitions)
    for task_id in (execution, f"{execution}:0", f"{execution}:0:0"):
        with pytest.raises(Gone):
            await third.call_back(task_id)
    shown = await third.shown(execution)
    why = "no callback came before the timeout of the wait"
    assert (shown.status, shown.message, shown.worker_message) == ("failed", f"worker 0: {why}", why)
    await world.retry(execution)
    again = (await hand.claim())[0]
    assert again.step == 1
    with pytest.raises(Gone):
        await third.call_back(f"{execution}:0:0")
    await third.call_back(f"{execution}:0:1")
    await hand.turn([again], **AWAIT)
    assert await world.status(execution) == "succeeded"


async def race(world: World, third: ThirdParty, hand: ByHand, pairs: int) -> None:
    """So many executions: each is parked and called back at the same moment, every second one by two at once."""
    for first in range(0, pairs, 100):
        claims = {}
        for number in range(first, min(first + 100, pairs)):
            claims[await world.launch(wakes=None, id=f"e{number}")] = number
        taken = {claim.execution_id: claim for claim in await hand.claims()}
        assert taken.keys() == claims.keys()
        races = []
        for execution, number in claims.items():
            answer = answered(taken[execution], **(RESUMING if number % 4 == 3 else AWAIT), output={"own": number})
            callers = [third.call_back(execution, output={"n": number}, logs=["x"]) for _ in range(1 + number % 2)]
            commit = hand.apply(answer)
            # On SQLite they take their turns in this order; on PostgreSQL they meet at the execution's lock.
            races.append(asyncio.gather(*callers, commit) if number % 3 else asyncio.gather(commit, *callers))
        await asyncio.gather(*races)
        resumed = await hand.claims()
        assert {claim.callback for claim in resumed} == {
            f'{{"status":"SUCCESS","output":{{"n":{number}}},"logs":["x"]}}'
            for number in claims.values()
            if number % 4 == 3
        }
        await hand.turn(resumed, **DONE)


async def none_is_lost(world: World, pairs: int) -> None:
    assert await world.rows("SELECT status, count(*) FROM executions GROUP BY status") == [("succeeded", pairs)]
    assert await world.rows("SELECT fate, count(*) FROM callbacks GROUP BY fate") == [("applied", pairs)]
    assert await world.rows("SELECT count(*), count(DISTINCT execution_pk) FROM log_lines") == [(pairs, pairs)]
    outputs = await world.rows(
        """SELECT e.id, d.output FROM executions e JOIN execution_details d ON d.execution_pk = e.pk"""
    )
    assert dict(outputs) == {f"e{number}": f'{{"own":{number},"n":{number}}}' for number in range(pairs)}


async def test_no_callback_is_lost_to_the_answer_that_parks(world: World, third: ThirdParty, hand: ByHand) -> None:
    await race(world, third, hand, 60)
    await none_is_lost(world, 60)


@pytest.mark.slow
async def test_no_callback_of_a_thousand_is_lost(world: World, third: ThirdParty, hand: ByHand) -> None:
    await race(world, third, hand, 1000)
    await none_is_lost(world, 1000)
    early = await world.rows("SELECT count(*) FROM calls WHERE notes = :note", note=APPLIED_EARLY)
    assert 0 < early[0][0] < 1000, "the one came first, and the other"
