"""What is claimed: everything that one call needs, put together in the transaction that claims it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from app_sdk.protocol.frozen import frozen
from orchestrator.domain.policy import Delivery
from orchestrator.domain.worker import Lease, Worker
from orchestrator.service.holding import Held
from orchestrator.store import apps, callbacks, executions
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction


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
    not_before: float | None = None
    """By this machine's monotonic clock, in seconds: when the worker is due, if it was claimed before that."""

    @property
    def key(self) -> str:
        """The same for every call of this step, and for no other step (Standard Webhooks `webhook-id`)."""
        return f"msg_{self.uid}_{self.worker_id}_{self.step}"


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


def with_facts(tx: Transaction, taken: list[tuple[Held, int]], now: datetime) -> tuple[Claim, ...]:
    """The claims of workers that are held and calling, as (execution, worker id), in their order."""
    if not taken:
        return ()
    facts = apps.facts({held.app_pk for held, _ in taken})
    states = executions.states(tx.dialect, [(held.pk, worker_id) for held, worker_id in taken])
    tx.read(facts, states)
    return claims_of(tx, taken, facts, states, now)


def claims_of(
    tx: Transaction, taken: list[tuple[Held, int]], facts: Read, states: Read, now: datetime
) -> tuple[Claim, ...]:
    """The same, where `facts` and `states` have been read."""
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
    begins = now if worker.lease is None else worker.lease.since
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
        claimed_at=begins,
        worker_state=state,
        workers=statuses(held),
        worker_results=_results(tx, held, worker_id) if worker.is_released else None,
        callback=None,
        app=app,
        not_before=tx.to_monotonic(begins) if begins > now else None,
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
