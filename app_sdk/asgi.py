"""An app as an ASGI application, to be served by itself or mounted in another."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from app_sdk.reply import MAX_BODY_BYTES, Reply, too_large, wrong_method

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handle: TypeAlias = Callable[[bytes, Mapping[str, str]], Awaitable[Reply]]


class _TooLarge(Exception):
    """The body is over the limit."""


class _Disconnected(Exception):
    """The caller hung up before its body was complete."""


async def serve(handle: Handle, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ASGI connection: a webhook call, or the lifespan of the server."""
    match scope["type"]:
        case "http":
            await _serve_http(handle, scope, receive, send)
        case "lifespan":
            await _serve_lifespan(receive, send)
        case _:
            await send({"type": "websocket.close", "code": 1003})


async def _serve_http(handle: Handle, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        reply = await _reply(handle, scope, receive)
    except _Disconnected:
        return
    headers = [(name.encode(), value.encode()) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _reply(handle: Handle, scope: Scope, receive: Receive) -> Reply:
    if scope["method"] != "POST":
        return wrong_method()
    try:
        body = await _read_body(receive)
    except _TooLarge:
        return too_large()
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return await handle(body, headers)


async def _read_body(receive: Receive) -> bytes:
    chunks = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Disconnected
        chunks += event.get("body", b"")
        if len(chunks) > MAX_BODY_BYTES:
            raise _TooLarge
        if not event.get("more_body", False):
            return bytes(chunks)


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
