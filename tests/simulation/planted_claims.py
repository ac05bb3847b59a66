"""Planted bugs in claims, leases and fencing."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from orchestrator.domain.classify import Unanswered
from orchestrator.domain.execution import Execution
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Lease, Worker
from orchestrator.engine.dispatcher import Dispatcher
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.engine.loop import Loop
from orchestrator.runtime.node import Node
from orchestrator.service import apply, claimed, timers
from orchestrator.service.app_effects import AppEffects
from orchestrator.service.claimed import Claim
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import hold, save
from orchestrator.service.report import Report
from orchestrator.service.sharing import Horizon
from orchestrator.store import nodes, overdue
from orchestrator.store.apps import AppFacts, AppStanding
from orchestrator.store.transaction import Transaction
from tests.simulation.loop import PROCESS
from tests.simulation.planted import Patches, bug

Held3 = tuple[int, int, int]


@bug
def guard_without_token() -> Patches:
    """Any answer counts while its worker is being called, also one to an earlier claim."""

    def holds(self: Execution, worker_id: int, _token: int) -> bool:
        return self.workers[worker_id].status is WorkerStatus.CALLING

    return [patch.object(Execution, "holds", holds)]


@bug
def guard_without_status() -> Patches:
    """An answer counts if its token is the newest one, also after an abort."""

    def holds(self: Execution, worker_id: int, token: int) -> bool:
        return self.workers[worker_id].token == token

    return [patch.object(Execution, "holds", holds)]


@bug
def token_not_grown() -> Patches:
    """A claim keeps the token of the claim before."""
    real = Execution.claim

    def claim(self: Execution, worker_id: int, lease: Lease) -> Worker:
        worker = real(self, worker_id, lease)
        worker.token -= worker.token > 1
        return worker

    return [patch.object(Execution, "claim", claim)]


@bug
def failure_not_fenced() -> Patches:
    """A call that failed counts against the worker even if another node has claimed it meanwhile."""
    real = apply._apply_one

    def apply_one(work: Any, report: Report, position: int, jitter: float) -> None:
        held = work.held.get(report.claim.execution_pk)
        worker = held.execution.workers[report.claim.worker_id]
        if isinstance(report.meaning, Unanswered) and worker.status is WorkerStatus.CALLING:
            apply._fail_call(work, held, report, report.meaning, jitter)
        else:
            real(work, report, position, jitter)

    return [patch.object(apply, "_apply_one", apply_one)]


@bug
def rescue_from_stale_read() -> Patches:
    """Claims that were to be taken away at the look before are taken away without looking again."""
    real_leases, real_silent = overdue.leases, nodes.claims_of_lost
    before: list[list[Held3]] = [[]]
    silent_before: list[list[Held3]] = [[]]

    def leases(tx: Transaction, now: int, places: int) -> list[Held3]:
        before.append(real_leases(tx, now, places))
        return before.pop(0)

    def silent(tx: Transaction, since: int, places: int) -> list[Held3]:
        silent_before.append(real_silent(tx, since, places))
        return silent_before.pop(0)

    def lose(tx: Transaction, definitions: Definitions, claims: list[Held3], message: str) -> int:
        held = hold(tx, definitions, {pk for pk, _, _ in claims})
        for pk, worker_id, _ in claims:
            if held[pk].execution.workers[worker_id].status is WorkerStatus.CALLING:
                timers._record_lost(tx, held[pk], worker_id, message)
                held[pk].execution.lose_call(worker_id, message, tx.now())
        save(tx, held.values(), tx.now())
        return len(claims)

    return [
        patch.object(overdue, "leases", leases),
        patch.object(nodes, "claims_of_lost", silent),
        patch.object(timers, "lose", lose),
    ]


@bug
def lease_from_the_nodes_clock() -> Patches:
    """Leases and due times are reckoned by the clock of the node's machine."""
    real = Transaction.now

    def now(self: Transaction) -> datetime:
        return real(self) + timedelta(seconds=PROCESS.get().skew_secs)

    return [patch.object(Transaction, "now", now)]


@bug
def renewal_keeps_the_lease() -> Patches:
    """The claim of the next step runs out when that of the step before would have."""
    real = claimed.renew

    def renew(claim: Claim, worker: Worker, workers: str, app: AppFacts, state: str) -> Claim:
        renewed = real(claim, worker, workers, app, state)
        assert worker.lease is not None
        length = worker.lease.until - worker.lease.since
        worker.lease = Lease(worker.lease.node, claim.claimed_at, claim.claimed_at + length)
        return renewed

    return [patch.object(apply, "renew", renew)]


@bug
def late_call_not_given_up() -> Patches:
    """A node that was held up after its claim makes the call all the same, however little is left of the lease."""
    real = Dispatcher._turn_of

    async def turn_of(self: Dispatcher, claim: Claim, _began: float) -> tuple[Claim | None, float]:
        return await real(self, claim, asyncio.get_running_loop().time())

    return [patch.object(Dispatcher, "_turn_of", turn_of)]


@bug
def called_when_claimed() -> Patches:
    """A worker that is claimed a little ahead is called at once, and not when it is due."""
    real = Dispatcher._turn_of

    async def turn_of(self: Dispatcher, claim: Claim, began: float) -> tuple[Claim | None, float]:
        return await real(self, replace(claim, not_before=None), began)

    return [patch.object(Dispatcher, "_turn_of", turn_of)]


@bug
def claimed_ahead_of_the_rate() -> Patches:
    """An app with a rate limit has its workers claimed a little ahead like any other."""

    def ends(self: Horizon, _standing: AppStanding) -> datetime:
        return self.now + self.ahead

    return [patch.object(Horizon, "ends", ends)]


@bug
def release_takes_known_claims() -> Patches:
    """After a commit of unknown outcome a node gives back all its claims, also those whose calls are under way."""
    real = timers.release_unknown

    def release_unknown(tx: Transaction, definitions: Definitions, node: str, _known: Collection[Any]) -> None:
        real(tx, definitions, node, ())

    return [patch.object(timers, "release_unknown", release_unknown)]


@bug
def release_does_not_wait_for_the_commit_that_claims() -> Patches:
    """While answers are committed and workers claimed with them, the node gives back what it does not know of yet."""
    never = property(lambda _: False, lambda _, __: None)
    return [patch.object(Dispatcher, "_is_claiming", never, create=True)]


@bug
def boot_voids_all_claims() -> Patches:
    """A node that boots takes the claims of all nodes for its predecessor's."""
    real = Node.start

    async def start(self: Node) -> None:
        await self._database.write(timers.void_claims, self.definitions)
        await real(self)

    return [patch.object(Node, "start", start)]


@bug
def unknown_commit_repeated() -> Patches:
    """An answer whose commit may have been done is applied again, to whatever step the worker is at."""
    real = apply._apply_one
    tried: set[Held3] = set()

    def apply_one(work: Any, report: Report, position: int, jitter: float) -> None:
        claim = report.claim
        worker = work.held[claim.execution_pk].execution.workers[claim.worker_id]
        one = claim.execution_pk, claim.worker_id, claim.token
        if one in tried and worker.status is WorkerStatus.CALLING:
            report = replace(report, claim=replace(claim, token=worker.token, step=worker.step))
        tried.add(one)
        real(work, report, position, jitter)

    return [patch.object(apply, "_apply_one", apply_one)]


@bug
def outage_taken_for_success() -> Patches:
    """Whoever waits for a commit that the database did not do is told that it was done."""

    async def insist(self: Any, item: Any, until: float, on_outage: Any = None) -> Any:
        try:
            return await self.submit(item)
        except Exception:  # noqa: BLE001 - the planted bug itself
            return None

    return [patch.object(GroupCommit, "insist", insist)]


@bug
def wake_up_is_the_only_way() -> Patches:
    """A loop that expects nothing sleeps until it is woken; it does not look by itself."""
    real = Loop._sleep

    async def sleep(self: Loop, wait: timedelta) -> None:
        if wait >= self._poll_interval:
            await self._woken.wait()
        else:
            await real(self, wait)

    return [patch.object(Loop, "_sleep", sleep)]


@bug
def renewal_ignores_the_rate() -> Patches:
    """A worker that goes on at once is not counted against its app's rate limit."""

    def may_go_on(self: AppEffects, app_pk: int) -> bool:
        return self.facts[app_pk].status == "active" and app_pk not in self._stopped

    return [patch.object(AppEffects, "may_go_on", may_go_on)]


@bug
def renewal_ignores_the_stop() -> Patches:
    """A worker that goes on at once does so even if its app was stopped meanwhile."""

    def may_go_on(self: AppEffects, app_pk: int) -> bool:
        return not self.facts[app_pk].is_rate_limited

    return [patch.object(AppEffects, "may_go_on", may_go_on)]
