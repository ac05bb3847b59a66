"""Who polls is not kept waiting by the queues of others, and gets nothing once its token is revoked."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from orchestrator.engine import pollers
from orchestrator.service import pull_claims, tokens
from orchestrator.service.callback_urls import CallbackUrls
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import hold
from orchestrator.service.pull_claims import HandedOut, Wanted
from orchestrator.service.tokens import Role, TokenOrder
from orchestrator.store.transaction import Transaction
from tests.engine.executors import ALLOW, EVERYTHING, TASK, Executor
from tests.engine.held_back import held_back
from tests.engine.test_pollers import LONG, SELDOM, waits, wanted
from tests.support.fake_app import never
from tests.support.world import WORKSPACE, running_world

OTHER = "app_test_other"
PULL = {"transport": "pull", **ALLOW}


async def test_a_long_queue_that_is_held_up_hides_no_other_task(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_claims, "MOST_AT_ONCE", 2)
    async with running_world(postgres_url, never, start=False) as world:
        await world.install(PULL, {"id": OTHER, **PULL})
        for _ in range(10):
            await world.launch()
        pks = {pk for (pk,) in await world.rows("SELECT pk FROM executions")}
        execution = await world.launch(OTHER)
        asked = [Wanted(EVERYTHING, (TASK,), 1, "first"), Wanted(EVERYTHING, (OTHER,), 1, "second")]
        async with (
            world.another_database() as other,
            held_back(other, hold, world.node.definitions, pks),
        ):
            nothing, [task] = (await Executor(world).hand_out(asked)).given
        assert nothing == ()
        assert task.id == execution


async def test_what_another_node_holds_leaves_as_much_as_was_asked_for(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_claims, "MOST_AT_ONCE", 2)
    async with running_world(postgres_url, never, start=False) as world:
        await world.install(PULL)
        executions = [await world.launch() for _ in range(4)]
        oldest = {await world.pk(execution) for execution in executions[:2]}
        async with (
            world.another_database() as other,
            held_back(other, hold, world.node.definitions, oldest),
        ):
            tasks = await Executor(world).poll(places=2)
        assert [task.id for task in tasks] == executions[2:]


async def test_a_poll_that_outlives_its_token_gets_nothing(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install(PULL)
        await world.launch()
        order = TokenOrder(WORKSPACE, "laptop", Role.EXECUTOR)
        token, _ = await world.database.write(tokens.create, order)
        wanted = Wanted(EVERYTHING, (TASK,), 1, "laptop", token.id)
        await world.database.write(tokens.revoke, WORKSPACE, token.id)
        assert (await Executor(world).hand_out([wanted])).given == ((),)
        lasting, _ = await world.database.write(tokens.create, order)
        [[task]] = (await Executor(world).hand_out([Wanted(EVERYTHING, (TASK,), 1, "laptop", lasting.id)])).given
        assert task.row.status == "requested"


async def test_whoever_found_the_transaction_full_is_seen_to_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_claims, "MOST_AT_ONCE", 2)
    async with running_world(database_url, never, start=False) as world:
        await world.install(PULL)
        for _ in range(4):
            await world.launch()
        asked = [Wanted(EVERYTHING, (TASK,), 2, "first"), Wanted(EVERYTHING, (TASK,), 2, "second")]
        full = await Executor(world).hand_out(asked)
        assert [len(tasks) for tasks in full.given] == [2, 0]
        assert full.wait == timedelta()
        assert (await Executor(world).hand_out(asked[1:])).wait == timedelta()
        nothing = await Executor(world).hand_out(asked)
        assert (nothing.given, nothing.wait) == (((), ()), None)


async def test_all_who_wait_are_served_by_one_transaction(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[list[str]] = []
    is_all_launched = False

    def hand_out(tx: Transaction, known: Definitions, callbacks: CallbackUrls, asked: Sequence[Wanted]) -> HandedOut:
        if not is_all_launched:
            # The look that the polls themselves have asked for may come as late as this.
            return HandedOut(((),) * len(asked), None)
        asked_for.append([one.executor for one in asked])
        return pull_claims.hand_out(tx, known, callbacks, asked)

    monkeypatch.setattr(pollers, "hand_out", hand_out)
    async with running_world(database_url, never, **SELDOM) as world:
        await world.install(PULL)
        names = ["first", "second", "third"]
        waiting = [asyncio.create_task(world.node.pollers.poll(wanted(executor=name), LONG)) for name in names]
        await waits(world.node.pollers, len(waiting))
        executions = [await world.launch(wakes=None) for _ in names]
        is_all_launched = True
        world.node.pollers.wake()
        assert [task.id for tasks in await asyncio.gather(*waiting) for task in tasks] == executions
        assert asked_for[-1] == names
