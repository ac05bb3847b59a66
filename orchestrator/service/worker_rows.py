"""A worker as the domain knows it and as its row keeps it: the one is made from the other at every step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Lease, Worker
from orchestrator.store.clock import from_micros, maybe_instant, maybe_micros, to_micros

# Read for every worker of an execution, at every step of one: calling the Enum takes a function in Python.
_STATUSES: Mapping[str, WorkerStatus] = {status.value: status for status in WorkerStatus}


class Bystander(Worker):
    """A worker of which nobody may want to know more than where it stands; its row is read once more is asked for.

    A step of one worker loads the nine others: to read them to the end took longer than to decide on the one.
    """

    __slots__ = ("_read", "_whole")

    def __init__(self, standing: Sequence[Any], read: Callable[[int], Worker]) -> None:
        """`standing`: a row of `store.executions.standings`; `read` gives the whole worker by its id."""
        self._read = read
        self.worker_id = standing[1]
        self.status = _STATUSES[standing[2]]
        self.token = standing[3]
        self.passed_over = bool(standing[4])

    def __getattr__(self, name: str) -> Any:
        # Python asks here for what is not set. So what a verb has set already stays as it is.
        value = self._read(self.worker_id) if name == "_whole" else getattr(self._whole, name)
        setattr(self, name, value)
        return value


def from_row(row: Sequence[Any]) -> Worker:
    """The worker of a row of `store.executions.workers`."""
    (_, worker_id, status, step, token, retry_count, idle_steps, due_at) = row[:8]
    (finished, waits, passed_over, awaited, resumes, called_back, early_callback) = row[8:15]
    (undelivered, refused, node, claimed_at, lease_until, started_at) = row[15:]
    return Worker(
        worker_id=worker_id,
        status=_STATUSES[status],
        step=step,
        token=token,
        retry_count=retry_count,
        idle_steps=idle_steps,
        due_at=maybe_instant(due_at),
        finished=bool(finished),
        waits=bool(waits),
        passed_over=bool(passed_over),
        awaited=awaited,
        resumes=bool(resumes),
        called_back=bool(called_back),
        has_early_callback=bool(early_callback),
        undelivered=undelivered,
        refused=refused,
        lease=None if node is None else _lease(node, claimed_at, lease_until, started_at),
    )


def to_row(execution_pk: int, worker: Worker) -> dict[str, Any]:
    """The row of a worker, by the names of its columns."""
    lease = worker.lease
    return {
        "execution_pk": execution_pk,
        "worker_id": worker.worker_id,
        "status": worker.status.value,
        "step": worker.step,
        "token": worker.token,
        "retry_count": worker.retry_count,
        "idle_steps": worker.idle_steps,
        "due_at": maybe_micros(worker.due_at),
        "finished": worker.finished,
        "waits": worker.waits,
        "passed_over": worker.passed_over,
        "awaited": worker.awaited,
        "resumes": worker.resumes,
        "called_back": worker.called_back,
        "early_callback": worker.has_early_callback,
        "undelivered": worker.undelivered,
        "held": worker.is_held,
        "refused": worker.refused,
        "node": lease.node if lease else None,
        "claimed_at": maybe_micros(lease.since) if lease else None,
        "lease_until": maybe_micros(lease.until) if lease else None,
        "started_at": maybe_micros(lease.started) if lease else None,
    }


def only_goes_on(worker: Worker, row: Sequence[Any]) -> bool:
    """Whether the worker, which `row` was read of, is claimed as before, and no more than `to_renewal` tells is new."""
    lease = worker.lease
    if lease is None or lease.started is not None or worker.due_at is not None or row[20] is not None:
        return False
    return (
        worker.status.value,
        worker.finished,
        worker.waits,
        worker.passed_over,
        worker.awaited,
        worker.resumes,
        worker.called_back,
        worker.has_early_callback,
        worker.undelivered,
        worker.refused,
        lease.node,
    ) == (row[2], *row[8:18])


def to_renewal(execution_pk: int, worker: Worker, was: tuple[int, str]) -> dict[str, Any]:
    """The row of a worker that only goes on. `was`: its token and status as they were read."""
    assert worker.lease is not None
    return {
        "execution_pk": execution_pk,
        "worker_id": worker.worker_id,
        "step": worker.step,
        "token": worker.token,
        "retry_count": worker.retry_count,
        "idle_steps": worker.idle_steps,
        "claimed_at": to_micros(worker.lease.since),
        "lease_until": to_micros(worker.lease.until),
        "was_token": was[0],
        "was_status": was[1],
    }


def _lease(node: str, claimed_at: int, lease_until: int, started_at: int | None) -> Lease:
    return Lease(node, from_micros(claimed_at), from_micros(lease_until), maybe_instant(started_at))
