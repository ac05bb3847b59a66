"""What happens before the first byte of a request: the URL, the name, the address, the connection."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.caller import Caller
from tests.engine.caller.servers import OpenCaller, request, serving, serving_well


async def refused(caller: Caller, url: str, timeout_secs: float = 5.0) -> tuple[FailureKind, str]:
    outcome = await caller.post(request(url, timeout_secs=timeout_secs))
    assert isinstance(outcome, NoResponse), outcome
    assert not outcome.sent
    return outcome.kind, outcome.message


def to(*addresses: str) -> object:
    return lambda host: addresses


async def test_nobody_listens(caller: Caller) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        kind, message = await refused(caller, f"http://127.0.0.1:{port}/")

    assert kind is FailureKind.CONNECTION_REFUSED
    assert message == f"cannot connect to 127.0.0.1:{port}: connection refused"


async def test_the_next_address_is_tried(opened: OpenCaller) -> None:
    async with serving(serving_well()) as server:
        caller = opened(to("127.0.0.9", "::1", "127.0.0.1"))
        assert await caller.post(request(server.url.replace("127.0.0.1", "app.test"))) == Response(200, b"{}")


async def test_every_address_refuses(opened: OpenCaller) -> None:
    kind, message = await refused(opened(to("127.0.0.9", "127.0.0.8")), "http://app.test:1/")

    assert (kind, message) == (
        FailureKind.CONNECTION_REFUSED,
        "cannot connect to app.test:1: connection refused",
    )


@contextmanager
def accepting_nobody(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port where connections are neither accepted nor refused: the queue of its listener is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_server_that_does_not_accept_is_given_up_at_the_cap(opened: OpenCaller) -> None:
    with accepting_nobody() as port:
        kind, message = await refused(opened(connect_cap_secs=0.1), f"http://127.0.0.1:{port}/")

    assert kind is FailureKind.TIMEOUT
    assert message == f"no complete answer within 0.1 s (no connection to 127.0.0.1:{port})"


async def test_a_silent_address_does_not_hold_up_the_next_one(opened: OpenCaller) -> None:
    async with serving(serving_well()) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with accepting_nobody("127.0.0.2", port):
            caller = opened(to("127.0.0.2", "127.0.0.1"), connect_cap_secs=3.0)
            assert await caller.post(request(f"http://app.test:{port}/")) == Response(200, b"{}")


async def test_a_name_that_does_not_exist(opened: OpenCaller) -> None:
    def unknown(host: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    kind, message = await refused(opened(unknown), "http://nowhere.test/")

    assert (kind, message) == (FailureKind.DNS, "cannot resolve nowhere.test: Name or service not known")


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
async def test_a_name_that_cannot_exist(host: str, caller: Caller) -> None:
    kind, message = await refused(caller, f"http://{host}/")

    assert kind is FailureKind.DNS
    assert host in message


async def test_a_name_that_hangs_is_given_up_and_holds_up_no_other(opened: OpenCaller) -> None:
    hung = threading.Event()

    def hanging(host: str) -> Sequence[str]:
        if host == "hangs.test":
            hung.wait()
        return ["127.0.0.1"]

    caller = opened(hanging, dns_cap_secs=0.2)
    async with serving(serving_well()) as server:
        url = server.url.replace("127.0.0.1", "hangs.test")
        stuck = [asyncio.create_task(refused(caller, url)) for _ in range(20)]
        early = await refused(caller, url, timeout_secs=0.05)
        assert await caller.post(request(server.url.replace("127.0.0.1", "app.test"))) == Response(200, b"{}")
        for kind, message in await asyncio.gather(*stuck):
            assert (kind, message) == (FailureKind.DNS, "cannot resolve hangs.test: no answer within 0.2 s")
        assert early == (FailureKind.TIMEOUT, "no complete answer within 0.05 s (still resolving hangs.test)")
        assert [thread.name for thread in threading.enumerate()].count("resolve hangs.test") == 1
        hung.set()


async def test_a_burst_of_calls_asks_the_name_server_once(opened: OpenCaller) -> None:
    asked: list[str] = []

    def counting(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    caller = opened(counting)
    async with serving(serving_well()) as server:
        url = server.url.replace("127.0.0.1", "app.test")
        outcomes = await asyncio.gather(*(caller.post(request(url)) for _ in range(20)))

    assert outcomes == [Response(200, b"{}")] * 20
    assert asked == ["app.test"]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["64:ff9b::7f00:1"],
    ],
)
async def test_a_name_that_leads_inside_is_refused_before_anything_is_opened(
    addresses: list[str], opened: OpenCaller
) -> None:
    caller = opened(to(*addresses), allow_private_addresses=False)
    async with serving(serving_well()) as server:
        kind, message = await refused(caller, server.url.replace("127.0.0.1", "rebound.test"))
        assert server.connections == 0

    assert kind is FailureKind.ADDRESS_REFUSED
    assert f"rebound.test resolves to {addresses[-1]} (" in message


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "0", "\uff11\uff12\uff17.0.0.1"]
)
async def test_every_spelling_of_loopback_is_refused(host: str, opened: OpenCaller) -> None:
    caller = opened(allow_private_addresses=False)
    async with serving(serving_well()) as server:
        kind, message = await refused(caller, server.url.replace("127.0.0.1", host))
        assert server.connections == 0

    assert kind is FailureKind.ADDRESS_REFUSED
    assert "neither a public address nor one of the allowed hosts" in message


@pytest.mark.parametrize("entry", ["app.test", "APP.test:{port}", "127.0.0.1", "127.0.0.0/8"])
async def test_a_listed_host_may_be_private(entry: str, opened: OpenCaller) -> None:
    async with serving(serving_well()) as server:
        port = server.url.split(":")[2].split("/")[0]
        caller = opened(to("127.0.0.1"), allow_private_addresses=False, allowed_hosts=(entry.format(port=port),))
        assert await caller.post(request(server.url.replace("127.0.0.1", "app.test"))) == Response(200, b"{}")


@pytest.mark.parametrize("entry", ["other.test", "app.test:1", "127.0.0.2", "10.0.0.0/8"])
async def test_a_list_allows_nothing_else(entry: str, opened: OpenCaller) -> None:
    caller = opened(to("127.0.0.1"), allow_private_addresses=False, allowed_hosts=(entry,))
    kind, _ = await refused(caller, "http://app.test:9/")

    assert kind is FailureKind.ADDRESS_REFUSED


@pytest.mark.parametrize("url", ["", "/hook", "ftp://app.test/", "http://u:p@app.test/", "http://app.test:0/"])
async def test_a_url_that_is_not_called(url: str, caller: Caller) -> None:
    kind, message = await refused(caller, url)

    assert kind is FailureKind.ADDRESS_REFUSED
    assert message.startswith("the endpoint is not a URL that can be called: ")
