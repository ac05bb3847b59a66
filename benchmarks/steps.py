"""Steps a second of one node: executions of ten workers each, five apps, so that 100 calls are in flight.

    python -m benchmarks.steps [--executions 100] [--steps 20] [--delay-ms 0] [--rounds 1] [--only sqlite,postgresql]

Every execution is launched for one instant in the future; what is measured begins with the first call and ends with
the last answer, so launching is left out.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg

from benchmarks.processes import SECRET, Sink, cpu_secs, postmaster, running_node, running_sink, tree_cpu_secs
from benchmarks.workload import APPS, WORKERS, Figures, Load, figures, state_of
from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.support.postgres import running_postgres
from tests.support.server import Server, wait_for

SECS_A_LAUNCH = 0.05


def install(server: Server, sink: Sink, delay_ms: int = 0) -> None:
    """Install the five apps."""
    for app in range(APPS):
        task = {"id": f"app_bench{app}_run", "name": "Run", "on_multiple_exec": "allow"}
        endpoint = f"{sink.url}/webhook" + (f"?delay_ms={delay_ms}" if delay_ms else "")
        manifest = {"id": f"app_bench{app}", "name": "Bench", "webhook_endpoint": endpoint, "tasks": [task]}
        server.install(manifest, SECRET)


def launch(server: Server, load: Load) -> datetime:
    """Launch everything for one instant; returns that."""
    begins = datetime.now(UTC) + timedelta(seconds=1 + load.executions * SECS_A_LAUNCH)
    state = state_of(load)
    others = [{"worker_id": worker_id, "initial_state": state} for worker_id in range(1, WORKERS)]
    order = {"state": state, "workers": others, "run_at": begins.isoformat().replace("+00:00", "Z")}
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        for number in range(load.executions):
            answer = client.post("/v1/executions", json={"task_id": f"app_bench{number % APPS}_run", **order})
            answer.raise_for_status()
    if datetime.now(UTC) > begins:
        raise RuntimeError("launching took too long: the first ones have begun")
    return begins


def measure(server: Server, sink: Sink, load: Load, store_secs: Callable[[], float]) -> Figures:
    """Run the load on a node whose apps are installed."""
    assert server.process is not None
    pid = server.process.pid
    sink.forget()
    begins = launch(server, load)
    time.sleep(max(0.0, (begins - datetime.now(UTC)).total_seconds() - 0.1))
    own, store = cpu_secs(pid), store_secs()
    wait_for(lambda: sink.seen()["done"] >= load.lanes, "the last answer", patience_secs=600)
    own, store = cpu_secs(pid) - own, store_secs() - store
    return figures(sink.seen(), load, own_secs=own, store_secs=store)


@contextmanager
def durable_postgres() -> Iterator[str]:
    """The URL of a database that survives a power cut."""
    with running_postgres() as postgres, postgres.database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for name in ("fsync", "full_page_writes", "autovacuum"):
                connection.execute(f"ALTER SYSTEM SET {name} = on")
            connection.execute("SELECT pg_reload_conf()")
        schema.upgrade(DatabaseOptions(url))
        yield url


def on_sqlite(load: Load) -> Figures:
    """The load on a new SQLite file."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sink = stack.enter_context(running_sink())
        server = stack.enter_context(running_node(directory, None))
        install(server, sink, load.delay_ms)
        return measure(server, sink, load, lambda: 0.0)


def on_postgresql(load: Load) -> Figures:
    """The load on a new database of a PostgreSQL that is durable."""
    with tempfile.TemporaryDirectory() as directory, running_sink() as sink, durable_postgres() as url:
        main = postmaster(url)
        with running_node(Path(directory) / "node", url) as server:
            install(server, sink, load.delay_ms)
            return measure(server, sink, load, lambda: tree_cpu_secs(main))


RUNS = {"sqlite": on_sqlite, "postgresql": on_postgresql}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="sqlite,postgresql")
    asked = parser.parse_args()
    load = Load(asked.executions, asked.steps, asked.delay_ms)
    names = asked.only.split(",")
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(asked.rounds):
        for name in names:
            found[name].append(RUNS[name](load))
    for name, runs in found.items():
        print(
            name,
            *(f"{statistics.median(getattr(run, field) for run in runs):,.1f} {field}" for field in Figures.__slots__),
        )


if __name__ == "__main__":
    main()
