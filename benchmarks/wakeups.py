"""How long a launch on one node waits until an idle other node calls the app, with LISTEN and without.

    python -m benchmarks.wakeups [--launches 60] [--poll-secs 1.0]

Loopback only. A PostgreSQL of its own, and two servers in processes of their own: one of the role `api`, which
launches, and one of the role `engine`, which calls. Launches come one at a time, when everything is idle. The clock
starts before the request of the launch is sent and stops when the app has the engine's call.
"""

import argparse
import asyncio
import time
from contextlib import ExitStack

import httpx

from benchmarks.findings import Table, number, percentile
from benchmarks.node import TOKEN, Stage, staged
from benchmarks.part import begin_measuring
from benchmarks.report import text_of
from benchmarks.stores import Stores
from benchmarks.workload import SECRET
from tests.support.fake_app import Received, running_app
from tests.support.server import Server

PATIENCE_SECS = 60.0


def started(stage: Stage, name: str, **environment: str) -> Server:
    server = stage.server(name, **environment)
    server.start()
    return server


async def delays(stage: Stage, launches: int, **engine: str) -> list[float]:
    """Seconds from each launch to its call."""
    called = asyncio.Event()

    def handler(_request: Received) -> object:
        called.set()
        return {"is_done": True}

    async with running_app(handler) as app:
        front = await asyncio.to_thread(started, stage, "api", ORCHESTRATOR_SERVER__ROLE="api")
        engine |= {"ORCHESTRATOR_SERVER__ROLE": "engine", "ORCHESTRATOR_SERVER__PUBLIC_URL": front.url}
        # By default an engine calls no app at a loopback address.
        engine["ORCHESTRATOR_WEBHOOK__ALLOW_PRIVATE_ADDRESSES"] = "true"
        back = await asyncio.to_thread(lambda: started(stage, "engine", **engine))
        task = {"id": "app_bench_run", "name": "Run", "on_multiple_exec": "allow"}
        manifest = {"id": "app_bench", "name": "Bench", "webhook_endpoint": app.url, "tasks": [task]}
        await asyncio.to_thread(front.install, manifest, SECRET)
        found = []
        # A client that is there already: to make one costs more than the launch.
        client = httpx.AsyncClient(base_url=front.url, headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            # The first ones connect, and wait for the nodes to have seen each other.
            for number in range(launches + 5):
                await asyncio.sleep(0.5 if number < 5 else 0.2)
                called.clear()
                began = time.perf_counter()
                launch = asyncio.create_task(client.post("/v1/executions", json={"task_id": "app_bench_run"}))
                async with asyncio.timeout(PATIENCE_SECS):
                    await called.wait()
                found.append(time.perf_counter() - began)
                (await launch).raise_for_status()
        finally:
            await client.aclose()
            await asyncio.to_thread(back.stop)
            await asyncio.to_thread(front.stop)
        return found[5:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=60)
    parser.add_argument("--poll-secs", type=float, default=1.0)
    asked = parser.parse_args()
    begin_measuring()
    poll = {"ORCHESTRATOR_ENGINE__POLL_INTERVAL_SECS": str(asked.poll_secs)}
    rows = []
    with ExitStack() as stack:
        stores = Stores(stack)
        for name, more in (("LISTEN", {}), ("polling", {"ORCHESTRATOR_DATABASE__LISTEN_URL": "off"})):
            with staged(stores, "postgresql") as stage:
                secs = asyncio.run(delays(stage, asked.launches, **poll, **more))
            times = (percentile(secs, 0.5), percentile(secs, 0.95), max(secs))
            rows.append((name, *(number(one * 1000) for one in times), str(len(secs))))
    print(text_of(Table(("", "p50 ms", "p95 ms", "longest ms", "launches"), tuple(rows))))


if __name__ == "__main__":
    main()
