"""Orchestrators of default settings, in processes of their own, on a database that survives a power cut."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import orjson

from benchmarks.app import Sink, running_sink
from benchmarks.stores import Store, Stores
from benchmarks.workload import APPS, SECRET, WORKERS
from orchestrator.domain.outcome import Response
from orchestrator.engine.caller import CallerOptions, Request, open_caller
from orchestrator.store import schema
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.transaction import Transaction
from tests.engine.crowd import insert_crowd
from tests.support.server import Server

T = TypeVar("T")
Kind = Literal["sqlite", "postgresql"]

TOKEN = "orch_of_the_benchmark"
NAMES: dict[Kind, str] = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
KINDS = tuple(NAMES)


@dataclass(frozen=True, slots=True)
class Stage:
    """A database with our tables, the app, and a directory for what servers write beside the database."""

    directory: Path
    store: Store
    sink: Sink

    def server(self, name: str = "node", **environment: str) -> Server:
        """A server that is not started yet."""
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        (directory / "admin-token").write_text(TOKEN)
        environment |= {
            "ORCHESTRATOR_ADMIN_TOKEN": TOKEN,
            "ORCHESTRATOR_LOG__LEVEL": "warning",
            "ORCHESTRATOR_DATABASE__URL": self.store.url,
            "ORCHESTRATOR_SECURITY__MASTER_KEY": "of the benchmark",
        }
        return Server(directory, environment=environment)

    @contextmanager
    def node(self, name: str = "node", **environment: str) -> Iterator[Server]:
        """A server that runs for the length of the block."""
        server = self.server(name, **environment)
        try:
            server.start()
            yield server
        finally:
            if server.process is not None:
                server.kill()

    def write(self, use_case: Callable[[Transaction], T]) -> T:
        """Run one transaction, while no server has the database."""

        async def run() -> T:
            database = Database(DatabaseOptions(self.store.url))
            try:
                return await database.write(use_case)
            finally:
                await database.close()

        return asyncio.run(run())

    def crowd(self, workers: int, due_at_micros: int) -> None:
        """Running executions of all apps, ten workers each, all due at that time; no server may be running."""
        for app in range(APPS):
            self.write(
                partial(insert_crowd, task_id=f"app_bench{app}_run", workers=workers // APPS, due_at=due_at_micros)
            )
        if self.store.file is None:
            # As autovacuum would do soon; SQLite has no statistics with us.
            self.write(lambda tx: tx.run("ANALYZE"))


@contextmanager
def staged(stores: Stores, kind: Kind, *, is_new: bool = False) -> Iterator[Stage]:
    """A stage on a new database; one that is new altogether has no tables yet."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        store = stack.enter_context(stores.open(kind))
        if not is_new:
            schema.upgrade(DatabaseOptions(store.url))
        yield Stage(directory, store, stack.enter_context(running_sink()))


def pid_of(server: Server) -> int:
    """The process of a server that was started."""
    assert server.process is not None
    return server.process.pid


def install(server: Server, sink: Sink, delay_ms: int = 0, apps: int = APPS) -> None:
    """Install so many apps, which take `delay_ms` for each step."""
    for app in range(apps):
        task = {"id": f"app_bench{app}_run", "name": "Run", "on_multiple_exec": "allow"}
        endpoint = f"{sink.url}webhook" + (f"?delay_ms={delay_ms}" if delay_ms else "")
        manifest = {"id": f"app_bench{app}", "name": "Bench", "webhook_endpoint": endpoint, "tasks": [task]}
        server.install(manifest, SECRET)


def order(number: int, state: dict[str, Any], run_at: datetime | None = None, apps: int = APPS) -> bytes:
    """The launch of the so-manieth execution, of ten workers with the same state, of one of so many apps in turn."""
    others = [{"worker_id": worker_id, "initial_state": state} for worker_id in range(1, WORKERS)]
    when = {} if run_at is None else {"run_at": run_at.isoformat().replace("+00:00", "Z")}
    return orjson.dumps({"task_id": f"app_bench{number % apps}_run", "state": state, "workers": others, **when})


def launch(server: Server, orders: Iterable[bytes], at_once: int = 8) -> list[str]:
    """Send launches to the API, so many at a time, with a client that costs little; gives the executions' ids."""
    return asyncio.run(_launch(server, iter(orders), at_once))


async def _launch(server: Server, orders: Iterator[bytes], at_once: int) -> list[str]:
    caller = open_caller(CallerOptions(allow_private_addresses=True), clock=time.time)
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
    launched: list[str] = []

    async def lane() -> None:
        for body in orders:
            outcome = await caller.post(Request(f"{server.url}/v1/executions", headers, body, 30.0, 2**20))
            if not isinstance(outcome, Response) or outcome.status != 201:
                raise RuntimeError(f"a launch was answered with {outcome}")
            launched.append(orjson.loads(outcome.body)["id"])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(lane())
    finally:
        await caller.close()
    return launched


def launch_for_one_instant(server: Server, executions: int, state: dict[str, Any]) -> datetime:
    """Launch executions that all begin at one instant in the future, which is given. Raises RuntimeError if late."""
    begins = datetime.now(UTC) + timedelta(seconds=1.5 + executions * SECS_A_LAUNCH)
    launch(server, (order(number, state, begins) for number in range(executions)))
    if datetime.now(UTC) > begins:
        raise RuntimeError("launching took too long: the first executions have begun")
    return begins


SECS_A_LAUNCH = 0.03
