"""Resuming from an earlier call: the new execution begins as the other one stood when that call was made."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.errors import AlreadyRunning, Conflict, Invalid, NotFound
from orchestrator.domain.states import WorkerStatus
from orchestrator.runtime.identifiers import new_id
from orchestrator.service import launching, resuming
from orchestrator.service.claimed import Claim
from orchestrator.service.report import Report
from orchestrator.service.resuming import LookBack, call_id
from orchestrator.service.tokens import Caller, Role, Scope
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand, answered
from tests.engine.gate import Gate
from tests.engine.scripted import ONE_RETRY, Run, Scripted, scripted_world
from tests.support.fake_app import Reply
from tests.support.world import WORKSPACE, World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
WAIT = {"wait_for_workers": True}
SCOPE = Scope(WORKSPACE)
CALLER = Caller("tok_test", "the test", Role.ADMIN, SCOPE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url) as scripted:
        tasks: list[dict[str, Any]] = [
            {"retry": ONE_RETRY, "on_multiple_exec": "allow"},
            {"id": "app_test_alone", "name": "Alone", "on_multiple_exec": "discard_new"},
        ]
        # One call at a time: what a call was told of the other workers is then exactly what had been applied.
        await scripted.world.install(*tasks, max_concurrent_calls=1)
        yield scripted


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where it was resumed from, and the execution that came of it."""

    past: LookBack
    id: str


async def look_back(world: World, execution_id: str, call: str) -> LookBack:
    return await world.database.read(resuming.look_back, SCOPE, execution_id, call)


async def resume(world: World, execution_id: str, call: str, id_: str | None = None) -> Resumed:
    past = await look_back(world, execution_id, call)

    def launch(tx: Transaction) -> str:
        order = resuming.order(tx, CALLER, past, id_, None)
        return launching.launch(tx, world.node.definitions, order, new_id).id

    launched = await world.database.write(launch)
    world.node.wake()
    return Resumed(past, launched)


def state(**fields: Any) -> dict[str, Any]:
    return {"updated_worker_state": fields}


def spawn(worker_id: int, **initial_state: Any) -> dict[str, Any]:
    return {"new_workers": [{"worker_id": worker_id, "initial_state": initial_state}]}


async def a_long_story(app: Scripted) -> Run:
    """Helpers, one of them twice; joins; outputs; an error; a failed call; big numbers; a helper of a helper."""
    execution = await app.start(
        {**spawn(1, page=2**63), **state(at="spawned"), **WAIT, "output": {"a": 1, "who": 0}},
        {
            **spawn(1, page="again"),
            **state(at="joined"),
            "app_state_mutations": [{"operation": "set", "key": "k", "value": 1}],
        },
        WAIT,
        {"is_error": True, **state(at="in error")},
        {"progress": {"current": 1}},
        Reply(503),
        {**DONE, **state(at="end"), "output": {"a": 2}},
        state={"at": "launched"},
        workers={4: '{"named":true}'},
    )
    app.script.write(execution, {**spawn(2, z=1, a=2), **state(page=1.5)}, DONE, {}, DONE, worker_id=1)
    app.script.write(execution, {**state(z=0), "output": {"who": 2}}, DONE, worker_id=2)
    app.script.write(execution, state(named=False), {**DONE, "items_to_import": [{"kind": "x"}] * 3}, worker_id=4)
    run = await app.ended(execution)
    assert (run.status, run.message) == ("succeeded", None)
    return run


async def test_every_call_can_be_gone_back_to_and_finds_what_it_was_told(app: Scripted) -> None:
    run = await a_long_story(app)
    tokens = dict.fromkeys(range(10), 0)
    for received in run.received:
        told = received.worker
        worker_id = told["worker_id"]
        tokens[worker_id] += 1
        past = await look_back(app.world, run.id, call_id(worker_id, tokens[worker_id]))
        seeds = past.beginning.seeds
        assert {str(id_) for id_ in seeds} == told["workers"].keys()
        assert seeds[worker_id].state == json.dumps(told["worker_state"], separators=(",", ":"))
        for id_, status in told["workers"].items():
            if status in ("done", "waiting"):
                assert seeds[int(id_)].rests.value == status
        for id_, result in told.get("worker_results", {}).items():
            seed = seeds[int(id_)]
            assert (json.loads(seed.state), json.loads(seed.output or "null")) == (result["state"], result["output"])
    assert sum(tokens.values()) == len(run.calls) == 15


async def test_it_goes_on_from_there_and_what_came_since_stays(app: Scripted) -> None:
    run = await a_long_story(app)
    before = await app.world.app_state()
    # Worker 0 has just joined its helpers for the first time.
    app.script.write("resumed", {**DONE, "output": {"b": 1}})
    resumed = await resume(app.world, run.id, "0.2", "resumed")
    again = await app.ended(resumed.id)

    assert [(one.worker["worker_id"], one.worker["step"]) for one in again.received] == [(0, 0)]
    [call] = again.received
    assert call.worker["worker_state"] == {"at": "spawned"}
    assert call.worker["worker_results"]["1"] == {"status": "done", "state": {"page": 1.5}, "output": None}
    assert call.worker["worker_results"]["4"]["state"] == {"named": False}
    assert again.status == "succeeded"
    assert await app.world.app_state() == before
    assert json.loads(resumed.past.told) == {
        "execution_id": run.id,
        "call": "0.2",
        "worker_id": 0,
        "step": 1,
        "since": {"calls": 7, "items": 0, "mutations": 1},
    }
    input_, output = await app.world.row(
        "SELECT input, output FROM execution_details WHERE execution_pk = :pk", pk=await app.world.pk("resumed")
    )
    assert (json.loads(input_), json.loads(output)) == ({"at": "launched"}, {"a": 1, "who": 2, "b": 1})


async def test_one_that_was_resumed_can_be_resumed_from(app: Scripted) -> None:
    run = await a_long_story(app)
    app.script.write("second", spawn(1, page="third"), WAIT, DONE)
    await resume(app.world, run.id, "0.2", "second")
    assert (await app.ended("second")).status == "succeeded"

    first = (await look_back(app.world, "second", "0.1")).beginning
    assert {id_: (seed.state, seed.rests.value) for id_, seed in first.seeds.items()} == {
        0: ('{"at":"spawned"}', "waiting"),
        1: ('{"page":1.5}', "done"),
        2: ('{"z":0}', "done"),
        4: ('{"named":false}', "done"),
    }
    helper = (await look_back(app.world, "second", "1.1")).beginning
    assert (helper.seeds[1].state, helper.seeds[1].rests) == ('{"page":"third"}', WorkerStatus.READY)
    assert helper.seeds[0].state == '{"at":"spawned"}'


async def test_a_call_that_failed_can_be_made_anew(app: Scripted) -> None:
    run = await app.run(state(page=1), Reply(400))
    assert run.status == "failed"
    app.script.write("anew", {**DONE, **state(page=2)})
    await resume(app.world, run.id, "0.2", "anew")
    again = await app.ended("anew")
    assert (again.status, again.received[0].worker["worker_state"], again.state) == (
        "succeeded",
        {"page": 1},
        {"page": 2},
    )


async def test_it_obeys_the_overlap_policy(app: Scripted) -> None:
    gate = Gate(DONE)
    execution = await app.start(state(page=1), gate, task_id="app_test_alone")
    await gate.holds()
    with pytest.raises(AlreadyRunning):
        await resume(app.world, execution, "0.1")
    gate.open()
    assert (await app.ended(execution)).status == "succeeded"


@pytest.mark.parametrize("call", ["", "0", "0.0", "0.-1", "10.1", "0.1 ", "0.1e3", "\u0660.\u0661", "0.9999999999"])
async def test_what_is_no_call_is_said_so(app: Scripted, call: str) -> None:
    with pytest.raises(Invalid, match=r"such as 0\.12"):
        await look_back(app.world, "any", call)


async def test_what_is_not_there_is_not_found(app: Scripted) -> None:
    run = await app.run(DONE)
    for execution, call in ((run.id, "0.2"), (run.id, "1.1"), ("no-such", "0.1")):
        with pytest.raises(NotFound):
            await look_back(app.world, execution, call)
    with pytest.raises(NotFound):
        await app.world.database.read(resuming.look_back, Scope(WORKSPACE, app_pk=4711), run.id, "0.1")


async def test_records_that_do_not_reach_back_are_a_clear_refusal(app: Scripted) -> None:
    run = await a_long_story(app)
    pk = await app.world.pk(run.id)
    await app.world.database.write(
        lambda tx: tx.run("DELETE FROM calls WHERE execution_pk = :pk AND worker_id = 0 AND token < 3", pk=pk)
    )
    with pytest.raises(Conflict, match="step 0 of worker 0 is not recorded any more"):
        await look_back(app.world, run.id, "0.5")


def after(milliseconds: int, claim: Claim, **answer: Any) -> Report:
    """The report of a call that was answered so late."""
    return replace(answered(claim, **answer), took=timedelta(milliseconds=milliseconds))


async def test_a_spawn_is_told_from_the_end_of_the_worker_by_their_order_in_a_commit(database_url: str) -> None:
    def nobody(request: object) -> object:
        raise AssertionError("nobody calls in this test")

    async with running_world(database_url, nobody, start=False) as world:
        await world.install()
        hand = ByHand(world)
        execution = await world.launch(workers={1: '{"n":1}'})
        claims = await hand.claim()
        # The answer of worker 1 came later, and is applied first.
        await hand.apply(after(5, claims[1], is_done=True), after(1, claims[0], **spawn(1, n=2)), renews=False)
        await hand.turn(list((await hand.claim()).values()), is_done=True)
        past = (await look_back(world, execution, "0.2")).beginning
        assert (past.seeds[1].state, past.seeds[1].rests) == ('{"n":2}', WorkerStatus.READY)
