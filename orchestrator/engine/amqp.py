"""Events to topic exchanges of AMQP 0-9-1 (RabbitMQ), published with confirms. Needs the extra `amqp` (aiormq).

One connection for each broker and user, kept while it serves; dialled as webhooks are, so that the same addresses are
allowed. What is sent is a CloudEvent in the binary mode of its AMQP binding, the routing key is its type.
"""

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import structlog

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.connection import Deadline
from orchestrator.engine.dialer import Dialer
from orchestrator.engine.target import Target, Unreachable
from orchestrator.service.cloud_events import attributes
from orchestrator.store.event_deliveries import OutgoingEvent

DEFAULT_EXCHANGE = "core.events"
_PORTS = {"amqp": 5672, "amqps": 5671}
_DELIVERED = Response(204, b"")
_PERSISTENT = 2
_HEARTBEAT_SECS = 30
_log = structlog.get_logger("amqp")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where events go: `amqp[s]://user@host:port/vhost?exchange=name`. The password is the subscription's secret."""

    target: Target
    user: str
    vhost: str
    exchange: str


@dataclass(slots=True)
class _Line:
    """A connection with its channel, once it is open; whoever comes meanwhile waits for the same."""

    opened: "asyncio.Task[Any]"
    exchanges: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long one event may take, in seconds, and whether the broker's certificate is checked."""

    timeout_secs: float
    verify_tls: bool


_Key = tuple[Broker, str, bool]


class AmqpSender:
    """Publishes events. One for the whole node."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._lines: dict[_Key, _Line] = {}
        self._is_closed = False

    async def publish(self, event: OutgoingEvent, url: str, password: str, terms: Terms) -> Response | NoResponse:
        """Publish an event; a success is one that the broker has confirmed. Never raises."""
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop.time() + terms.timeout_secs, terms.timeout_secs)
        try:
            import aiormq  # noqa: F401, PLC0415 - an extra
        except ModuleNotFoundError:
            words = "this node cannot speak AMQP: install webhook-orchestrator[amqp]"
            return NoResponse(FailureKind.PROTOCOL, words, sent=False)
        try:
            async with asyncio.timeout_at(deadline.at):
                return await self._publish(event, (read_broker(url), password, terms.verify_tls), deadline)
        except Unreachable as error:
            return NoResponse(error.kind, error.message, sent=False)
        except TimeoutError:
            return NoResponse(
                FailureKind.TIMEOUT, f"the broker has not confirmed it within {terms.timeout_secs:g} s", sent=True
            )

    async def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await _hang_up(line)

    async def _publish(self, event: OutgoingEvent, key: _Key, deadline: Deadline) -> Response | NoResponse:
        broker = key[0]
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(asyncio.create_task(self._open(key, deadline)))
        try:
            # The first one's deadline opens it for all; whoever is cancelled leaves it to the others.
            channel = await asyncio.shield(line.opened)
            await _send(channel, line, broker, event)
        except Unreachable:
            self._lines.pop(key, None)
            raise
        except Exception as error:  # noqa: BLE001 - brokers and the library tell refusals in many ways
            if self._lines.get(key) is line:
                del self._lines[key]
            await _hang_up(line)
            kind = FailureKind.LOST if self._is_closed else _kind(error)
            return NoResponse(kind, f"not published at {broker.target}: {_words(error)}", sent=True)
        return _DELIVERED

    async def _open(self, key: _Key, deadline: Deadline) -> Any:
        import aiormq  # noqa: PLC0415 - an extra
        from aiormq.connection import TransportFactory  # noqa: PLC0415

        (broker, password, verify_tls), dialer = key, self._dialer

        class Dialled(TransportFactory):
            async def create(self, url: Any, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # noqa: ARG002
                reader = asyncio.StreamReader()
                protocol = asyncio.StreamReaderProtocol(reader)
                await dialer.dial(broker.target, verify_tls, deadline, lambda: protocol)
                transport = protocol._transport  # type: ignore[attr-defined]
                return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())

        credentials = f"{quote(broker.user, safe='')}:{quote(password, safe='')}"
        url = f"amqp://{credentials}@broker/{quote(broker.vhost, safe='')}?heartbeat={_HEARTBEAT_SECS}"
        connection = aiormq.Connection(url, transport_factory=Dialled(), client_properties={"product": "orchestrator"})
        await connection.connect()
        return await connection.channel(publisher_confirms=True)


@lru_cache(maxsize=1000)
def read_broker(url: str) -> Broker:
    """Raises Unreachable (ADDRESS_REFUSED) for what is no URL of a broker."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise Unreachable(FailureKind.ADDRESS_REFUSED, "this is no URL of an AMQP broker") from None
    [exchange] = parse_qs(parts.query).get("exchange", [DEFAULT_EXCHANGE])[:1]
    target = Target(parts.scheme == "amqps", (parts.hostname or "").lower(), port, "/")
    return Broker(target, unquote(parts.username or ""), unquote(parts.path[1:]) or "/", exchange)


async def _send(channel: Any, line: _Line, broker: Broker, event: OutgoingEvent) -> None:
    from pamqp.commands import Basic  # noqa: PLC0415 - an extra

    if broker.exchange not in line.exchanges:
        await channel.exchange_declare(exchange=broker.exchange, exchange_type="topic", durable=True)
        line.exchanges.add(broker.exchange)
    known = attributes(event, event.workspace_id)
    properties = Basic.Properties(
        content_type=known.pop("datacontenttype"),
        message_id=event.id,
        delivery_mode=_PERSISTENT,
        headers={f"cloudEvents:{name}": value for name, value in known.items()},
    )
    await channel.basic_publish(
        event.data.encode(), exchange=broker.exchange, routing_key=event.type, properties=properties
    )


async def _hang_up(line: _Line) -> None:
    if not line.opened.done():
        line.opened.cancel()
        return
    if line.opened.cancelled() or line.opened.exception() is not None:
        return
    try:
        await line.opened.result().connection.close()
    except Exception as error:  # noqa: BLE001 - it is given up in any case
        _log.info("a connection to a broker did not end well", error=repr(error))


def _kind(error: Exception) -> FailureKind:
    return FailureKind.CONNECTION_RESET if isinstance(error, ConnectionError | OSError) else FailureKind.PROTOCOL


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
