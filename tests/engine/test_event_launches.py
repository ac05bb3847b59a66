"""Tasks that events launch: once for each, with the event as their input, and never in a circle."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from app_sdk.protocol.limits import Limits
from app_sdk.protocol.manifest import ManifestError, read_manifest
from orchestrator.domain.errors import Conflict
from orchestrator.domain.states import AppStatus
from orchestrator.runtime.identifiers import new_id
from orchestrator.service import apps, event_delivering, event_launching, subscriptions, tasks
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.paging import Page
from tests.engine.posting import FAILURE, PostOffice, insert_events, open_post_office
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World, running_world

FAILURES = "core.task.#.failure.v1"
FOLLOWER = {"id": "app_test_follow", "on_multiple_exec": "allow", "on_events": [FAILURES]}
LEASE = timedelta(seconds=40)


@pytest_asyncio.fixture
async def office(database_url: str) -> AsyncIterator[PostOffice]:
    async with open_post_office(database_url) as office:
        await update(office, FOLLOWER)
        yield office


async def update(office: PostOffice, *more: dict[str, Any]) -> None:
    """The app's tasks from now on."""
    entries = [{"id": "app_test_run", "name": "Run"}, *({"name": "More", **one} for one in more)]
    manifest = {"id": "app_test", "name": "Test", "webhook_endpoint": office.world.app.url, "tasks": entries}
    await office.world.database.write(apps.update, WORKSPACE, "app_test", read_manifest(manifest))


async def launched(world: World) -> list[dict[str, Any]]:
    """(input, by what) of each execution of the follower."""
    rows = await world.rows(
        """SELECT d.input, d.launched_by FROM executions e JOIN execution_details d ON d.execution_pk = e.pk
             JOIN task_definitions t ON t.pk = e.task_pk WHERE t.id = 'app_test_follow' ORDER BY e.pk"""
    )
    return [{"input": json.loads(given), "by": json.loads(by)} for given, by in rows]


async def only_subscription(office: PostOffice) -> str:
    [found] = (await office.world.database.read(subscriptions.listed, WORKSPACE, Page())).entries
    assert (found.kind, found.task_id, found.pattern) == ("task", "app_test_follow", FAILURES)
    return found.id


async def test_an_event_launches_the_task_with_itself_as_the_input(office: PostOffice) -> None:
    await office.events(1)
    await office.events(1, FAILURE, prefix="bad")
    await office.deliver()
    [one] = await launched(office.world)
    assert one["by"] == {"event": "bad_default_0", "type": FAILURE}
    assert one["input"].pop("time").endswith("Z")
    assert one["input"] == {
        "specversion": "1.0",
        "id": "bad_default_0",
        "source": "urn:orchestrator:workspace:default",
        "type": FAILURE,
        "subject": "bad-0",
        "datacontenttype": "application/json",
        "sequence": "2",
        "data": {"n": 1},
    }
    assert await office.deliveries(await only_subscription(office)) == [("delivered", 1, None)]
    await office.deliver()
    assert len(await launched(office.world)) == 1


async def test_whoever_takes_over_does_not_launch_a_second_time(office: PostOffice) -> None:
    await office.events(1, FAILURE)
    database, definitions = office.world.database, office.world.node.definitions
    [first] = await database.write(event_delivering.take, 8, LeaseTerms("by hand", LEASE))
    office.advance(LEASE + timedelta(seconds=1))
    [second] = await database.write(event_delivering.take, 8, LeaseTerms("by hand", LEASE))
    for event in (first, second, second):
        await database.write(event_launching.launch_for, definitions, event, Limits(), new_id)
        assert len(await launched(office.world)) == (0 if event is first else 1)


async def test_a_launch_that_fails_leaves_the_event_to_be_tried_again(office: PostOffice) -> None:
    await office.world.database.write(apps.set_status, WORKSPACE, "app_test", AppStatus.STOPPED)
    await office.events(1, FAILURE)
    await office.deliver()
    id_ = await only_subscription(office)
    assert await office.deliveries(id_) == [("pending", 1, "try 1: not launched: app app_test is stopped")]
    await office.world.database.write(apps.set_status, WORKSPACE, "app_test", AppStatus.ACTIVE)
    await office.world.database.write(tasks.set_paused, WORKSPACE, "app_test_follow", paused=True)
    await office.pass_time(3 / 24 / 60)
    assert (await office.deliveries(id_))[0][2] == "try 2: not launched: task app_test_follow is paused"
    await office.world.database.write(tasks.set_paused, WORKSPACE, "app_test_follow", paused=False)
    await office.pass_time(40 / 24 / 60)
    assert await office.deliveries(id_) == [("delivered", 3, None)]
    assert len(await launched(office.world)) == 1


async def test_an_event_that_no_state_can_hold_is_no_input(database_url: str) -> None:
    async with open_post_office(database_url, limits={"worker_state_bytes": 1024}) as office:
        await update(office, FOLLOWER)
        large = json.dumps({"result": "x" * 1024})
        await office.world.database.write(insert_events, 1, FAILURE, data=large)
        await office.publish()
        await office.deliver()
        [(status, _, message)] = await office.deliveries(await only_subscription(office))
        assert status == "pending"
        assert message is not None
        assert "a state has 1,024 at most" in message


async def test_where_only_one_may_run_the_others_wait_for_it(office: PostOffice) -> None:
    await update(office, {**FOLLOWER, "on_multiple_exec": "discard_new"})
    await office.events(2, FAILURE)
    await office.deliver()
    id_ = await only_subscription(office)
    assert sorted(await office.statuses(id_)) == ["delivered", "pending"]
    (execution,) = await office.world.row("SELECT e.id FROM executions e WHERE e.status = 'running'")
    await office.world.abort(execution)
    await office.pass_time(6 / 24 / 60)
    assert await office.statuses(id_) == ["delivered"] * 2
    assert len(await launched(office.world)) == 2


async def test_the_manifest_decides_which_events(office: PostOffice) -> None:
    id_ = await only_subscription(office)
    with pytest.raises(Conflict, match="change on_events in the manifest"):
        await office.world.database.write(subscriptions.delete, WORKSPACE, id_)
    with pytest.raises(Conflict, match="change on_events in the manifest"):
        await office.world.database.write(subscriptions.set_pattern, WORKSPACE, id_, "#")
    await update(office, FOLLOWER)
    assert await only_subscription(office) == id_, "what stays is the same"
    await update(office, {**FOLLOWER, "on_events": ["core.task.a.#", "core.task.b.#"]})
    found = (await office.world.database.read(subscriptions.listed, WORKSPACE, Page())).entries
    assert sorted(one.pattern for one in found) == ["core.task.a.#", "core.task.b.#"]
    await update(office)
    await office.events(1, FAILURE)
    assert (await office.world.database.read(subscriptions.listed, WORKSPACE, Page())).entries == []
    assert await office.world.row("SELECT count(*) FROM event_deliveries") == (0,)


def test_a_pattern_that_is_none_is_refused_with_the_manifest() -> None:
    task = {"id": "app_test_run", "name": "Run", "on_events": ["core.task.#", "core.task*"]}
    with pytest.raises(ManifestError) as refusal:
        read_manifest({"id": "app_test", "name": "Test", "webhook_endpoint": "https://a.example/", "tasks": [task]})
    [(path, problem)] = refusal.value.problems
    assert path == "$.tasks[0].on_events[1]"
    assert "'task*' is no word of a pattern" in problem


async def test_a_task_that_follows_every_end_does_not_run_for_ever(database_url: str) -> None:
    async with running_world(database_url, lambda request: {"is_done": True}) as world:
        await world.install({}, {"id": "app_test_follow", "on_multiple_exec": "allow", "on_events": ["#"]})
        assert await world.ended(await world.launch()) == "succeeded"
        assert await world.ended(await world.launch()) == "succeeded"

        async def all_told() -> bool:
            told = await world.rows("SELECT is_follow_up FROM events WHERE seq IS NOT NULL")
            return len(told) == 4

        await eventually(all_told, "the events of the two, and of the two that they have launched")
        told = await world.rows("SELECT is_follow_up FROM events ORDER BY pk")
        assert sorted(bool(is_follow_up) for (is_follow_up,) in told) == [False, False, True, True]
        assert await world.row("SELECT count(*) FROM event_deliveries") == (2,)
        inputs = {one["input"]["data"]["task"] for one in await launched(world)}
        assert inputs == {"app_test_run"}
