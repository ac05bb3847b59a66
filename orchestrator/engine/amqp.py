"""Events to topic exchanges of AMQP 0-9-1 (RabbitMQ), published with confirms. Needs the extra `amqp` (aiormq).

One connection for each broker, user and exchange, kept while it serves; dialled as webhooks are, so that the same
addresses are allowed. What is sent is a CloudEvent in the binary mode of its AMQP binding, the routing key is its type.
"""

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
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
_IDLE_SECS = 300.0
_GOODBYE_SECS = 2.0
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
    used_at: float


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
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def publish(self, event: OutgoingEvent, url: str, password: str, terms: Terms) -> Response | NoResponse:
        """Publish an event; a success is one that the broker has confirmed. Raises nothing but its own cancellation."""
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop.time() + terms.timeout_secs, terms.timeout_secs)
        if find_spec("aiormq") is None:
            words = "this node cannot speak AMQP: install webhook-orchestrator[amqp]"
            return NoResponse(FailureKind.PROTOCOL, words, sent=False)
        try:
            key = (read_broker(url), password, terms.verify_tls)
        except Unreachable as error:
            return NoResponse(error.kind, error.message, sent=False)
        self._end_idle(loop.time())
        line = self._line(key, deadline)
        try:
            async with asyncio.timeout_at(deadline.at):
                # The first one's deadline opens it for all; whoever gives up leaves it to the others.
                channel = await asyncio.shield(line.opened)
                await _send(channel, key[0], event)
        except Exception as error:  # noqa: BLE001 - brokers and the library tell refusals in many ways
            return self._failed(key, line, error, deadline)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not this task was cancelled, but what it waited for: the connection was closed.
            return self._failed(key, line, ConnectionError("the connection was closed"), deadline)
        return _DELIVERED

    async def close(self) -> None:
        """Close all connections. What is under way ends as LOST."""
        self._is_closed = True
        for key, line in list(self._lines.items()):
            self._end(key, line)
        if self._ending:
            await asyncio.wait(self._ending, timeout=_GOODBYE_SECS)

    def _line(self, key: _Key, deadline: Deadline) -> _Line:
        now = asyncio.get_running_loop().time()
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(asyncio.create_task(self._open(key, deadline)), now)
        line.used_at = now
        return line

    async def _open(self, key: _Key, deadline: Deadline) -> Any:
        """A channel with confirms, and the exchange declared on it. Raises Unreachable, TimeoutError, the library's."""
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
        try:
            async with asyncio.timeout_at(deadline.at):
                await connection.connect()
                channel = await connection.channel(publisher_confirms=True)
                await channel.exchange_declare(exchange=broker.exchange, exchange_type="topic", durable=True)
        except BaseException:
            await _hang_up(connection)
            raise
        return channel

    def _failed(self, key: _Key, line: _Line, error: Exception, deadline: Deadline) -> NoResponse:
        from aiormq.exceptions import DeliveryError  # noqa: PLC0415 - an extra

        if not isinstance(error, DeliveryError):
            # What a broker refuses leaves the connection as it is; after all else it is not to be trusted.
            self._end(key, line)
        match error:
            case _ if self._is_closed:
                return NoResponse(FailureKind.LOST, "the node is shutting down", sent=True)
            case Unreachable():
                return NoResponse(error.kind, error.message, sent=False)
            case TimeoutError():
                words = f"the broker has not confirmed it within {deadline.secs:g} s"
                return NoResponse(FailureKind.TIMEOUT, words, sent=True)
            case DeliveryError():
                return NoResponse(FailureKind.PROTOCOL, f"refused by {key[0].target}", sent=True)
            case _:
                return NoResponse(_kind(error), f"not published at {key[0].target}: {_words(error)}", sent=True)

    def _end_idle(self, now: float) -> None:
        """Nobody says when a subscription is deleted, or its password is another one."""
        for key, line in list(self._lines.items()):
            if now - line.used_at > _IDLE_SECS:
                self._end(key, line)

    def _end(self, key: _Key, line: _Line) -> None:
        if self._lines.get(key) is line:
            del self._lines[key]
            ending = asyncio.create_task(_end(line))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)


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


async def _send(channel: Any, broker: Broker, event: OutgoingEvent) -> None:
    from pamqp.commands import Basic  # noqa: PLC0415 - an extra

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


async def _end(line: _Line) -> None:
    if not line.opened.done():
        line.opened.cancel()
    elif not line.opened.cancelled() and line.opened.exception() is None:
        await _hang_up(line.opened.result().connection)


async def _hang_up(connection: Any) -> None:
    """Close it in good order, if that is soon done."""
    try:
        async with asyncio.timeout(_GOODBYE_SECS):
            await connection.close()
    except Exception as error:  # noqa: BLE001 - it is given up in any case
        _log.info("a connection to a broker did not end well", error=repr(error))


def _kind(error: Exception) -> FailureKind:
    return FailureKind.CONNECTION_RESET if isinstance(error, ConnectionError | OSError) else FailureKind.PROTOCOL


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
