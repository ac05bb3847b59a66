"""Any sequence of whatever can happen to an execution: what must hold after each of them, and how all of them end."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.domain.consequence import of_callback
from orchestrator.domain.errors import Conflict
from orchestrator.domain.execution import Execution
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import TaskPolicy
from orchestrator.domain.states import EXECUTION_MOVES, WORKER_MOVES, ExecutionStatus, WorkerStatus
from orchestrator.domain.worker import Lease, Worker
from tests.unit.domain.builders import NOW, answer
from tests.unit.domain.strategies import answers, failures, picks, policies, worker_ids

READY, CALLING, DONE = WorkerStatus.READY, WorkerStatus.CALLING, WorkerStatus.DONE
AWAITING, WAITING = WorkerStatus.AWAITING, WorkerStatus.WAITING
FAILED, ABORTED = WorkerStatus.FAILED, WorkerStatus.ABORTED
PENDING, RUNNING = ExecutionStatus.PENDING, ExecutionStatus.RUNNING


def is_reachable(table: Any, from_: str, to: str) -> bool:
    """Within one verb a worker may be moved twice: its answer is applied, and then its execution fails."""
    return from_ == to or to in table[from_] or any(to in table[between] for between in table[from_])


class ExecutionMachine(RuleBasedStateMachine):
    """One execution, its clock, and the book-keeping of an observer who does not look inside."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.claims: list[tuple[int, int]] = []
        self.fenced: set[tuple[int, int]] = set()
        self.applied = dict.fromkeys(range(10), 0)
        self.claimed = dict.fromkeys(range(10), 0)

    @initialize(policy=policies, ids=st.sets(worker_ids, min_size=1), is_started=st.booleans())
    def launch(self, policy: TaskPolicy, ids: set[int], is_started: bool) -> None:
        self.execution = Execution(policy, {id_: Worker(id_) for id_ in sorted(ids)})
        if is_started:
            self.execution.start(self.now)

    @contextmanager
    def verb(self, *, is_retry: bool = False) -> Iterator[None]:
        """What holds of every single verb: its moves are in the tables, and it says which workers it has touched."""
        execution = self.execution
        before, status = deepcopy(execution.workers), execution.status
        facts = (execution.attempt, execution.message, execution.ended_at, execution.failing)
        had_ended = execution.has_ended
        execution.touched.clear()
        yield
        changed = {id_ for id_, worker in execution.workers.items() if before.get(id_) != worker}
        assert changed <= execution.touched
        assert is_reachable(EXECUTION_MOVES, status, execution.status)
        for id_, old in before.items():
            new = execution.workers[id_]
            assert is_reachable(WORKER_MOVES, old.status, new.status)
            assert new.token >= old.token
            assert new.step >= old.step
            # Deliveries go on after the end, and nothing else does.
            if had_ended and not is_retry:
                assert new == replace(old, undelivered=new.undelivered, refused=new.refused)
        if had_ended and not is_retry:
            now = (execution.attempt, execution.message, execution.ended_at, execution.failing)
            assert (status, facts) == (execution.status, now)

    def some(self, pick: int, *statuses: WorkerStatus) -> int | None:
        ids = [id_ for id_, worker in sorted(self.execution.workers.items()) if worker.status in statuses]
        return ids[pick % len(ids)] if ids else None

    def due(self) -> list[int]:
        workers = self.execution.workers
        return [id_ for id_ in sorted(workers) if self.execution.may_claim(id_, workers[id_].token, self.now)]

    # What happens.

    @rule(after=st.sampled_from([timedelta(milliseconds=100), timedelta(seconds=10), timedelta(hours=2)]))
    def time_passes(self, after: timedelta) -> None:
        self.now += after

    @precondition(lambda self: self.execution.status is PENDING)
    @rule()
    def start(self) -> None:
        with self.verb():
            self.execution.start(self.now)

    @precondition(lambda self: self.due())
    @rule(pick=picks)
    def claim(self, pick: int) -> None:
        due = self.due()
        worker_id = due[pick % len(due)]
        with self.verb():
            worker = self.execution.claim(worker_id, Lease("node", self.now, self.now + timedelta(seconds=30)))
        self.claimed[worker_id] += 1
        assert worker.token == self.claimed[worker_id]
        self.claims.append((worker_id, worker.token))

    @precondition(lambda self: self.claims)
    @rule(pick=picks, fields=answers, state_changed=st.booleans(), batches=st.integers(0, 3))
    def an_answer_comes(self, pick: int, fields: dict[str, Any], state_changed: bool, batches: int) -> None:
        worker_id, token = self.claims[pick % len(self.claims)]
        if not self.execution.holds(worker_id, token):
            return
        given, existing = answer(**fields), set(self.execution.workers)
        with self.verb():
            closed = self.execution.close_step(
                worker_id, given, state_changed=state_changed, batches=batches, now=self.now, jitter=0.5
            )
        self.applied[worker_id] += 1
        assert not self.execution.holds(worker_id, token), "an answer is applied once"
        assert set(self.execution.workers) - existing <= closed.spawned <= {new.worker_id for new in given.new_workers}

    @precondition(lambda self: self.claims)
    @rule(pick=picks, call=failures)
    def a_call_fails(self, pick: int, call: Unsuccessful) -> None:
        worker_id, token = self.claims[pick % len(self.claims)]
        if self.execution.holds(worker_id, token):
            with self.verb():
                self.execution.fail_call(worker_id, call, now=self.now, jitter=-0.5)

    @precondition(lambda self: self.some(0, CALLING) is not None)
    @rule(pick=picks, is_lost=st.booleans())
    def a_call_is_lost_or_given_back(self, pick: int, is_lost: bool) -> None:
        worker_id = self.some(pick, CALLING)
        assert worker_id is not None
        with self.verb():
            if is_lost:
                self.execution.lose_call(worker_id, "its node is gone", self.now)
            else:
                self.execution.give_back(worker_id, self.now)

    @precondition(lambda self: self.some(0, AWAITING) is not None)
    @rule(pick=picks)
    def no_callback_comes(self, pick: int) -> None:
        worker_id = self.some(pick, AWAITING)
        assert worker_id is not None
        with self.verb():
            self.execution.time_out_await(worker_id, self.now)

    @precondition(lambda self: self.some(0, AWAITING) is not None)
    @rule(pick=picks, succeeded=st.booleans(), resume=st.booleans())
    def a_callback_comes(self, pick: int, succeeded: bool, resume: bool) -> None:
        worker_id = self.some(pick, AWAITING)
        assert worker_id is not None
        meaning = of_callback(succeeded=succeeded, resume=resume, now=self.now)
        with self.verb():
            self.execution.take_callback(worker_id, meaning, self.now)

    @rule()
    def the_deadline_is_looked_at(self) -> None:
        with self.verb():
            self.execution.expire(self.now)

    @precondition(lambda self: self.execution.undelivered)
    @rule(pick=picks, is_refused=st.booleans())
    def the_collector_answers(self, pick: int, is_refused: bool) -> None:
        owing = [id_ for id_, worker in sorted(self.execution.workers.items()) if worker.undelivered]
        worker_id = owing[pick % len(owing)]
        with self.verb():
            if is_refused and self.execution.workers[worker_id].refused is None:
                self.execution.refuse_batch(worker_id, "the collector refused it", self.now)
            else:
                self.execution.deliver(worker_id, self.now)

    @precondition(lambda self: any(worker.refused for worker in self.execution.workers.values()))
    @rule()
    def refused_batches_are_sent_again(self) -> None:
        with self.verb():
            for worker in self.execution.workers.values():
                if worker.refused is not None:
                    self.execution.clear_refusal(worker.worker_id)

    @precondition(lambda self: not self.execution.has_ended)
    @rule()
    def somebody_aborts(self) -> None:
        with self.verb():
            self.execution.abort(None, self.now)
        self.fenced |= set(self.claims)
        assert self.execution.status is ExecutionStatus.ABORTED

    @precondition(lambda self: self.execution.has_ended)
    @rule()
    def somebody_aborts_too_late(self) -> None:
        with self.verb(), pytest.raises(Conflict):
            self.execution.abort(None, self.now)

    @precondition(lambda self: self.execution.has_ended)
    @rule()
    def somebody_retries(self) -> None:
        execution, before = self.execution, deepcopy(self.execution.workers)
        refused = any(worker.refused for worker in before.values())
        if execution.status is ExecutionStatus.SUCCEEDED or refused:
            with self.verb(), pytest.raises(Conflict):
                execution.retry()
            return
        attempt = execution.attempt
        with self.verb(is_retry=True):
            execution.retry()
        assert (execution.status, execution.attempt) == (PENDING, attempt + 1)
        for id_, old in before.items():
            new = execution.workers[id_]
            assert (new.step, new.token, new.undelivered) == (old.step, old.token, old.undelivered)
            if old.status is DONE:
                assert new == old
            else:
                assert new.status is (DONE if old.finished else READY)
                assert (new.retry_count, new.due_at) == (0, None)

    # What holds at any time.

    @invariant()
    def counters_are_what_was_seen(self) -> None:
        assert set(self.execution.workers) <= set(range(10))
        for id_, worker in self.execution.workers.items():
            assert (worker.step, worker.token) == (self.applied[id_], self.claimed[id_])
            assert worker.undelivered >= 0

    @invariant()
    def abort_wins(self) -> None:
        assert not any(self.execution.holds(*claim) for claim in self.fenced)

    @invariant()
    def times_and_leases_fit_the_status(self) -> None:
        for worker in self.execution.workers.values():
            assert (worker.lease is not None) is (worker.status is CALLING)
            is_timed = worker.status is AWAITING or (worker.status is READY and self.execution.status is not PENDING)
            assert (worker.due_at is not None) is is_timed
        is_running = self.execution.status is RUNNING and not self.execution.failing
        assert (self.execution.deadline_at is not None) is is_running
        assert (self.execution.ended_at is not None) is self.execution.has_ended

    @invariant()
    def what_runs_is_never_stuck(self) -> None:
        execution = self.execution
        if execution.status is not RUNNING:
            return
        seen = {worker.status for worker in execution.workers.values()}
        if execution.failing:
            assert CALLING in seen
            assert not seen & {READY, AWAITING, WAITING}
        else:
            assert seen & {READY, CALLING, AWAITING} or (seen == {DONE} and execution.undelivered > 0)

    @invariant()
    def an_end_is_an_end(self) -> None:
        execution = self.execution
        seen = {worker.status for worker in execution.workers.values()}
        assert not execution.failing or execution.status is RUNNING
        if execution.has_ended:
            assert seen <= {DONE, FAILED, ABORTED}
            assert execution.open_workers == 0
            assert not self.due()
        if execution.status is ExecutionStatus.SUCCEEDED:
            assert (seen, execution.undelivered) == ({DONE}, 0)
        if execution.status is ExecutionStatus.FAILED:
            assert execution.message

    # And how it ends.

    def teardown(self) -> None:
        """From wherever it stands, answers of `done` and a collector that accepts bring it to an end."""
        if not hasattr(self, "execution"):
            return
        if self.execution.status is PENDING:
            self.start()
        for _ in range(60):
            if self.execution.has_ended:
                return
            self.now += timedelta(hours=2)
            self.finish_what_can_be()
        raise AssertionError(f"it does not end: {self.execution}")

    def finish_what_can_be(self) -> None:
        execution = self.execution
        for id_, worker in sorted(execution.workers.items()):
            while worker.undelivered:
                execution.deliver(id_, self.now)
            if worker.status is AWAITING and not execution.has_ended:
                execution.time_out_await(id_, self.now)
        for id_ in self.due():
            execution.claim(id_, Lease("node", self.now, self.now))
        for id_, worker in sorted(execution.workers.items()):
            if execution.holds(id_, worker.token):
                given = answer(is_done=True)
                execution.close_step(id_, given, state_changed=False, batches=0, now=self.now, jitter=0.0)


TestExecutionMachine = ExecutionMachine.TestCase
TestExecutionMachine.settings = settings(max_examples=60, stateful_step_count=40)
