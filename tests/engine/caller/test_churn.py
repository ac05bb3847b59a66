"""Hundreds of calls that time out, or whose tasks are cancelled at any moment, leave nothing behind."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.caller import Caller
from tests.engine.caller.servers import (
    OK,
    OpenCaller,
    Peer,
    Server,
    answering,
    eventually,
    request,
    serving,
    serving_well,
)

CONNECTIONS = 10


def open_files() -> int:
    return len(tuple(Path("/dev/fd").iterdir()))


async def moody(peer: Peer) -> None:
    """By the request's body: answers, hangs, drips, or resets; several times on one connection."""
    while True:
        match (await peer.read_request()).rpartition(b"\r\n")[2]:
            case b"good":
                await peer.send(OK)
            case b"hang":
                await peer.hang()
            case b"reset":
                peer.reset()
            case _:
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                while True:
                    await peer.send(b"x")
                    await asyncio.sleep(0.002)


async def churn(caller: Caller, server: Server, seed: int) -> list[object]:
    """One caller's turn: fifteen calls, of any mood, some of them cancelled after a moment."""
    rng = random.Random(seed)
    ends: list[object] = []
    for _ in range(15):
        body = rng.choice([b"good", b"hang", b"reset", b"drip"])
        # Only what cannot end otherwise is given too little time, so that every kind of end is sure to occur.
        timeout_secs = rng.uniform(0.001, 0.05) if body in (b"hang", b"drip") else 30.0
        call = asyncio.create_task(caller.post(request(server, body=body, timeout_secs=timeout_secs)))
        if rng.random() < 0.5:
            await asyncio.wait([call], timeout=rng.choice([0, 0.001, 0.01]))
            call.cancel()
        ends.extend(await asyncio.gather(call, return_exceptions=True))
    return ends


async def test_the_pool_is_healthy_after_timeouts_and_cancellations(opened: OpenCaller) -> None:
    async with serving(serving_well()):
        # The first server of a uvloop opens a file for itself, once.
        pass
    files, tasks = open_files(), len(asyncio.all_tasks())
    caller = opened(max_connections=CONNECTIONS)
    async with serving(moody) as server:
        churned = await asyncio.gather(*(churn(caller, server, seed) for seed in range(40)))
        ends = [end for lane in churned for end in lane]

        good = await asyncio.gather(*(caller.post(request(server, body=b"good")) for _ in range(200)))
        await eventually(lambda: server.open_connections <= CONNECTIONS)
        await caller.close()
        await eventually(lambda: server.open_connections == 0)

    assert len(ends) == 600
    kinds = {end.kind if isinstance(end, NoResponse) else type(end) for end in ends}
    # Each of them, or the test has churned nothing; and nothing else.
    assert kinds == {Response, asyncio.CancelledError, FailureKind.TIMEOUT, FailureKind.CONNECTION_RESET}
    assert good == [Response(200, b"{}")] * 200
    await eventually(lambda: len(asyncio.all_tasks()) == tasks)
    await eventually(lambda: open_files() == files)


async def cancelled_once(caller: Caller, url: str, is_there: Callable[[], bool]) -> None:
    call = asyncio.create_task(caller.post(request(url)))
    await eventually(is_there)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_call_may_be_cancelled_in_the_handshake(opened: OpenCaller) -> None:
    caller = opened(max_connections=1)

    async with serving(lambda peer: peer.hang()) as server, serving(serving_well()) as other:
        for turn in range(1, 4):
            url = server.url.replace("http:", "https:")
            await cancelled_once(caller, url, lambda turn=turn: server.connections == turn)  # type: ignore[misc]
        await eventually(lambda: server.open_connections == 0)
        assert await caller.post(request(other)) == Response(200, b"{}")


@pytest.mark.parametrize("handler", [answering(then="hang"), answering(OK[:-1], then="hang")], ids=["head", "body"])
async def test_a_call_may_be_cancelled_in_its_answer(handler: Callable[[Peer], object], opened: OpenCaller) -> None:
    caller = opened(max_connections=1)
    async with serving(handler) as server, serving(serving_well()) as other:  # type: ignore[arg-type]
        for turn in range(1, 4):
            await cancelled_once(caller, server.url, lambda turn=turn: len(server.requests) == turn)  # type: ignore[misc]
        await eventually(lambda: server.open_connections == 0)
        assert await caller.post(request(other)) == Response(200, b"{}")


async def test_a_call_may_be_cancelled_while_it_waits_for_a_place(opened: OpenCaller) -> None:
    caller = opened(max_connections=1)
    async with serving(answering(then="hang")) as server, serving(serving_well()) as other:
        first = asyncio.create_task(caller.post(request(server, timeout_secs=0.2)))
        await eventually(lambda: bool(server.requests))
        waiting = [asyncio.create_task(caller.post(request(other))) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting[:2]:
            task.cancel()
        assert await waiting[2] == Response(200, b"{}")
        assert other.connections == 1
        await first
