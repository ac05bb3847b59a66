"""Callbacks: third parties tell what a worker awaits; and the line of text that they set beside it.

Everything is decided under the execution's lock, so that a callback and the answer that parks its worker take turns:
whichever comes first, the callback is applied exactly once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from orchestrator.domain import callback as awaits
from orchestrator.domain.callback import Fate, Known, Verdict
from orchestrator.domain.errors import Gone, Invalid, NotFound
from orchestrator.domain.states import ExecutionStatus, WorkerStatus
from orchestrator.service.callback_effects import Callback, record, take, time_out
from orchestrator.service.callback_urls import SignedAwait
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import hold_one, save
from orchestrator.service.step_record import telling
from orchestrator.service.tokens import Scope
from orchestrator.store import callbacks, executions, lookups
from orchestrator.store.callbacks import TaskView
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction

_TASK_ID = re.compile(r"([^:]+)(?::([0-9])(?::([0-9]{1,9}))?)?", re.ASCII)

Find = Callable[[Transaction], "Named"]


@dataclass(frozen=True, slots=True)
class Named:
    """What a task id names: a worker of an execution, and a step of it, if one is named."""

    pk: int
    worker_id: int
    step: int | None


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a callback: the worker after it, and the error to tell where it came too late."""

    task: TaskView
    refused: Gone | None = None


def called(scope: Scope, task_id: str) -> Find:
    """Finds what a task id names (`<execution>`, `<execution>:<worker>`, `<execution>:<worker>:<step>`).

    It raises NotFound, also for what belongs to another workspace or app.
    """

    def find(tx: Transaction) -> Named:
        named = _named(tx, scope, task_id)
        if named is None:
            raise _unknown(task_id)
        return named

    return find


def signed(name: SignedAwait, task_id: str | None) -> Find:
    """Finds the await that a signed name names. It raises NotFound; Invalid for a `task_id` that names another one."""

    def find(tx: Transaction) -> Named:
        found = lookups.execution_of_uid(tx, name.uid)
        if found is None:
            raise NotFound("the execution of this callback URL is no more")
        own = Named(found.pk, name.worker_id, name.step)
        if task_id is not None and _named(tx, Scope(found.workspace_id), task_id) not in (own, replace(own, step=None)):
            raise Invalid("this callback URL is for another task", field="$.taskId")
        return own

    return find


def receive(tx: Transaction, definitions: Definitions, find: Find, callback: Callback) -> Received:
    """Take in a callback: apply it, keep it for an answer that has not come yet, or know it again.

    Raises NotFound; Conflict where another one came before, or nothing is awaited; Gone after the timeout. The first
    that comes after the timeout ends the await: that is committed, and `refused` says it.
    """
    named = find(tx)
    held = hold_one(tx, definitions, named.pk)
    worker = held.execution.workers.get(named.worker_id)
    if worker is None:
        raise _unknown(f"{held.id}:{named.worker_id}")
    now = tx.now()
    step = awaits.step_meant(worker, named.step)
    await_ = (held.pk, worker.worker_id, step)
    recorded = callbacks.find(tx, *await_)
    known = None if recorded is None else Known(Fate(recorded.fate), recorded.digest)
    refused = None
    match awaits.judge(worker, step, known, callback.digest, now):
        case Verdict.KEEP:
            held.execution.keep_callback(worker.worker_id)
            record(tx, await_, Fate.KEPT, callback, now)
        case Verdict.APPLY:
            taken = take(held, worker.worker_id, callback, to_micros(now), now)
            record(tx, await_, Fate.APPLIED, callback, now)
            taken.write(tx)
        case Verdict.TIME_OUT:
            time_out(tx, held, worker.worker_id, now)
            refused = awaits.too_late(worker.worker_id, step)
        case Verdict.REPEATED:
            pass
        case verdict:
            assert_never(verdict)
    save(tx, [held], now)
    return Received(_view(tx, held.pk, worker.worker_id), refused)


def set_subtext(tx: Transaction, find: Find, subtext: str) -> TaskView:
    """Set the line that people see beside a worker and beside its execution, whatever their status.

    Raises NotFound.
    """
    named = find(tx)
    # Both rows are written in commits of answers too, and only the execution's lock gives those an order.
    tx.read(executions.lock([named.pk]))
    if not executions.tell(tx, [telling(named.pk, named.worker_id, subtext=subtext)]):
        raise _unknown(str(named.worker_id))
    executions.set_subtext(tx, named.pk, subtext)
    return _view(tx, named.pk, named.worker_id)


def task_status(view: TaskView) -> str:
    """The worker's status in the words of VibeIQ."""
    if view.execution_status == ExecutionStatus.PENDING:
        return "PENDING"
    match WorkerStatus(view.worker_status):
        case WorkerStatus.READY | WorkerStatus.CALLING | WorkerStatus.WAITING:
            return "ACTIVE"
        case WorkerStatus.AWAITING:
            return "AWAITING"
        case WorkerStatus.DONE:
            return "COMPLETE"
        case WorkerStatus.FAILED | WorkerStatus.ABORTED:
            return "FAILED"
        case other:
            assert_never(other)


def _named(tx: Transaction, scope: Scope, task_id: str) -> Named | None:
    parts = _TASK_ID.fullmatch(task_id)
    found = None if parts is None else lookups.execution_key(tx, scope.workspace_id, parts[1])
    if parts is None or found is None or scope.app_pk not in (None, found.app_pk):
        return None
    return Named(found.pk, int(parts[2] or 0), None if parts[3] is None else int(parts[3]))


def _view(tx: Transaction, pk: int, worker_id: int) -> TaskView:
    view = callbacks.task(tx, pk, worker_id)
    if view is None:
        raise _unknown(str(worker_id))
    return view


def _unknown(task_id: str) -> NotFound:
    return NotFound(f"there is no task {task_id}")
