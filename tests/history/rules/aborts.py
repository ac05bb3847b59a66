"""I10: an abort that was acknowledged is final."""

from collections.abc import Iterator

from tests.history.app_log import Attempt
from tests.history.client_log import ClientCall
from tests.history.dump import Execution
from tests.history.findings import Finding
from tests.history.history import History


def final(history: History) -> Iterator[Finding]:
    """I10: after an abort was acknowledged no answer to an earlier call is applied, not even after a retry.

    An answer that the app gave after the acknowledgement, to a request that had reached it before, was of a claim
    that the abort ended; one to a later request needs a retry that let it. Without a retry the execution is and stays
    aborted, and the steps of its workers are those that a client reads after the abort.
    """
    retries = history.clients.by_execution("retry")
    for execution_id, aborts in history.clients.by_execution("abort").items():
        execution = history.by_id.get(execution_id)
        if execution is None:
            continue
        tried = [retry for retry in retries.get(execution_id, []) if retry.may_have_worked]
        for abort in aborts:
            if abort.outcome == "ok":
                for fault in _faults(history, execution, abort, tried):
                    yield Finding("I10", f"{execution} {fault}")


def _faults(history: History, execution: Execution, abort: ClientCall, tried: list[ClientCall]) -> Iterator[str]:
    later = [retry for retry in tried if retry.end > abort.begin]
    if not any(retry.begin < abort.end for retry in later):
        yield from _applied_after(history, execution, abort, later)
    if later:
        return
    if execution.status != "aborted":
        yield f"was aborted and never retried, but is {execution.status}"
    for read in history.clients.of("read", execution=execution.id):
        if read.outcome == "ok" and read.begin > abort.end:
            yield from _moved_on(history, execution, read)


def _applied_after(history: History, execution: Execution, abort: ClientCall, later: list[ClientCall]) -> Iterator[str]:
    for worker in history.workers_of(execution.pk):
        for call in history.applied((execution.pk, worker.id)):
            if call.source is not None and _is_too_late(call.source, abort, later):
                yield f"worker {worker.id} step {call.step} was applied after the abort had been acknowledged"


def _is_too_late(source: Attempt, abort: ClientCall, later: list[ClientCall]) -> bool:
    answered_at = source.answered_at or source.at
    if answered_at <= abort.end:
        return False
    return source.at <= abort.end or not any(retry.begin < answered_at for retry in later)


def _moved_on(history: History, execution: Execution, read: ClientCall) -> Iterator[str]:
    for seen in read.answered.get("workers", []):
        worker = history.dump.workers.get((execution.pk, seen["worker_id"]))
        if worker is not None and worker.step != seen["step"]:
            yield f"worker {worker.id} was at step {seen['step']} after the abort, and is at step {worker.step}"
