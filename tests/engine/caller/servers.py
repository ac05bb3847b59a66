"""Servers of raw bytes on the loopback: what a hostile, broken or merely odd app sends."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from orchestrator.engine.caller import Caller, Request

Handler = Callable[["Peer"], Awaitable[None]]
OpenCaller = Callable[..., Caller]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
MIB = 1024 * 1024


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "Server"

    async def read_request(self) -> bytes:
        """The next whole request, head and body; raises IncompleteReadError when there is none."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        request = head + await self.reader.readexactly(length)
        self.server.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError("the client has gone")
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Say nothing more until the client has gone."""
        while await self.reader.read(MIB):
            continue

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Server:
    """What it was asked, and by how many connections."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Runs `handler` for each connection; ends every one of them on leaving."""
    state = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        state.connections += 1
        state.open_connections += 1
        try:
            await handler(Peer(reader, writer, state))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client has gone, or the test is over: an end as good as any. A stream server's task that
            # ends in CancelledError would be reported as a failure of its callback.
            writer.transport.abort()
        finally:
            writer.close()
            state.open_connections -= 1
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context, limit=MIB)
    state.url = f"{'https' if context else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield state
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await eventually(lambda: not tasks)


async def eventually(is_so: Callable[[], bool], within_secs: float = 5.0) -> None:
    """Wait until it is so; fails when it is not in time."""
    end = asyncio.get_running_loop().time() + within_secs
    while not is_so():
        assert asyncio.get_running_loop().time() < end, "it did not come to be so in time"
        # There is no event for what is waited for here: it happens in sockets and in the kernel.
        await asyncio.sleep(0)


def request(server: Server | str, **changes: object) -> Request:
    url = server if isinstance(server, str) else server.url
    fields: dict[str, object] = {
        "url": url,
        "headers": {"Content-Type": "application/json"},
        "body": b'{"kind":"x"}',
        "timeout_secs": 5.0,
        "max_answer_bytes": MIB,
    }
    return Request(**(fields | changes))  # type: ignore[arg-type]


# What follows makes handlers.


def answering(*pieces: bytes, then: str = "close") -> Handler:
    """Send the pieces as the answer to one request, then "close", "hang" or "reset"."""

    async def handle(peer: Peer) -> None:
        await peer.read_request()
        for piece in pieces:
            await peer.send(piece)
        if then == "reset":
            peer.reset()
        elif then == "hang":
            await peer.hang()

    return handle


def repeating(start: bytes, again: bytes, pause_secs: float = 0.0) -> Handler:
    """Send `start`, and then `again` for ever."""

    async def handle(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(start)
        while True:
            await peer.send(again)
            await asyncio.sleep(pause_secs)

    return handle


def serving_well(answer: bytes = OK) -> Handler:
    """Answer every request of a connection, as a decent server does."""

    async def handle(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.send(answer)

    return handle


async def deaf(peer: Peer) -> None:
    """Accept the connection and read nothing."""
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()
