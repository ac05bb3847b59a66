"""Apply: what came back from many calls is committed at once, each behind its own guard.

State, mutations, import batches, new workers, counters, the call's record and the next due time are written together
or not at all. What the data refuse is decided here, before any write. Where a worker continues at once, the claim of
its next step is taken in the same commit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app_sdk.protocol.limits import Limits
from orchestrator.domain.classify import Unanswered
from orchestrator.domain.consequence import Reckoning
from orchestrator.domain.errors import StateRefused
from orchestrator.domain.outcome import FailureKind
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Worker
from orchestrator.service.app_effects import AppEffects
from orchestrator.service.callback_effects import EarlyCallbacks
from orchestrator.service.claim import Claimed, next_claims
from orchestrator.service.claimed import Claim, LeaseTerms, renew, statuses
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, save
from orchestrator.service.report import ReadyAnswer, Report, refused
from orchestrator.service.sharing import Places, giving_way, is_due, moved_on
from orchestrator.service.step_record import StepRecord, effects_of
from orchestrator.store import apps as app_rows
from orchestrator.store.apps import DueApp
from orchestrator.store.transaction import Transaction

# After so many steps in a row a worker queues like any other, if others of its app are due: where that is at a limit,
# they must have their turn too.
RENEWALS_IN_A_ROW = 20


@dataclass(frozen=True, slots=True)
class ApplyTerms:
    """How this node applies. `lease` is None while it drains: nothing is claimed anew.

    `is_full`: the node has no place that every app may take, so that another app's due worker may be waiting for one.
    """

    node: str
    limits: Limits
    lease: LeaseTerms | None
    is_full: bool


@dataclass(frozen=True, slots=True)
class Applied:
    """What a commit has brought about.

    `renewed` are the claims renewed in it, by the position of their report; `freed_groups` those whose running
    execution has ended; `batches` how many there are to deliver; `made_due` whether workers are due, now or later,
    that nobody has claimed; `has_changed_apps` whether rows of apps themselves were written.
    """

    renewed: Mapping[int, Claim]
    freed_groups: tuple[tuple[int, str], ...]
    batches: int
    made_due: bool
    has_changed_apps: bool


@dataclass(slots=True)
class _Work:
    """What one transaction gathers before it writes.

    `due`: the apps, where some of those that go on may have to give way, or where it `claims` more afterwards.
    `origin`: when this machine's monotonic clock began. `continuing`: positions of reports whose worker is due at once.
    """

    tx: Transaction
    terms: ApplyTerms
    now: datetime
    origin: datetime
    held: dict[int, Held]
    apps: AppEffects
    due: Sequence[DueApp]
    record: StepRecord
    early: EarlyCallbacks
    claims: bool
    continuing: dict[int, Report] = field(default_factory=dict)


def apply(
    tx: Transaction,
    definitions: Definitions,
    reports: Sequence[Report],
    terms: ApplyTerms,
    jitter: Sequence[float],
) -> Applied:
    """Apply every report whose claim still holds; the others only leave a record. `jitter`: one in [-1, 1] each."""
    return _apply(_begin(tx, definitions, reports, terms), reports, jitter)


def apply_and_claim(
    tx: Transaction,
    definitions: Definitions,
    reports: Sequence[Report],
    terms: ApplyTerms,
    jitter: Sequence[float],
    places: Places,
) -> tuple[Applied, Claimed]:
    """As `apply`, and then claim for `places` and those that the reports leave, in the same commit."""
    assert terms.lease is not None, "a node that drains claims nothing"
    work = _begin(tx, definitions, reports, terms, claims=True)
    applied = _apply(work, reports, jitter)
    if applied.has_changed_apps:
        # A claim locks apps in the order of their keys. This transaction has some already, and must not ask for more.
        return applied, Claimed((), timedelta(), is_left_out=True)
    left = len(reports) - len(applied.renewed)
    # No answer waits for an app that somebody else has locked.
    more = replace(places, free=places.free + left)
    return applied, next_claims(tx, definitions, terms.lease, more, due_apps=work.due, skip_locked=True)


def _apply(work: _Work, reports: Sequence[Report], jitter: Sequence[float]) -> Applied:
    tx = work.tx
    were_open = {pk for pk, one in work.held.items() if one.is_open}
    for position, report in enumerate(reports):
        _apply_one(work, report, position, jitter[position])
    renewed = _renew(work)
    if work.claims:
        work.due = moved_on(work.due, work.held.values())
    made_due = any(_has_made_due(one) for one in work.held.values())
    has_changed_apps = work.apps.write(tx, work.now)
    work.record.write(tx)
    work.early.write(tx)
    save(tx, work.held.values(), work.now)
    freed = {one.group for pk, one in work.held.items() if pk in were_open and not one.is_open}
    return Applied(renewed, tuple(sorted(freed)), len(work.record.batches), made_due, has_changed_apps)


def _begin(
    tx: Transaction, definitions: Definitions, reports: Sequence[Report], terms: ApplyTerms, *, claims: bool = False
) -> _Work:
    about = {(report.claim.execution_pk, report.claim.worker_id) for report in reports}
    mutating = {report.claim.app.pk for report in reports if _mutates(report)}
    effects = AppEffects.reads({report.claim.app.pk for report in reports}, mutating)
    # Others that are due are asked about only where their turn may have come.
    is_of_interest = claims or terms.is_full or any(_ends_turn(report.claim) for report in reports)
    due = (app_rows.due(),) if terms.lease and is_of_interest else ()
    held = hold(tx, definitions, {pk for pk, _ in about}, about=about, then=(*effects, *due))
    now = tx.read_at()
    record = StepRecord(terms.node, now, terms.limits.message_shown_chars)
    due_apps = [app for read in due for app in app_rows.due_of(read)]
    apps, early, origin = AppEffects.of(effects, mutating), EarlyCallbacks(now), tx.from_monotonic(0.0)
    return _Work(tx, terms, now, origin, held, apps, due_apps, record, early, claims)


def _mutates(report: Report) -> bool:
    return isinstance(report.meaning, ReadyAnswer) and bool(report.meaning.answer.app_state_mutations)


def _apply_one(work: _Work, report: Report, position: int, jitter: float) -> None:
    claim = report.claim
    held = work.held.get(claim.execution_pk)
    if held is None or not held.execution.holds(claim.worker_id, claim.token):
        work.record.call(report, "fenced", _message(report), report.notes)
        return
    if not held.definition.is_pull:
        # What an executor says or not tells nothing about the app's endpoint.
        work.apps.hear(claim.app.pk, is_silent=_is_silent(report))
    report = _checked_against_data(work, report)
    match report.meaning:
        case ReadyAnswer() as ready:
            _close_step(work, held, report, ready, jitter)
            if _continues_at_once(work, held.execution.workers[claim.worker_id]):
                work.continuing[position] = report
        case Unanswered() as unanswered:
            _fail_call(work, held, report, unanswered, jitter)


def _checked_against_data(work: _Work, report: Report) -> Report:
    if not isinstance(report.meaning, ReadyAnswer) or not _mutates(report):
        return report
    mutations = report.meaning.answer.app_state_mutations
    try:
        work.apps.mutate(report.claim.app.pk, mutations, work.terms.limits.app_state_bytes)
    except StateRefused as error:
        return refused(report, error.message)
    return report


def _close_step(work: _Work, held: Held, report: Report, ready: ReadyAnswer, jitter: float) -> None:
    worker_id = report.claim.worker_id
    undelivered = held.execution.workers[worker_id].undelivered
    closed = held.execution.close_step(
        worker_id,
        ready.answer,
        state_changed=ready.state is not None,
        batches=len(ready.batches),
        now=work.now,
        reckoning=_reckoning(work, report, jitter),
    )
    work.record.applied(held, report, ready, closed.spawned, undelivered)
    effects = effects_of(held.execution, worker_id, closed.spawned)
    notes = (*report.notes, *closed.notes)
    if closed.had_early_callback:
        notes = (*notes, work.early.close(work.tx, held, worker_id, report.claim.step))
    work.record.call(report, "applied", ready.answer.message, notes, effects)


def _fail_call(work: _Work, held: Held, report: Report, unanswered: Unanswered, jitter: float) -> None:
    message = unanswered.call.message
    reckoning = _reckoning(work, report, jitter)
    held.execution.fail_call(report.claim.worker_id, unanswered.call, now=work.now, reckoning=reckoning)
    work.record.failed(held, report, message)
    work.record.call(report, "failed", message, report.notes)
    if unanswered.stops_app:
        work.apps.stop(report.claim.app.pk, f"the app answered 410 to {held.id}: {message}")


def _reckoning(work: _Work, report: Report, jitter: float) -> Reckoning:
    """From when the call ended, by the database's clock: the answer may have waited for the commits before this one."""
    came_at = work.now if report.came_at is None else work.origin + timedelta(seconds=report.came_at)
    return Reckoning(min(came_at, work.now), jitter)


def _is_silent(report: Report) -> bool:
    """Not even the head of an answer; a node that shuts down says nothing about the app."""
    return (
        isinstance(report.meaning, Unanswered)
        and report.http_status is None
        and report.meaning.kind is not FailureKind.LOST
    )


def _message(report: Report) -> str | None:
    match report.meaning:
        case ReadyAnswer() as ready:
            return ready.answer.message
        case Unanswered() as unanswered:
            return unanswered.call.message


def _continues_at_once(work: _Work, worker: Worker) -> bool:
    # One that was released carries the results of the others, one that was called back the callback. They are not
    # written yet: the next claim reads them.
    return (
        worker.status is WorkerStatus.READY
        and worker.due_at is not None
        and worker.due_at <= work.now
        and not worker.is_released
        and not worker.called_back
    )


def _renew(work: _Work) -> dict[int, Claim]:
    terms = work.terms.lease
    if terms is None or not work.continuing:
        return {}
    apps, lease = {pk: work.apps.after(pk) for pk in _going_on(work)}, terms.lease(work.now)
    queueing = {app.pk for app in work.due if is_due(app, work.now)}
    taken = {
        position: work.held[report.claim.execution_pk].execution.claim(report.claim.worker_id, lease)
        for position, report in work.continuing.items()
        if report.claim.app.pk in apps and _may_renew(work, report, queueing)
    }
    told = {pk: statuses(work.held[pk]) for pk in {work.continuing[position].claim.execution_pk for position in taken}}
    renewed = {}
    for position, worker in taken.items():
        report = work.continuing[position]
        claim = report.claim
        assert isinstance(report.meaning, ReadyAnswer)
        state = claim.worker_state if report.meaning.state is None else report.meaning.state
        renewed[position] = renew(claim, worker, told[claim.execution_pk], apps[claim.app.pk], state)
    return renewed


def _may_renew(work: _Work, report: Report, queueing: Collection[int]) -> bool:
    claim, execution = report.claim, work.held[report.claim.execution_pk].execution
    if _ends_turn(claim) and claim.app.pk in queueing:
        return False
    return execution.may_claim(claim.worker_id, execution.workers[claim.worker_id].token, work.now)


def _ends_turn(claim: Claim) -> bool:
    return claim.renewals > 0 and claim.renewals % RENEWALS_IN_A_ROW == 0


def _going_on(work: _Work) -> set[int]:
    """The apps whose workers may go on at once; on a full node they give way to apps that have less."""
    apps = {report.claim.app.pk for report in work.continuing.values()}
    going_on = {pk for pk in apps if work.apps.may_go_on(pk)}
    return going_on - giving_way(work.due, going_on, work.now) if work.terms.is_full else going_on


def _has_made_due(held: Held) -> bool:
    workers = held.execution.workers
    return any(workers[worker_id].status is WorkerStatus.READY for worker_id in held.execution.touched)
