"""Events and their subscribers, by hand: a node whose loops are ticked one by one, in a time of its own."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from orchestrator.runtime.node import Node
from orchestrator.service import publishing, subscriptions
from orchestrator.service.subscriptions import Replay, Replayed, SubscriptionOrder
from orchestrator.store.clock import to_micros
from orchestrator.store.subscriptions import SubscriptionView
from orchestrator.store.transaction import Transaction
from tests.support.fake_app import FakeApp, Handler, Received, running_app
from tests.support.world import SECRET, WORKSPACE, World, running_world

_INSERT = """
INSERT INTO events (id, workspace_id, app_pk, type, subject, data, is_follow_up, created_at)
VALUES (:id, :workspace_id, 1, :type, :subject, :data, FALSE, :now)"""
SUCCESS = "core.task.shop.sync.success.v1"
FAILURE = "core.task.shop.sync.failure.v1"


def insert_events(
    tx: Transaction,
    count: int,
    type_: str = SUCCESS,
    workspace_id: str = WORKSPACE,
    prefix: str = "evt",
    data: str = '{"n":1}',
) -> None:
    """Events that are committed, and not published."""
    row = {"workspace_id": workspace_id, "type": type_, "data": data, "now": to_micros(tx.now())}
    tx.run_many(
        _INSERT,
        [{**row, "id": f"{prefix}_{workspace_id}_{n}", "subject": f"{prefix}-{n}"} for n in range(count)],
    )


@dataclass(slots=True)
class PostOffice:
    """A world with a subscriber, which answers with `answer`; nothing happens but by `publish` and `deliver`."""

    world: World
    subscriber: FakeApp
    answer: Handler = field(default=lambda request: {})

    @property
    def received(self) -> list[str]:
        """The ids of the events that came, in their order."""
        return [request.headers["webhook-id"] for request in self.subscriber.received]

    async def subscribe(self, pattern: str = "#", url: str | None = None, secret: str | None = SECRET) -> str:
        order = SubscriptionOrder(WORKSPACE, url or self.subscriber.url, pattern, secret)
        made, _ = await self.world.database.write(subscriptions.create, self.world.vault, order)
        return made.id

    async def subscription(self, id_: str) -> SubscriptionView:
        return await self.world.database.read(subscriptions.get, WORKSPACE, id_)

    async def events(self, count: int = 1, type_: str = SUCCESS, prefix: str = "evt") -> None:
        """Some ends of executions, published."""
        await self.world.database.write(insert_events, count, type_, prefix=prefix)
        await self.publish()

    async def publish(self, node: Node | None = None) -> None:
        while await self.world.database.read(publishing.is_due):
            await (node or self.world.node).publisher.tick()

    async def deliver(self, node: Node | None = None) -> None:
        """Send what is due now, and nothing that becomes due by it."""
        deliverer = (node or self.world.node).event_deliverer
        while await deliverer.tick() == timedelta():
            assert await deliverer.drained(timedelta(seconds=20))

    async def pass_time(self, days: float, step: timedelta = timedelta(minutes=1)) -> None:
        """Let time pass, and send what becomes due."""
        end = await self.world.database.read(lambda tx: tx.now()) + timedelta(days=days)
        while await self.world.database.read(lambda tx: tx.now()) < end:
            self.advance(step)
            await self.deliver()

    def advance(self, by: timedelta) -> None:
        self.world.advance(by)

    async def deliveries(self, id_: str) -> list[tuple[str, int, str | None]]:
        """(status, tries, message) of each event of the subscription, in the order of their numbers."""
        rows = await self.world.rows(
            """SELECT d.status, d.tries, d.message FROM event_deliveries d JOIN events e ON e.pk = d.event_pk
                 JOIN subscriptions s ON s.pk = d.subscription_pk WHERE s.id = :id ORDER BY e.seq""",
            id=id_,
        )
        return [(status, tries, message) for status, tries, message in rows]

    async def statuses(self, id_: str) -> list[str]:
        return [status for status, _, _ in await self.deliveries(id_)]

    async def replay(self, id_: str, **wanted: Any) -> Replayed:
        return await self.world.database.write(subscriptions.replay, WORKSPACE, id_, Replay(**wanted))

    async def numbers(self) -> Sequence[int | None]:
        """The numbers of the events, in the order of their keys."""
        return [seq for (seq,) in await self.world.rows("SELECT seq FROM events ORDER BY pk")]


@asynccontextmanager
async def open_post_office(url: str, **settings: Any) -> AsyncIterator[PostOffice]:
    """A post office in a world of its own."""

    def answer(request: Received) -> Any:
        return office.answer(request)

    def never(request: Received) -> Any:
        raise AssertionError("no app is called in this test")

    async with (
        running_app(answer) as subscriber,
        running_world(url, never, start=False, virtual_time=True, **settings) as world,
    ):
        await world.install()
        office = PostOffice(world, subscriber)
        yield office


async def published(world: World, execution_id: str) -> list[tuple[str, Any]]:
    """The type and the data of each event of the execution, in their order; what is beside them fits."""
    rows = await world.rows(
        """SELECT v.id, v.type, v.data, v.seq, v.workspace_id = e.workspace_id, v.app_pk = e.app_pk, e.uid
             FROM events v JOIN executions e ON e.id = v.subject WHERE e.id = :id ORDER BY v.pk""",
        id=execution_id,
    )
    for id_, _, data, seq, *is_same, uid in rows:
        assert (id_, seq) == (f"evt_{uid}_{json.loads(data)['attempt']}", None)
        assert all(is_same)
    return [(type_, json.loads(data)) for _, type_, data, *_ in rows]
