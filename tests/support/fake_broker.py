"""A broker of AMQP 0-9-1 for the tests' machine: as much of RabbitMQ as one that publishes gets to see."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange
from pamqp.exceptions import UnmarshalingException
from pamqp.header import ContentHeader, ProtocolHeader

from tests.support.waiting import eventually

_ACCESS_REFUSED, _NOT_ALLOWED, _PRECONDITION_FAILED = 403, 530, 406
_CAPABILITIES: Any = {"capabilities": {"publisher_confirms": True, "basic.nack": True}}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came."""

    exchange: str
    routing_key: str
    properties: Basic.Properties
    body: bytes


@dataclass(slots=True)
class FakeBroker:
    """It lets in `guest` with the password `guest` to the virtual host `/`.

    `is_full`: it refuses every message; `hangs_up`: it ends the connection at one.
    """

    port: int = 0
    is_full: bool = False
    hangs_up: bool = False
    exchanges: dict[str, tuple[str, bool]] = field(default_factory=lambda: {"amq.direct": ("direct", True)})
    """Type and durability by name."""
    messages: list[Message] = field(default_factory=list)
    connections: int = 0
    """How many came that were let in."""
    farewells: int = 0
    """How many of them said goodbye."""
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        with contextlib.suppress(ConnectionError):
            await _Conversation(self, reader, writer).run()
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()
        self.open.discard(writer)


@dataclass(slots=True)
class _Conversation:
    """One connection, with one channel."""

    broker: FakeBroker
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    publish: Basic.Publish | None = None
    header: ContentHeader | None = None
    tag: int = 0
    consumed: int = 0

    async def run(self) -> None:
        buffer = b""
        while data := await self.reader.read(65_536):
            buffer += data
            for channel, said in self._frames(buffer):
                self._answer(channel, said)
            buffer = buffer[self.consumed :]

    def _frames(self, buffer: bytes) -> Iterator[tuple[int, Any]]:
        self.consumed = 0
        with contextlib.suppress(UnmarshalingException):
            while rest := buffer[self.consumed :]:
                size, channel, said = frame.unmarshal(rest)
                self.consumed += size
                yield channel, said

    def _answer(self, channel: int, said: Any) -> None:
        reply = self._of_connection(said) if channel == 0 else self._of_channel(said)
        if reply is not None:
            self.writer.write(frame.marshal(reply, channel))

    def _of_connection(self, said: Any) -> Any:
        match said:
            case ProtocolHeader():
                return Connection.Start(server_properties=_CAPABILITIES)
            case Connection.StartOk():
                is_known = said.response == "\0guest\0guest"
                refusal = Connection.Close(_ACCESS_REFUSED, "ACCESS_REFUSED - login was refused", 0, 0)
                return Connection.Tune(2047, 131_072, 0) if is_known else refusal
            case Connection.Open():
                is_there = said.virtual_host == "/"
                self.broker.connections += is_there
                refusal = Connection.Close(_NOT_ALLOWED, f"NOT_ALLOWED - vhost {said.virtual_host} not found", 10, 40)
                return Connection.OpenOk() if is_there else refusal
            case Connection.Close():
                self.broker.farewells += 1
                return Connection.CloseOk()
            case _:
                return None

    def _of_channel(self, said: Any) -> Any:
        match said:
            case Channel.Open():
                return Channel.OpenOk()
            case Channel.Close():
                return Channel.CloseOk()
            case Confirm.Select():
                return Confirm.SelectOk()
            case Exchange.Declare():
                wanted = (said.exchange_type, said.durable)
                is_so = self.broker.exchanges.setdefault(said.exchange, wanted) == wanted
                refusal = Channel.Close(_PRECONDITION_FAILED, "PRECONDITION_FAILED - inequivalent arg", 40, 10)
                return Exchange.DeclareOk() if is_so else refusal
            case Basic.Publish():
                self.publish = said
            case ContentHeader():
                self.header = said
            case ContentBody():
                return self._take_in(said.value)
            case _:
                pass
        return None

    def _take_in(self, body: bytes) -> Any:
        """A small message has one body frame."""
        assert self.publish is not None
        assert self.header is not None
        assert self.header.body_size == len(body)
        self.tag += 1
        if self.broker.hangs_up:
            self.writer.close()
            return None
        if self.broker.is_full:
            return Basic.Nack(self.tag)
        self.broker.messages.append(
            Message(self.publish.exchange, self.publish.routing_key, self.header.properties, body)
        )
        return Basic.Ack(self.tag)


@asynccontextmanager
async def running_broker() -> AsyncIterator[FakeBroker]:
    broker = FakeBroker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    async with server:
        broker.port = server.sockets[0].getsockname()[1]
        try:
            yield broker
        finally:
            for writer in broker.open:
                writer.close()
            await eventually(lambda: _is_left(broker), "the end of every connection")


async def _is_left(broker: FakeBroker) -> bool:
    return not broker.open
