"""A callback for a worker that awaits one."""

from datetime import timedelta

import pytest

from orchestrator.domain.consequence import CallAgain, Fail, Finish, of_callback
from orchestrator.domain.errors import IllegalMove
from orchestrator.domain.execution import Execution
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from tests.unit.domain.builders import CONTINUE, NOW, claim, fail, running, statuses, step

LATER = NOW + timedelta(minutes=5)
AWAITING, READY = WorkerStatus.AWAITING, WorkerStatus.READY
DONE, FAILED, ABORTED = WorkerStatus.DONE, WorkerStatus.FAILED, WorkerStatus.ABORTED


def awaiting(*ids: int) -> Execution:
    execution = running(*ids, policy=CONTINUE)
    step(execution, await_callback={"timeout_in_secs": 3600})
    assert execution.workers[0].status is AWAITING
    execution.touched.clear()
    return execution


@pytest.mark.parametrize(
    ("succeeded", "resume", "meaning"),
    [
        (True, False, Finish()),
        (True, True, CallAgain(LATER)),
        (False, False, Fail("the callback reported a failure")),
        (False, True, Fail("the callback reported a failure")),
    ],
)
def test_what_a_callback_means(succeeded: bool, resume: bool, meaning: object) -> None:
    assert of_callback(succeeded=succeeded, resume=resume, now=LATER) == meaning


def test_a_failure_is_told_with_its_reason() -> None:
    meaning = of_callback(succeeded=False, resume=True, now=LATER, reason="no disk left")
    assert meaning == Fail("the callback reported a failure: no disk left")


def test_a_callback_ends_the_worker_and_with_the_last_one_the_execution() -> None:
    execution = awaiting()
    execution.take_callback(0, Finish(), LATER)
    assert (execution.status, execution.ended_at) == (ExecutionStatus.SUCCEEDED, LATER)
    assert (execution.workers[0].finished, execution.touched) == (True, {0})


def test_a_callback_that_resumes_makes_the_worker_due() -> None:
    execution = awaiting()
    execution.take_callback(0, CallAgain(LATER), LATER)
    assert (statuses(execution), execution.workers[0].due_at) == ({0: READY}, LATER)
    assert not execution.workers[0].finished
    assert execution.workers[0].step == 1


def test_a_callback_that_tells_a_failure_fails_the_worker() -> None:
    execution = awaiting(0, 1)
    execution.take_callback(0, Fail("the callback reported a failure"), LATER)
    assert statuses(execution) == {0: FAILED, 1: READY}
    assert execution.message == "worker 0: the callback reported a failure"


def test_a_callback_lets_a_worker_go_on_that_waits_for_the_others() -> None:
    execution = awaiting(0, 1)
    step(execution, 1, wait_for_workers=True)
    execution.take_callback(0, Finish(), LATER)
    assert (statuses(execution), execution.workers[1].is_released) == ({0: DONE, 1: READY}, True)


def test_a_worker_that_was_called_back_is_not_called_by_a_retry() -> None:
    execution = awaiting(0, 1)
    execution.take_callback(0, Finish(), LATER)
    claim(execution, 1)
    fail(execution, 1, now=LATER)
    execution.retry()
    execution.start(LATER)
    assert statuses(execution) == {0: DONE, 1: READY}


def test_a_callback_for_a_worker_that_awaits_none_is_a_fault() -> None:
    execution = running()
    with pytest.raises(IllegalMove):
        execution.take_callback(0, Finish(), NOW)
