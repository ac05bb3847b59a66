"""Events reach their subscribers signed and at least once, whatever becomes of these in the meantime."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook, WebhookVerificationError

from app_sdk.protocol import signing
from orchestrator.service import subscriptions
from tests.engine.posting import PostOffice, open_post_office
from tests.support.fake_app import Received, Reply, running_app
from tests.support.waiting import eventually
from tests.support.world import SECRET, WORKSPACE, running_world


@pytest_asyncio.fixture
async def office(database_url: str) -> AsyncIterator[PostOffice]:
    async with open_post_office(database_url) as office:
        yield office


def fail(request: Received) -> Any:
    return Reply(500, {"error": "no"})


async def test_an_end_reaches_whoever_wants_it_signed_and_as_a_cloud_event(database_url: str) -> None:
    output = {"text": "ä", "n": 1}
    task = {"aliases": ["shop.sync"]}
    async with (
        running_app(lambda request: {}) as subscriber,
        running_world(database_url, lambda request: {"is_done": True, "output": output}) as world,
    ):
        await world.install(task)
        await PostOffice(world, subscriber).subscribe("core.task.shop.*.success.v1")
        execution = await world.launch(id="größe 1")

        async def first() -> Received | None:
            return next(iter(subscriber.received), None)

        request = await eventually(first, "the event")
        (uid,) = await world.row("SELECT uid FROM executions")
    assert json.loads(request.body) == {
        "id": execution,
        "attempt": 1,
        "task": "shop.sync",
        "application": "app_test",
        "status": "SUCCESS",
        "result": output,
        "error": None,
        "message": None,
    }
    known = {name: value for name, value in request.headers.items() if name.startswith("ce-")}
    assert known.pop("ce-time").endswith("Z")
    assert known == {
        "ce-specversion": "1.0",
        "ce-id": f"evt_{uid}_1",
        "ce-source": "urn:orchestrator:workspace:default",
        "ce-type": "core.task.shop.sync.success.v1",
        "ce-subject": "gr%C3%B6%C3%9Fe%201",
        "ce-sequence": "1",
    }
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == f"evt_{uid}_1"
    Webhook(SECRET).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.generate_secret()).verify(request.body, request.headers)


async def test_a_try_that_fails_is_made_again_with_the_same_id(office: PostOffice) -> None:
    id_ = await office.subscribe()
    office.answer = fail
    await office.events()
    await office.deliver()
    assert await office.deliveries(id_) == [("pending", 1, 'try 1: HTTP 500: {"error": "no"}')]
    await office.deliver()
    assert len(office.received) == 1, "not before its time"
    office.answer = lambda request: Reply(204, b"")
    office.advance(timedelta(seconds=6))
    await office.deliver()
    assert await office.deliveries(id_) == [("delivered", 2, None)]
    first, second = office.subscriber.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    office.advance(timedelta(days=2))
    await office.deliver()
    assert len(office.received) == 2


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
async def test_only_2xx_is_a_success(office: PostOffice, status: int) -> None:
    id_ = await office.subscribe()
    office.answer = lambda request: Reply(status, {}, {"Location": office.subscriber.url} if status == 301 else {})
    await office.events()
    await office.deliver()
    assert await office.statuses(id_) == ["pending"]
    assert len(office.received) == 1, "a redirect is not followed"


async def test_the_wait_that_a_subscriber_asks_for_is_kept(office: PostOffice) -> None:
    await office.subscribe()
    office.answer = lambda request: Reply(503, {}, {"Retry-After": "3600"})
    await office.events(2)
    await office.deliver()
    seen = len(office.received)
    await office.events(1, prefix="new")
    await office.pass_time(59 / 24 / 60)
    assert len(office.received) == seen
    office.answer = lambda request: {}
    office.advance(timedelta(minutes=2))
    await office.deliver()
    assert len(set(office.received)) == 3


async def test_an_endpoint_that_is_gone_hears_nothing_more(office: PostOffice) -> None:
    id_ = await office.subscribe()
    office.answer = lambda request: Reply(410, {})
    await office.events()
    await office.deliver()
    found = await office.subscription(id_)
    assert (found.status, found.status_reason) == ("disabled", "the endpoint says that it is gone: HTTP 410: {}")
    await office.events(1, prefix="later")
    office.advance(timedelta(days=2))
    await office.deliver()
    assert (len(office.received), await office.statuses(id_)) == (1, ["pending"])
    office.answer = lambda request: {}
    await office.world.database.write(subscriptions.resume, WORKSPACE, id_)
    await office.deliver()
    assert await office.statuses(id_) == ["delivered"]


async def test_one_that_is_back_after_a_day_is_told_everything_soon(office: PostOffice) -> None:
    id_ = await office.subscribe()
    office.answer = fail
    await office.events(12)
    await office.pass_time(1, timedelta(minutes=5))
    await office.events(3, prefix="meanwhile")
    office.answer = lambda request: {}
    await office.pass_time(0.5 / 24, timedelta(minutes=5))
    assert await office.statuses(id_) == ["delivered"] * 15


async def test_one_that_is_down_for_days_is_paused_and_told_everything_later(office: PostOffice) -> None:
    id_ = await office.subscribe()
    office.answer = fail
    for hour in range(12):
        await office.events(1, prefix=f"hour{hour}")
        await office.pass_time(1 / 24, timedelta(minutes=10))
    await office.pass_time(2.4, timedelta(minutes=30))
    found = await office.subscription(id_)
    assert (found.status, found.failures > 50) == ("active", True)
    await office.pass_time(1, timedelta(minutes=30))
    found = await office.subscription(id_)
    assert found.status == "paused"
    assert found.status_reason is not None
    assert found.status_reason.startswith("nothing was delivered since ")
    assert found.status_reason.endswith('the last try: HTTP 500: {"error": "no"}')

    tried = len(office.received)
    office.answer = lambda request: {}
    await office.events(10, prefix="meanwhile")
    await office.pass_time(0.5, timedelta(hours=1))
    assert len(office.received) == tried
    await office.world.database.write(subscriptions.resume, WORKSPACE, id_)
    await office.deliver()
    assert await office.statuses(id_) == ["delivered"] * 22
    found = await office.subscription(id_)
    assert (found.status, found.status_reason, found.failures, found.failing_since) == ("active", None, 0, None)


async def test_an_event_that_nobody_can_digest_holds_up_no_other(office: PostOffice) -> None:
    id_ = await office.subscribe()
    office.answer = lambda request: Reply(400) if request.headers["webhook-id"] == "evt_default_0" else {}
    await office.events(3)
    for day in range(5):
        await office.pass_time(1, timedelta(minutes=30))
        await office.events(1, prefix=f"day{day}")
    await office.deliver()
    rows = await office.deliveries(id_)
    assert rows[0] == ("failed", 10, "try 10: HTTP 400: {}")
    assert [status for status, _, _ in rows[1:]] == ["delivered"] * 7
    assert (await office.subscription(id_)).status == "active"

    office.answer = lambda request: {}
    assert (await office.replay(id_, only_failed=True)).deliveries == 1
    await office.deliver()
    assert (await office.deliveries(id_))[0] == ("delivered", 1, None)


async def test_whoever_hangs_does_not_keep_the_others_waiting(database_url: str) -> None:
    settings = {"engine": {"event_concurrency": 2}, "webhook": {"timeout_secs": 0.2}}
    async with open_post_office(database_url, **settings) as office:

        async def hang(request: Received) -> Any:
            if request.path == "/hang":
                await asyncio.Event().wait()
            return {}

        office.answer = hang
        base = office.subscriber.url.rpartition("/")[0]
        stuck = [await office.subscribe(url=f"{base}/hang") for _ in range(3)]
        await office.events(40)
        well = await office.subscribe()
        await office.events(40, prefix="new")
        for _ in range(8):
            await office.world.node.event_deliverer.tick()
            await office.world.node.event_deliverer.drained(timedelta(seconds=20))
        # All of them have shown by now what they are like: they are asked by one event, and not yet again.
        await office.deliver()
        assert await office.statuses(well) == ["delivered"] * 40
        for id_ in stuck:
            assert set(await office.statuses(id_)) == {"pending"}
            assert sum(tries for _, tries, _ in await office.deliveries(id_)) <= 4


async def test_what_is_published_is_sent_though_everybody_crashed_in_between(database_url: str) -> None:
    async with open_post_office(database_url) as office:
        id_ = await office.subscribe()
        execution = await office.world.launch(wakes=None)
        await office.world.abort(execution)
        # Nobody was told, and the process is gone: the next one finds it.
        async with office.world.another_node(start=False) as node:
            await office.publish(node)
            await office.deliver(node)
        assert await office.statuses(id_) == ["delivered"]
        assert json.loads(office.subscriber.received[0].body)["id"] == execution


async def test_a_replay_sends_again_what_matches(office: PostOffice) -> None:
    id_ = await office.subscribe("#.success.v1")
    await office.events(3)
    await office.events(2, "core.task.shop.sync.failure.v1", prefix="bad")
    await office.deliver()
    office.subscriber.received.clear()
    office.advance(timedelta(hours=1))
    now = await office.world.database.read(lambda tx: tx.now())
    await office.events(2, prefix="new")
    await office.deliver()
    assert office.received == ["new_default_0", "new_default_1"]
    office.subscriber.received.clear()

    assert await office.replay(id_, after=1, until=now) == subscriptions.Replayed(2, None)
    await office.deliver()
    assert sorted(office.received) == ["evt_default_1", "evt_default_2"]
    assert (await office.replay(id_, since=now)).deliveries == 2
    assert (await office.replay(id_, only_failed=True)).deliveries == 0
    late = await office.subscribe()
    assert (await office.replay(late)).deliveries == 7, "also what was before its time"


async def test_a_replay_goes_on_where_one_transaction_would_be_too_long(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "REPLAYED", 2)
    await office.events(5)
    id_ = await office.subscribe()
    found = [await office.replay(id_), await office.replay(id_, after=2), await office.replay(id_, after=4)]
    assert [(one.deliveries, one.next_after) for one in found] == [(2, 2), (2, 4), (1, None)]


async def test_a_private_address_is_refused_where_apps_may_have_none(sqlite_url: str) -> None:
    async with open_post_office(sqlite_url, webhook={"allow_private_addresses": False}) as office:
        id_ = await office.subscribe()
        await office.events()
        await office.deliver()
        [(status, tries, message)] = await office.deliveries(id_)
        assert (status, tries, office.received) == ("pending", 1, [])
        assert message is not None
        assert "127.0.0.1" in message
