"""A whole node on a real database with a scripted app: what the engine's tests start from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from app_sdk.protocol.manifest import read_manifest
from app_sdk.protocol.strict_json import dumps
from orchestrator.runtime.identifiers import new_id
from orchestrator.runtime.node import Node
from orchestrator.runtime.node_options import Addresses
from orchestrator.service import apps, ending, launching, workspaces
from orchestrator.service.launching import LaunchOrder
from orchestrator.service.vault import Vault, check_master_key
from orchestrator.settings import Settings, load_settings
from orchestrator.store import lookups, schema
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Clock, Transaction
from tests.support.fake_app import FakeApp, Handler, running_app
from tests.support.waiting import eventually

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WORKSPACE = "default"


@dataclass(slots=True)
class ShiftedClock:
    """The present time, moved on by `shift`."""

    shift: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.shift


@dataclass(slots=True)
class World:
    """One node, one app `app_test`, one collector. With a `clock` of its own, its time can be moved on."""

    settings: Settings
    database: Database
    vault: Vault
    app: FakeApp
    collector: FakeApp
    node: Node
    url: str
    addresses: Addresses
    clock: ShiftedClock | None = None
    overrides: dict[str, Any] = field(default_factory=dict)

    def advance(self, by: timedelta) -> None:
        """Let time pass, for the database and whoever reads its clock."""
        assert self.clock is not None, "this world was opened without virtual_time"
        self.clock.shift += by
        self.node.wake()

    @asynccontextmanager
    async def another_database(self) -> AsyncIterator[Database]:
        """Another server's way to the database. SQLite admits one server: there, its own transactions race."""
        if self.database.dialect is Dialect.SQLITE:
            yield self.database
            return
        database = Database(DatabaseOptions(self.url, pool_size=4), self.clock)
        try:
            yield database
        finally:
            await database.close()

    @asynccontextmanager
    async def another_node(self, *, start: bool = True, **settings: Any) -> AsyncIterator[Node]:
        """A second node on the same database, as another process would run it."""
        loaded = load_settings(None, {**self.overrides, **settings})
        database = Database(DatabaseOptions(self.url, pool_size=4), self.clock)
        node = Node(loaded, database, self.vault, self.addresses)
        try:
            if start:
                await node.start()
            yield node
        finally:
            await node.drain()
            await database.close()

    async def install(
        self, *tasks: dict[str, Any], app_id: str = "app_test", url: str | None = None, **more: Any
    ) -> None:
        """Install an app; each task needs only what is special about it."""
        manifest = {
            "id": app_id,
            "name": "Test",
            "webhook_endpoint": url or self.app.url,
            "tasks": [{"id": f"{app_id}_run", "name": "Run", **task} for task in tasks or ({},)],
            **more,
        }
        await self.database.write(apps.install, self.vault, WORKSPACE, read_manifest(manifest), SECRET)

    async def launch(
        self,
        task_id: str = "app_test_run",
        state: Any = None,
        wakes: Node | Literal["own"] | None = "own",
        **order: Any,
    ) -> str:
        """Launch and wake the node, another one, or none; returns the execution's id."""

        def use_case(tx: Transaction) -> str:
            task = lookups.task_key(tx, WORKSPACE, task_id)
            assert task is not None
            text = dumps(state or {}).decode()
            wanted = LaunchOrder(WORKSPACE, task.app_pk, task.pk, task.version_pk, input=text, **order)
            return launching.launch(tx, self.node.definitions, wanted, new_id).id

        execution_id = await self.database.write(use_case)
        woken = self.node if wakes == "own" else wakes
        if woken is not None:
            woken.wake()
        return execution_id

    async def abort(self, execution_id: str) -> None:
        await self.database.write(ending.abort, self.node.definitions, WORKSPACE, execution_id, None)

    async def retry(self, execution_id: str) -> None:
        await self.database.write(ending.retry, self.node.definitions, WORKSPACE, execution_id)
        self.node.wake()

    async def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda tx: tx.rows(sql, **parameters))

    async def row(self, sql: str, **parameters: Any) -> tuple[Any, ...]:
        [row] = await self.rows(sql, **parameters)
        return row

    async def pk(self, execution_id: str) -> int:
        (pk,) = await self.row("SELECT pk FROM executions WHERE id = :id", id=execution_id)
        return int(pk)

    async def status(self, execution_id: str) -> str:
        (status,) = await self.row("SELECT status FROM executions WHERE id = :id", id=execution_id)
        return str(status)

    async def message(self, execution_id: str) -> str | None:
        (message,) = await self.row("SELECT message FROM executions WHERE id = :id", id=execution_id)
        return None if message is None else str(message)

    async def workers(self, execution_id: str) -> dict[int, dict[str, Any]]:
        columns = (
            "worker_id",
            "status",
            "step",
            "token",
            "retry_count",
            "due_at",
            "undelivered",
            "held",
            "state",
            "message",
        )
        rows = await self.rows(
            """SELECT w.worker_id, w.status, w.step, w.token, w.retry_count, w.due_at, w.undelivered, w.held,
                      s.state, s.message
                 FROM workers w
                 JOIN worker_states s ON s.execution_pk = w.execution_pk AND s.worker_id = w.worker_id
                 JOIN executions e ON e.pk = w.execution_pk WHERE e.id = :id""",
            id=execution_id,
        )
        return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}

    async def calls(self, execution_id: str) -> list[dict[str, Any]]:
        columns = (
            "worker_id",
            "token",
            "step",
            "outcome",
            "failure",
            "http_status",
            "message",
            "notes",
            "answer",
        )
        rows = await self.rows(
            """SELECT c.worker_id, c.token, c.step, c.outcome, c.failure, c.http_status, c.message, c.notes,
                      c.answer
                 FROM calls c JOIN executions e ON e.pk = c.execution_pk
                WHERE e.id = :id ORDER BY c.worker_id, c.token""",
            id=execution_id,
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    async def app_state(self, app_id: str = "app_test") -> str:
        return await self.database.read(apps.state, WORKSPACE, app_id)

    async def ended(self, execution_id: str) -> str:
        """Wait until the execution has ended; returns how."""

        async def probe() -> str | None:
            status = await self.status(execution_id)
            return status if status in ("succeeded", "failed", "aborted") else None

        return await eventually(probe, f"the end of {execution_id}")


@asynccontextmanager
async def running_world(
    url: str,
    handler: Handler,
    collect: Handler = lambda request: {},
    *,
    start: bool = True,
    own_collector: bool = False,
    virtual_time: bool = False,
    database_clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """A world on the (empty) database at `url`, ended when the block ends. To its `own_collector` nothing is sent."""
    options = DatabaseOptions(url, pool_size=4)
    if schema.current(options) is None:
        schema.upgrade(options)
    vault = Vault("test master key")
    settings["engine"] = {"poll_interval_secs": 0.2, "drain_secs": 2, **settings.get("engine", {})}
    loaded = load_settings(None, settings)
    clock = ShiftedClock() if virtual_time else None
    database = Database(options, database_clock or clock)
    async with running_app(handler) as app, running_app(collect) as collector:
        try:
            await database.write(_first_start, vault)
            addresses = _addresses(collector, own_collector)
            node = Node(loaded, database, vault, addresses)
            try:
                if start:
                    await node.start()
                yield World(loaded, database, vault, app, collector, node, url, addresses, clock, settings)
            finally:
                await node.drain()
        finally:
            await database.close()


def _addresses(collector: FakeApp, own_collector: bool) -> Addresses:
    return Addresses("http://127.0.0.1:1", f"http://127.0.0.1:{collector.port}/collector", own_collector)


def _first_start(tx: Transaction, vault: Vault) -> None:
    check_master_key(tx, vault)
    workspaces.ensure_default(tx, vault)
