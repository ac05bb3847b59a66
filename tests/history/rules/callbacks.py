"""I13: callbacks, which end the wait of a parked worker."""

from collections import defaultdict
from collections.abc import Iterator

from tests.history.app_log import StepId, callback_digest
from tests.history.client_log import ClientCall
from tests.history.findings import Finding
from tests.history.history import History

Await = tuple[str, int, int]
"""The execution, the worker and the step whose answer parked it."""


def reflected_once(history: History) -> Iterator[Finding]:
    """I13: a callback that was acknowledged is reflected once, and nothing that nobody has sent.

    Two different ones are not both acknowledged for one wait. The next step of the worker carries it, or the worker
    has ended by it; no other step does.
    """
    sent: dict[Await, list[ClientCall]] = defaultdict(list)
    for call in history.clients.of("callback"):
        if call.may_have_worked:
            asked = call.asked
            sent[str(asked["execution_id"]), int(asked["worker_id"]), int(asked["step"])].append(call)
    for wait, calls in sent.items():
        accepted = {callback_digest(call.asked) for call in calls if call.outcome == "ok"}
        if len(accepted) > 1:
            yield Finding("I13", f"{_named(wait)}: {len(accepted)} different callbacks were acknowledged")
        elif accepted:
            fault = _reflection(history, wait, *accepted)
            if fault is not None:
                yield Finding("I13", f"{_named(wait)}: {fault}")
    yield from _carried(history, sent)


def _reflection(history: History, wait: Await, accepted: bytes) -> str | None:
    execution_id, worker_id, step = wait
    execution = history.by_id.get(execution_id)
    worker = None if execution is None else history.dump.workers.get((execution.pk, worker_id))
    if execution is None or worker is None:
        return "a callback was acknowledged for a worker that does not exist"
    talk = history.talk((execution.pk, worker_id), step + 1)
    if talk is not None:
        is_told = all(attempt.callback == accepted for attempt in talk.attempts)
        return None if is_told else "the next step did not carry the callback that was acknowledged"
    # With `resume` it may be about to be called.
    return None if worker.status != "awaiting" else f"its callback was acknowledged, but the worker is {worker.status}"


def _carried(history: History, sent: dict[Await, list[ClientCall]]) -> Iterator[Finding]:
    for step, attempt in history.app.attempts():
        if attempt.callback is None or not history.clients.is_given:
            continue
        calls = sent.get(_wait_before(step), [])
        if not any(callback_digest(call.asked) == attempt.callback for call in calls):
            yield Finding("I13", f"{step} carried a callback that nobody has sent for the step before it")


def _wait_before(step: StepId) -> Await:
    return step.execution, step.worker, step.step - 1


def _named(wait: Await) -> str:
    return f"execution {wait[0]} worker {wait[1]} step {wait[2]}"
