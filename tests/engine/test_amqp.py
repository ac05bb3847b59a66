"""Events at a topic exchange of a real RabbitMQ; and what becomes of them without one."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiormq
import pytest

from orchestrator.domain.errors import Invalid
from orchestrator.domain.outcome import FailureKind, NoResponse
from orchestrator.engine.amqp import AmqpSender, Terms
from orchestrator.engine.caller import CallerOptions, open_dialer
from orchestrator.service import event_delivering, subscriptions
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.subscriptions import SubscriptionOrder
from tests.engine.posting import FAILURE, PostOffice, open_post_office
from tests.support.ports import free_port
from tests.support.rabbitmq import RabbitMQ, installed, running_rabbitmq
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


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[int, "asyncio.Queue[None]"]]:
    """One that accepts and says nothing: its port, and an entry for each connection."""
    accepted: asyncio.Queue[None] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(None)
        with contextlib.suppress(ConnectionError):
            while await reader.read(100):
                pass
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], accepted


async def test_after_a_silence_the_next_try_has_a_connection_of_its_own(sqlite_url: str) -> None:
    async with (
        silent_server() as (port, accepted),
        open_post_office(sqlite_url, webhook={"timeout_secs": 0.3}) as office,
    ):
        id_ = await subscribe(office, port)
        await office.events(1)
        for tries in (1, 2):
            await office.deliver()
            [(status, tried, message)] = await office.deliveries(id_)
            assert (status, tried) == ("pending", tries)
            assert "within 0.3 s" in str(message)
            office.advance(timedelta(minutes=10))
        assert accepted.qsize() == 2


async def test_what_is_under_way_at_the_close_is_lost_and_no_try(sqlite_url: str) -> None:
    sender = AmqpSender(open_dialer(CallerOptions(allow_private_addresses=True)))
    async with silent_server() as (port, accepted), open_post_office(sqlite_url) as office:
        await subscribe(office, port)
        await office.events(2)
        lease = LeaseTerms("by hand", timedelta(minutes=1))
        taken = await office.world.database.write(event_delivering.take, 5, lease)
        assert taken
        publishing = [
            asyncio.create_task(sender.publish(event, str(event.target_url), "guest", Terms(20, verify_tls=True)))
            for event in taken
        ]
        await accepted.get()
        await sender.close()
        outcomes = await asyncio.gather(*publishing)
    assert [isinstance(one, NoResponse) and one.kind for one in outcomes] == [FailureKind.LOST] * len(taken)


@pytest.mark.slow
async def test_what_the_broker_has_no_room_for_is_tried_again_and_holds_up_nothing(
    sqlite_url: str, rabbitmq: RabbitMQ
) -> None:
    connection = await aiormq.connect(f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}/")
    try:
        channel = await connection.channel()
        await channel.exchange_declare(exchange="narrow", exchange_type="topic", durable=True)
        narrow: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
        queue = str((await channel.queue_declare(exclusive=True, arguments=narrow)).queue)
        await channel.queue_bind(queue, "narrow", routing_key="#")
        async with open_post_office(sqlite_url) as office:
            id_ = await subscribe(office, rabbitmq.port, path="/?exchange=narrow")
            await office.events(2)
            await office.deliver()
            assert sorted(await office.statuses(id_)) == ["delivered", "pending"]
            assert any("refused by" in str(message) for _, _, message in await office.deliveries(id_))
            await channel.queue_purge(queue)
            office.advance(timedelta(minutes=1))
            await office.deliver()
            assert await office.statuses(id_) == ["delivered"] * 2
    finally:
        await connection.close()


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
