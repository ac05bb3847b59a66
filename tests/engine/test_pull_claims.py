"""Pull tasks are handed out: to whom, in which order, how many at once, and never twice."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.states import AppStatus
from orchestrator.service import apps, pull_timers, timers
from orchestrator.service.nodes import lose_silent
from orchestrator.service.pull_claims import Wanted
from orchestrator.service.tokens import Scope
from orchestrator.store.clock import to_micros
from tests.engine.by_hand import ByHand
from tests.engine.executors import ALLOW, TASK, Executor, pulled_world, time_passes
from tests.support.fake_app import never
from tests.support.world import WORKSPACE, running_world


async def test_a_task_is_handed_out_once_and_no_app_is_called(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        execution = await executor.world.launch(state={"order": 7})
        [task] = await executor.poll(places=5)
        assert (task.id, task.row.status, task.called, task.params) == (execution, "requested", TASK, '{"order":7}')
        assert task.exec_id
        assert task.attempts is None
        assert await executor.poll() == ()
        assert await ByHand(executor.world).claims() == ()


async def test_nothing_to_be_had_is_an_empty_hand(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        assert await executor.poll() == ()
        await executor.world.launch()
        assert await executor.poll("nobody/knows-this") == ()
        assert len(await executor.poll("nobody/knows-this", TASK)) == 1


async def test_who_waits_longest_goes_first_and_the_batch_is_held_to(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        launched = []
        for _ in range(3):
            launched.append(await executor.world.launch())
            executor.world.advance(timedelta(milliseconds=1))
        assert [task.id for task in await executor.poll(places=2)] == launched[:2]
        assert [task.id for task in await executor.poll(places=2)] == launched[2:]


async def test_many_pollers_are_served_in_their_order_in_one_transaction(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        world = executor.world
        await world.install({"id": "app_other_run", "transport": "pull", **ALLOW}, app_id="app_other")
        ours = [await world.launch() for _ in range(3)]
        theirs = await world.launch("app_other_run")
        scope = Scope(WORKSPACE)
        wanted = [
            Wanted(scope, (TASK,), 2, "a"),
            Wanted(scope, ("app_other_run",), 1, "b"),
            Wanted(scope, (TASK, "app_other_run"), 5, "c"),
            Wanted(scope, (TASK,), 1, "d"),
        ]
        handed_out = await executor.hand_out(wanted)
        given = [{task.id for task in tasks} for tasks in handed_out.given]
        assert [len(tasks) for tasks in given] == [2, 1, 1, 0]
        assert given[1] == {theirs}
        assert given[0] | given[2] == set(ours)
        nodes = await world.rows("SELECT node FROM workers ORDER BY node")
        assert nodes == [("a",), ("a",), ("b",), ("c",)]


async def test_many_at_once_get_each_task_once(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        launched = {await executor.world.launch() for _ in range(20)}
        async with executor.world.another_database() as database:
            others = replace(executor, world=replace(executor.world, database=database))

            async def take(one: Executor) -> list[str]:
                """Poll until nothing is left, also not what another poll held."""
                taken: list[str] = []
                handed_out = await one.handed_out(places=3)
                while handed_out.given[0] or handed_out.wait is not None:
                    taken += [task.id for task in handed_out.given[0]]
                    handed_out = await one.handed_out(places=3)
                return taken

            parts = await asyncio.gather(*(take(one) for one in (executor, others) * 3))
        taken = [id_ for part in parts for id_ in part]
        assert sorted(taken) == sorted(launched)


async def test_an_alias_is_as_good_as_the_id_and_is_shown_as_it_was_asked(database_url: str) -> None:
    async with pulled_world(database_url, aliases=["shop/send", "shop.send"]) as executor:
        await executor.world.launch()
        task = await executor.one("shop.send")
        assert task.called == "shop.send"
        assert (await executor.look(task.id)).called == "shop/send"


async def test_the_workers_of_an_execution_are_a_task_each(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        execution = await executor.world.launch(state={"a": 1}, workers={2: '{"b":2}'})
        tasks = {task.id: task.params for task in await executor.poll(places=9)}
        assert tasks == {execution: '{"a":1}', f"{execution}:2": '{"b":2}'}


async def test_a_token_bound_to_tasks_gets_no_others(database_url: str) -> None:
    async with pulled_world(database_url, aliases=["shop/send"]) as executor:
        await executor.world.launch()
        bound = replace(executor, scope=Scope(WORKSPACE, tasks=("app_test_other", "shop/other")))
        assert await bound.poll() == ()
        bound = replace(executor, scope=Scope(WORKSPACE, tasks=("shop/send",)))
        assert len(await bound.poll()) == 1


@pytest.mark.parametrize("scope", [Scope("elsewhere"), Scope(WORKSPACE, app_pk=4711)])
async def test_another_workspace_or_app_gets_nothing(database_url: str, scope: Scope) -> None:
    async with pulled_world(database_url) as executor:
        await executor.world.launch()
        assert await replace(executor, scope=scope).poll() == ()


async def test_a_stopped_app_hands_out_nothing_and_its_reports_count(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        for _ in range(2):
            await executor.world.launch()
        task = await executor.started()
        await executor.world.database.write(apps.set_status, WORKSPACE, "app_test", AppStatus.STOPPED)
        assert await executor.poll() == ()
        assert (await executor.succeed(task)).task.row.outcome == "succeeded"
        await executor.world.database.write(apps.set_status, WORKSPACE, "app_test", AppStatus.ACTIVE)
        assert len(await executor.poll()) == 1


async def test_a_task_of_later_is_not_due_before(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        world = executor.world
        execution = await world.launch(run_at=world.clock() + timedelta(minutes=1) if world.clock else None)
        assert (await executor.look(execution)).row.status == "waiting"
        assert await executor.poll() == ()
        world.advance(timedelta(minutes=1))
        assert (await executor.look(execution)).row.status == "created"


async def test_the_next_look_is_when_a_retry_is_due(database_url: str) -> None:
    async with pulled_world(database_url, retryDelay=7000) as executor:
        await executor.world.launch()
        await executor.fail(await executor.started())
        handed_out = await executor.handed_out()
        assert handed_out.given == ((),)
        assert handed_out.wait is not None
        assert timedelta(seconds=6) < handed_out.wait <= timedelta(seconds=7)


async def test_the_limits_of_the_app_are_for_its_webhook(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        world = executor.world
        limits: dict[str, Any] = {"max_concurrent_calls": 1, "rate_limit": {"calls": 1, "per_secs": 3600}}
        tasks = ({"id": "app_both_pull", "transport": "pull", **ALLOW}, {"id": "app_both_call", **ALLOW})
        await world.install(*tasks, app_id="app_both", **limits)
        for _ in range(3):
            await world.launch("app_both_pull")
        assert len(await executor.poll("app_both_pull", places=9)) == 3
        await world.launch("app_both_call")
        assert len(await ByHand(world).claims()) == 1


async def test_a_concurrency_limit_holds_for_the_task(database_url: str) -> None:
    async with pulled_world(database_url, concurrencyLimit=2) as executor:
        for _ in range(4):
            await executor.world.launch()
        first, _ = await executor.poll(places=9)
        assert await executor.poll() == ()
        await executor.start(first)
        await executor.succeed(first)
        assert len(await executor.poll(places=9)) == 1


async def test_a_full_key_keeps_no_other_key_waiting(database_url: str) -> None:
    path = {"concurrencyLimit": 1, "concurrencyPath": ["params", "customer"]}
    async with pulled_world(database_url, **path) as executor:
        for _ in range(60):
            await executor.world.launch(state={"customer": "busy"})
        for customer in ("a", "b", "b"):
            await executor.world.launch(state={"customer": customer})
        await executor.world.launch(state={})
        taken = sorted(task.params for task in await executor.poll(places=50))
        assert taken == ['{"customer":"a"}', '{"customer":"b"}', '{"customer":"busy"}', "{}"]
        assert await executor.poll(places=50) == ()


@pytest.mark.slow
async def test_a_concurrency_limit_holds_across_nodes(database_url: str) -> None:
    async with pulled_world(database_url, concurrencyLimit=3) as executor:
        for _ in range(30):
            await executor.world.launch()
        async with executor.world.another_database() as database:
            other = replace(executor, world=replace(executor.world, database=database))
            taken = await asyncio.gather(*(one.poll(places=2) for one in (executor, other) * 8))
        assert sum(len(tasks) for tasks in taken) == 3


async def test_no_node_takes_a_pull_claim_away(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        world = executor.world
        await world.launch()
        task = await replace(executor, name=world.node.identity).started()
        world.advance(timedelta(seconds=60))
        await world.database.write(timers.lose_leases, world.node.definitions)
        await world.database.write(timers.void_claims, world.node.definitions)
        await world.database.write(timers.release_unknown, world.node.definitions, world.node.identity, [])
        await world.database.write(lose_silent, world.node.definitions, timedelta(seconds=1))
        assert (await executor.look(task.id)).row.status == "in-progress"
        assert (await executor.succeed(task)).task.row.outcome == "succeeded"


async def test_a_claim_that_was_not_started_is_handed_out_again_with_a_new_id(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        await executor.world.launch()
        first = await executor.one()
        await time_passes(executor.world)
        assert await executor.poll() == ()
        executor.world.advance(timedelta(seconds=10))
        await time_passes(executor.world)
        second = await executor.one()
        assert second.id == first.id
        assert second.exec_id != first.exec_id
        [returned] = await executor.world.calls(first.id)
        assert (returned["outcome"], returned["failure"]) == ("returned", None)
        await executor.start(second)
        assert (await executor.look(first.id)).attempts == 1


async def test_a_silent_executor_costs_an_attempt(database_url: str) -> None:
    async with pulled_world(database_url, allowedRetryCount=1, retryDelay=1000) as executor:
        world = executor.world
        execution = await world.launch()
        for attempt in (1, 2):
            task = await executor.started()
            assert (await executor.look(task.id)).attempts == attempt
            world.advance(timedelta(seconds=120))
            await time_passes(world)
            world.advance(timedelta(seconds=2))
        assert await world.status(execution) == "failed"
        task = await executor.look(execution)
        assert (task.row.status, task.row.outcome, task.attempts) == ("done", "failed", 2)
        reason = task.outcome_reason
        assert reason is not None
        assert reason["type"] == "awf.task/failed-due-to-in-progress-timeout"
        assert [call["outcome"] for call in await world.calls(execution)] == ["failed", "failed"]


async def test_a_restart_gives_every_claim_its_whole_time_again(sqlite_url: str) -> None:
    async with pulled_world(sqlite_url, inProgressTimeout=30_000) as executor:
        world = executor.world
        for _ in range(2):
            await world.launch()
        begun, waiting = await executor.started(), await executor.one()
        world.advance(timedelta(hours=1))
        await world.database.write(pull_timers.begin_anew, world.node.definitions)
        await executor.start(waiting)
        world.advance(timedelta(seconds=29))
        await time_passes(world)
        assert (await executor.succeed(begun)).task.row.outcome == "succeeded"


async def test_the_end_of_a_claim_is_the_next_thing_to_look_for(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        await executor.world.launch()
        await executor.one()
        wait = await executor.world.database.read(timers.next_timer)
        assert wait is not None
        assert timedelta(seconds=9) < wait <= timedelta(seconds=10)


async def test_of_an_app_that_is_called_a_lost_call_is_the_last_attempt(database_url: str) -> None:
    async with running_world(database_url, never, start=False, virtual_time=True) as world:
        await world.install({"delivery": "at_most_once"})
        execution = await world.launch()
        [claim] = await ByHand(world).claims()
        world.advance(timedelta(minutes=1))
        await world.database.write(timers.void_claims, world.node.definitions)
        task = await Executor(world).look(execution)
        assert (task.row.status, task.row.outcome) == ("done", "failed")
        assert (task.row.last_outcome, task.row.last_token) == ("lost", claim.token)
        assert task.exec_id is not None
        assert task.row.updated_at >= to_micros(claim.claimed_at + timedelta(minutes=1))
