"""The event deliverer: brings events to their subscribers, for as long as it takes."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app_sdk.protocol.limits import Limits
from orchestrator.domain.errors import Conflict, DatabaseUnavailable, Invalid, NotFound, TooLarge
from orchestrator.domain.outcome import NoResponse, Response
from orchestrator.domain.subscriptions import SubscriptionKind
from orchestrator.engine.amqp import AmqpSender, Terms
from orchestrator.engine.caller import Caller
from orchestrator.engine.event_request import EventRequestOptions, event_request
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.engine.loop import Loop
from orchestrator.service import event_delivering, event_launching
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.definitions import Definitions
from orchestrator.service.event_delivering import NotLaunched, Sent
from orchestrator.service.launching import NewId
from orchestrator.service.vault import Vault
from orchestrator.store.database import Database
from orchestrator.store.event_deliveries import OutgoingEvent


@dataclass(frozen=True, slots=True)
class EventDelivererOptions:
    """`concurrency` counts events under way; `limits` and `new_id` are for the executions that events launch."""

    node: str
    concurrency: int
    request: EventRequestOptions
    limits: Limits
    new_id: NewId
    poll_interval: timedelta


@dataclass(frozen=True, slots=True)
class EventSenders:
    """What takes events to their subscribers, by the kind of these."""

    http: Caller
    amqp: AmqpSender

    async def close(self) -> None:
        """Close all connections. What is under way ends as LOST."""
        await self.http.close()
        await self.amqp.close()


class EventDeliverer(Loop):
    """One per node. `launched` is told when an event has launched a task."""

    name = "event_deliverer"

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        vault: Vault,
        senders: EventSenders,
        options: EventDelivererOptions,
        launched: Callable[[], None],
    ) -> None:
        super().__init__(options.poll_interval)
        self._database = database
        self._definitions = definitions
        self._launched = launched
        self._vault = vault
        self._senders = senders
        self._options = options
        self._terms = LeaseTerms(options.node, timedelta(seconds=options.request.timeout_secs * 2))
        self._under_way: dict[asyncio.Task[None], tuple[int, int]] = {}
        self._is_unsure = False
        self._recorder = GroupCommit[Sent, None](self._record, self._give_up)

    async def tick(self) -> timedelta | None:
        await self._give_back_unknown()
        places = self._options.concurrency - len(self._under_way)
        if places <= 0:
            return None
        # On the embedded database a look does not wait for the one writer.
        wait = await self._database.read(event_delivering.next_due)
        if wait != timedelta():
            return wait
        taken = await self._take(places)
        for event in taken:
            task = asyncio.create_task(self._deliver(event))
            self._under_way[task] = event.subscription_pk, event.event_pk
            task.add_done_callback(self._ended)
        return timedelta() if taken else None

    async def drained(self, within: timedelta) -> bool:
        """Wait until no event is under way; False if some still are after `within`."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=within.total_seconds())
        return not self._under_way

    async def _take(self, places: int) -> Sequence[OutgoingEvent]:
        try:
            return await self._database.write(event_delivering.take, places, self._terms)
        except DatabaseUnavailable:
            self._is_unsure = True
            raise

    async def _give_back_unknown(self) -> None:
        """A commit may have succeeded though its outcome never reached us: read back which events nobody here has."""
        if not self._is_unsure:
            return
        known = set(self._under_way.values())
        await self._database.write(event_delivering.release_unknown, self._options.node, known)
        self._is_unsure = False

    async def _deliver(self, event: OutgoingEvent) -> None:
        lease_ends = asyncio.get_running_loop().time() + self._terms.length.total_seconds()
        outcome = await self._send(event)
        await self._recorder.insist(Sent(event, outcome, random.uniform(-1, 1)), lease_ends)  # noqa: S311

    async def _send(self, event: OutgoingEvent) -> Response | NoResponse | NotLaunched:
        if event.kind == SubscriptionKind.TASK:
            return await self._launch(event)
        # Only a deleted subscription has neither, and of such nothing is taken.
        assert event.target_url is not None
        assert event.secret_encrypted is not None
        secret = self._vault.open(event.secret_encrypted)
        request = self._options.request
        if event.kind == SubscriptionKind.AMQP:
            terms = Terms(request.timeout_secs, request.verify_tls)
            return await self._senders.amqp.publish(event, event.target_url, secret, terms)
        return await self._senders.http.post(event_request(event, event.target_url, secret, request))

    async def _launch(self, event: OutgoingEvent) -> Response | NotLaunched:
        work = event_launching.launch_for
        try:
            await self._database.write(work, self._definitions, event, self._options.limits, self._options.new_id)
        except (Conflict, NotFound, TooLarge, Invalid) as refusal:
            return NotLaunched(refusal.message)
        self._launched()
        return Response(204, b"")

    async def _record(self, sent: Sequence[Sent]) -> Sequence[None]:
        await self._database.write(event_delivering.record, sent)
        return [None] * len(sent)

    async def _give_up(self, _sent: Sent, error: Exception) -> None:
        # Its lease ends, and the event is sent again with the same id: nothing is lost.
        raise error

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._is_unsure = self._is_unsure or isinstance(error, DatabaseUnavailable)
            self._log.error("a delivery could not be recorded", error=repr(error))
        self.wake()
