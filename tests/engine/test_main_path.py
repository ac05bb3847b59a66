"""The main path: launch, call, apply, spawn, wait, import, end; on both databases with a real HTTP app."""

from collections import Counter

from tests.support.fake_app import Received
from tests.support.world import running_world


async def test_a_single_step_succeeds(database_url: str) -> None:
    async with running_world(database_url, lambda request: {"is_done": True, "message": "hello"}) as world:
        await world.install()
        execution = await world.launch(state={"a": 1})

        assert await world.ended(execution) == "succeeded"
        [call] = await world.calls(execution)
        assert (call["outcome"], call["step"], call["message"]) == ("applied", 0, "hello")
        assert world.app.received[0].worker["worker_state"] == {"a": 1}


async def test_ten_workers_mutate_one_key_a_hundred_times_each(database_url: str) -> None:
    def answer(request: Received) -> dict[str, object]:
        worker = request.worker
        count = worker["worker_state"].get("count", 0) + 1
        spawn = [{"worker_id": i, "initial_state": {}} for i in range(1, 10)]
        return {
            "is_done": count == 100,
            "updated_worker_state": {"count": count},
            "app_state_mutations": [{"operation": "increment", "key": "total", "value": 1}],
            "new_workers": spawn if worker["worker_id"] == 0 and count == 1 else [],
        }

    async with running_world(database_url, answer) as world:
        await world.install()
        execution = await world.launch()

        assert await world.ended(execution) == "succeeded"
        assert await world.app_state() == '{"total":1000}'
        calls = await world.calls(execution)
        assert len(calls) == 1000
        assert {call["outcome"] for call in calls} == {"applied"}
        steps = Counter((call["worker_id"], call["step"]) for call in calls)
        assert set(steps.values()) == {1}
        keys = {received.headers["webhook-id"] for received in world.app.received}
        assert len(keys) == 1000


async def test_items_reach_the_collector_in_order_and_once(database_url: str) -> None:
    def answer(request: Received) -> dict[str, object]:
        page = request.worker["worker_state"].get("page", 0)
        items = [{"kind": "n", "n": page * 600 + i} for i in range(600)]
        return {"is_done": page == 3, "updated_worker_state": {"page": page + 1}, "items_to_import": items}

    async with running_world(database_url, answer) as world:
        await world.install()
        execution = await world.launch()

        assert await world.ended(execution) == "succeeded"
        numbers = [item["n"] for received in world.collector.received for item in received.payload["items"]]
        assert numbers == list(range(2400))


async def test_worker_0_joins_its_helpers(database_url: str) -> None:
    def answer(request: Received) -> dict[str, object]:
        worker = request.worker
        if worker["worker_id"]:
            return {"is_done": True, "output": {"sum": worker["worker_id"]}}
        if results := worker.get("worker_results"):
            return {"is_done": True, "message": str(sum(one["output"]["sum"] for one in results.values()))}
        return {
            "new_workers": [{"worker_id": i, "initial_state": {}} for i in range(1, 10)],
            "wait_for_workers": True,
        }

    async with running_world(database_url, answer) as world:
        await world.install()
        execution = await world.launch()

        assert await world.ended(execution) == "succeeded"
        assert (await world.workers(execution))[0]["message"] == "45"
