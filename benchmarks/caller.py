"""What one call costs: the engine's caller beside httpx, and beside aiohttp and pyreqwest where installed.

    python -m benchmarks.caller [--concurrency 100] [--secs 1.5] [--rounds 3]

Loopback only. A sink in a process of its own answers every request with 1 KB of JSON. Each client runs in a
fresh process on uvloop, one client with one pool, in turns, so that a busy machine is unfair to all alike.
Reported are medians over the rounds. CPU is the client's process with its threads; the sink's is not counted.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec

import uvloop

from benchmarks.processes import output_of
from orchestrator.domain.outcome import Response
from orchestrator.engine.caller import CallerOptions, Request, open_caller
from tests.support.server import ROOT

BODY = json.dumps({"kind": "task_exec_worker", "worker_state": {"step": 1, "rows": ["x" * 10] * 65}}).encode()
ANSWER = json.dumps({"is_done": False, "updated_worker_state": {"step": 2, "rows": ["x" * 10] * 65}}).encode()
HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": "webhook-orchestrator",
    "Accept-Encoding": "identity",
    "X-Rmd-Signature": "0" * 64,
    "webhook-id": "msg_018f2c7e_0_12",
    "webhook-timestamp": "1795219200",
    "webhook-signature": "v1," + "A" * 44,
    "Idempotency-Key": "msg_018f2c7e_0_12",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
TIMEOUT_SECS = 20.0
MAX_ANSWER_BYTES = 10 * 1024 * 1024

Post = Callable[[], Awaitable[int]]


class Sink(asyncio.Protocol):
    """Answers each request as soon as it is whole; knows just as much HTTP as these clients need."""

    HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if separator and len(body) >= len(BODY) and head:
            self.received = b""
            self.transport.write(self.HEAD + ANSWER)  # type: ignore[attr-defined]


async def serve_sink() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def engine_caller(url: str, stack: AsyncExitStack) -> Post:
    options = CallerOptions(allow_private_addresses=True)
    caller = open_caller(options, clock=time.time)
    stack.push_async_callback(caller.close)

    async def post() -> int:
        outcome = await caller.post(Request(url, HEADERS, BODY, TIMEOUT_SECS, MAX_ANSWER_BYTES))
        if not isinstance(outcome, Response):
            raise RuntimeError(outcome.message)
        return len(outcome.body)

    return post


async def httpx_client(url: str, stack: AsyncExitStack) -> Post:
    httpx = import_module("httpx")

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECS, limits=limits)
    await stack.enter_async_context(client)

    async def post() -> int:
        return len((await client.post(url, content=BODY, headers=HEADERS)).content)

    return post


async def aiohttp_client(url: str, stack: AsyncExitStack) -> Post:
    aiohttp = import_module("aiohttp")

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECS),
    )
    await stack.enter_async_context(session)

    async def post() -> int:
        async with session.post(url, data=BODY, headers=HEADERS, allow_redirects=False) as response:
            return len(await response.read())

    return post


async def pyreqwest_client(url: str, stack: AsyncExitStack) -> Post:
    builder = import_module("pyreqwest.client").ClientBuilder()
    client = builder.no_proxy().timeout(timedelta(seconds=TIMEOUT_SECS)).build()
    await stack.enter_async_context(client)

    async def post() -> int:
        response = await client.post(url).headers(HEADERS).body_bytes(BODY).build().send()
        return len(await response.bytes())

    return post


CLIENTS = {
    "engine caller": engine_caller,
    "httpx": httpx_client,
    "aiohttp": aiohttp_client,
    "pyreqwest": pyreqwest_client,
}


async def measure(client: str, url: str, concurrency: int, secs: float) -> dict[str, float]:
    """Calls a second and microseconds of CPU a call, of `concurrency` loops that call as fast as they can."""
    async with AsyncExitStack() as stack:
        post = await CLIENTS[client](url, stack)
        await repeat(post, concurrency, secs / 4)
        cpu, started = time.process_time(), time.perf_counter()
        calls = await repeat(post, concurrency, secs)
        cpu, elapsed = time.process_time() - cpu, time.perf_counter() - started
    return {"calls_per_sec": calls / elapsed, "cpu_us": cpu / calls * 1e6}


async def repeat(post: Post, concurrency: int, secs: float) -> int:
    end = time.perf_counter() + secs

    async def lane() -> int:
        calls = 0
        while time.perf_counter() < end:
            if await post() != len(ANSWER):
                raise RuntimeError("the answer is not the one that was sent")
            calls += 1
        return calls

    return sum(await asyncio.gather(*(lane() for _ in range(concurrency))))


def run_once(client: str, url: str, concurrency: int, secs: float) -> dict[str, float]:
    options = ["--client", client, "--url", url, "--concurrency", str(concurrency), "--secs", str(secs)]
    result: dict[str, float] = json.loads(output_of("benchmarks.caller", *options, timeout_secs=60))
    return result


def compare(concurrency: int, secs: float, rounds: int) -> None:
    clients = [name for name in CLIENTS if name == "engine caller" or find_spec(name)]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in clients}
    sink = subprocess.Popen([sys.executable, "-m", "benchmarks.caller", "--sink"], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert sink.stdout is not None
        url = f"http://127.0.0.1:{int(sink.stdout.readline())}/webhook"
        for _ in range(rounds):
            for name in clients:
                results[name].append(run_once(name, url, concurrency, secs))
    finally:
        sink.kill()
        sink.communicate()
    report(concurrency, results)


def report(concurrency: int, results: dict[str, list[dict[str, float]]]) -> None:
    ours = statistics.median(run["calls_per_sec"] for run in results["engine caller"])
    print(f"{concurrency} concurrent calls, {len(BODY)} B out, {len(ANSWER)} B back, loopback, uvloop\n")
    print(f"{'client':<15}{'calls/s':>10}{'CPU us/call':>13}{'engine caller is':>20}")
    for name, runs in results.items():
        speed = statistics.median(run["calls_per_sec"] for run in runs)
        cpu = statistics.median(run["cpu_us"] for run in runs)
        ratio = "" if name == "engine caller" else f"{ours / speed:.1f} x as fast"
        print(f"{name:<15}{speed:>10,.0f}{cpu:>13,.0f}{ratio:>20}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--secs", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", choices=list(CLIENTS), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sink:
        uvloop.run(serve_sink())
    elif options.client:
        print(json.dumps(uvloop.run(measure(options.client, options.url, options.concurrency, options.secs))))
    else:
        compare(options.concurrency, options.secs, options.rounds)


if __name__ == "__main__":
    main()
