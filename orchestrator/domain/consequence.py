"""What the end of a call means for its worker: it is called again, rests, is done, or has failed.

Decided from the answer, the task's policy and the worker's counters, which already include this call.
`execution` carries the consequence out, and knows what overrides it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from app_sdk.protocol.answer import Answer, AwaitCallback
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.policy import Delivery, TaskPolicy
from orchestrator.domain.retry import RetryPolicy, idle_delay
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Worker

# As many unsuccessful calls in a row as the default policy allows.
LOSSES_ENDURED = RetryPolicy().max_retries


@dataclass(frozen=True, slots=True)
class Reckoning:
    """How the waits after a call are reckoned: they count from its end.

    `jitter` in [-1, 1] moves a backoff by up to 10 %.
    """

    since: datetime
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class CallAgain:
    """The worker is due at `at`; `note` says why so late, where nobody has asked for that."""

    at: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """The worker awaits a callback; without one before `until` it has failed. `resume`: then it is called again."""

    until: datetime
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """The worker waits for the others."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The worker is done."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The worker has failed."""

    message: str


Consequence = CallAgain | Park | Wait | Finish | Fail


def of_answer(
    worker: Worker, answer: Answer, policy: TaskPolicy, reckoning: Reckoning, *, now: datetime
) -> Consequence:
    """Precedence: is_error, is_done, await_callback, wait_for_workers, delay.

    A callback is awaited from `now`, since none can be kept before.
    """
    since = reckoning.since
    if answer.is_error:
        return _of_error(worker, answer, policy, reckoning)
    parking = AwaitCallback() if answer.await_callback is None and policy.is_async else answer.await_callback
    if parking is not None:
        return Park(now + timedelta(seconds=parking.timeout_in_secs), parking.resume)
    if answer.is_done:
        return Finish()
    if answer.wait_for_workers:
        return Wait()
    if answer.delay_next_request_in_secs:
        return CallAgain(since + timedelta(seconds=answer.delay_next_request_in_secs))
    return _unasked(worker, since)


def of_failure(worker: Worker, call: Unsuccessful, policy: TaskPolicy, reckoning: Reckoning) -> Consequence:
    """The same step is called again after a wait, or the worker has failed."""
    if policy.delivery is Delivery.AT_MOST_ONCE and call.is_sent and not call.is_answered:
        return Fail(f"{call.message}; at_most_once: it may have reached the app, so it is not repeated")
    if call.is_final:
        return Fail(call.message)
    if call.is_lost:
        return _made_again(worker, call.message, policy, reckoning.since)
    return _retried(worker, call.message, policy, call.retry_after, reckoning)


def of_callback(
    *, succeeded: bool, resume: bool, now: datetime, reason: str | None = None
) -> CallAgain | Finish | Fail:
    """A callback ends the worker, or has it called again where its await asked to `resume`.

    `reason`: what it says of its failure.
    """
    if not succeeded:
        return Fail("the callback reported a failure" + (f": {reason}" if reason else ""))
    return CallAgain(now) if resume else Finish()


def carry_out(worker: Worker, consequence: CallAgain | Park | Wait | Finish) -> None:
    """Move the worker accordingly."""
    match consequence:
        case CallAgain(at):
            worker.move(WorkerStatus.READY, at)
        case Park(until=until):
            worker.move(WorkerStatus.AWAITING, until)
        case Wait():
            worker.move(WorkerStatus.WAITING)
        case Finish():
            worker.move(WorkerStatus.DONE)
        case _:
            assert_never(consequence)


def _of_error(worker: Worker, answer: Answer, policy: TaskPolicy, reckoning: Reckoning) -> Consequence:
    message = answer.message or "the app answered is_error without a message"
    if answer.is_done:
        return Fail(message)
    asked = answer.delay_next_request_in_secs
    delay = None if asked is None else timedelta(seconds=asked)
    return _retried(worker, message, policy, delay, reckoning)


def _retried(
    worker: Worker, message: str, policy: TaskPolicy, asked: timedelta | None, reckoning: Reckoning
) -> Consequence:
    if policy.retry.is_exhausted(worker.retry_count):
        return Fail(f"out of retries ({policy.retry.max_retries}): {message}")
    wait = policy.retry.backoff(worker.retry_count, reckoning.jitter) if asked is None else asked
    return CallAgain(reckoning.since + wait)


def _made_again(worker: Worker, message: str, policy: TaskPolicy, now: datetime) -> CallAgain | Fail:
    # However few retries the task asks for: they are for what the app did. Yet a call that brings down its node
    # must not do so for ever.
    if worker.retry_count > max(policy.retry.max_retries, LOSSES_ENDURED):
        return Fail(f"cut off again and again: {message}")
    return CallAgain(now)


def _unasked(worker: Worker, now: datetime) -> CallAgain:
    imposed = idle_delay(worker.idle_steps)
    if not imposed:
        return CallAgain(now)
    note = (
        f"slowed to one call in {imposed.total_seconds():g} s: "
        f"the last {worker.idle_steps} answers were not done and changed nothing"
    )
    return CallAgain(now + imposed, note)
