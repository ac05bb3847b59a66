"""Claim: due workers are handed to this node, many in one transaction, fairly between apps.

What is read without locks is a heuristic; every condition is checked again under the locks before anything is
written. `next_claims` is the whole use case; `renew` does the same for a worker that continues at once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from app_sdk.protocol.frozen import frozen
from orchestrator.domain.policy import Delivery
from orchestrator.domain.worker import Lease, Worker
from orchestrator.service import allowances
from orchestrator.service.allowances import Allowance
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, save
from orchestrator.service.sharing import Places, is_due, next_due, shares
from orchestrator.store import apps, callbacks, executions
from orchestrator.store.clock import to_micros
from orchestrator.store.dialect import Dialect
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction

# A commit holds a row for some milliseconds; what it has made us pass over is looked at again soon.
PASSED_OVER_LOOK = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """The node that claims, and for how long a claim is its alone."""

    node: str
    length: timedelta

    def lease(self, now: datetime) -> Lease:
        return Lease(self.node, since=now, until=now + self.length)


@frozen
class Claim:
    """Everything that one call needs; no database connection is held while it is under way.

    JSON is carried as text; `workers`: the statuses by worker id. `uid`, `worker_id` and `step` make the step's key;
    `token` fences the answer.
    """

    execution_pk: int
    uid: str
    execution_id: str
    created_at: datetime
    attempt: int
    task_id: str
    task_name: str
    delivery: Delivery
    worker_id: int
    step: int
    token: int
    retry_count: int
    claimed_at: datetime
    worker_state: str
    workers: str
    worker_results: str | None
    callback: str | None
    app: apps.AppFacts
    renewals: int = 0
    """How many steps in a row have been claimed within the commit of the one before."""

    @property
    def key(self) -> str:
        """The same for every call of this step, and for no other step (Standard Webhooks `webhook-id`)."""
        return f"msg_{self.uid}_{self.worker_id}_{self.step}"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claims, and when to look again: `wait` is None when only a wake-up can bring more work.

    `is_short`: due workers may be left that wait for a place. `is_left_out`: apps were not looked at, for the sake of
    what shared the transaction.
    """

    claims: tuple[Claim, ...]
    wait: timedelta | None
    is_short: bool = True
    is_left_out: bool = False


def next_claims(
    tx: Transaction, definitions: Definitions, terms: LeaseTerms, places: Places, *, skip_locked: bool = False
) -> Claimed:
    """Claim due workers, as many as there are places. With `skip_locked` no app is waited for that others have locked.

    Executions never are: what others hold is looked at again soon.
    """
    due_apps = _due(tx)
    now = tx.read_at()
    shared = shares(due_apps, now, places)
    candidates = apps.waiting(tx, shared, to_micros(now)) if shared else []
    asked = _Asked.about(tx.dialect, candidates, skip_locked=skip_locked)
    held = hold(
        tx, definitions, {pk for pk, _ in asked.workers}, skip_locked=True, about=asked.workers, then=asked.reads
    )
    allowed = allowances.allowed(asked.active, now)
    claims = _claim(tx, held, candidates, allowed, asked, terms.lease(now))
    is_left_out = skip_locked and any(one.app_pk not in allowed for one in held.values())
    if len(claims) >= places.free:
        # More may be due, for whom the end of any call then wakes the dispatcher.
        return Claimed(claims, None)
    is_passed_over = is_left_out or any(one.execution_pk not in held for one in candidates)
    left = _due(tx) if claims else due_apps
    wait = next_due(left, {claim.app.pk for claim in claims}, now)
    if is_passed_over:
        wait = PASSED_OVER_LOOK if wait is None else min(wait, PASSED_OVER_LOOK)
    return Claimed(claims, wait, any(is_due(app, now) for app in left), is_left_out)


def renew(claim: Claim, worker: Worker, workers: str, app: apps.AppFacts, worker_state: str) -> Claim:
    """The claim of the next step of a worker that has been claimed in the commit that applied its answer.

    `workers`: as `statuses` tells them, `worker_state`: JSON text.
    """
    assert worker.lease is not None
    # Written out: `replace` takes three times as long, at every step.
    return Claim(
        execution_pk=claim.execution_pk,
        uid=claim.uid,
        execution_id=claim.execution_id,
        created_at=claim.created_at,
        attempt=claim.attempt,
        task_id=claim.task_id,
        task_name=claim.task_name,
        delivery=claim.delivery,
        worker_id=claim.worker_id,
        step=worker.step,
        token=worker.token,
        retry_count=worker.retry_count,
        claimed_at=worker.lease.since,
        worker_state=worker_state,
        workers=workers,
        worker_results=None,
        callback=None,
        app=app,
        renewals=claim.renewals + 1,
    )


def statuses(held: Held) -> str:
    """What the app is told of the workers of an execution: the JSON text of their statuses by id."""
    workers = held.execution.workers
    told = [f'"{worker_id}":"{workers[worker_id].status}"' for worker_id in sorted(workers)]
    return f"{{{','.join(told)}}}"


def _due(tx: Transaction) -> list[apps.DueApp]:
    read = apps.due(is_timed=True)
    tx.read(read)
    return apps.due_of(read)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is read of the candidates, and of their apps, in the round trip that locks their executions."""

    workers: Sequence[tuple[int, int]]
    active: apps.ActiveApps
    facts: Read
    states: Read

    @classmethod
    def about(cls, dialect: Dialect, candidates: Sequence[apps.Candidate], *, skip_locked: bool) -> "_Asked":
        workers = [(one.execution_pk, one.worker_id) for one in candidates]
        app_pks = {one.app_pk for one in candidates}
        active = apps.ActiveApps.of(app_pks, skip_locked=skip_locked)
        return cls(workers, active, apps.facts(app_pks), executions.states(dialect, workers))

    @property
    def reads(self) -> tuple[Read, ...]:
        return *self.active.reads, self.facts, self.states


def _claim(
    tx: Transaction,
    held: dict[int, Held],
    candidates: Collection[apps.Candidate],
    allowed: dict[int, Allowance],
    asked: _Asked,
    lease: Lease,
) -> tuple[Claim, ...]:
    now = lease.since
    taken: list[tuple[Held, int]] = []
    for app_pk, pk, worker_id, token in candidates:
        one = held.get(pk)
        if one is None or not one.execution.may_claim(worker_id, token, now):
            continue
        if app_pk in allowed and allowed[app_pk].take():
            one.execution.claim(worker_id, lease)
            taken.append((one, worker_id))
    save(tx, held.values(), now)
    allowances.spend(tx, allowed.values(), now)
    return _claims_of(tx, taken, asked.facts, asked.states, now) if taken else ()


def with_facts(tx: Transaction, taken: list[tuple[Held, int]], now: datetime) -> tuple[Claim, ...]:
    """The claims of workers that are held and calling, as (execution, worker id), in their order."""
    if not taken:
        return ()
    facts = apps.facts({held.app_pk for held, _ in taken})
    states = executions.states(tx.dialect, [(held.pk, worker_id) for held, worker_id in taken])
    tx.read(facts, states)
    return _claims_of(tx, taken, facts, states, now)


def _claims_of(
    tx: Transaction, taken: list[tuple[Held, int]], facts: Read, states: Read, now: datetime
) -> tuple[Claim, ...]:
    known = apps.facts_of(facts)
    state_of = {(pk, worker_id): state for pk, worker_id, state in states.rows}
    claims = tuple(
        _claim_of(tx, held, worker_id, state_of[held.pk, worker_id], known[held.app_pk], now)
        for held, worker_id in taken
    )
    called_back = _callbacks(tx, taken)
    if not called_back:
        return claims
    return tuple(replace(claim, callback=called_back.get((claim.execution_pk, claim.worker_id))) for claim in claims)


def _callbacks(tx: Transaction, taken: list[tuple[Held, int]]) -> dict[tuple[int, int], str]:
    """What those of the workers were called back with that are to be told of it."""
    workers = [(held.pk, held.execution.workers[worker_id]) for held, worker_id in taken]
    awaits = [(pk, one.worker_id, one.awaited) for pk, one in workers if one.called_back and one.awaited is not None]
    return callbacks.bodies(tx, awaits) if awaits else {}


def _claim_of(tx: Transaction, held: Held, worker_id: int, state: str, app: apps.AppFacts, now: datetime) -> Claim:
    worker = held.execution.workers[worker_id]
    return Claim(
        execution_pk=held.pk,
        uid=held.uid,
        execution_id=held.id,
        created_at=held.created_at,
        attempt=held.execution.attempt,
        task_id=held.definition.manifest.id,
        task_name=held.definition.manifest.name,
        delivery=held.definition.policy.delivery,
        worker_id=worker_id,
        step=worker.step,
        token=worker.token,
        retry_count=worker.retry_count,
        claimed_at=now,
        worker_state=state,
        workers=statuses(held),
        worker_results=_results(tx, held, worker_id) if worker.is_released else None,
        callback=None,
        app=app,
    )


def _results(tx: Transaction, held: Held, worker_id: int) -> str:
    results: dict[str, Any] = {
        str(other): {
            "status": held.execution.workers[other].status.value,
            "state": orjson.Fragment(state),
            "output": None if output is None else orjson.Fragment(output),
        }
        for other, _, state, output in executions.results(tx, held.pk)
        if other != worker_id
    }
    return orjson.dumps(results).decode()
