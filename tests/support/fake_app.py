"""An app to be called: a small real HTTP server on loopback whose answers a test scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """A raw answer: `body` is sent as it is, or as JSON if it is not bytes."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> dict[str, Any]:
        return json.loads(self.body)  # type: ignore[no-any-return]

    @property
    def worker(self) -> dict[str, Any]:
        return self.payload["task_exec_worker"]  # type: ignore[no-any-return]


Handler = Callable[[Received], Any | Awaitable[Any]]


class HangUp(Exception):
    """Raised by a handler: close the connection without an answer."""


@dataclass(slots=True)
class FakeApp:
    """`handler` gets each request and returns a Reply, or an object that is answered with 200 as JSON."""

    handler: Handler
    port: int = 0
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks"

    def calls_of(self, worker_id: int) -> list[Received]:
        return [one for one in self.received if one.worker["worker_id"] == worker_id]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read(reader):
                self.received.append(request)
                writer.write(_encoded(await self._answer(request)))
                await writer.drain()
        except (HangUp, ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _answer(self, request: Received) -> Reply:
        answer = self.handler(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if isinstance(answer, Reply) else Reply(body=answer)


def never(request: Received) -> object:
    """The handler where nobody calls."""
    raise AssertionError("nobody calls in this test")


@asynccontextmanager
async def running_app(handler: Handler, port: int = 0) -> AsyncIterator[FakeApp]:
    """Serve until the block ends, at a free port unless one is given; connections still open are cut."""
    app = FakeApp(handler)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await app.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            connections.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=2**24)
    app.port = server.sockets[0].getsockname()[1]
    try:
        yield app
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Received | None:
    line = await reader.readline()
    if not line:
        return None
    headers = {}
    while (header := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(line.split()[1].decode(), headers, body)


def _encoded(reply: Reply) -> bytes:
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **reply.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} X\r\n{head}\r\n".encode() + body
