"""The dispatcher: claims due workers while it has places, and keeps each claim's conversation with its app going.

A conversation reads as the engine does: call, report, apply; and again, for as long as the commit renews the claim.
"""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from time import monotonic
from typing import TypeVar

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.domain.outcome import Response
from orchestrator.engine.caller import Caller
from orchestrator.engine.dispatcher_options import DispatcherOptions, Outlets
from orchestrator.engine.gathering import Gathering
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.engine.loop import Loop
from orchestrator.engine.request import RequestOptions, build
from orchestrator.engine.sleeping import until
from orchestrator.engine.ways_to_write import way_to_answer, way_to_claim
from orchestrator.service import timers
from orchestrator.service.apply import Applied, ApplyTerms, apply, apply_and_claim
from orchestrator.service.claim import Claimed, next_claims
from orchestrator.service.claimed import Claim, LeaseTerms
from orchestrator.service.definitions import Definitions
from orchestrator.service.report import Report, refused, report
from orchestrator.service.sharing import Places
from orchestrator.service.vault import Vault
from orchestrator.store.database import Database
from orchestrator.store.faults import is_of_data

T = TypeVar("T")

LARGE_ANSWER_BYTES = 256 * 1024


class Dispatcher(Loop):
    """One per node. `stop_claiming` begins a drain, `drained` ends it."""

    name = "dispatcher"

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        vault: Vault,
        caller: Caller,
        options: DispatcherOptions,
        requests: RequestOptions,
    ) -> None:
        super().__init__(options.poll_interval)
        self._database = database
        self._definitions = definitions
        self._vault = vault
        self._caller = caller
        self._options = options
        self._requests = requests
        self._terms = LeaseTerms(options.node, options.lease)
        self._lease_secs = options.lease.total_seconds()
        self._begin_secs = min(self._lease_secs - requests.timeout_secs, options.begin_within.total_seconds())
        self._conversations: dict[asyncio.Task[None], tuple[int, int]] = {}
        self._calls = Gathering()
        self._applier = GroupCommit[Report, Claim | None](self._apply, self._apply_refused, gather=self._calls.others)
        self._outlets = Outlets(lambda: None, lambda: None, lambda: None, lambda: False)
        self._orphans: list[tuple[int, int, int]] = []
        self._is_unsure = False
        self._is_short = True
        self._look_again_after: set[asyncio.Task[None]] = set()
        self._draining = False
        self._turn = 0
        self._claims_with_next_commit = False
        self._is_claiming = False
        self._claims_alone = False
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        return len(self._conversations)

    def connect(self, outlets: Outlets) -> None:
        self._outlets = outlets

    async def tick(self) -> timedelta | None:
        self._claims_with_next_commit = self._is_claiming
        if self._is_claiming:
            # What it claims would be taken for claims that nobody here goes on with.
            return None
        self._is_short = True
        await self.give_back()
        if self.in_flight >= self._options.concurrency or self._draining:
            return None
        if self._applier.is_busy and not self._claims_alone:
            # Beside the commits of answers, a claim would wait for its turn at the writer, and they for it.
            self._claims_with_next_commit = True
            return None
        self._claims_alone = False
        began = asyncio.get_running_loop().time()
        claim = way_to_claim(self._database)(next_claims, self._definitions, self._terms, self._next_places())
        return await self._begin(await self._noting_doubt(claim), began)

    def stop_claiming(self) -> None:
        """From now on nothing is claimed, and no claim renewed; calls in flight go on and are applied."""
        self._draining = True

    async def drained(self, within: timedelta) -> bool:
        """Wait until no call is in flight; False if some still are after `within`."""
        if self._conversations:
            await asyncio.wait(self._conversations, timeout=within.total_seconds())
        return not self._conversations

    async def give_back(self) -> None:
        """Let go of the claims that no conversation here goes on with. Raises DatabaseUnavailable."""
        await self._give_up_orphans()
        await self._give_back_unknown()

    def _next_places(self) -> Places:
        self._turn += 1
        # Conversations that the commit before has ended are still counted where the next follows at once.
        free = max(0, self._options.concurrency - self.in_flight)
        return Places(free, self._options.spare, self._turn)

    async def _noting_doubt(self, commit: Awaitable[T]) -> T:
        """A commit that claims. Where its outcome is unknown, the claims are read back at the next look."""
        try:
            return await commit
        except DatabaseUnavailable:
            self._is_unsure = True
            raise

    async def _begin(self, claimed: Claimed, began: float) -> timedelta | None:
        """Make the calls of new claims; returns how long until the next look, None for until a wake-up."""
        if self._draining and claimed.claims:
            # The drain has begun meanwhile: no call of them is made, and they are due at once for others.
            try:
                await self._release(claimed.claims)
            except Exception as error:  # noqa: BLE001 - logged; the commit that claimed is done, whatever this is
                self._log.warning("claims are given back later", error=repr(error))
                self._is_unsure = True
            return None
        self._is_short = claimed.is_short
        for claim in claimed.claims:
            conversation = asyncio.create_task(self._keep_up(claim, began))
            self._conversations[conversation] = (claim.execution_pk, claim.worker_id)
            conversation.add_done_callback(self._ended)
        return claimed.wait

    async def _release(self, claims: Sequence[Claim]) -> None:
        held = [(claim.execution_pk, claim.worker_id, claim.token) for claim in claims]
        await self._database.write(timers.release_claims, self._definitions, held)
        self.wake()

    async def _keep_up(self, claim: Claim, began: float) -> None:
        current: Claim | None = claim
        try:
            while current is not None:
                current, began = await self._turn_of(current, began)
        except Exception as error:  # noqa: BLE001 - logged, and the claim is given up
            # The database is away, or a fault of ours. The step is called again, by the ordinary claim.
            self._log.error("a conversation broke off", execution=claim.execution_id, error=repr(error), exc_info=True)
            assert current is not None
            self._orphans.append((current.execution_pk, current.worker_id, current.token))

    async def _turn_of(self, claim: Claim, began: float) -> tuple[Claim | None, float]:
        """One step: call, report, apply. Returns the renewed claim, if any, and since when its lease may run."""
        clock = asyncio.get_running_loop().time
        if claim.not_before is not None:
            await until(claim.not_before)
        if self._draining or clock() > began + self._begin_secs:
            # The drain may have begun while the commit that renewed this claim was under way. Or that took so long
            # that the answer would come after the lease, or that the others take this node for dead.
            await self._release([claim])
            return None, began
        done = await self._call(claim)
        renewal_began = clock()
        return await self._applier.insist(done, began + self._lease_secs, self._note_outage), renewal_began

    async def _give_back_unknown(self) -> None:
        """A commit may have succeeded though its outcome never reached us: read back which claims nobody here has."""
        if not self._is_unsure:
            return
        self._is_unsure = False
        # An abort and a retry may have left one of these with an older claim than its worker's present one, and that
        # may be the one that nobody here has.
        self._look_again_after.update(self._conversations)
        known = {*self._conversations.values(), *((pk, worker_id) for pk, worker_id, _ in self._orphans)}
        try:
            await self._database.write(timers.release_unknown, self._definitions, self._options.node, known)
        except Exception:
            self._is_unsure = True
            raise

    async def _give_up_orphans(self) -> None:
        orphans, self._orphans = self._orphans, []
        if not orphans:
            return
        try:
            await self._database.write(timers.lose_claims, self._definitions, orphans)
        except Exception:
            self._orphans += orphans
            raise

    async def _call(self, claim: Claim) -> Report:
        clock = asyncio.get_running_loop().time
        started = clock()
        call = self._calls.begin(claim.app.pk)
        try:
            request = build(claim, self._vault.signer(claim.app.secret_encrypted), self._requests)
            outcome = await self._caller.post(request)
        finally:
            self._calls.end(call)
        took, came_at = timedelta(seconds=clock() - started), monotonic()
        if isinstance(outcome, Response) and len(outcome.body) > LARGE_ANSWER_BYTES:
            # Reading megabytes of JSON takes long enough to hold up every other call of this node.
            return await asyncio.to_thread(report, claim, outcome, self._options.limits, took, came_at)
        return report(claim, outcome, self._options.limits, took, came_at)

    async def _apply(self, reports: Sequence[Report]) -> Sequence[Claim | None]:
        terms = ApplyTerms(
            node=self._options.node,
            limits=self._options.limits,
            lease=None if self._draining else self._terms,
            is_full=self.in_flight >= self._options.concurrency - self._options.spare,
        )
        jitter = [random.uniform(-1, 1) for _ in reports]  # noqa: S311
        try:
            applied = await self._commit(reports, terms, jitter)
        finally:
            if self._claims_with_next_commit or self._claims_alone:
                # There may be no next one.
                self.wake()
        self._announce(applied)
        return [applied.renewed.get(position) for position in range(len(reports))]

    async def _commit(self, reports: Sequence[Report], terms: ApplyTerms, jitter: Sequence[float]) -> Applied:
        write = way_to_answer(self._database, reports)
        is_tidy = not self._is_unsure and not self._orphans
        if not (self._claims_with_next_commit and is_tidy) or terms.lease is None:
            return await write(apply, self._definitions, reports, terms, jitter)
        self._claims_with_next_commit, self._is_claiming, self._is_short = False, True, True
        began = asyncio.get_running_loop().time()
        commit = write(apply_and_claim, self._definitions, reports, terms, jitter, self._next_places())
        try:
            applied, claimed = await self._noting_doubt(commit)
            self._look_in(await self._begin(claimed, began))
        except DatabaseUnavailable:
            self._claims_with_next_commit = True
            raise
        except Exception as error:  # noqa: BLE001 - logged; which of the two is to blame, the answers' own commit tells
            self._log.warning("answers are applied without a claim", error=repr(error))
            self._claims_alone = True
            return await write(apply, self._definitions, reports, terms, jitter)
        finally:
            self._is_claiming = False
        self._claims_alone = claimed.is_left_out
        return applied

    def _look_in(self, wait: timedelta | None) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        loop = asyncio.get_running_loop()
        self._next_look = None if wait is None else loop.call_later(wait.total_seconds(), self.wake)

    async def _apply_refused(self, one: Report, error: Exception) -> Claim | None:
        """The database refuses this answer even on its own: that is recorded, and the worker fails.

        Raises the error if the answer is not to blame: the step is then called again.
        """
        if not is_of_data(error):
            raise error
        self._log.error("an answer could not be stored", execution=one.claim.execution_id, error=repr(error))
        [renewed] = await self._apply([refused(one, f"the database refuses it: {error}")])
        return renewed

    def _note_outage(self) -> None:
        conversation = asyncio.current_task()
        assert conversation is not None
        # Its commit may have been done all the same, with a renewed claim that it never heard of.
        self._look_again_after.add(conversation)

    def _announce(self, applied: Applied) -> None:
        if applied.batches:
            self._outlets.batches()
        if applied.freed_groups:
            self._outlets.freed_groups()
        if applied.made_due:
            self.wake()
            if self._draining or self.in_flight >= self._options.concurrency:
                self._outlets.left_over()

    def _ended(self, conversation: asyncio.Task[None]) -> None:
        del self._conversations[conversation]
        if conversation in self._look_again_after:
            self._look_again_after.discard(conversation)
            self._is_unsure = True
        if self._is_short or self._is_unsure or self._orphans or self._outlets.has_others():
            # Otherwise nobody waits for the place, and whoever is due later is waited for already. What other nodes
            # have made due since the last look may wait for just the room that this call took of its app.
            self.wake()
