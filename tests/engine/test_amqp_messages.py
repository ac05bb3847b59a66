"""What a broker gets to see of the events, and of the connections that they come by."""

import json
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine import amqp
from orchestrator.engine.amqp import AmqpSender, Terms
from orchestrator.engine.caller import CallerOptions, open_dialer
from orchestrator.service import event_delivering, subscriptions
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.subscriptions import SubscriptionOrder
from orchestrator.store.event_deliveries import OutgoingEvent
from tests.engine.posting import FAILURE, SUCCESS, PostOffice, open_post_office
from tests.support.fake_broker import FakeBroker, running_broker
from tests.support.world import WORKSPACE

TERMS = Terms(20, verify_tls=True)


async def subscribe(
    office: PostOffice, broker: FakeBroker, path: str = "/", user: str = "guest", password: str = "guest"
) -> str:
    order = SubscriptionOrder(WORKSPACE, f"amqp://{user}@127.0.0.1:{broker.port}{path}", "#", password)
    made, _ = await office.world.database.write(subscriptions.create, office.world.vault, order)
    return made.id


async def test_an_event_is_a_persistent_message_with_its_type_as_the_routing_key(database_url: str) -> None:
    async with running_broker() as broker, open_post_office(database_url) as office:
        id_ = await subscribe(office, broker)
        await office.events(2)
        await office.events(1, FAILURE, prefix="bad")
        await office.deliver()
        assert await office.statuses(id_) == ["delivered"] * 3
        assert broker.exchanges["core.events"] == ("topic", True)
        assert broker.connections == 1
        rows = await office.world.rows("SELECT id, type, subject, data FROM events")
        expected = {id_: (type_, subject, json.loads(data)) for id_, type_, subject, data in rows}
        got: dict[str, Any] = {}
        for message in broker.messages:
            properties = message.properties
            headers = properties.headers or {}
            assert (message.exchange, properties.content_type) == ("core.events", "application/json")
            assert properties.delivery_mode == 2
            assert headers["cloudEvents:id"] == properties.message_id
            assert headers["cloudEvents:specversion"] == "1.0"
            assert headers["cloudEvents:type"] == message.routing_key
            assert "cloudEvents:datacontenttype" not in headers
            assert properties.message_id is not None
            got[properties.message_id] = (
                message.routing_key,
                headers["cloudEvents:subject"],
                json.loads(message.body),
            )
        assert got == expected
        assert {type_ for type_, _, _ in got.values()} == {SUCCESS, FAILURE}


async def test_what_the_broker_refuses_costs_a_try_and_tells_no_password(sqlite_url: str) -> None:
    async with running_broker() as broker, open_post_office(sqlite_url) as office:
        sound = await subscribe(office, broker, path="/?exchange=shop.events")
        refused = {
            await subscribe(office, broker, password="wrong"): "ACCESS_REFUSED",
            await subscribe(office, broker, user="nobody"): "ACCESS_REFUSED",
            await subscribe(office, broker, path="/no-such-vhost"): "Connection.Close",
            # It is there, and no topic exchange.
            await subscribe(office, broker, path="/?exchange=amq.direct"): "PRECONDITION_FAILED",
        }
        await office.events(1)
        await office.deliver()
        assert await office.statuses(sound) == ["delivered"]
        assert [message.exchange for message in broker.messages] == ["shop.events"]
        for id_, why in refused.items():
            [(status, tries, message)] = await office.deliveries(id_)
            assert (status, tries) == ("pending", 1)
            assert f"not published at 127.0.0.1:{broker.port}: " in str(message)
            assert why in str(message)
            assert "wrong" not in str(message)
        # What could not be opened is not kept.
        broker.exchanges["amq.direct"] = ("topic", True)
        office.advance(timedelta(minutes=10))
        await office.deliver()
        assert [message.exchange for message in broker.messages] == ["shop.events", "amq.direct"]


async def test_a_message_that_is_refused_is_tried_again_by_the_same_connection(sqlite_url: str) -> None:
    async with running_broker() as broker, open_post_office(sqlite_url) as office:
        broker.is_full = True
        id_ = await subscribe(office, broker)
        await office.events(1)
        await office.deliver()
        [(status, tries, message)] = await office.deliveries(id_)
        assert (status, tries, message) == ("pending", 1, f"try 1: refused by 127.0.0.1:{broker.port}")
        broker.is_full = False
        office.advance(timedelta(minutes=10))
        await office.deliver()
        assert await office.statuses(id_) == ["delivered"]
        assert (broker.connections, broker.farewells) == (1, 0)


async def taken(office: PostOffice, broker: FakeBroker) -> OutgoingEvent:
    """One event, as it is to be sent."""
    await subscribe(office, broker)
    await office.events(1)
    lease = LeaseTerms("by hand", timedelta(minutes=1))
    [event] = await office.world.database.write(event_delivering.take, 1, lease)
    return event


@pytest.mark.parametrize(("idle_secs", "connections"), [(3600.0, 1), (0.0, 2)])
async def test_a_connection_is_kept_until_it_idles(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, idle_secs: float, connections: int
) -> None:
    monkeypatch.setattr(amqp, "_IDLE_SECS", idle_secs)
    sender = AmqpSender(open_dialer(CallerOptions(allow_private_addresses=True)))
    async with running_broker() as broker, open_post_office(sqlite_url) as office:
        event = await taken(office, broker)
        for _ in range(2):
            outcome = await sender.publish(event, str(event.target_url), "guest", TERMS)
            assert isinstance(outcome, Response)
            assert outcome.status == 204
        assert broker.connections == connections
        await sender.close()
        assert broker.farewells == connections


async def test_a_closed_sender_has_said_goodbye(sqlite_url: str) -> None:
    sender = AmqpSender(open_dialer(CallerOptions(allow_private_addresses=True)))
    async with running_broker() as broker, open_post_office(sqlite_url) as office:
        event = await taken(office, broker)
        await sender.publish(event, str(event.target_url), "guest", TERMS)
        assert (broker.connections, broker.farewells) == (1, 0)
        await sender.close()
        assert broker.farewells == 1


async def test_each_user_password_and_exchange_has_a_connection_of_its_own(sqlite_url: str) -> None:
    sender = AmqpSender(open_dialer(CallerOptions(allow_private_addresses=True)))
    async with running_broker() as broker, open_post_office(sqlite_url) as office:
        event = await taken(office, broker)
        url = str(event.target_url)
        ways = [(url, "guest"), (f"{url}?exchange=shop.events", "guest"), (url, "wrong"), (url, "guest")]
        outcomes = [await sender.publish(event, target, password, TERMS) for target, password in ways]
        refused = [isinstance(outcome, NoResponse) and outcome.kind for outcome in outcomes]
        assert refused == [False, False, FailureKind.CONNECTION_RESET, False]
        assert broker.connections == 2
        assert [message.exchange for message in broker.messages] == ["core.events", "shop.events", "core.events"]
        await sender.close()


async def test_a_connection_that_breaks_is_made_anew(sqlite_url: str) -> None:
    sender = AmqpSender(open_dialer(CallerOptions(allow_private_addresses=True)))
    async with running_broker() as broker, open_post_office(sqlite_url) as office:
        event = await taken(office, broker)
        url = str(event.target_url)
        broker.hangs_up = True
        outcome = await sender.publish(event, url, "guest", TERMS)
        assert isinstance(outcome, NoResponse)
        assert (outcome.kind, outcome.sent) == (FailureKind.CONNECTION_RESET, True)
        broker.hangs_up = False
        assert isinstance(await sender.publish(event, url, "guest", TERMS), Response)
        assert broker.connections == 2
        await sender.close()
