"""I9: how executions and workers have ended."""

from collections.abc import Iterator

from tests.history.client_log import ClientCall
from tests.history.dump import ENDED_EXECUTION, ENDED_WORKER, Execution, Worker
from tests.history.findings import Finding
from tests.history.history import History


def consistent(history: History) -> Iterator[Finding]:
    """I9: an execution has ended if and only if its workers have, in the way they have; and an end stays.

    It succeeded: all are done and every batch is delivered. It runs: something is left to do. A worker is done
    exactly if its last applied answer said so (or parked it, and a callback did). An end that a client has seen is
    not undone, but by a retry, which counts as another attempt.
    """
    undelivered = {batch.execution_pk for batch in history.dump.batches if batch.status in ("pending", "refused")}
    reads = history.clients.by_execution("read")
    for execution in history.dump.executions.values():
        workers = history.workers_of(execution.pk)
        faults = [*_row(execution, workers), *_status(execution, workers, execution.pk in undelivered)]
        faults += [fault for worker in workers for fault in _worker(history, execution, worker)]
        faults += _stays(execution, [read for read in reads.get(execution.id, []) if read.outcome == "ok"])
        for fault in faults:
            yield Finding("I9", f"{execution} {fault}")


def _row(execution: Execution, workers: list[Worker]) -> Iterator[str]:
    has_ended = execution.status in ENDED_EXECUTION
    if has_ended != (execution.ended_at is not None):
        yield f"is {execution.status}, and its time of end is {execution.ended_at}"
    open_workers = sum(worker.status not in ENDED_WORKER for worker in workers)
    if execution.open_workers != open_workers:
        yield f"counts {execution.open_workers} open workers, and has {open_workers}"
    if has_ended and execution.failing:
        yield f"is {execution.status}, and still failing"


def _status(execution: Execution, workers: list[Worker], has_undelivered: bool) -> Iterator[str]:
    still_open = [worker for worker in workers if worker.status not in ENDED_WORKER]
    named = ", ".join(f"{worker.id} {worker.status}" for worker in still_open)
    match execution.status:
        case "succeeded":
            if any(worker.status != "done" for worker in workers):
                yield "succeeded, but " + ", ".join(f"worker {worker.id} is {worker.status}" for worker in workers)
            if has_undelivered:
                yield "succeeded, but has undelivered batches"
        case "failed" | "aborted":
            if still_open:
                yield f"is {execution.status}, but these workers have not ended: {named}"
        case "running":
            if execution.failing and not any(worker.status == "calling" for worker in workers):
                yield "is failing and has no call in flight, but has not ended"
            elif not still_open and not has_undelivered:
                yield "is running, but all of its workers have ended and all batches are delivered"
        case _:
            pass


def _worker(history: History, execution: Execution, worker: Worker) -> Iterator[str]:
    lane = (execution.pk, worker.id)
    last = None
    for call in history.applied(lane):
        last = call
    if last is None:
        seed = (execution.seeds or {}).get(worker.id)
        if worker.status == "done" and (seed is None or seed.rests != "done"):
            yield f"worker {worker.id} is done, but no answer of it was applied"
        return
    if last.effects is None or _was_spawned_since(history, execution.pk, worker.id, last.token):
        return
    if worker.status == "done" and not (last.effects.settles or last.effects.parks):
        yield f"worker {worker.id} is done, but its last applied answer (step {last.step}) did not say so"
    if last.effects.settles and worker.status not in ("done", "failed"):
        yield f"worker {worker.id} is {worker.status}, but its last applied answer (step {last.step}) was is_done"
    if last.effects.fails and execution.attempt == 1 and worker.status != "failed":
        yield f"worker {worker.id} is {worker.status}, but its last applied answer (step {last.step}) was its failure"


def _was_spawned_since(history: History, execution_pk: int, worker_id: int, token: int) -> bool:
    return any(
        call.spawned.get(worker_id, -1) >= token
        for other in range(10)
        for call in history.applied((execution_pk, other))
    )


def _stays(execution: Execution, reads: list[ClientCall]) -> Iterator[str]:
    ends: list[tuple[float, int, str]] = []
    for read in sorted(reads, key=lambda read: read.begin):
        attempt, status = int(read.answered["attempt"]), str(read.answered["status"])
        for end, ended_attempt, ended in ends:
            if end < read.begin and ended_attempt >= attempt and (ended_attempt, ended) != (attempt, status):
                yield f"was seen as {ended} in attempt {ended_attempt}, later as {status} in attempt {attempt}"
        if status in ENDED_EXECUTION:
            ends = [*ends[-1:], (read.end, attempt, status)]
    for _, attempt, status in ends[-1:]:
        if attempt >= execution.attempt and (attempt, status) != (execution.attempt, execution.status):
            yield f"was seen as {status} in attempt {attempt}, and is {execution.status} in {execution.attempt}"
