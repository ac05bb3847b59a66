"""An execution from its launch to a good end: starting, claiming, stepping, spawning, importing."""

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.errors import IllegalMove
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import TaskPolicy
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from orchestrator.domain.worker import AHEAD, Lease
from tests.unit.domain.builders import (
    NOW,
    claim,
    fail,
    pending,
    reply,
    running,
    spawning,
    statuses,
    step,
)

READY, CALLING, DONE = WorkerStatus.READY, WorkerStatus.CALLING, WorkerStatus.DONE
SECOND = timedelta(seconds=1)


# Starting and claiming.


def test_a_start_makes_every_worker_due_and_sets_the_deadline() -> None:
    execution = pending(0, 4, policy=TaskPolicy(max_duration=timedelta(hours=2)))
    execution.start(NOW)
    assert execution.status is ExecutionStatus.RUNNING
    assert execution.deadline_at == NOW + timedelta(hours=2)
    assert [worker.due_at for worker in execution.workers.values()] == [NOW, NOW]
    assert execution.touched == {0, 4}


def test_a_start_happens_once() -> None:
    with pytest.raises(IllegalMove):
        running().start(NOW)


def test_nothing_is_claimed_before_the_start() -> None:
    execution = pending()
    execution.workers[0].due_at = NOW
    assert not execution.may_claim(0, 0, NOW)


def test_a_claim_takes_the_worker_with_a_new_token_and_a_lease() -> None:
    execution = running()
    lease = Lease("n1", NOW, NOW + 30 * SECOND)
    worker = execution.claim(0, lease)
    assert (worker.status, worker.token, worker.lease, worker.due_at) == (CALLING, 1, lease, None)
    assert execution.touched == {0}


def test_a_claim_needs_a_due_worker_as_it_was_seen() -> None:
    execution = running()
    assert execution.may_claim(0, 0, NOW)
    assert not execution.may_claim(0, 1, NOW), "it was claimed since it was seen"
    assert not execution.may_claim(0, 0, NOW - SECOND), "it is not due yet"
    assert not execution.may_claim(1, 0, NOW), "there is no such worker"
    claim(execution)
    assert not execution.may_claim(0, 1, NOW), "it is calling"


def test_nothing_is_claimed_while_failing() -> None:
    execution = running()
    execution.failing = True
    assert not execution.may_claim(0, 0, NOW)


def test_only_the_present_claim_holds() -> None:
    execution = running()
    assert not execution.holds(0, 0), "it is not calling"
    first = claim(execution)
    assert execution.holds(0, first)
    assert not execution.holds(0, first - 1)
    assert not execution.holds(1, first)
    fail(execution, call=Unsuccessful("HTTP 500", retry_after=timedelta()))
    second = claim(execution)
    assert (execution.holds(0, first), execution.holds(0, second)) == (False, True)


# Steps.


def test_an_answer_closes_the_step_and_the_worker_is_called_again() -> None:
    execution = running()
    step(execution, state_changed=True)
    worker = execution.workers[0]
    assert (worker.status, worker.step, worker.token, worker.due_at) == (READY, 1, 1, NOW)
    step(execution, state_changed=True, delay_next_request_in_secs=7)
    assert (worker.step, worker.token, worker.due_at) == (2, 2, NOW + 7 * SECOND)


def test_done_is_the_end_once_every_worker_is_done() -> None:
    execution = running(0, 1)
    step(execution, is_done=True, message="half of it")
    assert (execution.status, execution.open_workers) == (ExecutionStatus.RUNNING, 1)
    step(execution, 1, now=NOW + SECOND, is_done=True)
    assert execution.status is ExecutionStatus.SUCCEEDED
    assert (execution.ended_at, execution.deadline_at, execution.message) == (NOW + SECOND, None, None)
    assert execution.open_workers == 0


def test_unsuccessful_calls_repeat_the_step_and_are_counted_in_a_row() -> None:
    execution = running()
    worker = execution.workers[0]
    for count in (1, 2):
        claim(execution, now=NOW + 60 * count * SECOND)
        fail(execution, call=Unsuccessful("HTTP 500"), now=NOW + 60 * count * SECOND)
        assert (worker.step, worker.retry_count) == (0, count)
    assert worker.due_at == NOW + 130 * SECOND
    step(execution, now=NOW + 130 * SECOND)
    assert (worker.step, worker.retry_count) == (1, 0)


def test_an_error_in_an_answer_closes_the_step_and_counts_as_unsuccessful() -> None:
    execution = running()
    step(execution, is_error=True, message="their API is slow", state_changed=True)
    worker = execution.workers[0]
    assert (worker.status, worker.step, worker.retry_count) == (READY, 1, 1)
    assert worker.due_at == NOW + 5 * SECOND
    assert execution.message is None


def test_a_step_without_any_effect_is_noted_and_slowed() -> None:
    execution = running()
    for _ in range(2):
        assert step(execution, message="still waiting").notes == ()
    [note] = step(execution).notes
    assert note.startswith("slowed to one call in 0.1 s: the last 3 answers")
    assert execution.workers[0].due_at == NOW + timedelta(milliseconds=100)


@pytest.mark.parametrize(
    "effect",
    [
        {"state_changed": True},
        {"items_to_import": [{"kind": "user"}]},
        {"app_state_mutations": [{"operation": "delete", "key": "k"}]},
        {"new_workers": spawning(7)},
        {"progress": {"current": 1}},
        {"delay_next_request_in_secs": 0.001},
    ],
)
def test_any_effect_and_any_delay_ends_the_idling(effect: dict[str, Any]) -> None:
    execution = running()
    execution.workers[0].idle_steps = 9
    assert step(execution, **effect).notes == ()
    assert execution.workers[0].idle_steps == 0


@pytest.mark.parametrize("nothing", [{"delay_next_request_in_secs": 0}, {"new_workers": spawning(1)}])
def test_what_comes_to_nothing_is_no_effect(nothing: dict[str, Any]) -> None:
    execution = running(0, 1)
    execution.workers[0].idle_steps = 9
    step(execution, **nothing)
    assert execution.workers[0].due_at == NOW + timedelta(seconds=10)


def test_a_claim_that_was_never_started_costs_nothing() -> None:
    execution = running()
    token = claim(execution)
    execution.give_back(0, NOW + SECOND)
    worker = execution.workers[0]
    assert (worker.status, worker.due_at, worker.step, worker.retry_count) == (READY, NOW + SECOND, 0, 0)
    assert not execution.holds(0, token)


def test_a_claim_taken_ahead_that_is_given_back_is_due_when_it_was() -> None:
    execution = running(0)
    soon = NOW + AHEAD
    execution.claim(0, Lease("node", since=soon, until=soon + 3600 * SECOND))
    execution.give_back(0, NOW)
    assert execution.workers[0].due_at == soon


def test_a_claim_from_before_the_clock_was_set_back_is_due_at_once_when_it_is_given_back() -> None:
    execution = running(0)
    execution.claim(0, Lease("node", since=NOW + 3600 * SECOND, until=NOW + 7200 * SECOND))
    execution.give_back(0, NOW)
    assert execution.workers[0].due_at == NOW


def test_a_call_whose_node_is_gone_is_made_again_at_once() -> None:
    execution = running()
    token = claim(execution)
    execution.lose_call(0, "the lease ran out", NOW + 40 * SECOND)
    worker = execution.workers[0]
    assert (worker.status, worker.due_at, worker.step) == (READY, NOW + 40 * SECOND, 0)
    assert worker.retry_count == 1
    assert not execution.holds(0, token)


def test_however_few_retries_a_lost_call_is_made_again() -> None:
    execution = running(policy=TaskPolicy(retry=RetryPolicy(max_retries=0)))
    for _ in range(15):
        claim(execution)
        execution.lose_call(0, "the lease ran out", NOW)
        assert execution.workers[0].status is READY


def test_a_call_that_brings_down_its_node_every_time_fails_in_the_end() -> None:
    execution = running(policy=TaskPolicy(retry=RetryPolicy(max_retries=17)))
    for _ in range(18):
        assert execution.status is ExecutionStatus.RUNNING
        claim(execution)
        execution.lose_call(0, "the lease ran out", NOW)
    assert execution.message == "worker 0: cut off again and again: the lease ran out"


# Spawning.


def test_spawned_workers_are_due_at_once_and_belong_to_what_has_changed() -> None:
    execution = running()
    claim(execution)
    execution.touched.clear()
    assert reply(execution, new_workers=spawning(3, 1), is_done=True).spawned == {1, 3}
    assert statuses(execution) == {0: DONE, 1: READY, 3: READY}
    assert execution.touched == {0, 1, 3}
    assert all(execution.may_claim(id_, 0, NOW) for id_ in (1, 3))


def test_one_that_is_done_starts_again_and_its_steps_count_on() -> None:
    execution = running(0, 1)
    step(execution, 1, is_done=True)
    assert step(execution, new_workers=spawning(1)).spawned == {1}
    step(execution, 1, is_done=True)
    assert (execution.workers[1].step, execution.workers[1].token) == (2, 2)


def test_one_that_is_still_going_is_left_alone() -> None:
    execution = running(0, 1)
    closed = step(execution, new_workers=spawning(1))
    assert (closed.spawned, closed.notes) == (frozenset(), ("worker 1 was left alone: it is ready",))
    claim(execution, 1)
    closed = reply(execution, 1, new_workers=spawning(1))
    assert closed.notes == ("worker 1 was left alone: it is calling",)


# Imports.


def test_an_execution_succeeds_when_its_batches_are_delivered() -> None:
    execution = running()
    step(execution, is_done=True, batches=2)
    assert (execution.status, execution.open_workers) == (ExecutionStatus.RUNNING, 0)
    execution.deliver(0, NOW)
    assert (execution.status, execution.undelivered) == (ExecutionStatus.RUNNING, 1)
    execution.deliver(0, NOW + SECOND)
    assert (execution.status, execution.ended_at) == (ExecutionStatus.SUCCEEDED, NOW + SECOND)


def test_a_worker_with_too_many_batches_is_not_called_until_four_are_left() -> None:
    execution = running()
    step(execution, batches=5)
    assert not execution.may_claim(0, 1, NOW)
    execution.deliver(0, NOW)
    assert execution.may_claim(0, 1, NOW)


# Awaiting a callback.


def test_a_worker_that_awaits_is_not_called_and_keeps_the_execution_running() -> None:
    execution = running()
    step(execution, await_callback={"timeout_in_secs": 60})
    worker = execution.workers[0]
    assert (worker.status, worker.due_at) == (WorkerStatus.AWAITING, NOW + 60 * SECOND)
    assert not execution.may_claim(0, 1, NOW + 60 * SECOND)
    assert execution.status is ExecutionStatus.RUNNING


def test_a_wait_that_nobody_ends_fails_the_worker() -> None:
    execution = running()
    step(execution, await_callback={})
    execution.time_out_await(0, NOW + timedelta(days=1))
    assert execution.status is ExecutionStatus.FAILED
    assert execution.message == "worker 0: no callback came before the timeout of the wait"
