"""How executions end other than well, and how they are taken up again."""

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.errors import Conflict
from orchestrator.domain.execution import MESSAGE_CHARS, Execution
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import Delivery, TaskPolicy
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from tests.unit.domain.builders import CONTINUE, NOW, claim, fail, pending, reply, running, spawning, statuses, step

READY, CALLING, DONE = WorkerStatus.READY, WorkerStatus.CALLING, WorkerStatus.DONE
FAILED, ABORTED = WorkerStatus.FAILED, WorkerStatus.ABORTED
HOUR = timedelta(hours=1)


def failing_with_a_call_in_flight() -> Execution:
    """Worker 0 has failed while worker 1 is calling."""
    execution = running(0, 1)
    claim(execution, 1)
    claim(execution)
    fail(execution)
    return execution


# A worker fails.


def test_with_the_only_worker_the_execution_fails_and_says_why() -> None:
    execution = running()
    claim(execution)
    fail(execution, now=NOW + HOUR)
    assert (execution.status, execution.ended_at) == (ExecutionStatus.FAILED, NOW + HOUR)
    assert execution.message == "worker 0: HTTP 400"
    assert (execution.failing, execution.deadline_at) == (False, None)


def test_workers_that_are_not_calling_end_at_once_and_nothing_is_claimed_any_more() -> None:
    execution = running(0, 1, 2, 3, 4)
    step(execution, 1, await_callback={})
    step(execution, 2, wait_for_workers=True)
    claim(execution, 3)
    step(execution, 4, is_done=True)
    claim(execution)
    fail(execution)
    assert statuses(execution) == {0: FAILED, 1: ABORTED, 2: ABORTED, 3: CALLING, 4: DONE}
    assert (execution.status, execution.failing) == (ExecutionStatus.RUNNING, True)
    assert not any(execution.may_claim(id_, worker.token, NOW) for id_, worker in execution.workers.items())


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"state_changed": True}, ABORTED),
        ({"is_done": True}, DONE),
        ({"wait_for_workers": True}, ABORTED),
        ({"await_callback": {}}, ABORTED),
        ({"is_error": True}, ABORTED),
        ({"is_error": True, "is_done": True}, FAILED),
    ],
)
def test_an_answer_in_flight_is_still_applied_and_ends_the_execution(
    fields: dict[str, Any], status: WorkerStatus
) -> None:
    execution = failing_with_a_call_in_flight()
    assert execution.holds(1, 1)
    reply(execution, 1, **fields)
    assert (statuses(execution)[1], execution.workers[1].step) == (status, 1)
    assert (execution.status, execution.message) == (ExecutionStatus.FAILED, "worker 0: HTTP 400")


def test_while_failing_nothing_is_spawned() -> None:
    execution = failing_with_a_call_in_flight()
    closed = reply(execution, 1, new_workers=spawning(5))
    assert (closed.spawned, closed.notes) == (frozenset(), ("worker 5 was not started: the execution is failing",))
    assert set(execution.workers) == {0, 1}


@pytest.mark.parametrize("end", ["fail", "lose", "give back"])
def test_while_failing_a_call_that_closed_no_step_is_not_repeated(end: str) -> None:
    execution = failing_with_a_call_in_flight()
    if end == "fail":
        fail(execution, 1, Unsuccessful("HTTP 500"))
    elif end == "lose":
        execution.lose_call(1, "the node is gone", NOW)
    else:
        execution.give_back(1, NOW)
    assert statuses(execution) == {0: FAILED, 1: ABORTED}
    assert execution.status is ExecutionStatus.FAILED


def test_what_a_failing_answer_asked_for_is_applied_before_it_fails() -> None:
    execution = running()
    assert step(execution, is_error=True, is_done=True, new_workers=spawning(1), batches=2).spawned == {1}
    assert statuses(execution) == {0: FAILED, 1: ABORTED}
    assert (execution.status, execution.undelivered) == (ExecutionStatus.FAILED, 2)


def test_with_continue_the_others_run_to_their_end_first() -> None:
    execution = running(0, 1, policy=CONTINUE)
    claim(execution, 1)
    fail(execution, 1)
    assert (execution.status, execution.failing) == (ExecutionStatus.RUNNING, False)
    assert execution.message == "worker 1: HTTP 400"
    step(execution, state_changed=True)
    step(execution, is_done=True)
    assert (execution.status, execution.message) == (ExecutionStatus.FAILED, "worker 1: HTTP 400")


def test_a_worker_is_out_of_retries_with_its_last_message() -> None:
    execution = running(policy=TaskPolicy(retry=RetryPolicy(max_retries=1)))
    for message in ("HTTP 500", "HTTP 502"):
        claim(execution, now=NOW + HOUR)
        fail(execution, call=Unsuccessful(message))
    assert execution.message == "worker 0: out of retries (1): HTTP 502"
    assert execution.workers[0].retry_count == 2


def test_at_most_once_does_not_repeat_a_call_that_was_cut_off() -> None:
    execution = running(policy=TaskPolicy(delivery=Delivery.AT_MOST_ONCE))
    claim(execution)
    execution.lose_call(0, "the server stopped during the call", NOW)
    assert execution.status is ExecutionStatus.FAILED
    assert "at_most_once: it may have reached the app" in (execution.message or "")


def test_a_message_of_megabytes_is_cut() -> None:
    execution = running()
    step(execution, is_error=True, is_done=True, message="x" * 1_000_000)
    assert execution.message is not None
    assert len(execution.message) == MESSAGE_CHARS == 500


# The deadline.


def test_past_its_deadline_an_execution_fails() -> None:
    execution = running(0, 1, policy=TaskPolicy(max_duration=HOUR))
    claim(execution, 1)
    execution.expire(NOW + HOUR - timedelta(microseconds=1))
    assert (execution.status, execution.failing) == (ExecutionStatus.RUNNING, False)
    execution.expire(NOW + HOUR)
    assert (execution.status, execution.failing) == (ExecutionStatus.RUNNING, True)
    reply(execution, 1, state_changed=True)
    assert execution.status is ExecutionStatus.FAILED
    assert execution.message == "still running after max_duration_secs (3600 s)"


def test_a_new_attempt_has_a_deadline_of_its_own() -> None:
    execution = running(policy=TaskPolicy(max_duration=HOUR))
    execution.expire(NOW + HOUR)
    execution.retry()
    execution.start(NOW + 2 * HOUR)
    execution.expire(NOW + 2 * HOUR)
    assert (execution.status, execution.deadline_at) == (ExecutionStatus.RUNNING, NOW + 3 * HOUR)


@pytest.mark.parametrize("end", ["abort", "fail", "pending"])
def test_what_does_not_run_has_no_deadline(end: str) -> None:
    execution = pending() if end == "pending" else running()
    if end == "abort":
        execution.abort(None, NOW)
    elif end == "fail":
        claim(execution)
        fail(execution)
    before = (execution.status, execution.message)
    execution.expire(NOW + timedelta(days=365))
    assert (execution.status, execution.message) == before


# Abort.


def test_abort_ends_everything_whatever_is_in_flight() -> None:
    execution = running(0, 1, 2, 3, 4)
    step(execution, 1, is_done=True)
    step(execution, 2, wait_for_workers=True)
    step(execution, 3, await_callback={})
    token = claim(execution)
    execution.abort("not today", NOW + HOUR)
    assert statuses(execution) == {0: ABORTED, 1: DONE, 2: ABORTED, 3: ABORTED, 4: ABORTED}
    assert (execution.status, execution.message) == (ExecutionStatus.ABORTED, "not today")
    assert execution.ended_at == NOW + HOUR
    assert not execution.holds(0, token)


def test_abort_wins_over_answers_of_earlier_claims_also_after_a_retry() -> None:
    execution = running()
    stale = claim(execution)
    execution.abort(None, NOW)
    execution.retry()
    execution.start(NOW)
    assert not execution.holds(0, stale)
    fresh = claim(execution)
    assert (execution.holds(0, stale), execution.holds(0, fresh)) == (False, True)


def test_what_waits_for_its_turn_can_be_aborted() -> None:
    execution = pending()
    execution.abort(None, NOW)
    assert (execution.status, execution.message) == (ExecutionStatus.ABORTED, "aborted")
    assert statuses(execution) == {0: ABORTED}


def test_a_failing_execution_can_be_aborted() -> None:
    execution = failing_with_a_call_in_flight()
    execution.abort("enough", NOW)
    assert (execution.status, execution.failing) == (ExecutionStatus.ABORTED, False)
    assert statuses(execution) == {0: FAILED, 1: ABORTED}


def test_what_has_ended_cannot_be_aborted() -> None:
    execution = running()
    step(execution, is_done=True)
    with pytest.raises(Conflict, match="already succeeded") as conflict:
        execution.abort(None, NOW)
    assert conflict.value.facts == {"execution_status": "succeeded"}


# Retry.


def test_a_retry_resumes_the_unfinished_workers_where_they_were() -> None:
    execution = running(0, 1, 2)
    step(execution, 1, is_done=True)
    step(execution, 2, state_changed=True)
    step(execution, is_error=True)
    claim(execution, now=NOW + HOUR)
    fail(execution, now=NOW + HOUR)
    execution.touched.clear()
    execution.retry()
    assert (execution.status, execution.attempt) == (ExecutionStatus.PENDING, 2)
    assert (execution.message, execution.ended_at) == (None, None)
    assert statuses(execution) == {0: READY, 1: DONE, 2: READY}
    assert execution.touched == {0, 2}
    assert not execution.may_claim(0, execution.workers[0].token, NOW + HOUR)
    execution.start(NOW + 2 * HOUR)
    worker = execution.workers[0]
    assert (worker.step, worker.token, worker.retry_count, worker.due_at) == (1, 2, 0, NOW + 2 * HOUR)


@pytest.mark.parametrize("status", [ExecutionStatus.PENDING, ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED])
def test_only_what_has_failed_or_was_aborted_can_be_retried(status: ExecutionStatus) -> None:
    execution = pending()
    execution.status = status
    with pytest.raises(Conflict, match=f"this one is {status}"):
        execution.retry()


def test_a_retry_with_nothing_left_to_call_succeeds_as_it_starts() -> None:
    execution = running()
    step(execution, is_done=True, batches=1)
    execution.abort(None, NOW)
    execution.deliver(0, NOW)
    assert execution.status is ExecutionStatus.ABORTED
    execution.retry()
    execution.start(NOW + HOUR)
    assert (execution.status, execution.ended_at) == (ExecutionStatus.SUCCEEDED, NOW + HOUR)
