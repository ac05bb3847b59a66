"""I8: at most one live claim on a worker, which the fencing token makes sure of."""

from collections.abc import Iterator
from itertools import pairwise

from tests.history.app_log import Attempt
from tests.history.findings import Finding
from tests.history.history import Call, History, Lane


def fenced(history: History) -> Iterator[Finding]:
    """I8: tokens only grow, and an answer is applied only under the newest token of its worker.

    By the records: in the order of the tokens, steps and attempts never go back; the applied call of a step is its
    last one; the worker's own token is at least that of its newest call. By the app's log: no answer was applied
    after a later call of the same step had already reached the app; no two calls of a step carry one retry_count. A
    retry of the execution counts anew, so these two are decided for executions that were never retried.
    """
    for lane, calls in history.lanes.items():
        yield from _by_records(history, lane, calls)
        execution = history.dump.executions.get(lane[0])
        if execution is not None and execution.attempt == 1:
            yield from _by_app(history, lane, calls)


def _by_records(history: History, lane: Lane, calls: list[Call]) -> Iterator[Finding]:
    name = history.name(lane)
    for before, after in pairwise(calls):
        if after.token == before.token:
            yield Finding("I8", f"{name}: token {after.token} was given out twice")
        if after.step < before.step:
            yield Finding("I8", f"{name}: token {after.token} is a call of step {after.step}, after {before.step}")
        if after.attempt < before.attempt:
            yield Finding("I8", f"{name}: token {after.token} is of attempt {after.attempt}, after {before.attempt}")
        if before.is_applied and after.step == before.step and not after.is_applied:
            text = f"step {before.step} was applied under token {before.token}, although token {after.token} is newer"
            yield Finding("I8", f"{name}: {text}")
    worker = history.dump.workers.get(lane)
    if worker is not None and calls and worker.token < calls[-1].token:
        yield Finding("I8", f"{name} is at token {worker.token}, below that of its call {calls[-1].token}")


def _by_app(history: History, lane: Lane, calls: list[Call]) -> Iterator[Finding]:
    for step in dict.fromkeys(call.step for call in calls):
        talk = history.talk(lane, step)
        if talk is None or len(talk.attempts) < 2:
            continue
        counts = sorted(attempt.retry_count for attempt in talk.attempts)
        for count, following in pairwise(counts):
            if count == following:
                yield Finding("I8", f"{history.name(lane)} step {step} was called twice with retry_count {count}")
        source = next((call.source for call in calls if call.step == step and call.source is not None), None)
        if source is not None and any(_came_before_the_answer(source, other) for other in talk.attempts):
            text = f"an answer to step {step} was applied although a later call of it had reached the app before"
            yield Finding("I8", f"{history.name(lane)}: {text}")


def _came_before_the_answer(source: Attempt, other: Attempt) -> bool:
    # A request may be held up on its way, so that being later is told by the count and not by the order of arrival.
    return other.retry_count > source.retry_count and source.answered is not None and other.position < source.answered
