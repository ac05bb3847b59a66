"""`orchestrator serve`: from settings to a running server, and back down again in good order."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
import uvicorn

from orchestrator import __version__
from orchestrator.api.app import create_api, create_health_api
from orchestrator.api.context import ApiContext
from orchestrator.engine.intake import Intake
from orchestrator.runtime.admin_token import ensure_admin_token
from orchestrator.runtime.data_directory import database_options, make_directory, master_key, sole_use
from orchestrator.runtime.identifiers import new_id
from orchestrator.runtime.logging import configure_logging
from orchestrator.runtime.node import Node
from orchestrator.runtime.node_options import Addresses, limits_of
from orchestrator.runtime.way_down import Stage, WayDown, exit_after
from orchestrator.service import workspaces
from orchestrator.service.vault import Vault, check_master_key
from orchestrator.settings import Settings
from orchestrator.store import durability, schema
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.share import Share
from orchestrator.store.transaction import Transaction

SHUTDOWN_SECS = 2
_log = structlog.get_logger("server")


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then drain; a second signal exits at once. Returns the exit code.

    Raises DatabaseBusy, DatabaseOutdated, WrongMasterKey, or OSError if the address cannot be bound.
    """
    configure_logging(settings.log)
    make_directory(settings.server.data_dir)
    options = database_options(settings)
    with sole_use(options), _bound(settings) as listener:
        _prepare_schema(options)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(settings, options, listener))


@dataclass(slots=True)
class _Draining:
    """Whether the server is on its way down, for /readyz, and how long it may take."""

    drain_secs: float
    way_down: WayDown | None = None

    @property
    def begun(self) -> bool:
        return self.way_down is not None

    def begin(self) -> WayDown:
        """Return the way down, which begins now unless it has begun."""
        self.way_down = self.way_down or WayDown.begin(self.drain_secs)
        return self.way_down


async def _serve(settings: Settings, options: DatabaseOptions, listener: socket.socket) -> int:
    database = Database(options)
    try:
        vault = Vault(master_key(settings))
        await database.write(_first_start, vault)
        await ensure_admin_token(settings, database)
        await _warn_of_lax_durability(database)
        url = settings.server.url(listener.getsockname()[1])
        collector = settings.collector.endpoint
        addresses = Addresses(url, collector or f"{url}/collector", is_collector_own=collector is None)
        node = Node(settings, database, vault, addresses)
        return await _run(settings, database, vault, node, url, listener)
    finally:
        await database.close()


async def _run(
    settings: Settings, database: Database, vault: Vault, node: Node, url: str, listener: socket.socket
) -> int:
    draining, revision = _Draining(settings.engine.drain_secs), schema.NEWEST

    async def is_ready() -> bool:
        return not draining.begun and await database.read(schema.serves, revision)

    share = Share(database)
    context = ApiContext(
        database=share,
        definitions=node.definitions,
        vault=vault,
        limits=limits_of(settings),
        api_body_bytes=settings.limits.api_body_bytes,
        public_url=url,
        new_id=new_id,
        wake=node.wake,
        announce=node.announcer.announce,
        poll=node.pollers.poll,
        give_back=node.pollers.give_back,
        take_in=Intake(share).take_in,
        is_ready=is_ready,
        node=node.identity,
        node_timeout=timedelta(seconds=settings.engine.node_timeout_secs),
        version=__version__,
    )
    api = create_health_api(context) if settings.server.role == "engine" else create_api(context)
    web = _WebServer(_web_config(api))
    stop = _stop_signal(draining)
    await node.start()
    _spare_the_collector()
    _log.info("serving", url=url, database=database.dialect.value, role=settings.server.role, node=node.identity)
    serving = asyncio.create_task(web.serve(sockets=[listener]))
    await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    # Apps may still answer calls in flight while the API is up, and readers see the drain.
    way_down = draining.begin()
    is_done = await node.drain(way_down)
    web.leave()
    await asyncio.wait({serving}, timeout=way_down.left(Stage.WEB).total_seconds())
    _log.info("stopped", drained=is_done)
    return 0


def _spare_the_collector() -> None:
    """Leave out of garbage collections what has been loaded by now, and stays: a full one takes a tenth of a second.

    So it is not done here either, for the little garbage that a start leaves. The others look at ten thousand new
    objects instead of seven hundred: a step leaves no cycles behind.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


class _WebServer(uvicorn.Server):
    """Uvicorn without its signal handlers, since the drain decides when it stops, and without its polling for that.

    It looked ten times a second, which was a quarter of what an idle node did.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Stop now, when the requests in progress have been answered."""
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        """Renew the header with the date, every second, until it is to stop."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._leaving.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _web_config(api: Any) -> uvicorn.Config:
    return uvicorn.Config(
        api, log_config=None, access_log=False, timeout_graceful_shutdown=SHUTDOWN_SECS, server_header=False
    )


def _loop_factory() -> Any:
    # The same loop as uvicorn would choose by itself; the application is not looked at.
    return uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()


def _stop_signal(draining: _Draining) -> asyncio.Event:
    stop = asyncio.Event()

    def handle() -> None:
        if draining.begun:
            _log.warning("stopping at once: calls in flight will be made again")
            os._exit(1)
        exit_after(draining.begin().left(Stage.CLOSING))
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, handle)
    return stop


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """The listening socket, bound before anything starts, so that a port in use is told at once."""
    family = socket.AF_INET6 if ":" in settings.server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.server.host, settings.server.port))
        listener.listen(1024)
        listener.setblocking(False)
        yield listener


def _prepare_schema(options: DatabaseOptions) -> None:
    """The embedded database is brought up to date by its server; a shared one only by an operator."""
    if options.dialect is Dialect.SQLITE:
        schema.upgrade(options)
    else:
        schema.check(options)


def _first_start(tx: Transaction, vault: Vault) -> None:
    check_master_key(tx, vault)
    workspaces.ensure_default(tx, vault)


async def _warn_of_lax_durability(database: Database) -> None:
    for name in await database.read(durability.switched_off):
        _log.warning("the database may lose what it has committed: a setting of it is off", setting=name)
