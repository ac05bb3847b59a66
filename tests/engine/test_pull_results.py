"""What executors come to: results held against limits and schemas, and whole steps as an app would answer them."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

import orjson
import pytest

from app_sdk.protocol.limits import Limits
from orchestrator.domain.errors import ClaimRefused, Invalid
from orchestrator.service.pull_tasks import PullTask
from tests.engine.executors import Executor, pulled_world
from tests.engine.third_party import ThirdParty


async def test_a_result_over_its_limit_is_a_failed_attempt_and_closes_the_claim(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        world = executor.world
        execution = await world.launch()
        task = await executor.started()
        small = Limits(worker_state_bytes=100)
        settled = await executor.succeed(task, {"a": "x" * 100}, limits=small)
        assert settled.refused is not None
        assert "the result has 108 bytes, and may have 100" in settled.refused
        assert settled.task.row.status == "waiting"
        [call] = await world.calls(execution)
        assert (call["outcome"], call["failure"]) == ("failed", "invalid_body")
        # What a published client does next: it reports the refusal itself as its failure.
        with pytest.raises(ClaimRefused) as refusal:
            await executor.fail(task, {"error": {"message": settled.refused}})
        assert refusal.value.facts["reason"] == "stale-exec-id"
        assert (await executor.look(execution)).attempts == 1
        repeated = await executor.succeed(task, {"a": "x" * 100}, limits=small)
        assert repeated.refused == settled.refused


async def test_a_result_that_its_schema_does_not_know_is_a_failed_attempt(database_url: str) -> None:
    schema = {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "integer"}}}
    async with pulled_world(database_url, result_schema=schema, retryDelay=0) as executor:
        await executor.world.launch()
        settled = await executor.succeed(await executor.started(), {"rows": "three"})
        assert settled.refused is not None
        assert "result_schema: $.rows: 'three' is not of type 'integer'" in settled.refused
        assert (await executor.succeed(await executor.started(), {"rows": 3})).refused is None


async def test_an_input_that_its_schema_does_not_know_is_refused_at_the_launch(database_url: str) -> None:
    async with pulled_world(database_url, input_schema={"required": ["order"]}) as executor:
        with pytest.raises(Invalid, match="input_schema: \\$: 'order' is a required property"):
            await executor.world.launch()
        await executor.world.launch(state={"order": 1})


async def test_a_schema_fetches_nothing(database_url: str) -> None:
    schema = {"$ref": "http://127.0.0.1:1/schema.json"}
    async with pulled_world(database_url, input_schema=schema) as executor:
        with pytest.raises(Invalid, match="refers to what is not in it"):
            await executor.world.launch()


async def test_steps_do_all_that_the_answer_of_an_app_does(database_url: str) -> None:
    async with pulled_world(database_url, pull_result="step") as executor:
        world = executor.world
        execution = await world.launch(state={"page": 1})
        first = await executor.started()
        assert first.turn is not None
        assert first.turn["task_exec_id"] == execution
        assert json.loads(orjson.dumps(first.turn))["worker_state"] == {"page": 1}
        assert first.app_state == "{}"
        settled = await executor.succeed(
            first,
            {
                "updated_worker_state": {"page": 2},
                "app_state_mutations": [{"operation": "set", "key": "cursor", "value": 2}],
                "items_to_import": [{"kind": "n", "n": 1}],
                "new_workers": [{"worker_id": 1, "initial_state": {"part": 1}}],
                "progress": {"current": 1, "total": 2},
                "logs": ["page 1"],
                "output": {"pages": 1},
                "subtext": "going",
            },
        )
        assert settled.refused is None
        assert (await world.workers(execution))[0]["step"] == 1
        assert json.loads(await world.app_state()) == {"cursor": 2}
        assert await world.row("SELECT item_count, status FROM import_batches") == (1, "pending")
        tasks = {task.id: task for task in await executor.poll(places=9)}
        assert set(tasks) == {execution, f"{execution}:1"}
        assert tasks[execution].app_state == '{"cursor":2}'
        for task in tasks.values():
            await executor.start(task)
            assert (await executor.succeed(task, {"is_done": True})).refused is None
        (open_workers,) = await world.row("SELECT open_workers FROM executions")
        assert open_workers == 0


async def test_ten_workers_are_spawned_stepped_by_three_executors_and_joined(database_url: str) -> None:
    async with pulled_world(database_url, pull_result="step") as first:
        world = first.world
        crew = [first, *(Executor(world, name) for name in ("tok_2", "tok_3"))]
        execution = await world.launch()
        helpers = [{"worker_id": number, "initial_state": {"n": number, "left": 3}} for number in range(1, 10)]
        await first.succeed(await first.started(), {"new_workers": helpers, "wait_for_workers": True})
        stepped: Counter[tuple[str, str]] = Counter()
        joined: list[PullTask] = []

        async def work(executor: Executor, tasks: Sequence[PullTask]) -> int:
            done = 0
            for task in tasks:
                if task.id == execution:
                    joined.append(task)
                    continue
                await executor.start(task)
                assert task.turn is not None
                state = json.loads(orjson.dumps(task.turn))["worker_state"]
                left = state["left"] - 1
                count = {"operation": "increment", "key": "steps", "value": 1}
                answer = {"updated_worker_state": {**state, "left": left}, "is_done": not left}
                settled = await executor.succeed(task, {**answer, "app_state_mutations": [count]})
                assert settled.refused is None
                stepped[executor.name, task.id] += 1
                done += 1
            return done

        is_going = True
        while is_going:
            # One after the other: of those who poll at once, whoever finds the execution locked gets nothing.
            polled = [(executor, await executor.poll(places=2)) for executor in crew]
            is_going = sum(await asyncio.gather(*(work(*one) for one in polled))) > 0
        assert sum(stepped.values()) == 27
        assert {name for name, _ in stepped} == {"tok_1", "tok_2", "tok_3"}
        [main] = joined
        assert main.turn is not None
        results = json.loads(orjson.dumps(main.turn))["worker_results"]
        assert len(results) == 9
        await first.start(main)
        await first.succeed(main, {"is_done": True})
        assert await world.status(execution) == "succeeded"
        assert json.loads(await world.app_state()) == {"steps": 27}


async def test_a_step_that_breaks_the_contract_is_a_failed_attempt(database_url: str) -> None:
    async with pulled_world(database_url, pull_result="step", retryDelay=0) as executor:
        execution = await executor.world.launch()
        for wrong, words in (({"is_done": 1}, "$.is_done: expected true or false"), ([], "expected a JSON object")):
            settled = await executor.succeed(await executor.started(), wrong)
            assert settled.refused is not None
            assert words in settled.refused
        assert (await executor.world.workers(execution))[0]["step"] == 0


async def test_steps_may_wait_for_other_workers(database_url: str) -> None:
    async with pulled_world(database_url, pull_result="step") as executor:
        execution = await executor.world.launch()
        await executor.succeed(
            await executor.started(),
            {"new_workers": [{"worker_id": 1, "initial_state": {}}], "wait_for_workers": True},
        )
        other = await executor.started()
        assert other.id == f"{execution}:1"
        await executor.succeed(other, {"is_done": True, "output": {"found": 3}})
        joined = await executor.started()
        assert joined.turn is not None
        assert "worker_results" in joined.turn
        await executor.succeed(joined, {"is_done": True})
        assert await executor.world.status(execution) == "succeeded"


async def test_a_step_may_await_a_callback_at_the_url_that_it_came_with(database_url: str) -> None:
    async with pulled_world(database_url, pull_result="step") as executor:
        world, third = executor.world, ThirdParty(executor.world)
        execution = await world.launch()
        task = await executor.started()
        assert task.turn is not None
        url = task.turn["callback_url"]
        assert url.startswith("http://orchestrator.example/external-events/callback/")
        await executor.succeed(task, {"await_callback": {"resume": True}})
        assert await executor.poll() == ()
        await third.call_back_at(url, output={"rows": 3})
        again = await executor.started()
        assert again.turn is not None
        assert json.loads(orjson.dumps(again.turn["callback"]))["output"] == {"rows": 3}
        assert again.turn["callback_url"] != url
        await executor.succeed(again, {"is_done": True})
        assert await world.status(execution) == "succeeded"
