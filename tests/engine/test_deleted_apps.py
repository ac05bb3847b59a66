"""An app is deleted while executions of it begin: it goes, or they run; never does one wait for an app that is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from app_sdk.protocol.manifest import read_manifest
from orchestrator.domain.errors import Conflict, NotFound
from orchestrator.runtime.identifiers import new_id
from orchestrator.service import apps, ending, launching, scheduling
from orchestrator.service.launching import LaunchOrder
from orchestrator.store import lookups
from orchestrator.store.database import Database
from orchestrator.store.transaction import Transaction
from tests.engine.held_back import held_back, waits_for_a_lock
from tests.support.fake_app import never
from tests.support.world import WORKSPACE, World, running_world

Begin = Callable[[World, Database], Any]


def begin(world: World) -> dict[str, tuple[Any, ...]]:
    """The ways in which an execution begins: a use case with its arguments."""

    def launch(tx: Transaction, task_id: str) -> object:
        task = lookups.task_key(tx, WORKSPACE, task_id)
        assert task is not None
        order = LaunchOrder(WORKSPACE, task.app_pk, task.pk, task.version_pk)
        return launching.launch(tx, world.node.definitions, order, new_id)

    def slot(tx: Transaction) -> object:
        [task_pk] = scheduling.due_tasks(tx)
        return scheduling.launch_due(tx, world.node.definitions, task_pk, new_id)

    return {
        "launch": (launch, "app_test_allow"),
        "launch in its turn": (launch, "app_test_discard"),
        "slot": (slot,),
        "retry": (ending.retry, world.node.definitions, WORKSPACE, "failed"),
    }


WAYS = ("launch", "launch in its turn", "slot", "retry")


async def install(world: World) -> None:
    """An app with nothing live: an aborted execution, and a slot that is due."""
    await world.install(
        {"id": "app_test_allow", "on_multiple_exec": "allow"},
        {"id": "app_test_discard", "on_multiple_exec": "discard_new"},
        {"id": "app_test_slots", "on_multiple_exec": "allow", "schedule": {"interval_secs": 60}},
    )
    await world.launch("app_test_allow", id="failed")
    await world.abort("failed")
    assert world.clock is not None
    world.clock.shift += scheduling.GRACE


async def live(world: World) -> list[str]:
    return [id_ for (id_,) in await world.rows("SELECT id FROM executions WHERE status IN ('pending', 'running')")]


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with running_world(database_url, never, start=False, virtual_time=True) as world:
        await install(world)
        yield world


async def test_an_execution_of_a_deleted_app_is_not_retried(world: World) -> None:
    await world.database.write(apps.delete, WORKSPACE, "app_test")
    with pytest.raises(Conflict, match="deleted"):
        await world.retry("failed")
    assert await world.status("failed") == "aborted"


async def test_nothing_is_launched_for_an_app_that_was_deleted_since_it_was_looked_up(world: World) -> None:
    task = await world.database.read(lookups.task_key, WORKSPACE, "app_test_allow")
    assert task is not None
    await world.database.write(apps.delete, WORKSPACE, "app_test")
    order = LaunchOrder(WORKSPACE, task.app_pk, task.pk, task.version_pk)
    with pytest.raises(Conflict, match="deleted"):
        await world.database.write(launching.launch, world.node.definitions, order, new_id)
    assert await live(world) == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_deletion_that_meets_a_beginning_is_refused(postgres_url: str, way: str) -> None:
    async with running_world(postgres_url, never, start=False, virtual_time=True) as world:
        await install(world)
        async with world.another_database() as other, held_back(other, *begin(world)[way]) as beginning:
            deletion = asyncio.create_task(world.database.write(apps.delete, WORKSPACE, "app_test"))
            await waits_for_a_lock(world)
            await beginning.commit()
            with pytest.raises(Conflict, match="live executions"):
                await deletion
        assert len(await live(world)) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_beginning_that_meets_a_deletion_is_refused(postgres_url: str, way: str) -> None:
    async with running_world(postgres_url, never, start=False, virtual_time=True) as world:
        await install(world)
        work, *args = begin(world)[way]
        async with world.another_database() as other, held_back(other, apps.delete, WORKSPACE, "app_test") as deletion:
            if way == "slot":
                # A node does not wait for a schedule that somebody holds.
                assert await world.database.write(work, *args) is scheduling.Turn.NOTHING
                await deletion.commit()
            else:
                beginning = asyncio.create_task(world.database.write(work, *args))
                await waits_for_a_lock(world)
                await deletion.commit()
                with pytest.raises(Conflict, match="deleted"):
                    await beginning
        assert await live(world) == []


async def test_a_manifest_that_meets_a_deletion_is_refused(postgres_url: str) -> None:
    """Else its tasks would stand in the way of those of an app that is installed anew."""
    async with running_world(postgres_url, never, start=False, virtual_time=True) as world:
        await install(world)
        manifest = read_manifest({"id": "app_test", "name": "Test", "webhook_endpoint": world.app.url, "tasks": []})
        async with world.another_database() as other, held_back(other, apps.delete, WORKSPACE, "app_test") as deletion:
            update = asyncio.create_task(world.database.write(apps.update, WORKSPACE, "app_test", manifest))
            await waits_for_a_lock(world)
            await deletion.commit()
            with pytest.raises(NotFound):
                await update
        await world.install({"id": "app_test_allow"})


async def test_one_of_two_deletions_finds_nothing(postgres_url: str) -> None:
    async with running_world(postgres_url, never, start=False, virtual_time=True) as world:
        await install(world)
        async with world.another_database() as other, held_back(other, apps.delete, WORKSPACE, "app_test") as first:
            second = asyncio.create_task(world.database.write(apps.delete, WORKSPACE, "app_test"))
            await waits_for_a_lock(world)
            await first.commit()
            with pytest.raises(NotFound):
                await second
