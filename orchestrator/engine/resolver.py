"""Host names to addresses. A name that hangs holds up neither the other names nor the end of the process."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine.target import Unreachable

Lookup = Callable[[str], Sequence[str]]

# A burst of new connections to one app asks the name server once.
_FRESH_SECS = 5.0
_MAX_REMEMBERED = 1_000
# Each lookup under way is a thread; more than this many at once are names that hang.
_MAX_LOOKUPS = 64


def look_up(host: str) -> Sequence[str]:
    """Every address of `host`, by the system's resolver. Blocks; raises OSError or UnicodeError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """Resolves names, each lookup on a thread of its own and shared by all who ask for that name.

    The threads are daemons: getaddrinfo cannot be interrupted, and the threads of an executor would be waited
    for at the exit of the process.
    """

    def __init__(self, cap_secs: float, lookup: Lookup = look_up) -> None:
        self._cap_secs = cap_secs
        self._lookup = lookup
        self._running: dict[str, asyncio.Future[Sequence[str] | Unreachable]] = {}
        self._found: dict[str, tuple[float, Sequence[str]]] = {}

    async def resolve(self, host: str, deadline: float) -> Sequence[str]:
        """The addresses of `host`, never none of them.

        Raises Unreachable (DNS) when there are none, or not within the cap, and TimeoutError at `deadline`
        (the event loop's clock).
        """
        if _is_address(host):
            return (host,)
        loop = asyncio.get_running_loop()
        if (remembered := self._found.get(host)) and loop.time() - remembered[0] < _FRESH_SECS:
            return remembered[1]
        running = self._running.get(host) or self._start(loop, host)
        capped = min(deadline, loop.time() + self._cap_secs)
        try:
            async with asyncio.timeout_at(capped):
                outcome = await asyncio.shield(running)
        except TimeoutError:
            if capped == deadline:
                raise
            raise _failed(host, f"no answer within {self._cap_secs:g} s") from None
        if isinstance(outcome, Unreachable):
            # A copy: one exception raised in many tasks would collect all their tracebacks.
            raise Unreachable(outcome.kind, outcome.message)
        return outcome

    def _start(self, loop: asyncio.AbstractEventLoop, host: str) -> asyncio.Future[Sequence[str] | Unreachable]:
        if len(self._running) >= _MAX_LOOKUPS:
            raise _failed(host, f"{_MAX_LOOKUPS} other lookups are still without an answer")
        try:
            threading.Thread(target=self._run, args=(loop, host), name=f"resolve {host}", daemon=True).start()
        except RuntimeError as error:
            raise _failed(host, str(error)) from error
        self._running[host] = future = loop.create_future()
        return future

    def _run(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        outcome: Sequence[str] | Unreachable
        try:
            outcome = self._lookup(host) or _failed(host, "it has no address")
        except (OSError, UnicodeError) as error:
            outcome = _failed(host, str(getattr(error, "strerror", None) or error))
        try:
            loop.call_soon_threadsafe(self._finish, loop, host, outcome)
        except RuntimeError:
            # The event loop was closed while the lookup hung: nobody is left to be told.
            return

    def _finish(self, loop: asyncio.AbstractEventLoop, host: str, outcome: Sequence[str] | Unreachable) -> None:
        if not isinstance(outcome, Unreachable):
            if len(self._found) >= _MAX_REMEMBERED:
                self._found.clear()
            self._found[host] = (loop.time(), outcome)
        self._running.pop(host).set_result(outcome)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _failed(host: str, reason: str) -> Unreachable:
    return Unreachable(FailureKind.DNS, f"cannot resolve {host}: {reason}")
