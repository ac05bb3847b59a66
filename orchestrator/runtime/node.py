"""A node: the engine's loops on one database, wired to each other."""

import asyncio
import time
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta

from app_sdk.protocol.limits import Limits
from orchestrator import __version__
from orchestrator.domain.retention import Retention
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.states import ExecutionStatus
from orchestrator.engine.caller import Caller, CallerOptions, open_caller
from orchestrator.engine.deliverer import Deliverer, DelivererOptions
from orchestrator.engine.dispatcher import Dispatcher, DispatcherOptions, Outlets
from orchestrator.engine.pruner import Pruner
from orchestrator.engine.request import RequestOptions
from orchestrator.engine.scheduler import Scheduler
from orchestrator.engine.timekeeper import Timekeeper
from orchestrator.runtime.identifiers import new_id
from orchestrator.service import timers
from orchestrator.service.definitions import Definitions
from orchestrator.service.vault import Vault
from orchestrator.settings import Settings
from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect

# A collector that is back is noticed within a minute; what waits for it are whole executions.
LONGEST_DELIVERY_WAIT = timedelta(minutes=1)
# After the last call has been cut off: how long its record may take.
LAST_COMMITS = timedelta(seconds=2)
USER_AGENT = f"orchestrator/{__version__}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """What apps are told: where the API is, and where the collector is (without `/data`)."""

    api_endpoint: str
    collector_endpoint: str


def limits_of(settings: Settings) -> Limits:
    """The limits that answers and states are held to."""
    asked = settings.limits
    return Limits(
        answer_bytes=asked.answer_bytes,
        worker_state_bytes=asked.worker_state_bytes,
        app_state_bytes=asked.app_state_bytes,
        items_per_answer=asked.items_per_answer,
    )


def retry_of(settings: Settings) -> RetryPolicy:
    """The retry policy of tasks that do not say otherwise, and of deliveries."""
    asked = settings.retry
    return RetryPolicy(
        max_retries=asked.max_retries,
        initial_delay=timedelta(seconds=asked.initial_delay_secs),
        multiplier=asked.multiplier,
        max_delay=timedelta(seconds=asked.max_delay_secs),
    )


def retention_of(settings: Settings) -> Retention:
    """How long what is over is kept."""
    asked = settings.retention
    executions = {
        ExecutionStatus.SUCCEEDED: _days(asked.succeeded_days),
        ExecutionStatus.FAILED: _days(asked.failed_days),
        ExecutionStatus.ABORTED: _days(asked.aborted_days),
    }
    return Retention(
        executions={status: age for status, age in executions.items() if age is not None},
        occurrences=_days(asked.occurrences_days),
        collected_items=_days(asked.collected_items_days),
    )


def _days(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None


class Node:
    """Start, wake, drain. Its identity is fresh at every boot, so that nobody mistakes it for its predecessor."""

    def __init__(self, settings: Settings, database: Database, vault: Vault, addresses: Addresses) -> None:
        self.identity = str(uuid.uuid4())
        self.definitions = Definitions(retry_of(settings))
        self._settings = settings
        self._database = database
        self._caller = _caller(settings)
        self._collector_caller = _collector_caller(settings)
        poll = timedelta(seconds=settings.engine.poll_interval_secs)
        self.dispatcher = Dispatcher(
            database,
            self.definitions,
            vault,
            self._caller,
            _dispatcher_options(settings, self.identity, poll),
            _request_options(settings, addresses),
        )
        self.deliverer = Deliverer(
            database,
            self.definitions,
            vault,
            self._collector_caller,
            _deliverer_options(settings, addresses, poll),
            delivered=self._delivered,
        )
        self.timekeeper = Timekeeper(
            database,
            self.definitions,
            self.dispatcher.wake,
            poll,
            watches_leases=database.dialect is Dialect.POSTGRESQL,
        )
        self.pruner = Pruner(database, retention_of(settings))
        self.scheduler = Scheduler(database, self.definitions, new_id, self.dispatcher.wake, poll)
        self._loops = (self.dispatcher, self.deliverer, self.timekeeper, self.scheduler)
        self.dispatcher.connect(Outlets(batches=self.deliverer.wake, freed_groups=self.timekeeper.wake))

    async def start(self) -> None:
        """Take up the work. On the embedded database the claims of the process before are void, and resumed at once."""
        if self._database.dialect is Dialect.SQLITE:
            while await self._database.write(timers.void_claims, self.definitions):
                pass
        for loop in (*self._loops, self.pruner):
            loop.start()

    def wake(self) -> None:
        """Something may have become due: a launch, an activation, a retry, a redelivery."""
        for loop in self._loops:
            loop.wake()

    async def drain(self) -> bool:
        """Claim nothing more, let the calls in flight be applied, then stop; False if some were still under way."""
        within = timedelta(seconds=self._settings.engine.drain_secs)
        self.dispatcher.stop_claiming()
        await asyncio.gather(*(loop.stop() for loop in (*self._loops, self.pruner)))
        is_done = all(await asyncio.gather(self.dispatcher.drained(within), self.deliverer.drained(within)))
        await self._caller.close()
        await self._collector_caller.close()
        # What was cut off ends now, as lost: it is recorded, and due again at once.
        await asyncio.gather(self.dispatcher.drained(LAST_COMMITS), self.deliverer.drained(LAST_COMMITS))
        return is_done

    def _delivered(self) -> None:
        self.dispatcher.wake()
        self.deliverer.wake()
        self.timekeeper.wake()


def _caller(settings: Settings) -> Caller:
    return open_caller(
        CallerOptions(
            max_connections=settings.engine.concurrency,
            allow_private_addresses=settings.private_addresses_allowed,
            allowed_hosts=settings.webhook.allowed_hosts,
        ),
        clock=time.time,
    )


def _collector_caller(settings: Settings) -> Caller:
    # The collector's address is the operator's own word, and the built-in one is this very server; an app's is not.
    options = CallerOptions(max_connections=settings.engine.import_concurrency, allow_private_addresses=True)
    return open_caller(options, clock=time.time)


def _dispatcher_options(settings: Settings, identity: str, poll: timedelta) -> DispatcherOptions:
    return DispatcherOptions(
        node=identity,
        concurrency=settings.engine.concurrency,
        lease=timedelta(seconds=settings.engine.lease_secs),
        limits=limits_of(settings),
        poll_interval=poll,
    )


def _request_options(settings: Settings, addresses: Addresses) -> RequestOptions:
    return RequestOptions(
        api_endpoint=addresses.api_endpoint,
        collector_endpoint=addresses.collector_endpoint,
        timeout_secs=settings.webhook.timeout_secs,
        max_answer_bytes=settings.limits.answer_bytes,
        verify_tls=settings.webhook.verify_tls,
        user_agent=USER_AGENT,
        clock=time.time,
    )


def _deliverer_options(settings: Settings, addresses: Addresses, poll: timedelta) -> DelivererOptions:
    return DelivererOptions(
        collector_endpoint=addresses.collector_endpoint,
        concurrency=settings.engine.import_concurrency,
        timeout_secs=settings.webhook.timeout_secs,
        verify_tls=settings.webhook.verify_tls,
        user_agent=USER_AGENT,
        retry=replace(retry_of(settings), max_delay=min(retry_of(settings).max_delay, LONGEST_DELIVERY_WAIT)),
        poll_interval=poll,
    )
