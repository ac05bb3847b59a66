"""What is being sent when a node dies, drains, or does not learn what became of its commit, is sent by another."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.domain.outcome import FailureKind, NoResponse
from orchestrator.service import event_delivering, subscriptions, timers
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.event_delivering import Sent
from orchestrator.store.clock import to_micros
from orchestrator.store.database import Database
from orchestrator.store.embedded_clock import shift_durations
from tests.engine.posting import PostOffice, open_post_office
from tests.support.fake_app import Received, Reply
from tests.support.world import WORKSPACE


@pytest_asyncio.fixture
async def office(database_url: str) -> AsyncIterator[PostOffice]:
    async with open_post_office(database_url) as office:
        yield office


def fail(request: Received) -> Any:
    return Reply(500, {"error": "no"})


async def test_what_a_node_dies_with_is_sent_by_another(office: PostOffice) -> None:
    id_ = await office.subscribe()
    await office.events()
    taken = await office.world.database.write(event_delivering.take, 8, LeaseTerms("gone", timedelta(seconds=40)))
    assert [event.id for event in taken] == ["evt_default_0"]
    await office.deliver()
    assert office.received == [], "it belongs to the node that has taken it"
    office.advance(timedelta(seconds=41))
    await office.deliver()
    assert await office.deliveries(id_) == [("delivered", 2, None)]


async def failing_since_a_try(office: PostOffice) -> str:
    """A subscription whose first event has failed, and is due again, as the only one that may be sent."""
    id_ = await office.subscribe()
    office.answer = fail
    await office.events(3)
    await office.deliver()
    office.answer = lambda request: {}
    office.subscriber.received.clear()
    office.advance(timedelta(minutes=6))
    return id_


async def taken_by(office: PostOffice, node: str) -> list[Any]:
    terms = LeaseTerms(node, timedelta(seconds=40))
    return await office.world.database.write(event_delivering.take, 8, terms)


@pytest.mark.parametrize("has_failed", [False, True])
async def test_what_the_node_itself_cut_off_is_no_try_and_due_at_once(office: PostOffice, *, has_failed: bool) -> None:
    id_ = await failing_since_a_try(office) if has_failed else await office.subscribe()
    await office.events(prefix="more")
    before, stood = await office.deliveries(id_), await office.subscription(id_)
    cut_off = NoResponse(FailureKind.LOST, "the node is shutting down", sent=True)
    taken = await taken_by(office, "going down")
    assert len(taken) == 1
    await office.world.database.write(event_delivering.record, [Sent(event, cut_off, 0.0) for event in taken])
    assert [tries for _, tries, _ in await office.deliveries(id_)] == [tries for _, tries, _ in before]
    assert (await office.subscription(id_)).failures == stood.failures
    await office.deliver()
    assert await office.statuses(id_) == ["delivered"] * len(before)


@pytest.mark.parametrize("has_failed", [False, True])
async def test_a_boot_of_the_only_server_takes_up_what_was_being_sent(office: PostOffice, *, has_failed: bool) -> None:
    id_ = await failing_since_a_try(office) if has_failed else await office.subscribe()
    await office.events(prefix="more")
    before = await office.deliveries(id_)
    assert len(await taken_by(office, "the one before")) == 1
    await office.world.database.write(timers.void_claims, office.world.node.definitions)
    assert [tries for _, tries, _ in await office.deliveries(id_)] == [tries for _, tries, _ in before]
    await office.deliver()
    assert await office.statuses(id_) == ["delivered"] * len(before)


async def test_the_clock_of_the_only_server_takes_the_leases_with_it(sqlite_url: str) -> None:
    async with open_post_office(sqlite_url) as office:
        id_ = await failing_since_a_try(office)
        [event] = await taken_by(office, "gone")
        hour = timedelta(hours=1)
        await office.world.database.write(shift_durations, -hour)
        micros = hour // timedelta(microseconds=1)
        columns = "(SELECT max(due_at) FROM event_deliveries WHERE node IS NOT NULL), retry_at"
        assert await office.world.row(f"SELECT {columns} FROM subscriptions") == (event.lease_until - micros,) * 2
        assert (await office.subscription(id_)).id == id_


@pytest.mark.parametrize("has_failed", [False, True])
async def test_a_take_whose_outcome_is_unknown_is_read_back(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch, *, has_failed: bool
) -> None:
    id_ = await failing_since_a_try(office) if has_failed else await office.subscribe()
    await office.events(prefix="more")
    before = await office.deliveries(id_)
    elsewhere = await taken_by(office, "another node") if not has_failed else []
    await office.events(prefix="new")
    deliverer, write, lost = office.world.node.event_deliverer, Database.write, list[Any]()

    async def disturbed(database: Database, work: Any, *args: Any) -> Any:
        result = await write(database, work, *args)
        if work is event_delivering.take and not lost:
            lost.append(result)
            raise DatabaseUnavailable("the connection was lost, says the test")
        return result

    monkeypatch.setattr(Database, "write", disturbed)
    with pytest.raises(DatabaseUnavailable):
        await deliverer.tick()
    assert len(lost[0]) == 1
    await office.deliver()
    statuses = await office.statuses(id_)
    assert statuses.count("pending") == len(elsewhere), "what another node sends is left to it"
    assert statuses.count("delivered") == len(before) + 1 - len(elsewhere)
    assert lost[0][0].id in office.received


async def test_whoever_is_back_is_told_of_everything_but_what_is_under_way(office: PostOffice) -> None:
    id_ = await failing_since_a_try(office)
    office.answer = fail
    await office.deliver()
    waits = await office.world.rows("SELECT due_at FROM event_deliveries WHERE status = 'pending'")
    now = to_micros(await office.world.database.read(lambda tx: tx.now()))
    assert any(due_at > now for (due_at,) in waits), "put off by minutes"
    office.answer = lambda request: {}
    await office.world.database.write(subscriptions.pause, WORKSPACE, id_, "for a while")
    await office.world.database.write(subscriptions.resume, WORKSPACE, id_)
    under_way = await taken_by(office, "another node")
    await office.events(prefix="more")
    await office.world.database.write(subscriptions.resume, WORKSPACE, id_)
    await office.deliver()
    assert len(under_way) == 3
    assert await office.statuses(id_) == ["pending"] * 3 + ["delivered"]


async def test_two_nodes_share_the_deliveries(office: PostOffice) -> None:
    id_ = await office.subscribe()
    await office.events(60)
    async with office.world.another_node(start=False) as other:
        deliverers = (office.world.node.event_deliverer, other.event_deliverer)
        while any([await one.tick() == timedelta() for one in deliverers]):
            for one in deliverers:
                assert await one.drained(timedelta(seconds=20))
    assert await office.statuses(id_) == ["delivered"] * 60
    assert len(office.received) == len(set(office.received)) == 60
