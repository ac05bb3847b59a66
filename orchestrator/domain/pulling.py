"""Pull claims: what the executor of a step may do with its claim, and what becomes of one that it lets run out.

A claim is *requested* when it is handed out and *in progress* once its executor has started it. It is named by an id
that follows from its worker and its fencing token, so that a claim handed out anew always has a new one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app_sdk.protocol.pull_options import PullOptions
from app_sdk.protocol.strict_json import JsonValue, dumps
from orchestrator.domain.consequence import Reckoning
from orchestrator.domain.errors import ClaimRefused
from orchestrator.domain.execution import Execution
from orchestrator.domain.outcome import Unsuccessful
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Lease, Worker

_CLAIM_ID = re.compile(r"x_(?P<uid>.+)_(?P<worker_id>[0-9]{1,4})_(?P<token>[0-9]{1,9})")


class Reason(StrEnum):
    """Why something is refused. STALE: the claim holds no more. STATUS: not in this status. DONE: it is over."""

    STALE = "stale-exec-id"
    STATUS = "wrong-status"
    ENDING = "execution-is-failing"
    DONE = "task-has-been-done"


@dataclass(frozen=True, slots=True)
class PullTerms:
    """How long a claim may wait for its start, and how long, once started, for the next sign of life."""

    requested: timedelta
    in_progress: timedelta

    @classmethod
    def of(cls, options: PullOptions) -> "PullTerms":
        return cls(
            requested=timedelta(milliseconds=options.requested_to_start_timeout),
            in_progress=timedelta(milliseconds=options.in_progress_timeout),
        )

    def lease(self, executor: str, now: datetime) -> Lease:
        """The lease of a claim that is handed out now."""
        return Lease(executor, since=now, until=now + self.requested)

    def anew(self, lease: Lease, now: datetime) -> Lease:
        """The lease with its whole term before it again, as after a restart that its executor knows nothing of."""
        return replace(lease, until=now + (self.requested if lease.started is None else self.in_progress))


def claim_id(uid: str, worker_id: int, token: int) -> str:
    """What an executor names its claim by."""
    return f"x_{uid}_{worker_id}_{token}"


def token_of(claim: str, uid: str, worker_id: int) -> int | None:
    """The token in a claim's id, if it is one of this worker's."""
    found = _CLAIM_ID.fullmatch(claim)
    if found is None or found["uid"] != uid or int(found["worker_id"]) != worker_id:
        return None
    return int(found["token"])


def concurrency_key(path: Sequence[str] | None, input_: JsonValue) -> str | None:
    """What a task's concurrency limit counts an execution by: the value at `path`, as JSON text; None without a path.

    A path may begin at the resource, where the input is called `params`. Where it leads nowhere, null is counted by.
    """
    if path is None:
        return None
    value = input_
    for name in path[1:] if path[0] == "params" else path:
        value = value.get(name) if isinstance(value, dict) else None
    return dumps(in_order(value)).decode()


def start_claim(execution: Execution, worker_id: int, token: int | None, terms: PullTerms, now: datetime) -> None:
    """The executor begins the step. Raises ClaimRefused if the claim is not its own any more, or begun already."""
    lease = _lease(execution, worker_id, token)
    if lease.started is not None:
        raise ClaimRefused("this task is in progress already", reason=Reason.STATUS.value)
    _check_in_time(lease, "it was not started within requestedToStartTimeout", now)
    execution.change_lease(worker_id, replace(lease, started=now, until=now + terms.in_progress))


def extend_claim(execution: Execution, worker_id: int, token: int | None, terms: PullTerms, now: datetime) -> datetime:
    """The executor is alive; returns until when it need not say so again. Raises ClaimRefused.

    While the execution is failing, nothing is extended: it must come to an end, which it does by its answers.
    """
    lease = begun_lease(execution, worker_id, token)
    _check_in_time(lease, "no sign of life came within inProgressTimeout", now)
    if execution.failing:
        raise ClaimRefused(
            f"the execution is failing ({execution.message}); a result counts until {lease.until.isoformat()}",
            reason=Reason.ENDING.value,
        )
    until = now + terms.in_progress
    execution.change_lease(worker_id, replace(lease, until=until))
    return until


def begun_lease(execution: Execution, worker_id: int, token: int | None) -> Lease:
    """The lease of a claim that is in progress, so that a result of it counts. Raises ClaimRefused."""
    lease = _lease(execution, worker_id, token)
    if lease.started is None:
        raise ClaimRefused("this task was not started: awf.task/start comes first", reason=Reason.STATUS.value)
    return lease


def run_out(execution: Execution, worker_id: int, now: datetime) -> Unsuccessful | None:
    """End a claim whose time is up; returns the failure that this is, None where it was never started.

    One that was never started is given back, and nothing counted.
    """
    worker = execution.workers[worker_id]
    if worker.lease is None or worker.lease.started is None:
        execution.give_back(worker_id, now)
        return None
    failure = Unsuccessful(f"executor {worker.lease.node} gave no sign of life in time", is_answered=False)
    execution.fail_call(worker_id, failure, now=now, reckoning=Reckoning(now))
    return failure


def is_run_out(execution: Execution, worker_id: int, token: int, now: datetime) -> bool:
    """Whether the claim is still the present one, and its time is up."""
    worker = execution.workers.get(worker_id)
    is_held = worker is not None and execution.holds(worker_id, token)
    return is_held and worker is not None and worker.lease is not None and worker.lease.until <= now


def in_order(value: JsonValue) -> JsonValue:
    """The same value with the keys of its objects in order, so that equal values make equal texts."""
    match value:
        case dict():
            return {key: in_order(value[key]) for key in sorted(value)}
        case list():
            return [in_order(one) for one in value]
        case _:
            return value


def _lease(execution: Execution, worker_id: int, token: int | None) -> Lease:
    worker = execution.workers.get(worker_id)
    if token is None or worker is None or worker.lease is None or not execution.holds(worker_id, token):
        raise ClaimRefused(f"this execId does not hold: {_instead(worker, token)}", reason=Reason.STALE.value)
    return worker.lease


def _instead(worker: Worker | None, token: int | None) -> str:
    if worker is None or token is None or token > worker.token:
        return "it was never given out for this task"
    if token < worker.token or worker.status is WorkerStatus.CALLING:
        return "the task was given out again since"
    return f"its claim has ended; the worker is {worker.status}"


def _check_in_time(lease: Lease, otherwise: str, now: datetime) -> None:
    if lease.until <= now:
        raise ClaimRefused(f"too late: {otherwise}", reason=Reason.STALE.value)
