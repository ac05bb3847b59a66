"""The settings cut into the options of each part: every part gets its own few."""

import time
from dataclasses import dataclass, replace
from datetime import timedelta

from app_sdk.protocol.limits import Limits
from orchestrator import __version__
from orchestrator.domain.retention import Retention
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.states import ExecutionStatus
from orchestrator.engine.amqp import AmqpSender
from orchestrator.engine.caller import Caller, CallerOptions, open_caller, open_dialer
from orchestrator.engine.collecting import CollectingOptions
from orchestrator.engine.deliverer import DelivererOptions
from orchestrator.engine.dispatcher_options import DispatcherOptions
from orchestrator.engine.event_deliverer import EventDelivererOptions, EventSenders
from orchestrator.engine.event_request import EventRequestOptions
from orchestrator.engine.registrar import BEATS_PER_TIMEOUT
from orchestrator.engine.request import RequestOptions
from orchestrator.runtime.identifiers import new_id
from orchestrator.service.callback_urls import CallbackSigner
from orchestrator.service.vault import Vault
from orchestrator.settings import Settings

# A collector that is back is noticed within a minute; what waits for it are whole executions.
LONGEST_DELIVERY_WAIT = timedelta(minutes=1)
USER_AGENT = f"orchestrator/{__version__}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """What apps are told: where the API is, and where the collector is (without `/data`).

    `is_collector_own`: it is the built-in one, so that nothing needs to be sent.
    """

    api_endpoint: str
    collector_endpoint: str
    is_collector_own: bool = False


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
        events=_days(asked.events_days),
        collected_items=_days(asked.collected_items_days),
    )


def _days(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None


def caller(settings: Settings) -> Caller:
    """The one that calls apps."""
    return open_caller(
        CallerOptions(
            max_connections=settings.engine.concurrency,
            allow_private_addresses=settings.private_addresses_allowed,
            allowed_hosts=settings.webhook.allowed_hosts,
        ),
        clock=time.time,
    )


def collector_caller(settings: Settings) -> Caller:
    """The one that brings batches to the collector."""
    # The collector's address is the operator's own word, and the built-in one is this very server; an app's is not.
    options = CallerOptions(max_connections=settings.engine.import_concurrency, allow_private_addresses=True)
    return open_caller(options, clock=time.time)


def event_senders(settings: Settings) -> EventSenders:
    """Those that bring events to subscribers, whose addresses are guarded as those of apps are."""
    options = CallerOptions(
        max_connections=settings.engine.event_concurrency,
        allow_private_addresses=settings.private_addresses_allowed,
        allowed_hosts=settings.webhook.allowed_hosts,
    )
    return EventSenders(open_caller(options, clock=time.time), AmqpSender(open_dialer(options)))


def event_deliverer_options(settings: Settings, identity: str, poll: timedelta) -> EventDelivererOptions:
    request = EventRequestOptions(
        timeout_secs=settings.webhook.timeout_secs,
        verify_tls=settings.webhook.verify_tls,
        user_agent=USER_AGENT,
        clock=time.time,
    )
    return EventDelivererOptions(
        node=identity,
        concurrency=settings.engine.event_concurrency,
        request=request,
        limits=limits_of(settings),
        new_id=new_id,
        poll_interval=poll,
    )


def dispatcher_options(settings: Settings, identity: str, poll: timedelta) -> DispatcherOptions:
    return DispatcherOptions(
        node=identity,
        concurrency=settings.engine.concurrency,
        lease=timedelta(seconds=settings.engine.lease_secs),
        begin_within=timedelta(seconds=settings.engine.node_timeout_secs) * (1 - 1 / BEATS_PER_TIMEOUT),
        limits=limits_of(settings),
        poll_interval=poll,
    )


def request_options(settings: Settings, addresses: Addresses, vault: Vault) -> RequestOptions:
    return RequestOptions(
        api_endpoint=addresses.api_endpoint,
        collector_endpoint=addresses.collector_endpoint,
        timeout_secs=settings.webhook.timeout_secs,
        max_answer_bytes=settings.limits.answer_bytes,
        verify_tls=settings.webhook.verify_tls,
        user_agent=USER_AGENT,
        clock=time.time,
        callbacks=CallbackSigner(vault),
    )


def collecting_options(settings: Settings, poll: timedelta) -> CollectingOptions:
    return CollectingOptions(settings.engine.import_concurrency, retry_of(settings), poll)


def deliverer_options(settings: Settings, identity: str, addresses: Addresses, poll: timedelta) -> DelivererOptions:
    return DelivererOptions(
        node=identity,
        lease=timedelta(seconds=settings.engine.lease_secs),
        collector_endpoint=addresses.collector_endpoint,
        concurrency=settings.engine.import_concurrency,
        timeout_secs=settings.webhook.timeout_secs,
        verify_tls=settings.webhook.verify_tls,
        user_agent=USER_AGENT,
        retry=replace(retry_of(settings), max_delay=min(retry_of(settings).max_delay, LONGEST_DELIVERY_WAIT)),
        poll_interval=poll,
    )
