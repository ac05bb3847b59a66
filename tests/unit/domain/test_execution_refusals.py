"""What an import batch does to its worker that the collector has refused for its content."""

from typing import Any

import pytest

from orchestrator.domain.errors import Conflict
from orchestrator.domain.execution import Execution
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from tests.unit.domain.builders import CONTINUE, NOW, claim, fail, reply, running, statuses, step

READY, CALLING, DONE = WorkerStatus.READY, WorkerStatus.CALLING, WorkerStatus.DONE
FAILED, ABORTED = WorkerStatus.FAILED, WorkerStatus.ABORTED
WORDS = "the collector refused import batch imp_1: HTTP 422"


def refuse(execution: Execution, worker_id: int = 0) -> None:
    execution.refuse_batch(worker_id, WORDS, NOW)


@pytest.mark.parametrize(
    "fields",
    [{"state_changed": True}, {"is_done": True}, {"await_callback": {}}, {"wait_for_workers": True}],
)
def test_it_counts_as_a_failure_of_the_worker(fields: dict[str, Any]) -> None:
    execution = running(0, 1)
    claim(execution, 1)
    step(execution, batches=1, **fields)
    refuse(execution)
    assert statuses(execution) == {0: FAILED, 1: CALLING}
    assert (execution.failing, execution.message) == (True, f"worker 0: {WORDS}")


@pytest.mark.parametrize(
    "fields",
    [
        {"state_changed": True},
        {"is_done": True},
        {"await_callback": {}},
        {"wait_for_workers": True},
        {"is_error": True},
    ],
)
def test_a_call_in_flight_is_answered_first(fields: dict[str, Any]) -> None:
    execution = running()
    step(execution, batches=1)
    claim(execution)
    refuse(execution)
    assert (statuses(execution), execution.status) == ({0: CALLING}, ExecutionStatus.RUNNING)
    reply(execution, **fields)
    assert (statuses(execution), execution.workers[0].step) == ({0: FAILED}, 2)
    assert (execution.status, execution.message) == (ExecutionStatus.FAILED, f"worker 0: {WORDS}")


@pytest.mark.parametrize("end", ["fail", "lose", "give back"])
def test_a_call_in_flight_that_closes_no_step_is_not_repeated(end: str) -> None:
    execution = running()
    step(execution, batches=1)
    claim(execution)
    refuse(execution)
    if end == "fail":
        fail(execution, call=Unsuccessful("HTTP 500"))
    elif end == "lose":
        execution.lose_call(0, "the node is gone", NOW)
    else:
        execution.give_back(0, NOW)
    assert (statuses(execution), execution.message) == ({0: FAILED}, f"worker 0: {WORDS}")


@pytest.mark.parametrize("fields", [{"state_changed": True}, {"is_error": True}, {"is_done": True}])
def test_a_call_in_flight_of_a_failing_execution_too(fields: dict[str, Any]) -> None:
    execution = running(0, 1)
    step(execution, batches=1)
    claim(execution)
    claim(execution, 1)
    fail(execution, 1)
    refuse(execution)
    reply(execution, **fields)
    assert (statuses(execution), execution.status) == ({0: FAILED, 1: FAILED}, ExecutionStatus.FAILED)
    assert execution.message == "worker 1: HTTP 400"


def test_a_worker_that_has_already_failed_stays_as_it_is() -> None:
    execution = running(0, 1, policy=CONTINUE)
    step(execution, batches=1)
    claim(execution)
    fail(execution)
    refuse(execution)
    assert (statuses(execution), execution.message) == ({0: FAILED, 1: READY}, "worker 0: HTTP 400")
    assert execution.workers[0].refused == WORDS


def test_a_worker_that_was_aborted_while_failing_stays_as_it_is() -> None:
    execution = running(0, 1, 2)
    step(execution, batches=1)
    claim(execution, 2)
    claim(execution, 1)
    fail(execution, 1)
    refuse(execution)
    assert statuses(execution) == {0: ABORTED, 1: FAILED, 2: CALLING}
    assert execution.workers[0].refused == WORDS


def test_an_execution_that_has_ended_only_remembers_it() -> None:
    execution = running()
    step(execution, batches=1)
    execution.abort(None, NOW)
    refuse(execution)
    assert (statuses(execution), execution.status) == ({0: ABORTED}, ExecutionStatus.ABORTED)
    assert execution.workers[0].refused == WORDS


def test_until_it_is_cleared_a_retry_is_refused_and_changes_nothing() -> None:
    execution = running()
    step(execution, batches=1)
    refuse(execution)
    with pytest.raises(Conflict, match="redeliver or discard it, then retry the execution: the collector refused"):
        execution.retry()
    assert (execution.status, execution.attempt) == (ExecutionStatus.FAILED, 1)
    execution.clear_refusal(0)
    execution.retry()
    execution.start(NOW)
    assert (statuses(execution), execution.undelivered) == ({0: READY}, 1)


def test_delivered_after_all_it_is_no_longer_in_the_way() -> None:
    execution = running()
    step(execution, is_done=True, batches=1)
    refuse(execution)
    execution.deliver(0, NOW)
    execution.retry()
    execution.start(NOW)
    assert execution.status is ExecutionStatus.SUCCEEDED


def test_a_worker_that_was_done_is_done_again_and_not_called() -> None:
    execution = running(0, 1)
    step(execution, is_done=True, batches=1)
    refuse(execution)
    assert statuses(execution) == {0: FAILED, 1: ABORTED}
    execution.clear_refusal(0)
    execution.retry()
    assert statuses(execution) == {0: DONE, 1: READY}


@pytest.mark.parametrize("is_done", [True, False])
def test_refused_while_the_retry_waits_for_its_turn_it_fails_the_worker_as_it_starts(
    is_done: bool,
) -> None:
    execution = running(0, 1)
    step(execution, is_done=is_done, batches=1)
    execution.abort(None, NOW)
    execution.retry()
    refuse(execution)
    assert execution.status is ExecutionStatus.PENDING
    execution.start(NOW)
    assert (statuses(execution), execution.status) == ({0: FAILED, 1: ABORTED}, ExecutionStatus.FAILED)


def test_with_continue_the_others_go_on() -> None:
    execution = running(0, 1, policy=CONTINUE)
    step(execution, is_done=True, batches=1)
    refuse(execution)
    step(execution, 1, is_done=True)
    assert (execution.status, execution.message) == (ExecutionStatus.FAILED, f"worker 0: {WORDS}")


@pytest.mark.parametrize("fields", [{"state_changed": True}, {"is_done": True}, {"wait_for_workers": True}])
def test_one_that_is_refused_while_a_retry_is_pending_counts_at_its_start(fields: dict[str, Any]) -> None:
    """Wherever its worker rests: one that waits for the others would be called for nothing."""
    execution = running(0, 1)
    step(execution, batches=1, **fields)
    execution.abort(None, NOW)
    execution.retry()
    refuse(execution)
    execution.start(NOW)
    assert statuses(execution)[0] is FAILED
    assert execution.message == f"worker 0: {WORDS}"
