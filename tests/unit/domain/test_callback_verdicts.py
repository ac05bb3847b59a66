"""Which await a callback is meant for, and what becomes of it: early, in time, twice, contradicting, late, too late."""

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.callback import Fate, Known, Verdict, judge, step_meant
from orchestrator.domain.consequence import CallAgain, Finish
from orchestrator.domain.errors import Conflict, Gone, NotFound
from orchestrator.domain.execution import Execution
from orchestrator.domain.policy import TaskPolicy
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from tests.unit.domain.builders import BAD_REQUEST, CONTINUE, NOW, claim, fail, pending, reply, running, statuses, step

AWAIT: dict[str, Any] = {"await_callback": {"timeout_in_secs": 60}}
RESUMING: dict[str, Any] = {"await_callback": {"timeout_in_secs": 60, "resume": True}}
IN_TIME, TOO_LATE = NOW + timedelta(seconds=59), NOW + timedelta(seconds=60)


def verdict(execution: Execution, step: int | None = None, known: Known | None = None, now: Any = IN_TIME) -> Verdict:
    worker = execution.workers[0]
    return judge(worker, step_meant(worker, step), known, "digest", now)


def parked(answer: Any = AWAIT, policy: TaskPolicy = CONTINUE) -> Execution:
    execution = running(policy=policy)
    step(execution, **answer)
    return execution


def test_an_open_await_is_meant_with_its_step_and_without() -> None:
    execution = parked()
    assert (execution.workers[0].awaited, execution.workers[0].step) == (0, 1)
    assert verdict(execution) is verdict(execution, 0) is Verdict.APPLY


def test_the_step_after_an_open_await_awaits_nothing_yet() -> None:
    execution = parked()
    with pytest.raises(Conflict, match="awaits no callback for its step 1: it is awaiting"):
        verdict(execution, 1)
    with pytest.raises(NotFound, match="worker 0 has had no step 2 yet"):
        verdict(execution, 2)
    with pytest.raises(NotFound):
        verdict(execution, -1)


def test_before_the_first_await_the_call_in_flight_is_meant() -> None:
    execution = running()
    step(execution)
    claim(execution)
    assert step_meant(execution.workers[0], None) == 1
    assert verdict(execution) is verdict(execution, 1) is Verdict.KEEP
    with pytest.raises(Conflict, match="awaits no callback for its step 0"):
        verdict(execution, 0)


def test_a_worker_that_was_never_called_has_told_nobody_where_to_call_back() -> None:
    for execution in (pending(), running()):
        with pytest.raises(Conflict):
            verdict(execution)


@pytest.mark.parametrize("was", ["failed", "lost", "given back", "aborted", "retried"])
def test_a_step_that_will_be_called_again_may_still_park(was: str) -> None:
    execution = running()
    claim(execution)
    if was == "lost":
        execution.lose_call(0, "its node is gone", NOW)
    elif was == "given back":
        execution.give_back(0, NOW)
    elif was == "aborted":
        execution.abort(None, NOW)
    else:
        fail(execution, call=BAD_REQUEST)
        if was == "retried":
            execution.retry()
    assert verdict(execution) is Verdict.KEEP


def test_after_an_await_a_callback_without_a_step_is_a_repeat_of_that_one() -> None:
    execution = parked(RESUMING)
    execution.take_callback(0, CallAgain(NOW), NOW)
    claim(execution)
    assert step_meant(execution.workers[0], None) == 0
    assert verdict(execution, None, Known(Fate.APPLIED, "digest")) is Verdict.REPEATED
    with pytest.raises(Conflict, match=r"another callback came before, for step 0 of worker 0; it was applied"):
        verdict(execution, None, Known(Fate.APPLIED, "other"))
    assert verdict(execution, 1) is Verdict.KEEP, "named by its step, it is an early one"


@pytest.mark.parametrize("fate", [Fate.KEPT, Fate.UNUSED, Fate.APPLIED])
def test_the_same_again_changes_nothing_whatever_has_become_of_it(fate: Fate) -> None:
    execution = running()
    claim(execution)
    assert verdict(execution, 0, Known(fate, "digest")) is Verdict.REPEATED
    with pytest.raises(Conflict):
        verdict(execution, 0, Known(fate, "other"))


def test_at_the_timeout_it_is_too_late() -> None:
    execution = parked()
    assert verdict(execution, now=TOO_LATE) is Verdict.TIME_OUT
    execution.time_out_await(0, TOO_LATE)
    assert execution.message == "worker 0: no callback came before the timeout of the wait"
    with pytest.raises(Gone, match="too late: worker 0 awaited none for its step 0 any more"):
        verdict(execution, known=Known(Fate.TIMED_OUT, None))


def test_an_await_that_ended_otherwise_is_open_no_more() -> None:
    aborted = parked()
    aborted.abort(None, NOW)
    failing = running(0, 1)
    step(failing, **AWAIT)
    claim(failing, 1)
    fail(failing, 1)
    for execution in (aborted, failing):
        assert execution.workers[0].status is WorkerStatus.ABORTED
        with pytest.raises(Conflict, match="it is aborted"):
            verdict(execution)


def test_a_worker_that_is_done_awaits_nothing() -> None:
    execution = running()
    step(execution, is_done=True)
    for named in (None, 0, 1):
        with pytest.raises(Conflict, match="it is done"):
            verdict(execution, named)


def test_an_early_callback_is_taken_as_soon_as_the_worker_is_parked() -> None:
    execution = running()
    claim(execution)
    execution.keep_callback(0)
    assert reply(execution, **AWAIT).had_early_callback
    execution.take_callback(0, Finish(), NOW)
    assert (execution.status, execution.workers[0].has_early_callback) == (ExecutionStatus.SUCCEEDED, False)


def test_an_early_callback_outlives_calls_that_close_no_step() -> None:
    execution = running()
    claim(execution)
    execution.keep_callback(0)
    execution.lose_call(0, "its node is gone", NOW)
    claim(execution)
    fail(execution)
    execution.retry()
    execution.start(NOW)
    assert step(execution, **AWAIT).had_early_callback


def test_an_early_callback_counts_for_its_own_step_only() -> None:
    execution = running()
    claim(execution)
    execution.keep_callback(0)
    assert reply(execution).had_early_callback
    assert not step(execution, **AWAIT).had_early_callback


def test_in_a_failing_execution_the_answer_does_not_park() -> None:
    execution = running(0, 1)
    claim(execution)
    claim(execution, 1)
    execution.keep_callback(0)
    fail(execution, 1)
    assert verdict(execution, 0, Known(Fate.KEPT, "digest")) is Verdict.REPEATED
    assert reply(execution, **AWAIT).had_early_callback
    assert (execution.workers[0].status, execution.workers[0].awaited) == (WorkerStatus.ABORTED, None)
    assert execution.status is ExecutionStatus.FAILED


def test_what_it_was_called_back_with_goes_along_until_a_step_closes_without_an_error() -> None:
    execution = parked(RESUMING)
    worker = execution.workers[0]
    assert worker.resumes
    execution.take_callback(0, CallAgain(NOW), NOW)
    claim(execution)
    execution.lose_call(0, "its node is gone", NOW)
    assert worker.called_back
    step(execution, is_error=True, delay_next_request_in_secs=0)
    assert worker.called_back, "what follows an error is another try of the same turn"
    step(execution)
    assert (worker.called_back, worker.awaited) == (False, 0)


def test_a_retry_goes_along_with_a_callback_that_was_not_told_yet() -> None:
    execution = parked(RESUMING)
    execution.take_callback(0, CallAgain(NOW), NOW)
    execution.abort(None, NOW)
    execution.retry()
    assert (execution.workers[0].called_back, statuses(execution)) == (True, {0: WorkerStatus.READY})


def test_an_async_task_awaits_without_asking_to_be_called_again() -> None:
    execution = parked({"is_done": True}, TaskPolicy(is_async=True))
    assert (statuses(execution), execution.workers[0].resumes) == ({0: WorkerStatus.AWAITING}, False)
    assert verdict(execution) is Verdict.APPLY


def test_a_long_await_is_no_idle_step() -> None:
    execution = parked(RESUMING)
    execution.workers[0].idle_steps = 5
    execution.take_callback(0, CallAgain(NOW), NOW)
    assert execution.workers[0].idle_steps == 0
