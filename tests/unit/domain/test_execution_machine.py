"""Any sequence of whatever can happen to an execution: what must hold after each of them, and that all of them end."""

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.domain.consequence import Reckoning, of_callback
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import TaskPolicy
from tests.unit.domain.builders import NOW, answer
from tests.unit.domain.observer import AWAITING, PENDING, READY, Observed
from tests.unit.domain.strategies import answers, failures, picks, policies, worker_ids

LOST, GIVEN_BACK = "lost", "given back"
ABORT, RETRY, LOOK_AT_DEADLINE = "abort", "retry", "look at the deadline"


class ExecutionMachine(RuleBasedStateMachine):
    """Each rule does something whenever it can, so that a few steps lead far."""

    @initialize(policy=policies, ids=st.sets(worker_ids, min_size=1, max_size=3))
    def launch(self, policy: TaskPolicy, ids: set[int]) -> None:
        self.seen = Observed(policy, ids, NOW)
        self.execution = self.seen.execution

    @invariant()
    def what_holds_at_any_time(self) -> None:
        if hasattr(self, "seen"):
            self.seen.check()

    # What happens.

    @rule(most=st.integers(1, 10), shift=st.sampled_from([0, 0, 1, 3600]))
    def workers_are_claimed(self, most: int, shift: int) -> None:
        """When their time has come, which this does not wait for."""
        self._go_on(shift)
        for worker_id in self.seen.due()[:most]:
            self.seen.claim(worker_id)

    @rule(pick=picks, fields=answers, state_changed=st.booleans(), batches=st.sampled_from([0, 0, 1, 5]))
    def an_answer_comes(self, pick: int, fields: dict[str, Any], state_changed: bool, batches: int) -> None:
        claim = self._claim(pick)
        if claim is not None:
            self.seen.apply(claim, answer(**fields), state_changed=state_changed, batches=batches)

    @rule(pick=picks, how=failures | st.sampled_from([LOST, GIVEN_BACK]))
    def a_call_closes_no_step(self, pick: int, how: Unsuccessful | str) -> None:
        claim = self._claim(pick)
        if claim is None:
            return
        with self.seen.verb():
            if isinstance(how, Unsuccessful):
                self.execution.fail_call(claim[0], how, now=self.seen.now, reckoning=Reckoning(self.seen.now, -0.5))
            elif how is LOST:
                self.execution.lose_call(claim[0], "its node is gone", self.seen.now)
            else:
                self.execution.give_back(claim[0], self.seen.now)

    @precondition(lambda self: self.seen.in_status(AWAITING))
    @rule(pick=picks, comes=st.booleans(), succeeded=st.booleans(), resume=st.booleans())
    def a_wait_for_a_callback_ends(self, pick: int, comes: bool, succeeded: bool, resume: bool) -> None:
        ids = self.seen.in_status(AWAITING)
        worker_id = ids[pick % len(ids)]
        if comes:
            meaning = of_callback(succeeded=succeeded, resume=resume, now=self.seen.now)
            self.seen.call_back(worker_id, meaning)
        else:
            with self.seen.verb():
                self.execution.time_out_await(worker_id, self.seen.now)

    @precondition(lambda self: self.execution.undelivered)
    @rule(pick=picks, is_refused=st.booleans())
    def the_collector_answers(self, pick: int, is_refused: bool) -> None:
        owing = [worker for _, worker in sorted(self.execution.workers.items()) if worker.undelivered]
        worker = owing[pick % len(owing)]
        if is_refused and worker.refused is None:
            self.seen.refuse(worker.worker_id)
        elif worker.refused is not None and pick % 2:
            self.seen.clear(worker.worker_id)
        else:
            self.seen.deliver(worker.worker_id)

    @rule(what=st.sampled_from([ABORT, RETRY, LOOK_AT_DEADLINE]), pick=picks)
    def somebody_intervenes(self, what: str, pick: int) -> None:
        if what is RETRY:
            self.seen.retry()
        elif what is LOOK_AT_DEADLINE:
            with self.seen.verb():
                self.execution.expire(self.seen.now)
        elif self.execution.has_ended or pick % 3 == 0:
            self.seen.abort()

    def _go_on(self, shift: int) -> None:
        self.seen.now += timedelta(seconds=shift)
        if self.execution.status is PENDING:
            self.seen.start()

    def _claim(self, pick: int) -> tuple[int, int] | None:
        """A claim that holds, a new one if there is none and some worker is due; None if none ever will be."""
        claims = self.seen.live_claims()
        if not claims:
            if self.execution.has_ended:
                self.seen.retry()
            self._go_on(0)
            ready = [self.execution.workers[id_] for id_ in self.seen.in_status(READY)]
            self.seen.now = max([self.seen.now, *(worker.due_at for worker in ready if worker.due_at)])
            claims = [self.seen.claim(worker_id) for worker_id in self.seen.due()[: 1 + pick % 3]]
        return claims[pick % len(claims)] if claims else None

    # And how it ends.

    def teardown(self) -> None:
        """From wherever it stands, answers of `done` and a collector that accepts bring it to an end."""
        if not hasattr(self, "seen"):
            return
        for _ in range(60):
            self._go_on(7200)
            self._finish_what_can_be()
            self.seen.check()
            if self.execution.has_ended:
                return
        raise AssertionError(f"it does not end: {self.execution}")

    def _finish_what_can_be(self) -> None:
        for id_, worker in sorted(self.execution.workers.items()):
            while worker.undelivered:
                self.seen.deliver(id_)
            if worker.status is AWAITING:
                self.execution.time_out_await(id_, self.seen.now)
        for id_ in self.seen.due():
            self.seen.claim(id_)
        for claim in self.seen.live_claims():
            if self.execution.holds(*claim):
                self.seen.apply(claim, answer(is_done=True))


TestExecutionMachine = ExecutionMachine.TestCase
TestExecutionMachine.settings = settings(max_examples=60, stateful_step_count=40)
