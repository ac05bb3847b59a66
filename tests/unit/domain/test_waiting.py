"""wait_for_workers: who is called when, with what, and what is a deadlock."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.execution import Execution
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from orchestrator.domain.waiting import next_released
from orchestrator.domain.worker import Worker
from tests.unit.domain.builders import CONTINUE, NOW, claim, fail, reply, running, spawning, statuses, step

READY, DONE, WAITING = WorkerStatus.READY, WorkerStatus.DONE, WorkerStatus.WAITING
FAILED, ABORTED = WorkerStatus.FAILED, WorkerStatus.ABORTED
DEADLOCKED = "deadlocked: only workers that wait for the others are left"


def waits(execution: Execution, worker_id: int = 0, **fields: Any) -> None:
    step(execution, worker_id, wait_for_workers=True, **fields)


def is_released(execution: Execution, worker_id: int = 0) -> bool:
    worker = execution.workers[worker_id]
    return worker.status is READY and worker.is_released and execution.may_claim(worker_id, worker.token, NOW)


# Whose turn it is.


def test_a_worker_is_called_again_when_every_other_is_done() -> None:
    execution = running()
    waits(execution, new_workers=spawning(1, 2))
    step(execution, 1, is_done=True)
    assert statuses(execution) == {0: WAITING, 1: DONE, 2: READY}
    execution.touched.clear()
    step(execution, 2, is_done=True)
    assert is_released(execution)
    assert execution.touched == {0, 2}
    step(execution, is_done=True)
    assert execution.status is ExecutionStatus.SUCCEEDED


def test_a_worker_that_waits_when_all_others_are_done_is_called_at_once() -> None:
    execution = running()
    waits(execution)
    assert is_released(execution)


@pytest.mark.parametrize("fields", [{"await_callback": {}}, {"delay_next_request_in_secs": 3600}])
def test_parked_and_delayed_workers_are_waited_for(fields: dict[str, Any]) -> None:
    execution = running(0, 1)
    step(execution, 1, **fields)
    waits(execution)
    assert statuses(execution)[0] is WAITING


def test_of_several_that_wait_the_lowest_id_is_first() -> None:
    execution = running(1, 2, 3)
    for worker_id in (3, 1, 2):
        waits(execution, worker_id)
    assert [is_released(execution, worker_id) for worker_id in (1, 2, 3)] == [True, False, False]


def test_a_failed_worker_is_not_waited_for() -> None:
    execution = running(0, 1, policy=CONTINUE)
    waits(execution)
    claim(execution, 1)
    fail(execution, 1)
    assert is_released(execution)


def test_one_that_waits_again_is_passed_over_until_another_closes_a_step() -> None:
    execution = running(0, 1)
    waits(execution)
    waits(execution, 1)
    waits(execution)
    assert (statuses(execution), is_released(execution, 1)) == ({0: WAITING, 1: READY}, True)
    step(execution, 1, state_changed=True)
    waits(execution, 1)
    assert is_released(execution), "the step of worker 1 was a change"


def test_one_that_works_between_its_waits_does_not_keep_the_others_from_their_turn() -> None:
    execution = running(0, 1, 2)
    step(execution, 2, is_done=True)
    waits(execution)
    waits(execution, 1)
    step(execution, state_changed=True)
    waits(execution, state_changed=True)
    assert (statuses(execution), is_released(execution, 1)) == ({0: WAITING, 1: READY, 2: DONE}, True)


def test_one_that_works_between_its_waits_with_nobody_left_is_called_each_time() -> None:
    execution = running(0, 1)
    step(execution, 1, is_done=True)
    for _ in range(3):
        waits(execution)
        assert is_released(execution)
        step(execution, state_changed=True)


def test_a_second_join_is_like_the_first() -> None:
    execution = running()
    for _ in range(3):
        waits(execution, new_workers=spawning(1))
        assert statuses(execution) == {0: WAITING, 1: READY}
        step(execution, 1, is_done=True)
        assert is_released(execution)


@given(st.lists(st.builds(Worker, st.integers(0, 9), passed_over=st.booleans()), unique_by=lambda w: w.worker_id))
def test_the_lowest_id_that_was_not_passed_over(waiting: list[Worker]) -> None:
    released = next_released(waiting)
    candidates = sorted(worker.worker_id for worker in waiting if not worker.passed_over)
    assert (released.worker_id if released else None) == next(iter(candidates), None)


# The results of the others go with the call.


def test_a_call_that_fails_is_made_again_with_the_results() -> None:
    execution = running()
    waits(execution)
    claim(execution)
    fail(execution, call=Unsuccessful("HTTP 500"))
    assert (execution.workers[0].is_released, execution.workers[0].step) == (True, 1)


def test_so_is_the_next_step_after_an_error_in_the_answer() -> None:
    execution = running()
    waits(execution)
    step(execution, is_error=True)
    assert (execution.workers[0].is_released, execution.workers[0].step) == (True, 2)
    claim(execution, now=execution.workers[0].due_at or NOW)
    reply(execution, state_changed=True)
    assert not execution.workers[0].is_released


def test_and_the_call_of_a_new_attempt() -> None:
    execution = running()
    waits(execution)
    claim(execution)
    execution.abort(None, NOW)
    execution.retry()
    execution.start(NOW)
    assert is_released(execution)


@pytest.mark.parametrize("released_before", [False, True])
def test_a_new_attempt_waits_for_the_helpers_again(released_before: bool) -> None:
    execution = running(0, 1)
    waits(execution)
    if released_before:
        step(execution, 1, is_done=True)
        step(execution, state_changed=True, new_workers=spawning(1), wait_for_workers=True)
    claim(execution, 1)
    fail(execution, 1)
    assert statuses(execution) == {0: ABORTED, 1: FAILED}
    execution.retry()
    execution.start(NOW)
    assert statuses(execution) == {0: WAITING, 1: READY}
    step(execution, 1, is_done=True)
    assert is_released(execution)


def test_a_new_attempt_of_one_that_had_gone_on_does_not() -> None:
    execution = running(0, 1)
    waits(execution)
    step(execution, 1, is_done=True)
    step(execution, state_changed=True)
    execution.abort(None, NOW)
    execution.retry()
    execution.start(NOW)
    assert (execution.workers[0].status, execution.workers[0].is_released) == (READY, False)


def test_a_new_attempt_takes_up_the_turn_that_ended_in_errors() -> None:
    execution = running()
    waits(execution)
    step(execution, is_error=True, is_done=True)
    execution.retry()
    execution.start(NOW)
    assert is_released(execution)


# Deadlocks.


def test_two_that_only_wait_for_each_other_fail_the_execution() -> None:
    execution = running(0, 1)
    for worker_id in (0, 1, 0, 1):
        assert execution.status is ExecutionStatus.RUNNING
        waits(execution, worker_id)
    assert (execution.status, execution.message) == (ExecutionStatus.FAILED, f"{DEADLOCKED} (0, 1)")
    assert statuses(execution) == {0: ABORTED, 1: ABORTED}


def test_one_that_waits_again_with_nobody_left_to_wait_for_fails_the_execution() -> None:
    execution = running()
    waits(execution, state_changed=True)
    waits(execution, state_changed=True)
    assert execution.message == f"{DEADLOCKED} (0)"


def test_errors_and_idling_between_waits_are_no_way_out() -> None:
    execution = running(0, 1)
    waits(execution)
    waits(execution, 1)
    for worker_id in (0, 1):
        step(execution, worker_id, is_error=True, delay_next_request_in_secs=0)
        waits(execution, worker_id)
    assert execution.message == f"{DEADLOCKED} (0, 1)"


def test_a_failure_is_a_change_that_those_who_wait_again_are_called_for() -> None:
    execution = running(0, 1, policy=CONTINUE)
    waits(execution)
    waits(execution, 1)
    waits(execution)
    claim(execution, 1)
    fail(execution, 1)
    assert is_released(execution)
    step(execution, is_done=True)
    assert (execution.status, execution.message) == (ExecutionStatus.FAILED, "worker 1: HTTP 400")


def test_workers_that_hand_work_to_each_other_are_no_deadlock() -> None:
    execution = running(0, 1)
    for _ in range(50):
        for worker_id in (0, 1):
            waits(execution, worker_id, state_changed=True)
    assert execution.status is ExecutionStatus.RUNNING


@given(st.sets(st.integers(0, 9), min_size=1), st.data())
def test_any_number_that_only_wait_end_in_bounded_steps(ids: set[int], data: st.DataObject) -> None:
    execution = running(*sorted(ids))
    steps = 0
    while execution.status is ExecutionStatus.RUNNING:
        due = [id_ for id_, worker in execution.workers.items() if execution.may_claim(id_, worker.token, NOW)]
        waits(execution, data.draw(st.sampled_from(sorted(due))))
        steps += 1
    assert (steps, execution.status) == (2 * len(ids), ExecutionStatus.FAILED)
    assert (execution.message or "").startswith(DEADLOCKED)


def test_idling_between_waits_is_slowed_like_any_idling() -> None:
    execution, now = running(0, 1), NOW
    waits(execution)
    waits(execution, 1)
    for turn in range(12):
        worker = execution.workers[turn % 2]
        step(execution, worker.worker_id, now=now)
        now = max(now, worker.due_at or now)
        step(execution, worker.worker_id, now=now, wait_for_workers=True)
    assert now - NOW > timedelta(seconds=10)
