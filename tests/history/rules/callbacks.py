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
    has ended by it; a step that follows an error carries it again, and no other step does. One that was kept for an
    answer is used, or told unused, when that answer comes.
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
    for row in history.dump.callbacks:
        worker = history.dump.workers.get((row.execution_pk, row.worker_id))
        if row.fate == "kept" and worker is not None and worker.step > row.step:
            lane = (row.execution_pk, row.worker_id)
            yield Finding(
                "I13", f"{history.name(lane)}: what was kept for step {row.step} was forgotten with its answer"
            )


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
        wait = _wait_before(history, step)
        if wait is None:
            continue
        calls = sent.get(wait, [])
        if not any(callback_digest(call.asked) == attempt.callback for call in calls):
            yield Finding("I13", f"{step} carried a callback that nobody has sent for the step before it")


def _wait_before(history: History, step: StepId) -> Await | None:
    """The await whose callback this step may be told of; None for one in an execution that this one goes on from."""
    before = step.step - 1
    while before >= 0 and _erred(history, step._replace(step=before)):
        before -= 1
    execution = history.by_id.get(step.execution)
    seed = None if execution is None else (execution.seeds or {}).get(step.worker)
    return None if before < 0 and seed is not None and seed.is_called_back else (step.execution, step.worker, before)


def _erred(history: History, step: StepId) -> bool:
    """Whether an answer to this step asked to try the same turn again."""
    talk = history.app.talks.get(step)
    return talk is not None and any(one.answer is not None and one.answer.errs for one in talk.attempts)


def _named(wait: Await) -> str:
    return f"execution {wait[0]} worker {wait[1]} step {wait[2]}"
