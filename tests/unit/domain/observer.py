"""An execution under observation: every verb is checked as it happens, and what must hold at any time can be asked for.

The observer keeps its own books of claims and applied answers, and does not trust the execution's.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app_sdk.protocol.answer import Answer
from orchestrator.domain.consequence import CallAgain, Fail, Finish, Reckoning
from orchestrator.domain.errors import Conflict
from orchestrator.domain.execution import Execution
from orchestrator.domain.policy import TaskPolicy
from orchestrator.domain.states import EXECUTION_MOVES, WORKER_MOVES, ExecutionStatus, WorkerStatus
from orchestrator.domain.worker import Lease, Worker

READY, CALLING, DONE = WorkerStatus.READY, WorkerStatus.CALLING, WorkerStatus.DONE
AWAITING, WAITING = WorkerStatus.AWAITING, WorkerStatus.WAITING
FAILED, ABORTED = WorkerStatus.FAILED, WorkerStatus.ABORTED
PENDING, RUNNING = ExecutionStatus.PENDING, ExecutionStatus.RUNNING

Claim = tuple[int, int]
"""A worker's id and the token of its claim."""


def is_reachable(table: Any, from_: str, to: str) -> bool:
    """Within one verb a worker may be moved twice: its answer is applied, and then its execution fails."""
    return from_ == to or to in table[from_] or any(to in table[between] for between in table[from_])


class Observed:
    """`now` is the clock; `claims` are all that were ever made, oldest first."""

    def __init__(self, policy: TaskPolicy, ids: Iterable[int], now: datetime) -> None:
        self.execution = Execution(policy, {id_: Worker(id_) for id_ in sorted(ids)})
        self.now = now
        self.claims: list[Claim] = []
        self._fenced: set[Claim] = set()
        self._applied = dict.fromkeys(range(10), 0)
        self._claimed = dict.fromkeys(range(10), 0)
        self._done: set[int] = set()
        self._waiting: set[int] = set()
        self._refused: set[int] = set()

    def in_status(self, *statuses: WorkerStatus) -> list[int]:
        return [id_ for id_, worker in sorted(self.execution.workers.items()) if worker.status in statuses]

    def due(self) -> list[int]:
        workers = self.execution.workers
        return [id_ for id_ in sorted(workers) if self.execution.may_claim(id_, workers[id_].token, self.now)]

    def live_claims(self) -> list[Claim]:
        return [claim for claim in self.claims if self.execution.holds(*claim)]

    @contextmanager
    def verb(self, *, is_retry: bool = False) -> Iterator[None]:
        """What holds of every verb: its moves are in the tables, it says which workers it touched, an end is final."""
        execution = self.execution
        before, status, had_ended = deepcopy(execution.workers), execution.status, execution.has_ended
        facts = (execution.attempt, execution.message, execution.ended_at)
        execution.touched.clear()
        yield
        changed = {id_ for id_, worker in execution.workers.items() if before.get(id_) != worker}
        assert changed <= execution.touched
        assert is_reachable(EXECUTION_MOVES, status, execution.status)
        for id_, old in before.items():
            assert is_reachable(WORKER_MOVES, old.status, execution.workers[id_].status)
        if had_ended and not is_retry:
            assert (execution.status, facts) == (
                status,
                (execution.attempt, execution.message, execution.ended_at),
            )
            for id_, old in before.items():
                # Deliveries go on after the end, and nothing else does.
                new = execution.workers[id_]
                assert new == replace(old, undelivered=new.undelivered, refused=new.refused)

    def start(self) -> None:
        with self.verb():
            self.execution.start(self.now)

    def claim(self, worker_id: int) -> Claim:
        with self.verb():
            worker = self.execution.claim(worker_id, Lease("node", self.now, self.now + timedelta(seconds=30)))
        self._claimed[worker_id] += 1
        self.claims.append((worker_id, self._claimed[worker_id]))
        assert self.execution.holds(*self.claims[-1])
        assert worker.token == self._claimed[worker_id]
        return self.claims[-1]

    def apply(self, claim: Claim, answer: Answer, *, state_changed: bool = False, batches: int = 0) -> None:
        worker_id, _ = claim
        existing = set(self.execution.workers)
        with self.verb():
            closed = self.execution.close_step(
                worker_id,
                answer,
                state_changed=state_changed,
                batches=batches,
                now=self.now,
                reckoning=Reckoning(self.now, 0.5),
            )
        self._applied[worker_id] += 1
        assert not self.execution.holds(*claim), "an answer is applied once"
        asked = {new.worker_id for new in answer.new_workers}
        assert set(self.execution.workers) - existing <= closed.spawned <= asked
        self._done -= closed.spawned
        self._waiting -= closed.spawned
        if answer.is_error:
            return
        self._waiting.discard(worker_id)
        if answer.is_done and not self.execution.policy.is_async:
            self._done.add(worker_id)
        elif answer.wait_for_workers and not self.execution.policy.is_async:
            self._waiting.add(worker_id)

    def call_back(self, worker_id: int, meaning: CallAgain | Finish | Fail) -> None:
        with self.verb():
            self.execution.take_callback(worker_id, meaning, self.now)
        if isinstance(meaning, Finish):
            self._done.add(worker_id)

    def refuse(self, worker_id: int) -> None:
        calling = self.in_status(CALLING)
        with self.verb():
            self.execution.refuse_batch(worker_id, "the collector refused it", self.now)
        self._refused.add(worker_id)
        if worker_id in calling:
            assert worker_id in self.in_status(CALLING), "a call in flight is answered first"

    def clear(self, worker_id: int) -> None:
        with self.verb():
            self.execution.clear_refusal(worker_id)
        self._refused.discard(worker_id)

    def deliver(self, worker_id: int) -> None:
        with self.verb():
            self.execution.deliver(worker_id, self.now)
        self._refused.discard(worker_id)

    def abort(self) -> None:
        if self.execution.has_ended:
            with self.verb(), pytest.raises(Conflict):
                self.execution.abort(None, self.now)
            return
        with self.verb():
            self.execution.abort(None, self.now)
        assert self.execution.status is ExecutionStatus.ABORTED
        self._fenced |= set(self.claims)

    def retry(self) -> None:
        """Only what has failed or was aborted, with no batch refused, and exactly its unfinished workers."""
        execution, before = self.execution, deepcopy(self.execution.workers)
        may_be = execution.status in (ExecutionStatus.FAILED, ExecutionStatus.ABORTED)
        if not may_be or self._refused:
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
                assert new.status is self._resumed(id_)
                assert (new.retry_count, new.due_at) == (0, None)

    def _resumed(self, worker_id: int) -> WorkerStatus:
        if worker_id in self._done:
            return DONE
        return WAITING if worker_id in self._waiting else READY

    def check(self) -> None:
        """What holds at any time."""
        self._check_counters()
        self._check_times()
        self._check_end()
        if self.execution.status is RUNNING:
            self._check_not_stuck()

    def _check_counters(self) -> None:
        assert set(self.execution.workers) <= set(range(10))
        for id_, worker in self.execution.workers.items():
            assert (worker.step, worker.token) == (self._applied[id_], self._claimed[id_])
            assert worker.undelivered >= 0
        assert not any(self.execution.holds(*claim) for claim in self._fenced), "abort wins"

    def _check_times(self) -> None:
        execution = self.execution
        for worker in execution.workers.values():
            is_timed = worker.status is AWAITING or (worker.status is READY and execution.status is not PENDING)
            assert (worker.due_at is not None) is is_timed
            assert (worker.lease is not None) is (worker.status is CALLING)
        assert (execution.deadline_at is not None) is (execution.status is RUNNING and not execution.failing)
        assert (execution.ended_at is not None) is execution.has_ended

    def _check_end(self) -> None:
        execution = self.execution
        if execution.has_ended:
            assert (execution.failing, execution.open_workers, self.due()) == (False, 0, [])
        if execution.status is ExecutionStatus.SUCCEEDED:
            assert self.in_status(DONE) == sorted(execution.workers)
            assert execution.undelivered == 0
        if execution.status is ExecutionStatus.FAILED:
            assert execution.message

    def _check_not_stuck(self) -> None:
        assert self._refused <= set(self.in_status(CALLING, FAILED, ABORTED))
        if self.execution.failing:
            assert self.in_status(CALLING)
            assert not self.in_status(READY, AWAITING, WAITING)
        elif not self.in_status(READY, CALLING, AWAITING):
            assert self.in_status(DONE) == sorted(self.execution.workers)
            assert self.execution.undelivered > 0
