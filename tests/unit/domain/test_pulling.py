"""Pull claims: requested, in progress, extended, run out."""

from datetime import timedelta
from typing import Any

import pytest

from app_sdk.protocol.pull_options import PullOptions
from orchestrator.domain.errors import ClaimRefused
from orchestrator.domain.execution import Execution
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import Delivery, TaskPolicy
from orchestrator.domain.pulling import (
    PullTerms,
    begun_lease,
    claim_id,
    concurrency_key,
    extend_claim,
    is_run_out,
    run_out,
    start_claim,
    token_of,
)
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from tests.unit.domain.builders import NOW, fail, reply, running

TERMS = PullTerms.of(PullOptions())
CONSTANT = RetryPolicy(2, timedelta(seconds=10), 1.0, timedelta(seconds=10))
POLICY = TaskPolicy(retry=CONSTANT)
SECOND = timedelta(seconds=1)


def requested(*ids: int, policy: TaskPolicy = POLICY) -> tuple[Execution, int]:
    """An execution whose worker 0 has just been handed out, and the token of that claim."""
    execution = running(*ids, policy=policy)
    return execution, execution.claim(0, TERMS.lease("tok_1", NOW)).token


def in_progress(*ids: int, policy: TaskPolicy = POLICY) -> tuple[Execution, int]:
    execution, token = requested(*ids, policy=policy)
    start_claim(execution, 0, token, TERMS, NOW)
    return execution, token


def reason_of(refusal: pytest.ExceptionInfo[ClaimRefused]) -> object:
    return refusal.value.facts["reason"]


def test_the_terms_are_aidboxs() -> None:
    assert PullTerms(timedelta(seconds=10), timedelta(seconds=120)) == TERMS
    asked = PullOptions.model_validate({"requestedToStartTimeout": 1500, "inProgressTimeout": 1})
    assert PullTerms.of(asked) == PullTerms(timedelta(seconds=1.5), timedelta(milliseconds=1))


def test_a_claim_is_requested_then_in_progress() -> None:
    execution, token = requested()
    lease = execution.workers[0].lease
    assert lease is not None
    assert (lease.node, lease.since, lease.until, lease.started) == ("tok_1", NOW, NOW + 10 * SECOND, None)
    execution.touched.clear()
    start_claim(execution, 0, token, TERMS, NOW + SECOND)
    begun = begun_lease(execution, 0, token)
    assert (begun.started, begun.until) == (NOW + SECOND, NOW + 121 * SECOND)
    assert begun.since == NOW
    assert execution.touched == {0}


def test_a_sign_of_life_gives_the_whole_term_again() -> None:
    execution, token = in_progress()
    assert extend_claim(execution, 0, token, TERMS, NOW + 100 * SECOND) == NOW + 220 * SECOND
    assert begun_lease(execution, 0, token).until == NOW + 220 * SECOND


@pytest.mark.parametrize("late", [10 * SECOND, 11 * SECOND])
def test_a_start_after_the_timeout_is_refused_though_nobody_has_taken_the_claim_back(late: timedelta) -> None:
    execution, token = requested()
    with pytest.raises(ClaimRefused, match="too late: it was not started within requestedToStartTimeout") as refusal:
        start_claim(execution, 0, token, TERMS, NOW + late)
    assert reason_of(refusal) == "stale-exec-id"


def test_a_sign_of_life_after_the_timeout_revives_nothing() -> None:
    execution, token = in_progress()
    with pytest.raises(ClaimRefused, match="too late: no sign of life came within inProgressTimeout"):
        extend_claim(execution, 0, token, TERMS, NOW + 120 * SECOND)
    assert is_run_out(execution, 0, token, NOW + 120 * SECOND)


def test_a_claim_is_started_once() -> None:
    execution, token = in_progress()
    with pytest.raises(ClaimRefused, match="in progress already") as refusal:
        start_claim(execution, 0, token, TERMS, NOW)
    assert reason_of(refusal) == "wrong-status"


def test_before_its_start_a_claim_has_no_signs_of_life_and_no_result() -> None:
    execution, token = requested()
    for act in (lambda: extend_claim(execution, 0, token, TERMS, NOW), lambda: begun_lease(execution, 0, token)):
        with pytest.raises(ClaimRefused, match="was not started") as refusal:
            act()
        assert reason_of(refusal) == "wrong-status"


@pytest.mark.parametrize(("token_given", "words"), [(None, "never given out"), (7, "never given out")])
def test_a_claim_that_never_was_is_refused(token_given: int | None, words: str) -> None:
    execution, _ = requested()
    with pytest.raises(ClaimRefused, match=words) as refusal:
        start_claim(execution, 0, token_given, TERMS, NOW)
    assert reason_of(refusal) == "stale-exec-id"


def test_a_worker_that_does_not_exist_has_no_claim() -> None:
    execution, token = requested()
    with pytest.raises(ClaimRefused, match="never given out"):
        begun_lease(execution, 3, token)


def test_the_claim_before_the_present_one_is_refused() -> None:
    execution, token = requested()
    assert run_out(execution, 0, NOW + 10 * SECOND) is None
    execution.claim(0, TERMS.lease("tok_2", NOW + 10 * SECOND))
    with pytest.raises(ClaimRefused, match="given out again since"):
        start_claim(execution, 0, token, TERMS, NOW + 10 * SECOND)


def test_a_claim_that_has_ended_is_refused() -> None:
    execution, token = in_progress(0, 1)
    reply(execution, is_done=True)
    with pytest.raises(ClaimRefused, match="its claim has ended; the worker is done"):
        begun_lease(execution, 0, token)


def test_an_aborted_execution_refuses_everything() -> None:
    execution, token = in_progress()
    execution.abort(None, NOW)
    for act in (lambda: extend_claim(execution, 0, token, TERMS, NOW), lambda: begun_lease(execution, 0, token)):
        with pytest.raises(ClaimRefused, match="the worker is aborted"):
            act()


def test_one_that_was_not_started_is_given_back_and_nothing_counted() -> None:
    execution, token = requested()
    later = NOW + 10 * SECOND
    assert is_run_out(execution, 0, token, later)
    assert not is_run_out(execution, 0, token, later - SECOND)
    assert run_out(execution, 0, later) is None
    worker = execution.workers[0]
    assert (worker.status, worker.due_at, worker.retry_count) == (WorkerStatus.READY, later, 0)
    assert not is_run_out(execution, 0, token, later)


def test_one_that_fell_silent_is_a_failed_attempt() -> None:
    execution, _ = in_progress()
    later = NOW + 120 * SECOND
    failure = run_out(execution, 0, later)
    assert failure == Unsuccessful("executor tok_1 gave no sign of life in time", is_answered=False)
    worker = execution.workers[0]
    assert (worker.status, worker.due_at, worker.retry_count) == (WorkerStatus.READY, later + 10 * SECOND, 1)


def test_silence_uses_up_the_retries() -> None:
    execution, now = running(policy=POLICY), NOW
    for _ in range(3):
        token = execution.claim(0, TERMS.lease("tok_1", now)).token
        start_claim(execution, 0, token, TERMS, now)
        run_out(execution, 0, now)
    assert execution.status is ExecutionStatus.FAILED
    assert execution.message is not None
    assert "out of retries (2)" in execution.message


def test_at_most_once_a_silent_executor_fails_its_worker() -> None:
    policy = TaskPolicy(retry=CONSTANT, delivery=Delivery.AT_MOST_ONCE)
    execution, _ = in_progress(policy=policy)
    run_out(execution, 0, NOW)
    assert execution.status is ExecutionStatus.FAILED


def test_at_most_once_a_claim_that_was_not_started_is_given_back() -> None:
    policy = TaskPolicy(retry=CONSTANT, delivery=Delivery.AT_MOST_ONCE)
    execution, _ = requested(policy=policy)
    run_out(execution, 0, NOW)
    assert execution.workers[0].status is WorkerStatus.READY


def test_while_the_execution_is_failing_nothing_is_extended_but_a_result_counts() -> None:
    execution, token = in_progress(0, 1)
    execution.claim(1, TERMS.lease("tok_2", NOW))
    fail(execution, 1)
    assert execution.failing
    with pytest.raises(ClaimRefused, match="is failing") as refusal:
        extend_claim(execution, 0, token, TERMS, NOW + SECOND)
    assert reason_of(refusal) == "execution-is-failing"
    assert begun_lease(execution, 0, token).until == NOW + 120 * SECOND


def test_a_term_begins_anew_after_a_restart() -> None:
    later = NOW + timedelta(hours=1)
    execution, token = requested()
    lease = execution.workers[0].lease
    assert lease is not None
    assert TERMS.anew(lease, later).until == later + 10 * SECOND
    start_claim(execution, 0, token, TERMS, NOW)
    assert TERMS.anew(begun_lease(execution, 0, token), later).until == later + 120 * SECOND


@pytest.mark.parametrize("uid", ["0198c0de", "a_b_1_2", "x_"])
def test_a_claims_id_names_its_worker_and_token(uid: str) -> None:
    named = claim_id(uid, 3, 17)
    assert token_of(named, uid, 3) == 17
    assert token_of(named, uid, 4) is None
    assert token_of(named, uid + "9", 3) is None


@pytest.mark.parametrize("claim", ["", "17", "x_u_0_", "x_u_0_1e3", "x_u_0_99999999999", "x_u_0_1 ", "e-1"])
def test_anything_else_names_no_claim(claim: str) -> None:
    assert token_of(claim, "u", 0) is None


@pytest.mark.parametrize(
    ("path", "input_", "key"),
    [
        (None, {"a": 1}, None),
        (["params", "customer"], {"customer": "z\u00e9"}, '"z\u00e9"'),
        (["customer"], {"customer": 7}, "7"),
        (["params", "a", "b"], {"a": {"b": {"y": 1, "x": [2]}}}, '{"x":[2],"y":1}'),
        (["params", "a", "b"], {"a": 3}, "null"),
        (["params", "a"], {}, "null"),
        (["params", "params"], {"params": True}, "true"),
    ],
)
def test_what_a_limit_counts_by(path: list[str] | None, input_: Any, key: str | None) -> None:
    assert concurrency_key(path, input_) == key
