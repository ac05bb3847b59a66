"""Events get their numbers after their commits, one after the other, and are noted for those who want them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest
import pytest_asyncio

from orchestrator.domain.errors import Invalid, NotFound
from orchestrator.domain.retention import Retention
from orchestrator.engine import publisher
from orchestrator.service import expiring, publishing, subscriptions
from orchestrator.service.subscriptions import SubscriptionOrder
from orchestrator.store import events
from orchestrator.store.events import Range
from tests.engine.posting import FAILURE, SUCCESS, PostOffice, insert_events, open_post_office
from tests.engine.test_purging import prune
from tests.support.world import SECRET, WORKSPACE


@pytest_asyncio.fixture
async def office(database_url: str) -> AsyncIterator[PostOffice]:
    async with open_post_office(database_url) as office:
        yield office


async def test_events_are_numbered_without_gaps_in_the_order_of_their_keys(office: PostOffice) -> None:
    await office.world.database.write(insert_events, publishing.BATCH + 7)
    await office.publish()
    assert await office.numbers() == list(range(1, publishing.BATCH + 8))
    await office.world.database.write(insert_events, 2, prefix="more")
    assert await office.world.database.write(publishing.publish) == publishing.Published(2, 0)
    assert (await office.numbers())[-2:] == [publishing.BATCH + 8, publishing.BATCH + 9]
    assert await office.world.database.read(events.last) == publishing.BATCH + 9


async def test_a_publisher_rests_unless_there_is_much_to_do(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = timedelta(hours=1)
    monkeypatch.setattr(publisher, "REST", rest)
    await office.world.database.write(insert_events, publishing.BATCH + 1)
    tick = office.world.node.publisher.tick
    assert await tick() == timedelta()
    assert await tick() is None
    await office.world.database.write(insert_events, 1, prefix="more")
    wait = await tick()
    assert wait is not None
    assert timedelta() < wait <= rest
    assert (await office.numbers())[-2:] == [publishing.BATCH + 1, None]


async def test_many_who_publish_at_once_give_each_number_once(office: PostOffice) -> None:
    await office.subscribe()
    database = office.world.database
    async with office.world.another_database() as other:

        async def work(side: int) -> int:
            published = 0
            for turn in range(10):
                await (database, other)[side % 2].write(insert_events, 30, prefix=f"evt{side}-{turn}")
                published += (await (other, database)[side % 2].write(publishing.publish)).events
            return published

        published = sum(await asyncio.gather(*(work(side) for side in range(4))))
        published += (await database.write(publishing.publish)).events
    numbers = await office.numbers()
    assert published == 4 * 10 * 30
    assert sorted(number for number in numbers if number is not None) == list(range(1, published + 1))
    assert await office.world.row("SELECT count(*) FROM event_deliveries") == (published,)


async def test_whoever_has_read_a_number_never_sees_a_lower_one_appear(postgres_url: str) -> None:
    async with open_post_office(postgres_url) as office:
        database = office.world.database
        slow = """INSERT INTO events (id, workspace_id, app_pk, type, subject, data, is_follow_up, created_at)
                  VALUES ('slow', 'default', 1, 't', 'slow', '{}', FALSE, 1)"""
        with psycopg.connect(postgres_url) as connection:
            # It has the lower key, and is committed last.
            connection.execute(slow)
            await database.write(insert_events, 1)
            await office.publish()
            heads = await database.read(events.heads, Range(WORKSPACE), 10)
            assert [head.seq for head in heads] == [1]
            connection.commit()
        await office.publish()
        [late] = await database.read(events.heads, Range(WORKSPACE, after=1), 10)
        found = await database.read(events.find, late.pk)
        assert found is not None
        assert (found.seq, found.subject) == (2, "slow")


async def test_events_are_noted_for_the_patterns_of_their_own_workspace(office: PostOffice) -> None:
    every = await office.subscribe("#")
    failures = await office.subscribe("core.task.#.failure.v1")
    paused = await office.subscribe("#")
    deleted = await office.subscribe("#")
    database = office.world.database
    await database.write(subscriptions.pause, WORKSPACE, paused, "by hand")
    await database.write(subscriptions.delete, WORKSPACE, deleted)
    await database.write(insert_events, 2, SUCCESS)
    await database.write(insert_events, 1, FAILURE, prefix="bad")
    await database.write(insert_events, 1, FAILURE, "elsewhere")
    await office.publish()
    assert [len(await office.statuses(id_)) for id_ in (every, failures, paused, deleted)] == [3, 1, 3, 0]
    assert (await office.numbers()) == [1, 2, 3, 4]


async def test_another_pattern_counts_from_now_on(office: PostOffice) -> None:
    id_ = await office.subscribe("core.task.#.failure.v1")
    await office.events(1, SUCCESS)
    await office.world.database.write(subscriptions.set_pattern, WORKSPACE, id_, "#.success.v1")
    await office.events(1, SUCCESS, prefix="later")
    assert len(await office.statuses(id_)) == 1
    with pytest.raises(Invalid):
        await office.world.database.write(subscriptions.set_pattern, WORKSPACE, id_, "a b")


async def test_a_subscription_belongs_to_its_workspace(office: PostOffice) -> None:
    id_ = await office.subscribe()
    with pytest.raises(NotFound):
        await office.world.database.read(subscriptions.get, "elsewhere", id_)


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"target_url": "ftp://example.com"}, "target_url"),
        ({"target_url": "https://user:word@example.com/"}, "target_url"),
        ({"pattern": "core.task*"}, "pattern"),
        ({"secret": "password"}, "secret"),
        ({"secret": "whsec_c2hvcnQ="}, "secret"),
    ],
)
async def test_what_cannot_be_subscribed_is_refused(office: PostOffice, order: dict[str, str], field: str) -> None:
    whole = {"target_url": "https://example.com/events", "pattern": "#", "secret": SECRET, **order}
    wanted = SubscriptionOrder(WORKSPACE, **whole)
    with pytest.raises(Invalid) as refusal:
        await office.world.database.write(subscriptions.create, office.world.vault, wanted)
    assert refusal.value.facts["field"] == f"$.{field}"


async def test_events_go_with_their_deliveries_when_their_time_is_over(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiring, "EVENTS", 2)
    id_ = await office.subscribe()
    await office.events(5)
    office.advance(timedelta(days=31))
    await office.events(1, prefix="new")
    await office.world.database.write(insert_events, 1, prefix="unpublished")
    await prune(office.world, Retention())
    assert len(await office.numbers()) == 7
    await prune(office.world, Retention(events=timedelta(days=30)))
    assert await office.numbers() == [6, None]
    assert len(await office.statuses(id_)) == 1
    office.advance(timedelta(days=31))
    await prune(office.world, Retention(events=timedelta(days=30)))
    assert await office.numbers() == [None], "what is still to be published is never too old"
    await office.publish()
    assert await office.numbers() == [7]


async def test_a_deleted_subscription_goes_with_its_deliveries(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiring, "ROWS", 2)
    gone, kept = await office.subscribe(), await office.subscribe()
    await office.events(5)
    await office.world.database.write(subscriptions.delete, WORKSPACE, gone)
    await prune(office.world, Retention())
    assert await office.world.rows("SELECT id FROM subscriptions") == [(kept,)]
    assert await office.world.row("SELECT count(*) FROM event_deliveries") == (5,)
