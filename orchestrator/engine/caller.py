"""The calls of a node: one signed POST each, always ended by its deadline, with an answer or a typed failure.

`Caller` is the seam. What is behind it is our own, over llhttp and the event loop's transports: each promise
about a call needs a say in something that client libraries decide by themselves (docs/decisions.md).
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from app_sdk.protocol.frozen import frozen
from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.addresses import AddressPolicy
from orchestrator.engine.answer_reader import AnswerReader, Clock
from orchestrator.engine.connection import Deadline
from orchestrator.engine.dialer import Dialer
from orchestrator.engine.pool import Pool
from orchestrator.engine.resolver import Lookup, Resolver, look_up
from orchestrator.engine.target import Target, Unreachable, read_url

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# These say where the request goes and where it ends, so only this module may write them.
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@frozen
class Request:
    """One POST. `timeout_secs` is a total, from the start of the call to the last byte of the answer."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_secs: float
    max_answer_bytes: int
    verify_tls: bool = True


@dataclass(frozen=True, slots=True)
class CallerOptions:
    """What a caller may do. `allowed_hosts`: names, name:port, addresses, networks that need not be public.

    A connection is kept for `keepalive_secs` after a call, less than common servers keep their side (gunicorn
    2 s; Node, uvicorn and Apache 5 s): a request on a connection that the server is closing is lost, and
    nobody can tell whether it was received.
    """

    max_connections: int = 100
    allow_private_addresses: bool = False
    allowed_hosts: tuple[str, ...] = ()
    connect_cap_secs: float = 10.0
    dns_cap_secs: float = 3.0
    keepalive_secs: float = 1.5


class Caller(Protocol):
    """Makes calls. One for the whole node, used by any number of tasks of one event loop."""

    async def post(self, request: Request) -> Response | NoResponse:
        """Make one attempt, never more: no retry, no redirect, no cookie, no proxy, no decompression.

        Never raises, whatever the server does. The task that waits may be cancelled at any moment; that costs
        the call's own connection and nothing else.
        """
        ...

    async def close(self) -> None:
        """Close all connections. Calls still under way end as LOST."""
        ...


def open_caller(options: CallerOptions, *, clock: Clock, lookup: Lookup = look_up) -> Caller:
    """A caller; `clock` tells the time of day (for Retry-After), `lookup` resolves a name and may block.

    Blocks for some milliseconds. Raises ValueError for an entry of `allowed_hosts` that cannot be read.
    """
    return PooledCaller(Pool(open_dialer(options, lookup), options.max_connections, options.keepalive_secs), clock)


def open_dialer(options: CallerOptions, lookup: Lookup = look_up) -> Dialer:
    """What opens a caller's connections, for who speaks something else over them; as `open_caller`."""
    policy = AddressPolicy.of(options.allow_private_addresses, options.allowed_hosts)
    return Dialer(Resolver(options.dns_cap_secs, lookup), policy, options.connect_cap_secs)


class PooledCaller:
    """The caller over a pool of kept-open connections."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def post(self, request: Request) -> Response | NoResponse:
        deadline = Deadline(asyncio.get_running_loop().time() + request.timeout_secs, request.timeout_secs)
        try:
            target = read_url(request.url)
            encoded = _encode(request, target)
            connection = await self._pool.take(target, request.verify_tls, deadline)
        except Unreachable as error:
            return NoResponse(error.kind, error.message, sent=False)
        try:
            reader = AnswerReader(request.max_answer_bytes, self._clock)
            return await connection.exchange(encoded, reader, deadline)
        finally:
            self._pool.give_back(connection)

    async def close(self) -> None:
        await self._pool.close()


def _encode(request: Request, target: Target) -> bytes:
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        f"Content-Length: {len(request.body)}",
    ]
    values = "".join(request.headers.values())
    if not _are_names(tuple(request.headers)) or not values.isascii() or not values.isprintable():
        raise _unsendable(request.headers)
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join((*lines, "\r\n")).encode("ascii") + request.body


def _unsendable(headers: Mapping[str, str]) -> Unreachable:
    # A value with a line break in it would be headers, or a request, of somebody else's making.
    name, value = next(
        (name, value)
        for name, value in headers.items()
        if not _is_name(name) or not value.isascii() or not value.isprintable()
    )
    return Unreachable(FailureKind.PROTOCOL, f"the header {name!r} cannot be sent: {value[:80]!r}")


@lru_cache(maxsize=64)
def _are_names(names: tuple[str, ...]) -> bool:
    return all(map(_is_name, names))


def _is_name(name: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None and name.lower() not in _OWN_HEADERS
