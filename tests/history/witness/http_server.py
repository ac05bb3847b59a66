"""A small HTTP/1.1 server, quick enough to be no bottleneck: asyncio, with llhttp for the parsing."""

import argparse
import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httptools

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 410: "Gone", 429: "Too Many Requests", 503: "Unavailable"}


@dataclass(slots=True)
class Request:
    """A request, complete. Names of headers are in lower case."""

    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Exchange:
    """One request, and the way to answer it: at once or later, or by closing the connection without an answer."""

    def __init__(self, request: Request, transport: asyncio.Transport) -> None:
        self.request = request
        self._transport = transport

    def answer(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
        if self._transport.is_closing():
            return
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", "content-type: application/json"]
        lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers)]
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def cut(self) -> None:
        """Reset the connection."""
        self._transport.abort()


Handler = Callable[[Exchange], None]


class _Connection(asyncio.Protocol):
    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._body: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            assert self._transport is not None
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._request = Request()
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._request.path += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._transport is not None
        self._request.method = self._parser.get_method().decode()
        self._request.body = b"".join(self._body)
        self._handle(Exchange(self._request, self._transport))


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every witness is told on its command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--log", type=Path, required=True, help="the log to append to")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--fsync", action="store_true", help="every line is on the disk before the answer is sent")
    return parser


async def serve(handle: Handler, port: int, started: Callable[[str], None]) -> None:
    """Serve on loopback until SIGTERM or SIGINT. `started` is told the host and port."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: _Connection(handle), "127.0.0.1", port, backlog=1024)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    started(host)
    print(f"http://{host}", flush=True)
    await stopped.wait()
    server.close()
