"""Planted bugs in what an answer does: state, app state, retries, spawns, waits and ends."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

import orjson

from app_sdk.protocol.answer import Answer
from orchestrator.domain import consequence
from orchestrator.domain import execution as life
from orchestrator.domain.consequence import CallAgain, Consequence, Reckoning
from orchestrator.domain.execution import ClosedStep, Execution
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.overlap import Start, Verdict
from orchestrator.domain.policy import Delivery, TaskPolicy
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from orchestrator.domain.worker import Worker
from orchestrator.service import apply, launching, resuming
from orchestrator.service.app_effects import AppEffects
from orchestrator.service.claimed import Claim
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held
from orchestrator.service.report import ReadyAnswer, Report
from orchestrator.service.step_record import StepRecord
from orchestrator.store import apps, groups
from orchestrator.store.transaction import Transaction
from tests.simulation.planted import Patches, bug


@bug
def app_state_from_the_claim() -> Patches:
    """Mutations are made on the app state that the call was sent, and written back."""
    real = apply._begin

    def begin(tx: Transaction, definitions: Definitions, reports: Any, terms: apply.ApplyTerms) -> Any:
        work = real(tx, definitions, reports, terms)
        for report in reports:
            if report.claim.app.pk in work.apps._states:
                work.apps._states[report.claim.app.pk] = orjson.loads(report.claim.app.state)
        return work

    return [patch.object(apply, "_begin", begin)]


@bug
def mutations_before_the_guard() -> Patches:
    """The app state is mutated before it is asked whether the answer counts."""
    real = apply._apply_one

    def apply_one(work: Any, report: Report, position: int, jitter: float) -> None:
        held = work.held[report.claim.execution_pk]
        if not held.execution.holds(report.claim.worker_id, report.claim.token):
            apply._checked_against_data(work, report)
        real(work, report, position, jitter)

    return [patch.object(apply, "_apply_one", apply_one)]


@bug
def mutations_in_another_transaction() -> Patches:
    """What an answer does to the app's state is written by the next commit."""
    real = AppEffects.write
    late: dict[int, str] = {}

    def write(self: AppEffects, tx: Transaction, now: datetime) -> None:
        for app_pk, text in late.items():
            apps.set_state(tx, app_pk, text)
        late.clear()
        late.update(self._texts)
        self._texts.clear()
        real(self, tx, now)

    return [patch.object(AppEffects, "write", write)]


@bug
def key_for_each_call() -> Patches:
    """Each call has a key of its own, so that apps cannot recognise a repetition."""

    def key(self: Claim) -> str:
        return f"msg_{self.uid}_{self.worker_id}_{self.step}_{self.token}"

    return [patch.object(Claim, "key", property(key))]


@bug
def spawn_overwrites_the_state() -> Patches:
    """A worker that is asked for once more while it is going gets the new initial state."""
    real = StepRecord.applied

    def applied(
        self: StepRecord, held: Held, report: Report, ready: ReadyAnswer, _spawned: Collection[int], was_held: int
    ) -> None:
        real(self, held, report, ready, sorted(ready.spawned), was_held)

    return [patch.object(StepRecord, "applied", applied)]


@bug
def retries_not_reset() -> Patches:
    """`retry_count` goes on counting over steps that were applied."""
    real = Execution.close_step

    def close_step(self: Execution, worker_id: int, answer: Answer, **more: Any) -> ClosedStep:
        before = self.workers[worker_id].retry_count
        closed = real(self, worker_id, answer, **more)
        self.workers[worker_id].retry_count += before if not answer.is_error else 0
        return closed

    return [patch.object(Execution, "close_step", close_step)]


@bug
def delay_ignored() -> Patches:
    """A worker that asked for a delay is due at once."""
    real = consequence.of_answer

    def of_answer(
        worker: Worker, answer: Answer, policy: TaskPolicy, reckoning: Reckoning, *, now: datetime
    ) -> Consequence:
        meant = real(worker, answer, policy, reckoning, now=now)
        return (
            CallAgain(reckoning.since) if isinstance(meant, CallAgain) and answer.delay_next_request_in_secs else meant
        )

    return [patch.object(life, "of_answer", of_answer)]


@bug
def lost_call_repeated() -> Patches:
    """A call that was lost with its node is made again, also under at_most_once."""
    real = consequence.of_failure

    def of_failure(worker: Worker, call: Unsuccessful, policy: TaskPolicy, reckoning: Reckoning) -> Consequence:
        policy = replace(policy, delivery=Delivery.AT_LEAST_ONCE) if call.is_lost else policy
        return real(worker, call, policy, reckoning)

    return [patch.object(life, "of_failure", of_failure)]


@bug
def abort_forgets_those_in_flight() -> Patches:
    """An abort ends the workers that rest, and leaves those that are being called."""

    def abort(self: Execution, message: str | None, now: datetime) -> None:
        self._abort_those_in(life._NOT_IN_FLIGHT)
        self._end(ExecutionStatus.ABORTED, message or "aborted", now)

    return [patch.object(Execution, "abort", abort)]


@bug
def end_forgets_batches() -> Patches:
    """An execution succeeds when its workers are done, whatever is left to deliver."""
    return [patch.object(Execution, "undelivered", property(lambda self: 0))]


@bug
def all_that_wait_are_released() -> Patches:
    """When nobody else can go on, every worker that waits for the others is called."""

    def release_one(self: Execution, waiting: list[Worker], now: datetime) -> None:
        for worker in waiting:
            self._touch(worker.worker_id).move(WorkerStatus.READY, now)
            worker.passed_over = True

    return [patch.object(Execution, "_release_one", release_one)]


@bug
def waiting_is_not_released() -> Patches:
    """Who waits is called when all others are done, but not when they have failed or wait too."""
    real = Execution._release_one

    def release_one(self: Execution, waiting: list[Worker], now: datetime) -> None:
        if len(waiting) == 1:
            real(self, waiting, now)

    return [patch.object(Execution, "_release_one", release_one)]


@bug
def last_two_end_together() -> Patches:
    """Two workers that end in one commit each take the other for still going."""
    real = Execution._settle

    def settle(self: Execution, now: datetime) -> None:
        ended = [worker_id for worker_id in self.touched if self.workers[worker_id].has_ended]
        if len(ended) < 2 or self.failing:
            real(self, now)

    return [patch.object(Execution, "_settle", settle)]


@bug
def retry_calls_the_done() -> Patches:
    """A retry begins with every worker, also those that were done."""
    real = Execution.retry

    def retry(self: Execution) -> None:
        real(self)
        for worker in self._those_in({WorkerStatus.DONE}):
            self._touch(worker.worker_id).move(WorkerStatus.READY)

    return [patch.object(Execution, "retry", retry)]


@bug
def retry_ignores_overlap() -> Patches:
    """A retry starts at once, whatever runs."""
    return [patch("orchestrator.service.ending.restart", _without_verdict(launching.restart))]


@bug
def promote_ignores_overlap() -> Patches:
    """An execution that waits starts, whatever runs."""
    head, _, rest = groups._DUE_PENDING.partition("AND NOT (waiting.queues")
    sql = f"{head} ORDER BY {rest.rpartition('ORDER BY')[2]}"
    return [
        patch.object(groups, "_DUE_PENDING", sql),
        patch.object(launching, "promote", _without_verdict(launching.promote)),
    ]


def _without_verdict(use_case: Any) -> Any:
    def verdict(*_: Any, **__: Any) -> Verdict:
        return Start()

    def promote(*given: Any) -> Any:
        with patch.object(launching, "_verdict", verdict):
            return use_case(*given)

    return promote


@bug
def resume_takes_the_latest_state() -> Patches:
    """Who resumes from an earlier call goes on from the end of it all."""
    return [patch.object(resuming._Moment, "is_after", lambda self, call: True)]
