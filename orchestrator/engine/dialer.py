"""Opens a connection: name, address policy, TCP, TLS. What fails here fails before a byte of the request."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from aiohappyeyeballs import start_connection
from aiohappyeyeballs.types import AddrInfoType

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine.addresses import AddressPolicy
from orchestrator.engine.connection import Deadline
from orchestrator.engine.resolver import Resolver
from orchestrator.engine.target import Target, Unreachable

# How long one address has for itself before the next one is tried beside it (RFC 8305).
_NEXT_ADDRESS_SECS = 0.25
# A connection given up right after its handshake says goodbye; the reply is not waited for any longer.
_TLS_GOODBYE_SECS = 1.0

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Dialer:
    """Opens connections. `connect_cap_secs` bounds TCP and TLS together, a call's deadline bounds it all."""

    def __init__(self, resolver: Resolver, policy: AddressPolicy, connect_cap_secs: float) -> None:
        self._resolver = resolver
        self._policy = policy
        self._connect_cap_secs = connect_cap_secs
        # Made here, not on the first call: reading the certificate authorities blocks for some 40 ms.
        self._contexts = {
            True: _verifying_context(ssl.get_default_verify_paths()),
            False: _trusting_context(),
        }

    async def dial(self, target: Target, verify_tls: bool, deadline: Deadline, factory: Callable[[], P]) -> P:
        """An open connection to `target`, made by `factory`. Raises Unreachable."""
        try:
            addresses = await self._resolver.resolve(target.host, deadline.at)
        except TimeoutError:
            raise _missed(deadline, f"still resolving {target.host}") from None
        self._policy.check(target, addresses)
        loop = asyncio.get_running_loop()
        capped = Deadline(loop.time() + self._connect_cap_secs, self._connect_cap_secs)
        earlier = min(deadline, capped, key=lambda limit: limit.at)
        sock = await _connect(target, addresses, earlier)
        context = self._contexts[verify_tls] if target.is_tls else None
        return await _start(sock, target, context, earlier, factory)


async def _connect(target: Target, addresses: Sequence[str], deadline: Deadline) -> socket.socket:
    try:
        async with asyncio.timeout_at(deadline.at) as limit:
            # The addresses that were checked, as numbers: nothing is resolved a second time.
            return await start_connection(
                [_address_info(address, target.port) for address in addresses],
                happy_eyeballs_delay=_NEXT_ADDRESS_SECS,
                interleave=1,
            )
    except (OSError, RuntimeError) as error:
        if limit.expired():
            raise _missed(deadline, f"no connection to {target}") from None
        kind = FailureKind.TIMEOUT if isinstance(error, TimeoutError) else FailureKind.CONNECTION_REFUSED
        raise Unreachable(kind, f"cannot connect to {target}: {_words(error)}") from error


async def _start(
    sock: socket.socket,
    target: Target,
    context: ssl.SSLContext | None,
    deadline: Deadline,
    factory: Callable[[], P],
) -> P:
    server_name = target.host.rstrip(".") if context else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline.at) as limit:
            _, connection = await loop.create_connection(
                factory,
                sock=sock,
                ssl=context,
                server_hostname=server_name,
                ssl_shutdown_timeout=_TLS_GOODBYE_SECS if context else None,
            )
            return connection
    except (OSError, ValueError) as error:
        if limit.expired():
            raise _missed(deadline, f"in the TLS handshake with {target}") from None
        sock.close()
        raise Unreachable(FailureKind.TLS, f"no TLS connection to {target}: {_tls_words(error)}") from error


def _address_info(address: str, port: int) -> AddrInfoType:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))


def _missed(deadline: Deadline, progress: str) -> Unreachable:
    outcome = deadline.missed(progress, sent=False)
    return Unreachable(outcome.kind, outcome.message)


def _words(error: Exception) -> str:
    # asyncio puts the address where the words of the error number should be.
    number = error.errno if isinstance(error, OSError) else None
    return (os.strerror(number) if number else str(error) or type(error).__name__).lower()


def _tls_words(error: OSError | ValueError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted, {error.verify_message}"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
            return "it does not speak TLS on this port"
        case ssl.SSLError():
            return f"the handshake failed, {error.reason or error}"
        case ConnectionError():
            return "the server closed the connection during the handshake"
        case _:
            return _words(error)


@lru_cache(maxsize=4)
def _verifying_context(authorities: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    """The certificate authorities are the system's, or those that SSL_CERT_FILE and SSL_CERT_DIR name."""
    context = ssl.create_default_context(cafile=authorities.cafile, capath=authorities.capath)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusting_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
