"""Handing out: due steps of pull tasks go to the executors that ask for them, to many of them in one transaction.

As in `claim`, what is read without locks is a heuristic; every condition is checked again under the locks.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from orchestrator.domain.pulling import PullTerms
from orchestrator.service.callback_urls import CallbackUrls
from orchestrator.service.claim import PASSED_OVER_LOOK
from orchestrator.service.claimed import Claim, with_facts
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, save
from orchestrator.service.payloads import exec_worker
from orchestrator.service.pull_tasks import PullTask, shown_of
from orchestrator.service.tokens import Scope
from orchestrator.store import apps, pulling, tokens
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.pulling import TaskRow, Waiting
from orchestrator.store.transaction import Transaction

# In one transaction; who is left without goes first in the next.
MOST_AT_ONCE = 200
MOST_AT_ONCE_CHARS = 16 * 1024 * 1024
# What another transaction holds is passed over, and must not leave an executor with nothing while more is due.
_SPARE_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an executor polls for: steps of the tasks with these ids or aliases, at most `places` of them.

    `executor` is kept with the claim: its own name for itself, else its token's. Nothing is handed out for a token that
    does not count any more, though it did when the poll began.
    """

    scope: Scope
    definitions: tuple[str, ...]
    places: int
    executor: str
    token_id: str | None = None


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What each has got, in the order in which they were given; when to look again: None, only when woken."""

    given: tuple[tuple[PullTask, ...], ...]
    wait: timedelta | None


@dataclass(slots=True)
class _Load:
    """What is handed out in one transaction, bounded by number and by the size of the inputs."""

    sizes: Mapping[int, int]
    count: int = 0
    size: int = 0
    is_full: bool = False

    def has_room(self, pk: int) -> bool:
        """Whether this execution's input fits, too; the first one always does."""
        if self.count >= MOST_AT_ONCE or (self.count and self.size + self.sizes[pk] > MOST_AT_ONCE_CHARS):
            self.is_full = True
        return not self.is_full

    def take(self, pk: int) -> None:
        self.count += 1
        self.size += self.sizes[pk]


@dataclass(frozen=True, slots=True)
class _Limit:
    """At most so many claims of a task at once; `is_by_key`: of those with the same value there."""

    most: int
    is_by_key: bool


@dataclass(slots=True)
class _Asker:
    """One of those that ask, with the tasks that it may have, each by the name that it used."""

    wanted: Wanted
    names: Mapping[int, str]
    taken: list[tuple[Held, int]] = field(default_factory=list)

    @property
    def is_served(self) -> bool:
        return len(self.taken) >= self.wanted.places


@dataclass(slots=True)
class _Room:
    """What apps and limits allow, counted under their locks, and counted down with each claim."""

    active: Collection[int]
    most: Mapping[int, int]
    claims: dict[tuple[int, str], int]
    keys: Mapping[int, str]

    def take(self, held: Held) -> bool:
        """Count one claim of this execution; False if there is no room for it."""
        if held.app_pk not in self.active:
            return False
        most = self.most.get(held.task_pk)
        if most is None:
            return True
        place = held.task_pk, self.keys[held.pk]
        if self.claims.get(place, 0) >= most:
            return False
        self.claims[place] = self.claims.get(place, 0) + 1
        return True


def hand_out(tx: Transaction, definitions: Definitions, callbacks: CallbackUrls, wanted: Sequence[Wanted]) -> HandedOut:
    """Claim due steps for those that ask, first come, first served. A name that nobody knows yields nothing."""
    now = tx.now()
    askers, tasks = _askers(tx, wanted, now)
    limits = _limits(tx, definitions, tasks)
    seen = _candidates(tx, _demand(askers), limits, now)
    most = {pk: limit.most for pk, limit in limits.items()}
    held = hold(tx, definitions, {one.execution_pk for one in seen}, skip_locked=True)
    load = _Load(pulling.input_sizes(tx, held) if held else {})
    _give(seen, held, _room(tx, held.values(), most), askers, load, now)
    save(tx, held.values(), now)
    given = _shown(tx, definitions, callbacks, askers, now)
    is_passed_over = load.is_full or any(one.execution_pk not in held for one in seen)
    return HandedOut(given, _next_look(tx, tasks, given, now, is_passed_over=is_passed_over))


def _askers(tx: Transaction, wanted: Sequence[Wanted], now: datetime) -> tuple[list[_Asker], list[TaskRow]]:
    """Those that ask, and the tasks that they may have something of; nothing of a stopped app is handed out."""
    names: dict[str, set[str]] = {}
    for one in wanted:
        asked = names.setdefault(one.scope.workspace_id, set())
        asked.update(one.definitions, one.scope.tasks or ())
    over = tokens.no_longer_valid(tx, {one.token_id for one in wanted if one.token_id}, to_micros(now))
    known = {workspace: pulling.named(tx, workspace, asked) for workspace, asked in names.items()}
    active = {task.pk: task for task in pulling.tasks(tx, _every_pk(known.values())) if task.is_active}
    askers = [
        _Asker(one, {} if one.token_id in over else _allowed(one, known[one.scope.workspace_id], active))
        for one in wanted
    ]
    return askers, [active[pk] for pk in sorted({pk for asker in askers for pk in asker.names})]


def _every_pk(known: Iterable[Mapping[str, set[int]]]) -> set[int]:
    return {pk for named in known for pks in named.values() for pk in pks}


def _allowed(wanted: Wanted, known: Mapping[str, set[int]], active: Mapping[int, TaskRow]) -> dict[int, str]:
    scope = wanted.scope
    bound = None if scope.tasks is None else {pk for name in scope.tasks for pk in known.get(name, ())}
    return {
        pk: name
        # Of several names for one task, the first counts.
        for name in reversed(wanted.definitions)
        for pk in known.get(name, ())
        if pk in active and (bound is None or pk in bound) and scope.app_pk in (None, active[pk].app_pk)
    }


def _limits(tx: Transaction, definitions: Definitions, tasks: Sequence[TaskRow]) -> dict[int, _Limit]:
    known = definitions.read(tx, {task.version_pk for task in tasks})
    manifests = {task.pk: known[task.version_pk].manifest for task in tasks}
    return {
        pk: _Limit(manifest.concurrency_limit, is_by_key=manifest.concurrency_path is not None)
        for pk, manifest in manifests.items()
        if manifest.concurrency_limit is not None
    }


def _demand(askers: Sequence[_Asker]) -> dict[int, int]:
    demand: dict[int, int] = {}
    for asker in askers:
        for pk in asker.names:
            demand[pk] = min(demand.get(pk, 0) + asker.wanted.places, MOST_AT_ONCE)
    return demand


def _candidates(
    tx: Transaction, demand: Mapping[int, int], limits: Mapping[int, _Limit], now: datetime
) -> list[Waiting]:
    at = to_micros(now)
    found: list[tuple[int, Waiting]] = []
    for pk, places in demand.items():
        found += enumerate(_waiting(tx, pk, limits.get(pk), at, places + _SPARE_CANDIDATES))
    # As many of each task: the long queue of one, which may be held up, must not hide the others.
    found.sort(key=lambda one: (one[0], one[1].due_at))
    kept = [one for _, one in found[: MOST_AT_ONCE * 2]]
    return sorted(kept, key=lambda one: (one.due_at, one.execution_pk, one.worker_id))


def _waiting(tx: Transaction, pk: int, limit: _Limit | None, at: int, enough: int) -> list[Waiting]:
    if limit is None:
        return pulling.waiting(tx, pk, at, enough)
    if limit.is_by_key:
        return pulling.waiting_by_key(tx, pk, at, enough, limit.most)
    # Most polls of a task at its limit end here, however many wait for it.
    left = limit.most - sum(pulling.busy(tx, {pk}).values())
    return pulling.waiting(tx, pk, at, min(left + _SPARE_CANDIDATES, enough)) if left > 0 else []


def _room(tx: Transaction, held: Collection[Held], most: Mapping[int, int]) -> _Room:
    if not held:
        return _Room((), most, {}, {})
    locked = apps.ActiveApps.of({one.app_pk for one in held})
    tx.read(*locked.reads)
    active = locked.standings()
    limited = {one.task_pk for one in held if one.task_pk in most}
    if not limited:
        return _Room(active, most, {}, {})
    pulling.lock_tasks(tx, limited)
    keys = pulling.keys(tx, [one.pk for one in held if one.task_pk in limited])
    return _Room(active, most, pulling.busy(tx, limited), keys)


def _give(
    seen: Sequence[Waiting],
    held: Mapping[int, Held],
    room: _Room,
    askers: Sequence[_Asker],
    load: _Load,
    now: datetime,
) -> None:
    queues: dict[int, deque[_Asker]] = {}
    for asker in askers:
        for pk in asker.names:
            queues.setdefault(pk, deque()).append(asker)
    for one in seen:
        queue = queues[one.task_pk]
        while queue and queue[0].is_served:
            queue.popleft()
        owner = held.get(one.execution_pk)
        if not queue or owner is None or not load.has_room(owner.pk):
            continue
        if owner.execution.may_claim(one.worker_id, one.token, now) and room.take(owner):
            terms = PullTerms.of(owner.definition.manifest)
            owner.execution.claim(one.worker_id, terms.lease(queue[0].wanted.executor, now))
            queue[0].taken.append((owner, one.worker_id))
            load.take(owner.pk)


def _shown(
    tx: Transaction, definitions: Definitions, callbacks: CallbackUrls, askers: Sequence[_Asker], now: datetime
) -> tuple[tuple[PullTask, ...], ...]:
    taken = [place for asker in askers for place in asker.taken]
    if not taken:
        return ((),) * len(askers)
    shown = shown_of(tx, definitions, {held.pk for held, _ in taken})
    stepping = [(held, worker_id) for held, worker_id in taken if held.definition.manifest.pull_result == "step"]
    turns = {(claim.execution_pk, claim.worker_id): claim for claim in with_facts(tx, stepping, now)}

    def handed(asker: _Asker, held: Held, worker_id: int) -> PullTask:
        task = replace(shown[held.pk, worker_id], asked_as=asker.names[held.task_pk])
        claim = turns.get((held.pk, worker_id))
        return task if claim is None else _with_turn(task, claim, callbacks)

    return tuple(tuple(handed(asker, *place) for place in asker.taken) for asker in askers)


def _with_turn(task: PullTask, claim: Claim, callbacks: CallbackUrls) -> PullTask:
    callback_url = callbacks.of(claim.uid, claim.worker_id, claim.step)
    turn = exec_worker(claim, task.definition.manifest.in_progress_timeout, callback_url)
    return replace(task, turn=turn, app_state=claim.app.state)


def _next_look(
    tx: Transaction,
    tasks: Collection[TaskRow],
    given: Sequence[Sequence[PullTask]],
    now: datetime,
    *,
    is_passed_over: bool,
) -> timedelta | None:
    if sum(len(one) for one in given) >= MOST_AT_ONCE:
        return timedelta()
    if not tasks:
        return None
    due_at = pulling.first_due(tx, {task.pk for task in tasks}, to_micros(now))
    waits = [from_micros(due_at) - now] if due_at is not None else []
    return min([*waits, PASSED_OVER_LOOK] if is_passed_over else waits, default=None)
