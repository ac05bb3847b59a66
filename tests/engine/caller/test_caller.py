"""What goes out on the wire, which answers are taken, and which connections are used again."""

import asyncio
from datetime import timedelta

import pytest

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.caller import Caller
from tests.engine.caller.servers import (
    MIB,
    OK,
    OpenCaller,
    Peer,
    answering,
    eventually,
    repeating,
    request,
    serving,
    serving_well,
)

HEAD = b"HTTP/1.1 200 OK\r\n"


async def test_the_request_goes_out_as_given(caller: Caller) -> None:
    async with serving(serving_well()) as server:
        url = server.url + "/a b?q=é#part".replace(" ", "%20")
        headers = {"Content-Type": "application/json", "webhook-id": "msg_1"}
        outcome = await caller.post(request(url, headers=headers, body=b'{"n":1}'))

    assert outcome == Response(200, b"{}")
    authority = server.url.split("/")[2]
    assert server.requests == [
        f"POST /hook/a%20b?q=%C3%A9 HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 7\r\n"
        f'Content-Type: application/json\r\nwebhook-id: msg_1\r\n\r\n{{"n":1}}'.encode()
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, Response(200, b"{}")),
        (HEAD + b"\r\n{}", Response(200, b"{}")),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", Response(200, b"{}")),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", Response(200, b"{}")),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", Response(200, b"{}")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK, Response(200, b"{}")),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1 \r\n}\r\n0\r\nX: y\r\n\r\n",
            Response(200, b"{}"),
        ),
        (HEAD + b"Content-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", Response(200, b"{}")),
        (HEAD + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}", Response(200, b"{}")),
        (HEAD + b"Content-Length: 4\r\n\r\n\xff\x00\xfe{", Response(200, b"\xff\x00\xfe{")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Response(204, b"")),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
            Response(302, b""),
        ),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno", Response(400, b"no")),
        (
            b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
            Response(503, b"", timedelta(seconds=7)),
        ),
        (
            b"HTTP/1.1 429 Slow\r\nRetry-After: Sat, 21 Nov 2026 12:01:00 GMT\r\nContent-Length: 0\r\n\r\n",
            Response(429, b"", timedelta(minutes=1)),
        ),
    ],
    ids=lambda value: value[:60].decode("latin-1") if isinstance(value, bytes) else "",
)
async def test_a_complete_answer_is_taken(answer: bytes, expected: Response, caller: Caller) -> None:
    async with serving(answering(answer)) as server:
        assert await caller.post(request(server)) == expected


async def test_an_answer_may_come_in_any_pieces(caller: Caller) -> None:
    async with serving(answering(*(bytes([byte]) for byte in OK))) as server:
        assert await caller.post(request(server)) == Response(200, b"{}")


async def test_an_answer_of_exactly_the_limit_is_taken(caller: Caller) -> None:
    body = b"x" * MIB
    async with serving(serving_well(HEAD + b"Content-Length: %d\r\n\r\n" % MIB + body)) as server:
        assert await caller.post(request(server, max_answer_bytes=MIB)) == Response(200, body)
        outcome = await caller.post(request(server, max_answer_bytes=MIB - 1))

    assert isinstance(outcome, NoResponse)
    assert (outcome.kind, outcome.status) == (FailureKind.OVERSIZE, 200)


async def test_an_answer_before_the_request_is_taken_counts_and_ends_the_connection(caller: Caller) -> None:
    async def hasty(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with serving(hasty) as server:
        for _ in range(2):
            assert await caller.post(request(server, body=bytes(16 * MIB))) == Response(413, b"")
        assert server.connections == 2


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "X Y", "X:", ""])
async def test_a_header_that_would_change_the_request_is_not_sent(name: str, caller: Caller) -> None:
    async with serving(serving_well()) as server:
        outcome = await caller.post(request(server, headers={name: "1"}))
        assert server.connections == 0

    assert isinstance(outcome, NoResponse)
    assert (outcome.kind, outcome.sent) == (FailureKind.PROTOCOL, False)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\x00", "é", "\x7f"])
async def test_a_header_value_cannot_smuggle_anything(value: str, caller: Caller) -> None:
    async with serving(serving_well()) as server:
        outcome = await caller.post(request(server, headers={"X-Message": value}))
        assert server.connections == 0

    assert isinstance(outcome, NoResponse)
    assert (outcome.kind, outcome.sent) == (FailureKind.PROTOCOL, False)


async def test_neither_cookies_nor_proxies_exist(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(serving_well(OK.replace(b"\r\n", b"\r\nSet-Cookie: a=b\r\n", 1))) as server:
        for _ in range(2):
            assert await caller.post(request(server)) == Response(200, b"{}")

    assert not any(b"ookie" in sent for sent in server.requests)


async def test_a_connection_is_used_again(caller: Caller) -> None:
    async with serving(serving_well()) as server:
        for _ in range(5):
            assert await caller.post(request(server)) == Response(200, b"{}")
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"surplus",
        b"HTTP/1.1 204 No Content\r\n\r\nevil",
    ],
)
async def test_a_connection_that_is_not_clean_is_not_used_again(answer: bytes, caller: Caller) -> None:
    async with serving(serving_well(answer)) as server:
        first, second = [await caller.post(request(server)) for _ in range(2)]
        assert server.connections == 2

    assert first == second
    assert isinstance(first, Response)
    assert first.body in (b"", b"{}")


async def test_what_is_pushed_between_two_calls_answers_neither(opened: OpenCaller) -> None:
    caller = opened(keepalive_secs=60)
    pushed = asyncio.Event()

    async def pushing(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await pushed.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await peer.hang()

    async with serving(pushing) as server:
        first = await caller.post(request(server))
        pushed.set()
        await eventually(lambda: server.open_connections == 0)
        second = await caller.post(request(server))
        assert server.connections == 2

    assert first == second == Response(200, b"{}")


async def test_a_call_on_a_stale_connection_is_not_made_twice(caller: Caller) -> None:
    async def closing_on_the_second(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()

    async with serving(closing_on_the_second) as server:
        await caller.post(request(server))
        outcome = await caller.post(request(server))

    assert isinstance(outcome, NoResponse)
    assert (outcome.kind, outcome.sent) == (FailureKind.CONNECTION_RESET, True)
    assert "kept open from an earlier call" in outcome.message
    assert len(server.requests) == 2


async def test_an_unused_connection_is_closed_after_a_while(opened: OpenCaller) -> None:
    caller = opened(keepalive_secs=0.02)
    async with serving(serving_well()) as server:
        await asyncio.gather(*(caller.post(request(server)) for _ in range(3)))
        await eventually(lambda: server.open_connections == 0)
        assert await caller.post(request(server)) == Response(200, b"{}")
        assert server.connections == 4


async def test_a_call_waits_for_a_place_until_its_deadline(opened: OpenCaller) -> None:
    caller = opened(max_connections=1)
    async with serving(answering(then="hang")) as silent, serving(serving_well()) as server:
        first = asyncio.create_task(caller.post(request(silent, timeout_secs=0.2)))
        await eventually(lambda: bool(silent.requests))
        none_free = await caller.post(request(server, timeout_secs=0.05))
        assert server.connections == 0
        assert await caller.post(request(server)) == Response(200, b"{}")
        await first

    message = "no complete answer within 0.05 s (all 1 connections are in use)"
    assert none_free == NoResponse(FailureKind.TIMEOUT, message, sent=False)


async def test_close_ends_the_calls_under_way(opened: OpenCaller) -> None:
    caller = opened()
    async with serving(repeating(HEAD + b"X: ", b"y", 0.01)) as server, serving(serving_well()) as idle:
        assert await caller.post(request(idle)) == Response(200, b"{}")
        under_way = asyncio.create_task(caller.post(request(server)))
        await eventually(lambda: bool(server.requests))
        await caller.close()
        await eventually(lambda: server.open_connections == idle.open_connections == 0)

        assert await under_way == NoResponse(FailureKind.LOST, "the node is shutting down", sent=True)
        after = await caller.post(request(idle))
        assert after == NoResponse(FailureKind.LOST, "the node is shutting down", sent=False)
        assert idle.connections == 1
