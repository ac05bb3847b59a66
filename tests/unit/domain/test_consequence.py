"""What the end of a call means for its worker: every row of the tables, and their precedence."""

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.consequence import (
    CallAgain,
    Consequence,
    Fail,
    Finish,
    Park,
    Reckoning,
    Wait,
    of_answer,
    of_failure,
)
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import Delivery, TaskPolicy
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.worker import Worker
from tests.unit.domain.builders import NOW, answer

ASYNC = TaskPolicy(is_async=True)
ONCE = TaskPolicy(delivery=Delivery.AT_MOST_ONCE)
TWO_RETRIES = TaskPolicy(retry=RetryPolicy(max_retries=2))
DAY = timedelta(hours=24)


def secs(value: float) -> timedelta:
    return timedelta(seconds=value)


def after(
    fields: dict[str, Any], policy: TaskPolicy | None = None, *, retry_count: int = 0, idle_steps: int = 0
) -> Consequence:
    worker = Worker(0, retry_count=retry_count, idle_steps=idle_steps)
    return of_answer(worker, answer(**fields), policy or TaskPolicy(), Reckoning(NOW), now=NOW)


def after_failure(
    call: Unsuccessful, policy: TaskPolicy | None = None, *, retry_count: int = 1, jitter: float = 0.0
) -> Consequence:
    worker = Worker(0, retry_count=retry_count)
    return of_failure(worker, call, policy or TaskPolicy(), Reckoning(NOW, jitter))


@pytest.mark.parametrize(
    ("fields", "consequence"),
    [
        ({}, CallAgain(NOW)),
        ({"delay_next_request_in_secs": 0}, CallAgain(NOW)),
        ({"delay_next_request_in_secs": 2.5}, CallAgain(NOW + secs(2.5))),
        ({"is_done": True}, Finish()),
        ({"is_done": True, "delay_next_request_in_secs": 9}, Finish()),
        ({"wait_for_workers": True}, Wait()),
        ({"wait_for_workers": True, "delay_next_request_in_secs": 9}, Wait()),
        ({"await_callback": {}}, Park(NOW + DAY)),
        ({"await_callback": {"timeout_in_secs": 60}}, Park(NOW + secs(60))),
        ({"await_callback": {}, "delay_next_request_in_secs": 9}, Park(NOW + DAY)),
    ],
)
def test_an_answer_without_an_error(fields: dict[str, Any], consequence: Consequence) -> None:
    assert after(fields) == consequence


@pytest.mark.parametrize("fields", [{}, {"is_done": True}, {"wait_for_workers": True}])
def test_an_async_task_parks_whatever_its_answer_says(fields: dict[str, Any]) -> None:
    assert after(fields, ASYNC) == Park(NOW + DAY)


def test_an_async_task_may_name_its_own_timeout() -> None:
    assert after({"await_callback": {"timeout_in_secs": 5}}, ASYNC) == Park(NOW + secs(5))


@pytest.mark.parametrize(
    ("fields", "consequence"),
    [
        ({}, CallAgain(NOW + secs(10))),
        ({"delay_next_request_in_secs": 0}, CallAgain(NOW)),
        ({"delay_next_request_in_secs": 3}, CallAgain(NOW + secs(3))),
        ({"wait_for_workers": True}, CallAgain(NOW + secs(10))),
        ({"await_callback": {}}, CallAgain(NOW + secs(10))),
        ({"is_done": True, "message": "no such shop"}, Fail("no such shop")),
        ({"is_done": True}, Fail("the app answered is_error without a message")),
    ],
)
@pytest.mark.parametrize("policy", [TaskPolicy(), ASYNC, ONCE])
def test_an_answer_with_an_error(fields: dict[str, Any], consequence: Consequence, policy: TaskPolicy) -> None:
    assert after({"is_error": True, **fields}, policy, retry_count=2) == consequence


@pytest.mark.parametrize("delay", [{}, {"delay_next_request_in_secs": 3}])
def test_errors_in_a_row_use_up_the_retries(delay: dict[str, Any]) -> None:
    fields = {"is_error": True, "message": "later", **delay}
    assert isinstance(after(fields, TWO_RETRIES, retry_count=2), CallAgain)
    assert after(fields, TWO_RETRIES, retry_count=3) == Fail("out of retries (2): later")


def test_a_worker_that_changes_nothing_is_slowed_and_that_is_said() -> None:
    assert after({}, idle_steps=2) == CallAgain(NOW)
    assert after({}, idle_steps=4) == CallAgain(
        NOW + secs(0.2),
        "slowed to one call in 0.2 s: the last 4 answers were not done and changed nothing",
    )
    assert after({"delay_next_request_in_secs": 0.05}, idle_steps=4) == CallAgain(NOW + secs(0.05))


@pytest.mark.parametrize(
    ("call", "consequence"),
    [
        (Unsuccessful("HTTP 500"), CallAgain(NOW + secs(5))),
        (Unsuccessful("HTTP 503", retry_after=secs(90)), CallAgain(NOW + secs(90))),
        (Unsuccessful("timeout", is_answered=False), CallAgain(NOW + secs(5))),
        (Unsuccessful("refused", is_answered=False, is_sent=False), CallAgain(NOW + secs(5))),
        (Unsuccessful("HTTP 400", is_final=True), Fail("HTTP 400")),
    ],
)
def test_a_call_that_closed_no_step(call: Unsuccessful, consequence: Consequence) -> None:
    assert after_failure(call) == consequence


def test_the_backoff_grows_with_the_failures_and_has_jitter() -> None:
    call = Unsuccessful("HTTP 500")
    assert after_failure(call, retry_count=3) == CallAgain(NOW + secs(20))
    assert after_failure(call, retry_count=3, jitter=-1.0) == CallAgain(NOW + secs(18))


def test_failures_in_a_row_use_up_the_retries() -> None:
    call = Unsuccessful("HTTP 503", retry_after=secs(1))
    assert after_failure(call, TWO_RETRIES, retry_count=2) == CallAgain(NOW + secs(1))
    assert after_failure(call, TWO_RETRIES, retry_count=3) == Fail("out of retries (2): HTTP 503")


@pytest.mark.parametrize(
    ("call", "consequence"),
    [
        (Unsuccessful("HTTP 500"), CallAgain(NOW + secs(5))),
        (Unsuccessful("refused", is_answered=False, is_sent=False), CallAgain(NOW + secs(5))),
        (
            Unsuccessful("timeout", is_answered=False),
            Fail("timeout; at_most_once: it may have reached the app, so it is not repeated"),
        ),
    ],
)
def test_at_most_once_does_not_repeat_what_may_have_arrived(call: Unsuccessful, consequence: Consequence) -> None:
    assert after_failure(call, ONCE) == consequence
