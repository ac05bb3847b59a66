"""Many answers in one commit: each behind its own guard, in their order, all of it or nothing."""

import json

import pytest

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.service.claimed import Claim
from tests.engine.by_hand import ByHand, answered, reported
from tests.support.fake_app import never
from tests.support.world import World, running_world


async def test_a_stale_answer_in_the_batch_of_the_present_one_gets_no_claim(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install()
        execution = await world.launch()
        hand = ByHand(world)
        stale = (await hand.claim())[0]
        await hand.apply(reported(stale, Response(503, b"")))
        await make_due(world)
        present = (await hand.claim())[0]

        applied = await hand.apply(answered(stale, is_done=True), answered(present, updated_worker_state={"n": 1}))

        assert {position: claim.step for position, claim in applied.renewed.items()} == {1: 1}
        outcomes = [(call["token"], call["step"], call["outcome"]) for call in await world.calls(execution)]
        assert outcomes == [(1, 0, "failed"), (2, 0, "applied")], "the failure of the first call is on record already"


async def test_a_worker_that_ends_and_is_spawned_anew_in_one_commit_has_its_new_state(
    database_url: str,
) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install()
        execution = await world.launch(workers={1: '{"old":1}'})
        hand = ByHand(world)
        claims = await hand.claim()

        await hand.apply(
            answered(
                claims[1], is_done=True, updated_worker_state={"last": 1}, message="done", progress={"current": 7}
            ),
            answered(claims[0], new_workers=[{"worker_id": 1, "initial_state": {"new": 1}}]),
        )

        worker = (await world.workers(execution))[1]
        assert (worker["status"], worker["step"], json.loads(worker["state"])) == ("ready", 1, {"new": 1})
        told = await world.row("SELECT message, progress FROM worker_states WHERE worker_id = 1")
        assert (told[0], json.loads(told[1])["current"]) == ("done", 7)
        assert (await hand.claim())[1].worker_state == '{"new":1}'


async def test_a_worker_named_twice_starts_with_the_first_state(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install()
        execution = await world.launch()
        hand = ByHand(world)
        twice = [{"worker_id": 1, "initial_state": {"n": n}} for n in (1, 2)]
        await hand.turn(list((await hand.claim()).values()), new_workers=twice)

        assert json.loads((await world.workers(execution))[1]["state"]) == {"n": 1}
        [call] = await world.calls(execution)
        assert call["notes"] == "worker 1 was left alone: it is ready"


async def test_a_released_worker_gets_the_results_though_it_waited_in_the_last_commit(
    database_url: str,
) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install()
        await world.launch(workers={1: "{}"})
        hand = ByHand(world)
        claims = await hand.claim()

        applied = await hand.apply(
            answered(claims[1], is_done=True, updated_worker_state={"sum": 3}, output={"rows": 7}),
            answered(claims[0], wait_for_workers=True),
        )

        assert applied.renewed == {}
        assert applied.made_due
        results = json.loads((await hand.claim())[0].worker_results or "null")
        assert results == {"1": {"status": "done", "state": {"sum": 3}, "output": {"rows": 7}}}


async def test_the_last_two_workers_may_end_in_one_commit(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install()
        execution = await world.launch(workers={1: "{}"})
        hand = ByHand(world)
        applied = await hand.turn(list((await hand.claim()).values()), is_done=True)

        assert await world.status(execution) == "succeeded"
        assert len(applied.freed_groups) == 1


async def test_an_increment_that_one_answer_is_refused_leaves_the_others_of_the_commit(
    database_url: str,
) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install({"on_worker_failure": "continue"})
        execution = await world.launch(workers={1: "{}", 2: "{}"})
        hand = ByHand(world)
        claims = await hand.claim()
        one = {"operation": "increment", "key": "n", "value": 1}
        text = {"operation": "set", "key": "n", "value": "text"}

        await hand.apply(
            answered(claims[0], is_done=True, app_state_mutations=[one]),
            answered(claims[1], is_done=True, app_state_mutations=[one, text, one]),
            answered(claims[2], is_done=True, app_state_mutations=[one]),
        )

        assert await world.app_state() == '{"n":2}'
        statuses = {worker_id: worker["status"] for worker_id, worker in (await world.workers(execution)).items()}
        assert statuses == {0: "done", 1: "failed", 2: "done"}


async def test_a_failure_and_an_answer_in_flight_in_one_commit(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install()
        execution = await world.launch(workers={1: "{}", 2: "{}"})
        hand = ByHand(world)
        claims = await hand.claim()

        applied = await hand.apply(
            reported(claims[1], Response(400, b"no")),
            answered(
                claims[0],
                updated_worker_state={"applied": 1},
                items_to_import=[{"kind": "a"}],
                new_workers=[{"worker_id": 5}],
            ),
        )

        assert applied.renewed == {}
        workers = await world.workers(execution)
        assert {worker_id: worker["status"] for worker_id, worker in workers.items()} == {
            0: "aborted",
            1: "failed",
            2: "calling",
        }
        assert json.loads(workers[0]["state"]) == {"applied": 1}
        status, failing = await world.row("SELECT status, failing FROM executions WHERE id = :id", id=execution)
        assert (status, bool(failing)) == ("running", True)
        assert (await world.calls(execution))[0]["notes"] == "worker 5 was not started: the execution is failing"

        await hand.apply(reported(claims[2], NoResponse(FailureKind.TIMEOUT, "too late", sent=True)))
        assert (await world.status(execution), await world.message(execution)) == (
            "failed",
            "worker 1: HTTP 400: no",
        )


async def test_the_same_answer_twice_is_applied_once(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install()
        execution = await world.launch()
        hand = ByHand(world)
        done = answered((await hand.claim())[0], updated_worker_state={"n": 1}, items_to_import=[{"kind": "a"}])

        await hand.apply(done, done, renews=False)
        await hand.apply(done)

        [call] = await world.calls(execution)
        assert (call["outcome"], call["step"]) == ("applied", 0)
        assert (await world.workers(execution))[0]["undelivered"] == 1
        [(count,)] = await world.rows("SELECT count(*) FROM import_batches")
        assert count == 1


@pytest.mark.parametrize("others", [0, 1])
async def test_after_twenty_steps_in_its_own_commits_a_worker_queues_if_others_of_its_app_are_due(
    database_url: str, others: int
) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"})
        await world.launch(wakes=None)
        hand = ByHand(world)
        claim: Claim | None = (await hand.claim())[0]
        for _ in range(others):
            await world.launch(wakes=None)
        made_due: list[bool] = []
        while claim is not None and len(made_due) < 50:
            applied = await hand.apply(answered(claim, updated_worker_state={"step": claim.step}))
            made_due.append(applied.made_due)
            claim = applied.renewed.get(0)

        assert made_due == ([False] * 20 + [True] if others else [False] * 50)
        assert sorted(claim.step for claim in await hand.claims()) == ([0, 21] if others else [])


async def make_due(world: World) -> None:
    await world.database.write(lambda tx: tx.run("UPDATE workers SET due_at = 0 WHERE status = 'ready'"))
