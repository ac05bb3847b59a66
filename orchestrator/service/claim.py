"""Claim: due workers are handed to this node, many in one transaction, fairly between apps.

What is read without locks is a heuristic; every condition is checked again under the locks before anything is
written. What a call needs of a claim is in `claimed`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.service import allowances
from orchestrator.service.allowances import Allowance
from orchestrator.service.claimed import Claim, LeaseTerms, claims_of
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, save
from orchestrator.service.sharing import Horizon, Places, next_due, shares
from orchestrator.store import apps, executions
from orchestrator.store.clock import to_micros
from orchestrator.store.dialect import Dialect
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction

# A commit holds a row for some milliseconds; what it has made us pass over is looked at again soon.
PASSED_OVER_LOOK = timedelta(milliseconds=20)


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
    tx: Transaction,
    definitions: Definitions,
    terms: LeaseTerms,
    places: Places,
    *,
    due_apps: Sequence[apps.DueApp] | None = None,
    skip_locked: bool = False,
) -> Claimed:
    """Claim due workers, as many as there are places. With `skip_locked` no app is waited for that others have locked.

    Executions never are: what others hold is looked at again soon. `due_apps` need not be read if they are known.
    """
    if due_apps is None:
        due_apps = _due(tx)
    horizon = Horizon.of(places, tx.read_at())
    shared = shares(due_apps, horizon, places)
    waiting = apps.waiting(tx, _wanted(due_apps, shared, horizon))
    asked = _Asked.about(tx.dialect, waiting.candidates, skip_locked=skip_locked)
    workers = asked.workers
    held = hold(tx, definitions, {pk for pk, _ in workers}, skip_locked=True, about=workers, then=asked.reads)
    now = tx.read_at()
    allowed = allowances.allowed(asked.active, now)
    claims = _claim(tx, held, allowed, asked, terms, replace(horizon, now=now))
    is_left_out = skip_locked and any(one.app_pk not in allowed for one in held.values())
    if len(claims) >= places.free:
        # More may be due, for whom the end of any call then wakes the dispatcher.
        return Claimed(claims, None)
    is_passed_over = is_left_out or any(one.execution_pk not in held for one in asked.candidates)
    still = _still_waiting(held, allowed, asked, horizon)
    left = _left(due_apps, shared, waiting, allowed, still)
    # By the instant that the places were shared at: who came within the horizon since is to be looked at again.
    wait = next_due(left, {claim.app.pk for claim in claims}, horizon)
    if is_passed_over:
        wait = PASSED_OVER_LOOK if wait is None else min(wait, PASSED_OVER_LOOK)
    elif wait is not None:
        wait = max(timedelta(), wait - (now - horizon.now))
    return Claimed(claims, wait, any(horizon.holds(app) for app in left), is_left_out)


def _due(tx: Transaction) -> list[apps.DueApp]:
    read = apps.due(is_timed=True)
    tx.read(read)
    return apps.due_of(read)


def _wanted(due_apps: Sequence[apps.DueApp], shared: Mapping[int, int], horizon: Horizon) -> list[apps.Wanted]:
    ends = {app.pk: to_micros(horizon.ends(app.standing)) for app in due_apps}
    return [apps.Wanted(pk, places, ends[pk]) for pk, places in shared.items()]


def _left(
    due_apps: Sequence[apps.DueApp],
    shared: Mapping[int, int],
    waiting: apps.Waiting,
    allowed: Mapping[int, Allowance],
    still: Collection[int],
) -> list[apps.DueApp]:
    """The apps as they stand once the claims are written. `still`: those that candidates are left of."""
    found = Counter(one.app_pk for one in waiting.candidates)
    left = []
    for app in due_apps:
        is_all = app.pk in shared and app.pk not in still and found[app.pk] < shared[app.pk]
        standing = allowed[app.pk].after if app.pk in allowed else app.standing
        left.append(apps.DueApp(standing, waiting.later.get(app.pk) if is_all else app.first_due_at))
    return left


def _still_waiting(
    held: Mapping[int, Held], allowed: Mapping[int, Allowance], asked: "_Asked", horizon: Horizon
) -> set[int]:
    """The apps of candidates that are neither claimed now nor out of the running, as far as that was to be seen."""
    return {
        app_pk
        for app_pk, pk, worker_id, token in asked.candidates
        if pk not in held
        or app_pk not in allowed
        or held[pk].execution.may_claim(worker_id, token, horizon.ends(allowed[app_pk].standing))
    }


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is read of the candidates, and of their apps, in the round trip that locks their executions."""

    candidates: Sequence[apps.Candidate]
    active: apps.ActiveApps
    facts: Read
    states: Read

    @classmethod
    def about(cls, dialect: Dialect, candidates: Sequence[apps.Candidate], *, skip_locked: bool) -> "_Asked":
        workers = [(one.execution_pk, one.worker_id) for one in candidates]
        app_pks = {one.app_pk for one in candidates}
        active = apps.ActiveApps.of(app_pks, skip_locked=skip_locked)
        return cls(candidates, active, apps.facts(app_pks), executions.states(dialect, workers))

    @property
    def workers(self) -> list[tuple[int, int]]:
        """The candidates as (execution, worker id)."""
        return [(one.execution_pk, one.worker_id) for one in self.candidates]

    @property
    def reads(self) -> tuple[Read, ...]:
        return *self.active.reads, self.facts, self.states


def _claim(
    tx: Transaction,
    held: dict[int, Held],
    allowed: dict[int, Allowance],
    asked: _Asked,
    terms: LeaseTerms,
    horizon: Horizon,
) -> tuple[Claim, ...]:
    now = horizon.now
    taken: list[tuple[Held, int]] = []
    for app_pk, pk, worker_id, token in asked.candidates:
        one = held.get(pk)
        if one is None or app_pk not in allowed:
            continue
        by = horizon.ends(allowed[app_pk].standing)
        if one.execution.may_claim(worker_id, token, by) and allowed[app_pk].take():
            one.execution.claim(worker_id, terms.lease(_begins(one, worker_id, now)))
            taken.append((one, worker_id))
    save(tx, held.values(), now)
    allowances.spend(tx, allowed.values(), now)
    return claims_of(tx, taken, asked.facts, asked.states, now) if taken else ()


def _begins(held: Held, worker_id: int, now: datetime) -> datetime:
    """When the call of a worker that is claimed now may be made: when it is due."""
    due_at = held.execution.workers[worker_id].due_at
    return now if due_at is None else max(now, due_at)
