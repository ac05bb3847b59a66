"""A node: the engine's loops on one database, wired to each other and to the other nodes."""

import asyncio
import socket
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from orchestrator import __version__
from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.engine.announcer import Announcer
from orchestrator.engine.collecting import Collecting
from orchestrator.engine.deliverer import Deliverer
from orchestrator.engine.dispatcher import Dispatcher
from orchestrator.engine.dispatcher_options import Outlets
from orchestrator.engine.event_deliverer import EventDeliverer
from orchestrator.engine.lookout import SELDOM, Lookout
from orchestrator.engine.loop import Loop
from orchestrator.engine.pollers import Pollers
from orchestrator.engine.pruner import Pruner
from orchestrator.engine.publisher import Publisher
from orchestrator.engine.registrar import Registrar
from orchestrator.engine.scheduler import Scheduler
from orchestrator.engine.timekeeper import Timekeeper
from orchestrator.engine.wakeups import Listener, Notifier
from orchestrator.runtime import node_options
from orchestrator.runtime.identifiers import new_id
from orchestrator.runtime.node_options import Addresses
from orchestrator.runtime.way_down import Stage, WayDown
from orchestrator.service import pull_timers, timers
from orchestrator.service.callback_urls import CallbackSigner, CallbackUrls
from orchestrator.service.definitions import Definitions
from orchestrator.service.outlook import Concern
from orchestrator.service.vault import Vault
from orchestrator.settings import NO_LISTEN, Settings
from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect
from orchestrator.store.nodes import NodeFacts


class Node:
    """Start, wake, drain. Its identity is fresh at every boot, so that nobody mistakes it for its predecessor.

    A node of the role `api` runs no loops of the engine but that of the executors who poll at it. Yet it takes part:
    what it launches, it rings the others for, and it hears them.
    """

    def __init__(self, settings: Settings, database: Database, vault: Vault, addresses: Addresses) -> None:
        self.facts = _facts(settings, addresses)
        self.identity = self.facts.id
        self.definitions = Definitions(node_options.retry_of(settings))
        self._settings = settings
        self._database = database
        self._log = structlog.get_logger("node")
        is_shared = database.dialect is Dialect.POSTGRESQL
        poll = timedelta(seconds=settings.engine.poll_interval_secs)
        seldom = max(poll, SELDOM)
        self._caller = node_options.caller(settings)
        self._collector_caller = node_options.collector_caller(settings)
        self._event_senders = node_options.event_senders(settings)
        self.dispatcher = Dispatcher(
            database,
            self.definitions,
            vault,
            self._caller,
            node_options.dispatcher_options(settings, self.identity, seldom),
            node_options.request_options(settings, addresses, vault),
        )
        self.deliverer = self._deliverer(vault, addresses, seldom)
        self.event_deliverer = EventDeliverer(
            database,
            self.definitions,
            vault,
            self._event_senders,
            node_options.event_deliverer_options(settings, self.identity, seldom),
            launched=self._made_due,
        )
        self.publisher = Publisher(database, self.event_deliverer.wake, seldom)
        callbacks = CallbackUrls(addresses.api_endpoint, CallbackSigner(vault))
        self.pollers = Pollers(database, self.definitions, callbacks, poll, self._made_due)
        self.timekeeper = Timekeeper(database, self.definitions, self._made_due, seldom, watches_leases=is_shared)
        self.scheduler = Scheduler(database, self.definitions, new_id, self._made_due, seldom)
        self.lookout = Lookout(database, poll, self._concerns())
        self.pruner = Pruner(database, node_options.retention_of(settings))
        self.registrar = Registrar(
            database,
            self.definitions,
            self.facts,
            timedelta(seconds=settings.engine.node_timeout_secs),
            self.wake,
            judges=is_shared and settings.server.role != "api",
        )
        self.announcer = Announcer(database)

        def has_others() -> bool:
            return is_shared and self.registrar.others > 0

        self.notifier = Notifier(database, has_others)
        self.listener = _listener(settings, database, self._wake_loops)
        self._loops = self._engine_loops() if settings.server.role != "api" else ()
        self.dispatcher.connect(
            Outlets(self.deliverer.wake, self._freed, left_over=self.notifier.ring, has_others=has_others)
        )

    async def start(self) -> None:
        """Take up the work. On the embedded database the claims of the process before are void, and resumed."""
        if self._database.dialect is Dialect.SQLITE:
            while await self._database.write(timers.void_claims, self.definitions):
                pass
            await self._database.write(pull_timers.begin_anew, self.definitions)
        for loop in (*self._loops, self.pollers, self.registrar):
            loop.start()
        if self.listener is not None:
            self.listener.start()

    def wake(self) -> None:
        """Something may have become due: a launch, an activation, a retry, a redelivery."""
        self._wake_loops()
        self.notifier.ring()

    async def drain(self, way_down: WayDown | None = None) -> bool:
        """Claim nothing more, let the calls in flight be applied, then stop; False if some were still under way.

        Whatever the database or an app holds up, each stage ends in its time.
        """
        way = way_down or WayDown.begin(self._settings.engine.drain_secs)
        self.dispatcher.stop_claiming()
        self.pollers.stop_waiting()
        self.registrar.drain()
        senders = (self.dispatcher, self.deliverer, self.event_deliverer)
        await self._at_most(way.left(Stage.CALLS), self._stop_loops)
        within = way.left(Stage.CALLS)
        is_done = all(await asyncio.gather(*(sender.drained(within) for sender in senders)))
        for caller in (self._caller, self._collector_caller, self._event_senders):
            await caller.close()
        # What was cut off ends now, as lost: it is recorded, and due again at once.
        within = way.left(Stage.RECORDS)
        await asyncio.gather(*(sender.drained(within) for sender in senders))
        await self._at_most(way.left(Stage.RECORDS), self.dispatcher.give_back)
        await self._at_most(way.left(Stage.FAREWELL), self._leave)
        return is_done

    async def _stop_loops(self) -> None:
        listeners = () if self.listener is None else (self.listener,)
        await asyncio.gather(*(one.stop() for one in (*self._loops, *listeners)))

    async def _leave(self) -> None:
        self.notifier.ring()
        await self.pollers.stop()
        await self.notifier.close()
        await self.announcer.close()
        await self.registrar.stop()
        await self.registrar.leave()

    async def _at_most(self, within: timedelta, do: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(within.total_seconds()):
                await do()
        except (TimeoutError, DatabaseUnavailable) as error:
            self._log.warning("did not finish on the way down", what=do.__name__, error=repr(error))

    def _deliverer(self, vault: Vault, addresses: Addresses, poll: timedelta) -> Deliverer | Collecting:
        if addresses.is_collector_own:
            options = node_options.collecting_options(self._settings, poll)
            return Collecting(self._database, self.definitions, options, self._made_due, self._freed)
        return Deliverer(
            self._database,
            self.definitions,
            vault,
            self._collector_caller,
            node_options.deliverer_options(self._settings, self.identity, addresses, poll),
            delivered=self._delivered,
        )

    def _engine_loops(self) -> tuple[Loop, ...]:
        worked = self.dispatcher, self.deliverer, self.timekeeper, self.scheduler, self.pruner
        return *worked, self.publisher, self.event_deliverer, self.lookout

    def _concerns(self) -> dict[Concern, Callable[[], None]]:
        return {
            Concern.CALLS: self.dispatcher.wake,
            Concern.BATCHES: self.deliverer.wake,
            Concern.EVENTS: self.publisher.wake,
            Concern.DELIVERIES: self.event_deliverer.wake,
            Concern.SLOTS: self.scheduler.wake,
            Concern.TIMERS: self.timekeeper.wake,
        }

    def _wake_loops(self) -> None:
        # Mostly there is something to be called. Woken all at once, the others would be in the way of that.
        for loop in (self.dispatcher, self.pollers, self.lookout):
            loop.wake()

    def _freed(self) -> None:
        """Executions have ended: others may begin, and it is to be told."""
        self.timekeeper.free()
        self.publisher.wake()

    def _made_due(self) -> None:
        self.dispatcher.wake()
        self.pollers.wake()
        self.notifier.ring()

    def _delivered(self) -> None:
        self.dispatcher.wake()
        self.pollers.wake()
        self.deliverer.wake()
        self._freed()


def _facts(settings: Settings, addresses: Addresses) -> NodeFacts:
    name = settings.server.name or socket.gethostname()
    return NodeFacts(
        id=f"{name}:{uuid.uuid4()}",
        name=name,
        role=settings.server.role,
        version=__version__,
        url=addresses.api_endpoint,
    )


def _listener(settings: Settings, database: Database, wake: Callable[[], None]) -> Listener | None:
    asked = settings.database.listen_url
    if database.dialect is not Dialect.POSTGRESQL or asked == NO_LISTEN:
        return None
    return Listener(asked or database.url, wake)
