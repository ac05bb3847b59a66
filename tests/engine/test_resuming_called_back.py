"""Resuming from an earlier call where callbacks came: what a worker had come to, and what it was still to be told."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.errors import NotFound
from orchestrator.domain.states import WorkerStatus
from tests.engine.gate import Gate
from tests.engine.scripted import ONE_RETRY, Scripted, scripted_world
from tests.engine.test_resuming import look_back, resume
from tests.engine.third_party import ThirdParty

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
AWAIT: dict[str, Any] = {"await_callback": {}}
RESUMING: dict[str, Any] = {"await_callback": {"resume": True}}
READY, FINISHED = WorkerStatus.READY, WorkerStatus.DONE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url) as scripted:
        await scripted.world.install({"retry": ONE_RETRY, "on_multiple_exec": "allow"})
        yield scripted


@pytest.fixture
def third(app: Scripted) -> ThirdParty:
    return ThirdParty(app.world)


async def test_a_callback_that_is_still_to_be_told_goes_along(app: Scripted, third: ThirdParty) -> None:
    execution = await app.start(RESUMING, {"is_error": True, "delay_next_request_in_secs": 0}, {}, DONE)
    await third.awaits(execution)
    await third.call_back(execution, output={"n": 1})
    assert (await app.ended(execution)).status == "succeeded"
    told = '{"status":"SUCCESS","output":{"n":1}}'
    seeds = [(await look_back(app.world, execution, f"0.{token}")).beginning.seeds[0] for token in (1, 2, 3, 4)]
    assert [(seed.callback, seed.rests) for seed in seeds] == [
        (None, READY),
        (told, READY),
        (told, READY),
        (None, READY),
    ]
    app.script.write("told", {"is_error": True, "delay_next_request_in_secs": 0}, RESUMING, DONE)
    await resume(app.world, execution, "0.2", "told")
    # It is no await of the new execution: without a step, a callback means the one that is open there.
    await third.awaits("told", step=1)
    with pytest.raises(NotFound):
        await third.call_back("told:0:-1", output={"n": 1})
    await third.call_back("told", output={"n": 2})
    run = await app.ended("told")
    assert [one.worker["callback"]["output"] for one in run.received] == [{"n": 1}, {"n": 1}, {"n": 2}]
    shown = await third.shown("told")
    assert (shown.status, shown.output) == ("succeeded", {"n": 2})
    # And once more, from the new one.
    first = (await look_back(app.world, "told", "0.1")).beginning.seeds[0]
    assert (first.callback, json.loads(first.output or "{}")) == (told, {"n": 1})


async def test_what_was_called_back_before_the_call_of_another_is_over_then(app: Scripted, third: ThirdParty) -> None:
    gate = Gate({"delay_next_request_in_secs": 3600})
    execution = await app.start(gate, workers={1: "{}", 2: "{}"})
    app.script.write(execution, {**AWAIT, "output": {"own": 1, "n": 1}}, worker_id=1)
    app.script.write(execution, RESUMING, {"await_callback": {}}, worker_id=2)
    await third.awaits(execution, 1)
    await third.awaits(execution, 2)
    await gate.holds()
    await third.call_back(f"{execution}:1", output={"n": 2})
    await third.call_back(f"{execution}:2", output={"m": 1})
    await third.awaits(execution, 2, step=1)
    await third.call_back(f"{execution}:2:1", succeeded=False, output={"m": 2})
    gate.open()
    assert (await app.ended(execution)).status == "failed"
    at_start = (await look_back(app.world, execution, "0.1")).beginning
    assert (at_start.seeds[1].rests, at_start.seeds[1].output, at_start.output) == (READY, None, None)
    retried = Gate(DONE)
    app.script.write(execution, retried)
    app.script.write(execution, DONE, worker_id=2)
    await app.world.retry(execution)
    await retried.holds()
    retried.open()
    assert (await app.ended(execution)).status == "succeeded"
    tokens = [call["token"] for call in await app.world.calls(execution) if call["worker_id"] == 0]
    past = (await look_back(app.world, execution, f"0.{tokens[-1]}")).beginning
    assert past.seeds[1].rests is FINISHED
    assert json.loads(past.seeds[1].output or "{}") == {"own": 1, "n": 2}
    # A failure leaves the worker to be called again.
    assert (past.seeds[2].rests, past.seeds[2].callback) == (READY, None)
    assert json.loads(past.output or "{}") == {"own": 1, "n": 2, "m": 2}


async def test_an_early_callback_counts_as_one_that_came_after_its_answer(app: Scripted, third: ThirdParty) -> None:
    gate = Gate({**AWAIT, "output": {"n": 1}})
    later = Gate(DONE)
    execution = await app.start({}, later, workers={1: "{}"})
    app.script.write(execution, gate, worker_id=1)
    await gate.holds()
    await later.holds()
    await third.call_back(f"{execution}:1", output={"n": 2})
    gate.open()
    later.open()
    assert (await app.ended(execution)).status == "succeeded"
    past = (await look_back(app.world, execution, "1.1")).beginning
    assert (past.seeds[1].rests, past.seeds[1].output) == (READY, None)
