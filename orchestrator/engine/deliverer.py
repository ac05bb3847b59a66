"""The deliverer: takes import batches out of the outbox and brings them to the collector, for as long as it takes."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app_sdk.protocol.signing import rmd_signature
from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.domain.retry import RetryPolicy
from orchestrator.engine.caller import Caller, Request
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.engine.loop import Loop
from orchestrator.service import delivering
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.definitions import Definitions
from orchestrator.service.delivering import Delivery, Taken
from orchestrator.service.vault import Vault
from orchestrator.store.database import Database
from orchestrator.store.outbox import OutgoingBatch

MAX_COLLECTOR_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class DelivererOptions:
    """`collector_endpoint` is the address without `/data`; `concurrency` counts batches under way.

    `lease` must outlast the longest call and its commit.
    """

    node: str
    lease: timedelta
    collector_endpoint: str
    concurrency: int
    timeout_secs: float
    verify_tls: bool
    user_agent: str
    retry: RetryPolicy
    poll_interval: timedelta


class Deliverer(Loop):
    """One per node. `delivered` is told after every commit: held workers may go on, executions may have ended."""

    name = "deliverer"

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        vault: Vault,
        caller: Caller,
        options: DelivererOptions,
        delivered: Callable[[], None],
    ) -> None:
        super().__init__(options.poll_interval)
        self._database = database
        self._definitions = definitions
        self._vault = vault
        self._caller = caller
        self._options = options
        self._delivered = delivered
        self._terms = LeaseTerms(options.node, options.lease)
        self._under_way: dict[asyncio.Task[None], int] = {}
        self._is_unsure = False
        self._recorder = GroupCommit[Delivery, None](self._record, self._give_up)

    async def tick(self) -> timedelta | None:
        await self._give_back_unknown()
        places = self._options.concurrency - len(self._under_way)
        if places <= 0:
            return None
        taken = await self._take(places)
        for batch in taken.batches:
            task = asyncio.create_task(self._deliver(batch))
            self._under_way[task] = batch.pk
            task.add_done_callback(self._ended)
        return timedelta() if len(taken.batches) == places else taken.wait

    async def drained(self, within: timedelta) -> bool:
        """Wait until no batch is under way; False if some still are after `within`."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=within.total_seconds())
        return not self._under_way

    async def _take(self, places: int) -> Taken:
        try:
            return await self._database.write(delivering.take, places, self._terms)
        except DatabaseUnavailable:
            self._is_unsure = True
            raise

    async def _give_back_unknown(self) -> None:
        """A commit may have succeeded though its outcome never reached us: read back which batches nobody here has."""
        if not self._is_unsure:
            return
        known = set(self._under_way.values())
        await self._database.write(delivering.release_unknown, self._options.node, known)
        self._is_unsure = False

    async def _deliver(self, batch: OutgoingBatch) -> None:
        lease_ends = asyncio.get_running_loop().time() + self._options.lease.total_seconds()
        outcome = await self._caller.post(self._request(batch))
        delivery = Delivery(batch, outcome, random.uniform(-1, 1))  # noqa: S311
        await self._recorder.insist(delivery, lease_ends)

    def _request(self, batch: OutgoingBatch) -> Request:
        body = b'{"workspace_id":"%b","items":%b}' % (batch.workspace_id.encode(), batch.items.encode())
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": self._options.user_agent,
            "Idempotency-Key": batch.key,
            "X-Rmd-Signature": rmd_signature(self._vault.open(batch.secret_encrypted), body),
        }
        return Request(
            url=f"{self._options.collector_endpoint}/data",
            headers=headers,
            body=body,
            timeout_secs=self._options.timeout_secs,
            max_answer_bytes=MAX_COLLECTOR_ANSWER_BYTES,
            verify_tls=self._options.verify_tls,
        )

    async def _record(self, deliveries: Sequence[Delivery]) -> Sequence[None]:
        await self._database.write(delivering.deliver, self._definitions, deliveries, self._options.retry)
        self._delivered()
        return [None] * len(deliveries)

    async def _give_up(self, _delivery: Delivery, error: Exception) -> None:
        # Its lease ends, and the batch is sent again with the same key: nothing is lost, nothing taken in twice.
        raise error

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        error = task.exception()
        if error is not None:
            self._is_unsure = self._is_unsure or isinstance(error, DatabaseUnavailable)
            self._log.error("a delivery could not be recorded", error=repr(error))
        self.wake()
