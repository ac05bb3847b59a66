"""Whatever a server sends or keeps back, the call ends by its deadline, in a failure that names the cause."""

import asyncio
import gzip
import tracemalloc
from dataclasses import dataclass

import pytest

from orchestrator.domain.outcome import FailureKind, NoResponse
from orchestrator.engine.caller import Caller
from tests.engine.caller.servers import MIB, Handler, answering, deaf, eventually, repeating, request, serving

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH_10 = HEAD + b"Content-Length: 10\r\n\r\n"
BLOCK = b"x" * 65_536


@dataclass(frozen=True)
class Hostile:
    name: str
    handler: Handler
    kind: FailureKind
    message: str
    status: int | None = None


def encoded(header: bytes) -> bytes:
    bomb = gzip.compress(bytes(MIB))
    return HEAD + header + b"\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb


def late(name: str, handler: Handler, message: str) -> Hostile:
    return Hostile(name, handler, FailureKind.TIMEOUT, message)


def cut(name: str, handler: Handler, message: str) -> Hostile:
    return Hostile(name, handler, FailureKind.CONNECTION_RESET, message)


def bad(name: str, answer: bytes, message: str, status: int | None = None) -> Hostile:
    return Hostile(name, answering(answer, then="hang"), FailureKind.PROTOCOL, message, status)


def large(name: str, handler: Handler, message: str) -> Hostile:
    return Hostile(name, handler, FailureKind.OVERSIZE, message, 200)


def packed(name: str, header: bytes, message: str) -> Hostile:
    return Hostile(name, answering(encoded(header), then="hang"), FailureKind.CONTENT_ENCODING, message, 200)


ENDLESS = [
    large("chunks for ever", repeating(CHUNKED, b"10000\r\n" + BLOCK + b"\r\n"), "over the limit of 1,048,576"),
    large("tiny chunks for ever", repeating(CHUNKED, b"1\r\nx\r\n" * 10_000), "bytes of framing"),
    large("a body without length for ever", repeating(HEAD + b"\r\n", BLOCK), "over the limit of 1,048,576"),
    large("a chunk extension for ever", repeating(CHUNKED + b"2;a=", BLOCK), "bytes of framing"),
    large("one trailer for ever", repeating(CHUNKED + b"2\r\n{}\r\n0\r\nX: ", BLOCK), "bytes of framing"),
    Hostile(
        "trailers for ever",
        repeating(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n" * 100),
        FailureKind.PROTOCOL,
        "more than 100 header lines",
        200,
    ),
    Hostile(
        "informational answers for ever",
        repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000),
        FailureKind.PROTOCOL,
        "more than 5 informational answers",
    ),
    Hostile(
        "one header for ever",
        repeating(HEAD + b"X: ", BLOCK),
        FailureKind.PROTOCOL,
        "headers are over 65,536",
    ),
    Hostile(
        "headers for ever",
        repeating(HEAD, b"X: y\r\n" * 100),
        FailureKind.PROTOCOL,
        "more than 100 header lines",
    ),
    Hostile("blank lines for ever", repeating(b"", b"\r\n" * 9_000), FailureKind.PROTOCOL, "headers are over"),
]

HOSTILE = [
    late("never answers", answering(then="hang"), "(not a byte of an answer)"),
    late("drips its headers", repeating(HEAD + b"X: ", b"y", 0.01), "bytes of headers so far)"),
    late("drips its body", repeating(HEAD + b"Content-Length: 900\r\n\r\n", b"x", 0.01), "body bytes so far)"),
    late("drips chunks", repeating(CHUNKED, b"1\r\nx\r\n", 0.01), "headers received, "),
    late("drips blank lines", repeating(b"", b"\r\n", 0.01), "bytes of headers so far)"),
    late("answers 100 and no more", answering(b"HTTP/1.1 100 Go\r\n\r\n", then="hang"), "1 informational"),
    late("stops in its body", answering(LENGTH_10 + b"1234", then="hang"), "4 of 10 body bytes so far)"),
    late("does not end its chunks", answering(CHUNKED + b"2\r\n{}\r\n", then="hang"), "2 body bytes so far)"),
    cut("closes without a word", answering(), "the server closed the connection before the answer"),
    cut("resets without a word", answering(then="reset"), "not a byte of an answer"),
    cut("closes in its headers", answering(HEAD + b"Content-"), "25 bytes of headers so far"),
    cut("closes in its body", answering(LENGTH_10 + b"1234"), "4 of 10 body bytes"),
    cut("resets in its body", answering(LENGTH_10 + b"1234", then="reset"), "was lost"),
    cut("closes between chunks", answering(CHUNKED + b"2\r\n{}\r\n"), "2 body bytes"),
    cut("resets a body without length", answering(HEAD + b"\r\n{}", then="reset"), "was lost"),
    bad("speaks HTTP/0.9", b'{"is_done": true}', "it is not valid HTTP: Expected HTTP/"),
    bad("speaks SSH", b"SSH-2.0-OpenSSH_9.2\r\n", "it is not valid HTTP"),
    bad("speaks HTTP/2", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", "it says HTTP/2.0", 200),
    bad("sends a bad chunk size", CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", "Invalid character in chunk size", 200),
    bad("sends a chunk of 2^70", CHUNKED + b"4" + b"0" * 17 + b"\r\n", "Chunk size overflow", 200),
    bad("sends a length and chunks", LENGTH_10[:-2] + CHUNKED[17:], "Transfer-Encoding can't be present"),
    bad("sends two lengths", LENGTH_10[:-2] + b"Content-Length: 2\r\n\r\n{}", "Duplicate Content-Length"),
    bad("sends a negative length", HEAD + b"Content-Length: -1\r\n\r\n", "Content-Length"),
    bad("sends status 999", b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "status 999", 999),
    bad("sends status 12", b"HTTP/1.1 12 No\r\nContent-Length: 0\r\n\r\n", "Invalid status code"),
    bad(
        "switches protocols",
        b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n..",
        "status 101",
        101,
    ),
    bad("breaks its header", HEAD + b"X: a\x00b\r\n\r\n", "Invalid header value char"),
    large("announces too much", answering(HEAD + b"Content-Length: 1048577\r\n\r\n", then="hang"), "announced"),
    packed("gzips", b"Content-Encoding: gzip", "Content-Encoding is 'gzip'"),
    packed("compresses in another way", b"Content-Encoding: BR", "Content-Encoding is 'br'"),
    packed("hides gzip behind identity", b"Content-Encoding: identity\r\nContent-Encoding: gzip", "identity,gzip"),
    Hostile(
        "gzips the transfer",
        answering(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", then="hang"),
        FailureKind.CONTENT_ENCODING,
        "Transfer-Encoding is 'gzip, chunked'",
        200,
    ),
]


@pytest.mark.parametrize("hostile", HOSTILE + ENDLESS, ids=lambda hostile: hostile.name)
async def test_ends_in_the_failure_that_names_it(hostile: Hostile, caller: Caller) -> None:
    timeout_secs = 0.3 if hostile.kind is FailureKind.TIMEOUT else 10.0
    async with serving(hostile.handler) as server:
        outcome = await caller.post(request(server, timeout_secs=timeout_secs))

        assert isinstance(outcome, NoResponse), outcome
        assert (outcome.kind, outcome.status) == (hostile.kind, hostile.status), outcome
        assert hostile.message in outcome.message
        assert outcome.sent
        await eventually(lambda: server.open_connections == 0)


async def test_a_request_that_is_not_taken_ends_at_the_deadline(caller: Caller) -> None:
    async with serving(deaf) as server:
        outcome = await caller.post(request(server, body=bytes(16 * MIB), timeout_secs=0.5))

    assert isinstance(outcome, NoResponse)
    assert (outcome.kind, outcome.sent) == (FailureKind.TIMEOUT, True)
    assert "bytes of the request not taken yet, not a byte of an answer" in outcome.message


async def test_the_deadline_message_says_how_far_the_answer_came(caller: Caller) -> None:
    head = HEAD + b"Content-Length: 5000\r\n\r\n"
    async with serving(answering(head + bytes(1_204), then="hang")) as server:
        outcome = await caller.post(request(server, timeout_secs=0.4))

    message = "no complete answer within 0.4 s (headers received, 1,204 of 5,000 body bytes so far)"
    assert outcome == NoResponse(FailureKind.TIMEOUT, message, sent=True)


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("hostile", ENDLESS, ids=lambda hostile: hostile.name)
async def test_endless_answers_are_held_in_little_memory(hostile: Hostile, caller: Caller) -> None:
    async with serving(hostile.handler) as server:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await asyncio.gather(*(caller.post(request(server)) for _ in range(2)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    # Two answers of 1 MiB at most, each held once, beside the buffers of this process's own server.
    assert peak - before < 6 * MIB
