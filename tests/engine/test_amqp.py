"""Events at a topic exchange of a real RabbitMQ; and what becomes of them without one."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiormq
import pytest

from orchestrator.domain.errors import Invalid
from orchestrator.service import subscriptions
from orchestrator.service.subscriptions import SubscriptionOrder
from tests.engine.posting import FAILURE, PostOffice, open_post_office
from tests.support.rabbitmq import RabbitMQ, installed, running_rabbitmq
from tests.support.server import free_port
from tests.support.world import WORKSPACE

EXCHANGE = "core.events"
PATIENCE_SECS = 20


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    programs = installed()
    if programs is None:
        pytest.skip("RabbitMQ is not installed")
    with running_rabbitmq(programs) as broker:
        yield broker


@asynccontextmanager
async def listening(broker: RabbitMQ, pattern: str, exchange: str = EXCHANGE) -> AsyncIterator["asyncio.Queue[Any]"]:
    """What a consumer gets whose queue is bound to the exchange with this pattern."""
    connection = await aiormq.connect(f"amqp://guest:guest@127.0.0.1:{broker.port}/")
    try:
        channel = await connection.channel()
        await channel.exchange_declare(exchange=exchange, exchange_type="topic", durable=True)
        queue = str((await channel.queue_declare(exclusive=True)).queue)
        await channel.queue_bind(queue, exchange, routing_key=pattern)
        heard: asyncio.Queue[Any] = asyncio.Queue()

        async def hear(message: Any) -> None:
            heard.put_nowait(message)

        await channel.basic_consume(queue, hear, no_ack=True)
        yield heard
    finally:
        await connection.close()


async def subscribe(
    office: PostOffice, port: int, pattern: str = "#", path: str = "/", user: str = "guest", password: str = "guest"
) -> str:
    order = SubscriptionOrder(WORKSPACE, f"amqp://{user}@127.0.0.1:{port}{path}", pattern, password)
    made, _ = await office.world.database.write(subscriptions.create, office.world.vault, order)
    return made.id


@pytest.mark.slow
async def test_an_event_is_published_with_its_type_as_the_routing_key(database_url: str, rabbitmq: RabbitMQ) -> None:
    async with open_post_office(database_url) as office, listening(rabbitmq, "core.task.*.sync.failure.*") as heard:
        id_ = await subscribe(office, rabbitmq.port)
        await office.events(2)
        await office.events(3, FAILURE, prefix="bad")
        await office.deliver()
        assert await office.statuses(id_) == ["delivered"] * 5
        messages = [await asyncio.wait_for(heard.get(), PATIENCE_SECS) for _ in range(3)]
        assert heard.empty(), "what the queue's pattern leaves out"
        assert sorted(message.header.properties.message_id for message in messages) == [
            f"bad_{WORKSPACE}_{number}" for number in range(3)
        ]
        [(data,)] = await office.world.rows("SELECT DISTINCT data FROM events WHERE type = :type", type=FAILURE)
        first = messages[0]
        assert first.delivery.routing_key == FAILURE
        assert json.loads(first.body) == json.loads(data)
        properties = first.header.properties
        assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
        assert properties.headers["cloudEvents:type"] == FAILURE
        assert properties.headers["cloudEvents:specversion"] == "1.0"
        assert properties.headers["cloudEvents:id"] == properties.message_id


@pytest.mark.slow
async def test_another_exchange_and_what_the_broker_refuses(database_url: str, rabbitmq: RabbitMQ) -> None:
    async with open_post_office(database_url) as office, listening(rabbitmq, "#", "shop.events") as heard:
        sound = await subscribe(office, rabbitmq.port, path="/?exchange=shop.events")
        refused = [
            await subscribe(office, rabbitmq.port, password="wrong"),
            await subscribe(office, rabbitmq.port, path="/no-such-vhost"),
            # It is there, and no topic exchange.
            await subscribe(office, rabbitmq.port, path="/?exchange=amq.direct"),
        ]
        await office.events(1)
        await office.deliver()
        assert await office.statuses(sound) == ["delivered"]
        await asyncio.wait_for(heard.get(), PATIENCE_SECS)
        for id_ in refused:
            [(status, tries, message)] = await office.deliveries(id_)
            assert (status, tries) == ("pending", 1)
            assert f"not published at 127.0.0.1:{rabbitmq.port}: " in str(message)
            assert "wrong" not in str(message)


async def test_a_broker_that_is_away_costs_a_try(sqlite_url: str) -> None:
    async with open_post_office(sqlite_url) as office:
        id_ = await subscribe(office, free_port())
        await office.events(1)
        await office.deliver()
        [(status, tries, message)] = await office.deliveries(id_)
        assert (status, tries) == ("pending", 1)
        assert "cannot connect" in str(message)


async def test_one_that_says_nothing_is_given_up(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with open_post_office(sqlite_url, webhook={"timeout_secs": 1}) as office:
            id_ = await subscribe(office, silent.getsockname()[1])
            await office.events(1)
            await office.deliver()
            [(status, tries, message)] = await office.deliveries(id_)
            assert (status, tries) == ("pending", 1)
            assert "within 1 s" in str(message)


async def test_private_addresses_are_refused_here_too(sqlite_url: str) -> None:
    async with open_post_office(sqlite_url, webhook={"allow_private_addresses": False}) as office:
        id_ = await subscribe(office, free_port())
        await office.events(1)
        await office.deliver()
        [(_, _, message)] = await office.deliveries(id_)
        assert "127.0.0.1 (loopback)" in str(message)


@pytest.mark.parametrize(
    ("url", "secret", "field"),
    [
        ("amqp://127.0.0.1/", "guest", "$.target_url"),
        ("amqp://guest:guest@127.0.0.1/", "guest", "$.target_url"),
        ("amqp://guest@/", "guest", "$.target_url"),
        ("amqp://guest@127.0.0.1:99999/", "guest", "$.target_url"),
        ("amqp://guest@127.0.0.1/", None, "$.secret"),
        ("http://guest@127.0.0.1/", None, "$.target_url"),
    ],
)
async def test_what_is_no_broker_is_refused(sqlite_url: str, url: str, secret: str | None, field: str) -> None:
    async with open_post_office(sqlite_url) as office:
        order = SubscriptionOrder(WORKSPACE, url, "#", secret)
        with pytest.raises(Invalid) as refusal:
            await office.world.database.write(subscriptions.create, office.world.vault, order)
        assert refusal.value.facts["field"] == field
