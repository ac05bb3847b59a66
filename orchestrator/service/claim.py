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
from orchestrator.domain.fairness import Contender, Demand, share
from orchestrator.domain.policy import Delivery
from orchestrator.domain.worker import Lease, Worker
from orchestrator.service import allowances
from orchestrator.service.allowances import Allowance
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, save
from orchestrator.store import apps, callbacks, executions
from orchestrator.store.clock import to_micros
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


@dataclass(frozen=True, slots=True)
class Places:
    """The node's free places. Up to `spare` of them are kept for apps that have no call in flight, one for each.

    So an app whose own limit is above the node's cannot take every place and let the others wait for its answers.
    `turn` moves the odd places from app to app.
    """

    free: int
    spare: int
    turn: int = 0


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

    `is_left_out`: apps were not looked at, for the sake of what shared the transaction.
    """

    claims: tuple[Claim, ...]
    wait: timedelta | None
    is_left_out: bool = False


def next_claims(
    tx: Transaction, definitions: Definitions, terms: LeaseTerms, places: Places, *, skip_locked: bool = False
) -> Claimed:
    """Claim due workers, as many as there are places. With `skip_locked` no app is waited for that others have locked.

    Executions never are: what others hold is looked at again soon.
    """
    due_apps = apps.due(tx)
    now = tx.read_at()
    shares = _shares(due_apps, now, places)
    candidates = apps.waiting(tx, shares, to_micros(now)) if shares else []
    about = {(pk, worker_id) for pk, worker_id, _ in candidates}
    held = hold(tx, definitions, {pk for pk, _ in about}, skip_locked=True, about=about)
    apps_held = {one.app_pk for one in held.values()}
    allowed = allowances.locked(tx, apps_held, now, skip_locked=skip_locked) if held else {}
    claims = _claim(tx, held, candidates, allowed, terms.lease(now))
    is_left_out = skip_locked and len(allowed) < len(apps_held)
    if len(claims) >= places.free:
        # The end of any call wakes the dispatcher.
        return Claimed(claims, None)
    is_passed_over = is_left_out or any(pk not in held for pk, _, _ in candidates)
    wait = _next_look(apps.due(tx) if claims else due_apps, claims, now, is_passed_over)
    return Claimed(claims, wait, is_left_out)


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


def giving_way(tx: Transaction, going_on: Collection[int], now: datetime) -> set[int]:
    """Those of the apps whose place another one should have, whose due workers wait for nothing but a place."""
    due_apps = apps.due(tx)
    waiting = [Contender(app.pk, app.standing.calling) for app in due_apps if _is_due(app, now) and _room(app, now) > 0]
    calling = {app.pk: app.standing.calling for app in due_apps}
    return {pk for pk in going_on if any(one.app != pk and one.has_less_than(calling.get(pk, 0)) for one in waiting)}


def _shares(due_apps: Sequence[apps.DueApp], now: datetime, places: Places) -> dict[int, int]:
    # Where there are fewer places than such apps, who has waited longest goes first.
    due = sorted((app for app in due_apps if _is_due(app, now)), key=lambda app: app.first_due_at or 0)
    # One for each app that may come; kept for none, a place would stand empty.
    spare = min(places.spare, sum(not app.standing.calling for app in due_apps))
    demands = [Demand(app.pk, _room(app, now)) for app in due]
    shares = share(max(0, places.free - spare), demands, places.turn)
    left = places.free - sum(shares.values())
    idle = [app.pk for app in due if app.pk not in shares and not app.standing.calling and _room(app, now) > 0]
    return {**shares, **dict.fromkeys(idle[:left], 1)}


def _is_due(app: apps.DueApp, now: datetime) -> bool:
    return app.first_due_at is not None and app.first_due_at <= to_micros(now)


def _room(app: apps.DueApp, now: datetime) -> int:
    return allowances.room_of(app.standing, now)


def _claim(
    tx: Transaction,
    held: dict[int, Held],
    candidates: Collection[tuple[int, int, int]],
    allowed: dict[int, Allowance],
    lease: Lease,
) -> tuple[Claim, ...]:
    now = lease.since
    taken: list[tuple[Held, int]] = []
    for pk, worker_id, token in candidates:
        one = held.get(pk)
        if one is None or not one.execution.may_claim(worker_id, token, now):
            continue
        if one.app_pk in allowed and allowed[one.app_pk].take():
            one.execution.claim(worker_id, lease)
            taken.append((one, worker_id))
    save(tx, held.values(), now)
    allowances.spend(tx, allowed.values(), now)
    return with_facts(tx, taken, now)


def with_facts(tx: Transaction, taken: list[tuple[Held, int]], now: datetime) -> tuple[Claim, ...]:
    """The claims of workers that are held and calling, as (execution, worker id), in their order."""
    if not taken:
        return ()
    facts = apps.facts(tx, {held.app_pk for held, _ in taken})
    states = executions.states(tx, [(held.pk, worker_id) for held, worker_id in taken])
    claims = tuple(
        _claim_of(tx, held, worker_id, states[held.pk, worker_id], facts[held.app_pk], now) for held, worker_id in taken
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


def _next_look(
    due_apps: Sequence[apps.DueApp], claims: Sequence[Claim], now: datetime, is_passed_over: bool
) -> timedelta | None:
    waits = [PASSED_OVER_LOOK] if is_passed_over else []
    taken = {claim.app.pk for claim in claims}
    for app in due_apps:
        if app.first_due_at is None:
            continue
        due_in = timedelta(microseconds=app.first_due_at - to_micros(now))
        rate_wait = allowances.rate_wait(app.standing, now)
        if due_in > timedelta() or rate_wait:
            waits.append(max(due_in, rate_wait))
        elif app.pk in taken and _room(app, now) > 0:
            waits.append(timedelta())
    return min(waits, default=None)
