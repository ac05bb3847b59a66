"""One execution in virtual time: claims, applications, deliveries and timers.

Nothing here decides what an answer means, who is called next or when; that is `orchestrator.domain`. This
module does what a server's transactions do around it, on plain objects, one call after the other.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from app_sdk.context import DEFAULT_TIMEOUT_SECS
from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH, loads
from app_sdk.testing.books import Books
from app_sdk.testing.clock import VirtualClock
from app_sdk.testing.payloads import payload_body
from app_sdk.testing.prepared import Prepared, prepared
from app_sdk.testing.records import Attempt, Call, made
from app_sdk.testing.scenario import Launch
from orchestrator.domain.classify import Unanswered
from orchestrator.domain.consequence import Reckoning, of_callback
from orchestrator.domain.execution import Execution
from orchestrator.domain.fairness import UNANSWERED_LIMIT, room
from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.domain.policy import task_policy
from orchestrator.domain.rate import Rate
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Lease, Worker

_TIMEOUT = timedelta(seconds=DEFAULT_TIMEOUT_SECS)
_LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Claim:
    """A call to be made: what a test may see of it, its body, and what fences its answer."""

    attempt: Attempt
    body: bytes
    token: int
    worker_state: str


@dataclass(slots=True)
class Simulation:
    """`lose` counts, for each (worker id, step), the answers still to be lost."""

    launch: Launch
    clock: VirtualClock
    lose: Counter[tuple[int, int]]
    execution: Execution = field(init=False)
    books: Books = field(init=False)
    calls: list[Call] = field(default_factory=list)
    app_stopped: str | None = None
    launched_at: datetime = field(init=False)
    _rate: Rate | None = field(init=False)
    _claimed: deque[Claim] = field(default_factory=deque)
    _unanswered: int = 0
    _callbacks: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        launch = self.launch
        workers = {worker_id: Worker(worker_id) for worker_id in sorted(launch.states)}
        self.execution = Execution(task_policy(launch.task, RetryPolicy()), workers)
        self.books = Books(dict(launch.states), launch.app_state, launch.limits)
        limit = launch.manifest.rate_limit
        self._rate = None if limit is None else Rate(limit.calls, timedelta(seconds=limit.per_secs))
        self.launched_at = self.clock.now
        self.execution.start(self.clock.now)

    def next_claim(self, until: datetime | None = None) -> Claim | None:
        """What is called next, time passing until it is due; what is due at one instant is claimed together.

        None where nothing is due by `until`, or, without it, where only a callback could go on.
        """
        while not self._claimed:
            due = self._first_due()
            if due is None and until is None:
                return None
            instants = [at for at in (due, *self._timers()) if at is not None]
            if not instants or (until is not None and min(instants) > until):
                return None
            self.clock.advance_to(min(instants))
            self._fire_timers()
            self._claim_due()
        return self._claimed.popleft()

    def close(self, claim: Claim, outcome: Response | NoResponse, took: timedelta) -> Call:
        """Apply what came back, if the claim still holds, and note the call."""
        if took >= _TIMEOUT:
            message = f"no complete answer within {DEFAULT_TIMEOUT_SECS:g} s"
            outcome = NoResponse(FailureKind.TIMEOUT, message, sent=True)
        attempt = claim.attempt
        if not self.execution.holds(attempt.worker_id, claim.token):
            message = "the execution had ended before the answer came"
            return self._note(made(attempt, outcome, "fenced", message))
        if self.lose[attempt.worker_id, attempt.step] > 0:
            return self._lose(claim, outcome)
        state, app_state = claim.worker_state, self.books.app_state
        meaning = prepared(outcome, attempt.worker_id, state, app_state, self.launch.limits)
        self._count_silence(meaning)
        match meaning:
            case Prepared():
                return self._close_step(claim, outcome, meaning)
            case Unanswered():
                return self._fail_call(claim, outcome, meaning)
            case _:
                assert_never(meaning)

    def call_back(self, worker_id: int, callback: dict[str, Any]) -> None:
        """Let a third party call back; raises ValueError if the worker does not wait for it."""
        worker = self.execution.workers.get(worker_id)
        if worker is None or worker.status is not WorkerStatus.AWAITING:
            found = "there is none" if worker is None else f"it is {worker.status}"
            raise ValueError(f"worker {worker_id} awaits no callback: {found}")
        succeeded = callback["status"] == "SUCCESS"
        subtext = callback.get("subtext")
        self._callbacks[worker_id] = callback
        self.books.merge_output(worker_id, callback["output"])
        self.books.logs.extend(callback["logs"])
        self.books.subtext = self.books.subtext if subtext is None else subtext
        meaning = of_callback(succeeded=succeeded, resume=worker.resumes, now=self.clock.now, reason=subtext)
        self.execution.take_callback(worker_id, meaning, self.clock.now)

    def abort(self, message: str | None) -> None:
        """Abort the execution; a claimed call is still made, and its answer fenced."""
        self.execution.abort(message, self.clock.now)

    def retry(self) -> None:
        """Begin a new attempt; the app, if it was stopped, is active again."""
        self.execution.retry()
        self.app_stopped = None
        self._claimed.clear()
        self.execution.start(self.clock.now)

    def workers_in(self, *statuses: WorkerStatus) -> list[Worker]:
        """The workers of these statuses, the lowest id first."""
        workers = self.execution.workers
        return [workers[worker_id] for worker_id in sorted(workers) if workers[worker_id].status in statuses]

    def _first_due(self) -> datetime | None:
        if self.execution.has_ended or self.execution.failing or self.app_stopped is not None:
            return None
        ready = self.workers_in(WorkerStatus.READY)
        due = [worker.due_at for worker in ready if worker.due_at is not None and not worker.is_held]
        if not due:
            return None
        first = max(min(due), self.clock.now)
        return first if self._rate is None else first + self._rate.wait(first)

    def _timers(self) -> Iterable[datetime | None]:
        waits = [worker.due_at for worker in self.workers_in(WorkerStatus.AWAITING)]
        return (self.execution.deadline_at, *waits)

    def _fire_timers(self) -> None:
        now = self.clock.now
        for worker in self.workers_in(WorkerStatus.AWAITING):
            # An earlier one may have ended the execution, and this worker with it.
            if worker.status is WorkerStatus.AWAITING and worker.due_at is not None and worker.due_at <= now:
                self.execution.time_out_await(worker.worker_id, now)
        self.execution.expire(now)

    def _claim_due(self) -> None:
        now = self.clock.now
        places = room(self.launch.manifest.max_concurrent_calls, 0, self._unanswered)
        if self._rate is not None:
            places = min(places, self._rate.left(now))
        due = [
            worker
            for worker in self.workers_in(WorkerStatus.READY)
            if self.app_stopped is None and self.execution.may_claim(worker.worker_id, worker.token, now)
        ]
        due.sort(key=lambda worker: worker.due_at or now)
        taken = due[:places]
        for worker in taken:
            self.execution.claim(worker.worker_id, Lease("test", since=now, until=now + _LEASE))
        if self._rate is not None and taken:
            self._rate = Rate(self._rate.calls, self._rate.per, self._rate.spend(len(taken), now))
        self._claimed.extend(self._claim_of(worker) for worker in taken)

    def _claim_of(self, worker: Worker) -> Claim:
        workers = self.execution.workers
        callback = self._callbacks[worker.worker_id] if worker.called_back else None
        body = payload_body(self.launch, self.launched_at, workers, worker, self.books, callback)
        payload = loads(body, max_depth=MAX_DEPTH + ENVELOPE_DEPTH)
        assert isinstance(payload, dict)
        attempt = Attempt(
            worker_id=worker.worker_id,
            step=worker.step,
            retry_count=worker.retry_count,
            key=f"{self.launch.execution_id}:{worker.worker_id}:{worker.step}",
            at=self.clock.now - self.launched_at,
            payload=payload,
        )
        return Claim(attempt, body, worker.token, self.books.states[worker.worker_id])

    def _close_step(self, claim: Claim, outcome: Response | NoResponse, ready: Prepared) -> Call:
        answer, worker_id, now = ready.answer, claim.attempt.worker_id, self.clock.now
        closed = self.execution.close_step(
            worker_id,
            answer,
            state_changed=ready.state is not None,
            batches=len(ready.batches),
            now=now,
            reckoning=Reckoning(now),
        )
        self.books.close_step(worker_id, ready, closed.spawned)
        self.books.collect(self.launch.execution_id, worker_id, claim.attempt.step, ready)
        for _ in ready.batches:
            self.execution.deliver(worker_id, now)
        call = made(claim.attempt, outcome, "applied", answer.message)
        effects = (answer.items_to_import, answer.app_state_mutations, answer.progress, closed.spawned)
        changed = ready.state is not None or any(effects)
        return self._note(replace(call, notes=closed.notes, changed_something=changed))

    def _fail_call(self, claim: Claim, outcome: Response | NoResponse, meaning: Unanswered) -> Call:
        worker_id, message = claim.attempt.worker_id, meaning.call.message
        self.execution.fail_call(worker_id, meaning.call, now=self.clock.now, reckoning=Reckoning(self.clock.now))
        self.books.tell(worker_id, message)
        if meaning.stops_app:
            self.app_stopped = f"the app answered 410 to {self.launch.execution_id}: {message}"
        return self._note(made(claim.attempt, outcome, "failed", message, meaning.kind))

    def _lose(self, claim: Claim, outcome: Response | NoResponse) -> Call:
        worker_id, message = claim.attempt.worker_id, "the server stopped during the call"
        self.lose[worker_id, claim.attempt.step] -= 1
        self.execution.lose_call(worker_id, message, self.clock.now)
        return self._note(made(claim.attempt, outcome, "lost", message, FailureKind.LOST))

    def _count_silence(self, meaning: Prepared | Unanswered) -> None:
        silent = isinstance(meaning, Unanswered) and not meaning.call.is_answered
        self._unanswered = min(self._unanswered + 1, UNANSWERED_LIMIT) if silent else 0

    def _note(self, call: Call) -> Call:
        self.calls.append(call)
        return call
