"""How long a launch on one node waits until an idle other node calls the app, with LISTEN and without.

    python benchmarks/wakeups.py [--launches 60] [--poll-secs 1.0]

Loopback only. A PostgreSQL of its own, and two servers in processes of their own: one of the role `api`, which
launches, and one of the role `engine`, which calls. Launches come one at a time, when everything is idle. The clock
starts before the request of the launch is sent and stops when the app has the engine's call.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.support.fake_app import Received, running_app
from tests.support.postgres import running_postgres
from tests.support.server import Server

TOKEN = "orch_of_the_benchmark"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def started(directory: Path, url: str, **environment: str) -> Server:
    server = Server(
        directory,
        environment={
            "ORCHESTRATOR_DATABASE__URL": url,
            "ORCHESTRATOR_SECURITY__MASTER_KEY": "of the benchmark",
            "ORCHESTRATOR_ADMIN_TOKEN": TOKEN,
            **environment,
        },
    )
    directory.mkdir()
    (directory / "admin-token").write_text(TOKEN)
    server.start()
    return server


async def delays(directory: Path, url: str, launches: int, **engine: str) -> list[float]:
    """Seconds from each launch to its call."""
    schema.upgrade(DatabaseOptions(url))
    called = asyncio.Event()

    def handler(_request: Received) -> object:
        called.set()
        return {"is_done": True}

    async with running_app(handler) as app:
        front = await asyncio.to_thread(started, directory / "api", url, ORCHESTRATOR_SERVER__ROLE="api")
        engine |= {"ORCHESTRATOR_SERVER__ROLE": "engine", "ORCHESTRATOR_SERVER__PUBLIC_URL": front.url}
        back = await asyncio.to_thread(lambda: started(directory / "engine", url, **engine))
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
    poll = {"ORCHESTRATOR_ENGINE__POLL_INTERVAL_SECS": str(asked.poll_secs)}
    with running_postgres() as server:
        for name, more in (("LISTEN", {}), ("polling", {"ORCHESTRATOR_DATABASE__LISTEN_URL": "off"})):
            with server.database() as url, tempfile.TemporaryDirectory() as directory:
                found = sorted(asyncio.run(delays(Path(directory), url, asked.launches, **poll, **more)))
                p95 = found[int(len(found) * 0.95)]
                print(
                    f"{name:8} median {statistics.median(found) * 1000:7.1f} ms   p95 {p95 * 1000:7.1f} ms   "
                    f"longest {found[-1] * 1000:7.1f} ms   ({len(found)} launches)"
                )


if __name__ == "__main__":
    main()
