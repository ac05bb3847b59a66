"""The life of an execution: every decision that changes the status of it or of its workers.

Its users are the use cases in `service`, which load an Execution under locks, call one of these verbs and
write what changed; and `app_sdk.testing`, which runs an app's task with the same decisions, without a server.

Over 300 lines: the verbs of one state machine, which are read together.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from app_sdk.protocol.answer import Answer
from app_sdk.protocol.frozen import frozen
from app_sdk.protocol.limits import DEFAULT_LIMITS
from orchestrator.domain.consequence import (
    CallAgain,
    Consequence,
    Fail,
    Finish,
    Park,
    Reckoning,
    Wait,
    carry_out,
    of_answer,
    of_failure,
)
from orchestrator.domain.errors import Conflict
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import OnWorkerFailure, TaskPolicy
from orchestrator.domain.states import (
    ENDED_EXECUTION,
    ENDED_WORKER,
    ExecutionStatus,
    WorkerStatus,
    check_execution_move,
)
from orchestrator.domain.waiting import close_turn, next_released, wait_anew
from orchestrator.domain.worker import AHEAD, Lease, Worker, spawn

MESSAGE_CHARS = DEFAULT_LIMITS.message_shown_chars
NO_CALLBACK = "no callback came before the timeout of the wait"

_ACTIVE = frozenset({WorkerStatus.READY, WorkerStatus.CALLING, WorkerStatus.AWAITING})
_NOT_IN_FLIGHT = frozenset({WorkerStatus.READY, WorkerStatus.AWAITING, WorkerStatus.WAITING})
_UNFINISHED = frozenset({WorkerStatus.FAILED, WorkerStatus.ABORTED})


@frozen
class ClosedStep:
    """What closing a step did beyond the worker itself: workers that (re)start, notes for the record.

    `had_early_callback`: one was kept for this step. It is taken now if the worker is AWAITING, else of no use.
    """

    spawned: frozenset[int]
    notes: tuple[str, ...]
    had_early_callback: bool = False


@dataclass(slots=True)
class Execution:
    """An execution with all of its workers, as one transaction sees it."""

    policy: TaskPolicy
    workers: dict[int, Worker]
    status: ExecutionStatus = ExecutionStatus.PENDING
    failing: bool = False
    attempt: int = 1
    message: str | None = None
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    touched: set[int] = field(default_factory=set)
    """The ids of the workers that a verb has changed since this was loaded."""

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED_EXECUTION

    @property
    def open_workers(self) -> int:
        """How many workers have not ended; while it is 0, only deliveries are left, and no overlap counts."""
        return sum(worker.status not in ENDED_WORKER for worker in self.workers.values())

    @property
    def undelivered(self) -> int:
        return sum(worker.undelivered for worker in self.workers.values())

    def start(self, now: datetime) -> None:
        """Its turn has come: every worker is due. A retry starts here too; its workers were already reset."""
        self.status = check_execution_move(self.status, ExecutionStatus.RUNNING)
        self.deadline_at = now + self.policy.max_duration
        for worker in self._those_in({WorkerStatus.READY}):
            self._touch(worker.worker_id).due_at = now
        for worker in self._those_in({WorkerStatus.READY, WorkerStatus.DONE, WorkerStatus.WAITING}):
            # The collector may have refused a batch since the retry was asked for.
            self._fail_if_refused(worker)
        self._settle(now)

    def may_claim(self, worker_id: int, token: int, now: datetime) -> bool:
        """True if the worker is still the one that was seen with `token`, and may be called."""
        worker = self.workers.get(worker_id)
        may_call = self.status is ExecutionStatus.RUNNING and not self.failing
        return may_call and worker is not None and worker.token == token and worker.is_due(now)

    def claim(self, worker_id: int, lease: Lease) -> Worker:
        """Hand the worker to a caller: its token grows, which fences every earlier claim."""
        worker = self._touch(worker_id)
        worker.move(WorkerStatus.CALLING)
        worker.lease = lease
        worker.token += 1
        return worker

    def holds(self, worker_id: int, token: int) -> bool:
        """True if the claim with `token` is still the worker's present one, so that its answer counts."""
        worker = self.workers.get(worker_id)
        return self.status is ExecutionStatus.RUNNING and worker is not None and worker.is_claimed_with(token)

    def close_step(
        self,
        worker_id: int,
        answer: Answer,
        *,
        state_changed: bool,
        batches: int,
        now: datetime,
        reckoning: Reckoning,
    ) -> ClosedStep:
        """Apply a valid answer to the life cycle. `batches` import batches were cut from its items."""
        worker = self._touch(worker_id)
        step, had_early_callback = worker.step, worker.has_early_callback
        worker.has_early_callback = False
        spawned, notes = self._spawn(answer, now)
        progressed = state_changed or bool(
            spawned or answer.items_to_import or answer.app_state_mutations or answer.progress
        )
        worker.step += 1
        worker.undelivered += batches
        worker.retry_count = worker.retry_count + 1 if answer.is_error else 0
        worker.idle_steps = 0 if progressed or answer.delay_next_request_in_secs else worker.idle_steps + 1
        is_alone = all(other.has_ended for other in self.workers.values() if other is not worker)
        if close_turn(worker, answer, progressed=progressed, is_alone=is_alone):
            self._let_others_wait_anew(worker)
        consequence = of_answer(worker, answer, self.policy, reckoning, now=now)
        worker.finished = isinstance(consequence, Finish)
        # What follows an error is another try of the same turn, and needs the same results of the others.
        worker.waits = worker.waits if answer.is_error else isinstance(consequence, Wait)
        worker.called_back = worker.called_back and answer.is_error
        if isinstance(consequence, CallAgain) and consequence.note is not None:
            notes.append(consequence.note)
        self._carry_out(worker, consequence, now)
        if isinstance(consequence, Park) and worker.status is WorkerStatus.AWAITING:
            worker.awaited, worker.resumes = step, consequence.resume
        return ClosedStep(spawned, tuple(notes), had_early_callback)

    def fail_call(self, worker_id: int, call: Unsuccessful, *, now: datetime, reckoning: Reckoning) -> None:
        """The call closed no step: the same step is called again after a wait, or the worker has failed."""
        worker = self._touch(worker_id)
        worker.retry_count += 1
        self._carry_out(worker, of_failure(worker, call, self.policy, reckoning), now)

    def lose_call(self, worker_id: int, message: str, now: datetime) -> None:
        """Its node is gone: the step is called again at once; under at_most_once the worker has failed."""
        call = Unsuccessful(message, is_answered=False, is_lost=True)
        self.fail_call(worker_id, call, now=now, reckoning=Reckoning(now))

    def give_back(self, worker_id: int, now: datetime) -> None:
        """A claim whose call was never started: the worker is due as it was before, and no failure is counted."""
        worker = self._touch(worker_id)
        begins = now if worker.lease is None else worker.lease.since
        # Beyond that, the clock was set meanwhile.
        is_ahead = now < begins <= now + AHEAD
        self._carry_out(worker, CallAgain(begins if is_ahead else now), now)

    def change_lease(self, worker_id: int, lease: Lease) -> None:
        """The executor of a pull claim has begun the step, or given a sign of life: the claim stays its own."""
        self._touch(worker_id).lease = lease

    def time_out_await(self, worker_id: int, now: datetime) -> None:
        """No callback came in time: the worker has failed."""
        self._carry_out(self._touch(worker_id), Fail(NO_CALLBACK), now)

    def keep_callback(self, worker_id: int) -> None:
        """A callback has come for the worker's present step, whose answer may park it."""
        self._touch(worker_id).has_early_callback = True

    def take_callback(self, worker_id: int, meaning: CallAgain | Finish | Fail, now: datetime) -> None:
        """The callback has come that the worker awaits; `of_callback` tells its meaning."""
        worker = self._touch(worker_id)
        worker.finished = isinstance(meaning, Finish)
        worker.called_back = isinstance(meaning, CallAgain)
        worker.idle_steps = 0
        self._let_others_wait_anew(worker)
        self._carry_out(worker, meaning, now)

    def expire(self, now: datetime) -> None:
        """Past its deadline it fails, so that a stuck run cannot block its schedule for ever."""
        if self.deadline_at is not None and self.deadline_at <= now:
            longest = self.policy.max_duration.total_seconds()
            self._begin_failing(f"still running after max_duration_secs ({longest:g} s)")
            self._settle(now)

    def abort(self, message: str | None, now: datetime) -> None:
        """End it now, whatever is in flight; raises Conflict if it has ended."""
        if self.has_ended:
            raise Conflict(f"the execution is already {self.status}", execution_status=str(self.status))
        self._abort_those_in(_NOT_IN_FLIGHT | {WorkerStatus.CALLING})
        self._end(ExecutionStatus.ABORTED, (message or "aborted")[:MESSAGE_CHARS], now)

    def retry(self) -> None:
        """Begin a new attempt: unfinished workers resume from their last applied state.

        It is PENDING afterwards; `start` follows as soon as the overlap policy allows. Raises Conflict if it
        has not failed or been aborted, or if a refused batch is neither redelivered nor discarded.
        """
        if self.status not in (ExecutionStatus.FAILED, ExecutionStatus.ABORTED):
            raise Conflict(f"only a failed or aborted execution can be retried; this one is {self.status}")
        for worker in self.workers.values():
            if worker.refused is not None:
                raise Conflict(f"redeliver or discard it, then retry the execution: {worker.refused}")
        self.status = check_execution_move(self.status, ExecutionStatus.PENDING)
        self.message, self.ended_at = None, None
        self.attempt += 1
        for worker in self._those_in(_UNFINISHED):
            self._touch(worker.worker_id).resume()

    def deliver(self, worker_id: int, now: datetime) -> None:
        """The collector has accepted a batch of the worker, or an operator has discarded it."""
        worker = self._touch(worker_id)
        worker.undelivered -= 1
        # One batch of a worker is sent at a time, so that a refused one can only be this.
        worker.refused = None
        self._settle(now)

    def refuse_batch(self, worker_id: int, message: str, now: datetime) -> None:
        """The collector refused a batch for its content: that counts as a failure of the worker.

        A call in flight is answered first; outside of RUNNING, nothing but a retry waits for the batch.
        """
        worker = self._touch(worker_id)
        worker.refused = message
        if self.status is ExecutionStatus.RUNNING and worker.status is not WorkerStatus.CALLING:
            self._fail_if_refused(worker)
            self._settle(now)

    def clear_refusal(self, worker_id: int) -> None:
        """The refused batch is redelivered or discarded."""
        self._touch(worker_id).refused = None

    def _spawn(self, answer: Answer, now: datetime) -> tuple[frozenset[int], list[str]]:
        if not answer.new_workers:
            return frozenset(), []
        if self.failing:
            why = "was not started: the execution is failing"
            return frozenset(), [f"worker {new.worker_id} {why}" for new in answer.new_workers]
        spawned, notes = spawn(self.workers, answer.new_workers, now)
        self.touched |= spawned
        return spawned, notes

    def _carry_out(self, worker: Worker, consequence: Consequence, now: datetime) -> None:
        match consequence:
            case Fail(message):
                self._fail_worker(worker, message)
            case _ if worker.refused is not None:
                self._fail_worker(worker, worker.refused)
            case CallAgain() | Park() | Wait() if self.failing:
                worker.move(WorkerStatus.ABORTED)
            case _:
                carry_out(worker, consequence)
        self._settle(now)

    def _fail_if_refused(self, worker: Worker) -> None:
        if worker.refused is not None and worker.status not in _UNFINISHED:
            self._fail_worker(self._touch(worker.worker_id), worker.refused)

    def _fail_worker(self, worker: Worker, message: str) -> None:
        worker.move(WorkerStatus.FAILED)
        self._let_others_wait_anew(worker)
        if self.message is None:
            self.message = f"worker {worker.worker_id}: {message}"[:MESSAGE_CHARS]
        if self.policy.on_worker_failure is OnWorkerFailure.FAIL:
            self._begin_failing(self.message)

    def _begin_failing(self, message: str) -> None:
        self.failing = True
        self.deadline_at = None
        self.message = self.message or message
        self._abort_those_in(_NOT_IN_FLIGHT)

    def _settle(self, now: datetime) -> None:
        """End the execution if nothing is left to do; wake the next worker that waits for the others."""
        if self.status is not ExecutionStatus.RUNNING:
            return
        if self.failing:
            if not self._those_in({WorkerStatus.CALLING}):
                self._end(ExecutionStatus.FAILED, self.message, now)
            return
        if any(worker.status in _ACTIVE for worker in self.workers.values()):
            return
        waiting = self._those_in({WorkerStatus.WAITING})
        if waiting:
            self._release_one(waiting, now)
        elif any(worker.status is WorkerStatus.FAILED for worker in self.workers.values()):
            self._end(ExecutionStatus.FAILED, self.message, now)
        elif not self.undelivered:
            self._end(ExecutionStatus.SUCCEEDED, self.message, now)

    def _release_one(self, waiting: list[Worker], now: datetime) -> None:
        worker = next_released(waiting)
        if worker is not None:
            self._touch(worker.worker_id).move(WorkerStatus.READY, now)
            worker.passed_over = True
            return
        ids = ", ".join(str(worker.worker_id) for worker in waiting)
        self._begin_failing(f"deadlocked: only workers that wait for the others are left ({ids})")
        self._settle(now)

    def _end(self, status: ExecutionStatus, message: str | None, now: datetime) -> None:
        self.status = check_execution_move(self.status, status)
        self.failing = False
        self.message = message
        self.ended_at = now
        self.deadline_at = None

    def _let_others_wait_anew(self, changed: Worker) -> None:
        self.touched |= wait_anew([one for one in self.workers.values() if one.passed_over and one is not changed])

    def _abort_those_in(self, statuses: Collection[WorkerStatus]) -> None:
        for worker in self._those_in(statuses):
            self._touch(worker.worker_id).move(WorkerStatus.ABORTED)

    def _those_in(self, statuses: Collection[WorkerStatus]) -> list[Worker]:
        return [self.workers[key] for key in sorted(self.workers) if self.workers[key].status in statuses]

    def _touch(self, worker_id: int) -> Worker:
        self.touched.add(worker_id)
        return self.workers[worker_id]
