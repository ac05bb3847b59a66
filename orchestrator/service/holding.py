"""Executions held under their locks: loaded whole, changed by the domain's verbs, written back as far as they changed.

Every writer of an execution or of its workers goes through `hold` and `save`; that is what makes the lock order
(overlap group, executions, apps, workers, each by key) hold everywhere. Whoever has an execution's lock may rely on
its workers' rows, so those are not locked one by one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.domain.beginning import Seed
from orchestrator.domain.errors import NotFound
from orchestrator.domain.events import data_of, event_id, name_of, routing_key
from orchestrator.domain.execution import Execution
from orchestrator.domain.states import ENDED_EXECUTION, ExecutionStatus
from orchestrator.domain.worker import Worker
from orchestrator.service.definitions import Definitions, TaskDefinition
from orchestrator.service.worker_rows import Bystander, from_row, only_goes_on, to_renewal, to_row
from orchestrator.store import events
from orchestrator.store import executions as statements
from orchestrator.store.clock import from_micros, maybe_instant, maybe_micros
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction

# Calling the Enum takes a function in Python.
_STATUSES: Mapping[str, ExecutionStatus] = {status.value: status for status in ExecutionStatus}


class GuardMissed(RuntimeError):
    """A row changed although its execution was locked: a fault of ours; the transaction is rolled back."""


@dataclass(slots=True)
class Held:
    """An execution under its lock, with what its row said before."""

    pk: int
    uid: str
    workspace_id: str
    id: str
    app_pk: int
    task_pk: int
    multiple_exec_key: str
    created_at: datetime
    started_at: datetime | None
    definition: TaskDefinition
    execution: Execution
    row: dict[str, Any]
    guards: dict[int, tuple[int, str]]
    """The token and status of each worker as they were read."""
    rows: dict[int, Sequence[Any]] = field(default_factory=dict)
    """Of the workers that are likely to change: what was read."""

    @property
    def is_open(self) -> bool:
        """Whether workers had not ended when it was read, or saved last: it then counts for the overlap policy."""
        return bool(self.row["open_workers"])

    @property
    def group(self) -> tuple[int, str]:
        return self.task_pk, self.multiple_exec_key


def hold(
    tx: Transaction,
    definitions: Definitions,
    pks: Iterable[int],
    *,
    skip_locked: bool = False,
    about: Collection[tuple[int, int]] | None = None,
    then: Sequence[Read] = (),
) -> dict[int, Held]:
    """Lock and load the executions. Those that do not exist, or are held elsewhere with `skip_locked`, are left out.

    `about`: the workers that are likely to change, as (execution, worker id); None where that may be all of them. It
    is but a hint, which saves reading the others to the end. `then` is read after the locks, in their round trip; it
    is not where there is no execution to lock.
    """
    wanted = set(pks)
    if not wanted:
        return {}
    locked, standings = statements.lock(wanted, skip_locked=skip_locked), statements.standings(wanted)
    workers = statements.workers(wanted, about)
    tx.read(locked, standings, workers, *then)
    known = definitions.read(tx, {row[6] for row in locked.rows})
    held = {row[0]: _held(row, known[row[6]]) for row in locked.rows}
    rests = {pk: _Rest(tx, pk).worker for pk in held}
    likely = {(row[0], row[1]): row for row in workers.rows}
    for standing in standings.rows:
        pk, worker_id, status, token, _ = standing
        if (one := held.get(pk)) is None:
            continue
        one.guards[worker_id] = (token, status)
        if (row := likely.get((pk, worker_id))) is None:
            one.execution.workers[worker_id] = Bystander(standing, rests[pk])
        else:
            one.execution.workers[worker_id] = from_row(row)
            one.rows[worker_id] = row
    return held


class _Rest:
    """The workers of a locked execution, read when one of them is asked for."""

    __slots__ = ("_pk", "_tx", "_workers")

    def __init__(self, tx: Transaction, pk: int) -> None:
        self._tx = tx
        self._pk = pk
        self._workers: dict[int, Worker] = {}

    def worker(self, worker_id: int) -> Worker:
        if not self._workers:
            read = statements.workers([self._pk])
            self._tx.read(read)
            self._workers = {row[1]: from_row(row) for row in read.rows}
        return self._workers[worker_id]


def hold_one(tx: Transaction, definitions: Definitions, pk: int) -> Held:
    """As `hold`. Raises NotFound if the execution has been purged since it was looked up."""
    return present(hold(tx, definitions, {pk}), pk)


def present(held: Mapping[int, Held], pk: int) -> Held:
    """The execution with this key. Raises NotFound if it has been purged since it was looked up."""
    if pk not in held:
        raise NotFound("this execution has just been purged")
    return held[pk]


def newly_held(pk: int, row: Mapping[str, Any], definition: TaskDefinition, seeds: Mapping[int, Seed]) -> Held:
    """An execution that this transaction has just inserted, pending; `save` inserts its workers."""
    workers = {worker_id: seeds[worker_id].worker(worker_id) for worker_id in sorted(seeds)}
    return Held(
        pk=pk,
        uid=row["uid"],
        workspace_id=row["workspace_id"],
        id=row["id"],
        app_pk=row["app_pk"],
        task_pk=row["task_pk"],
        multiple_exec_key=row["multiple_exec_key"],
        created_at=from_micros(row["created_at"]),
        started_at=None,
        definition=definition,
        execution=Execution(definition.policy.retried(row["max_retries"]), workers, touched=set(workers)),
        row={},
        guards={},
    )


def save(tx: Transaction, held: Iterable[Held], now: datetime) -> None:
    """Write what the domain's verbs have changed, and an event for each execution that has ended.

    It comes last in a use case: an event shows the output as the transaction leaves it. Raises GuardMissed if a row is
    not as it was read.
    """
    changed: list[dict[str, Any]] = []
    ended: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    renewals: list[dict[str, Any]] = []
    inserts: list[dict[str, Any]] = []
    for one in held:
        if one.execution.status is ExecutionStatus.RUNNING and one.started_at is None:
            one.started_at = now
        row = _execution_row(one)
        if row != one.row:
            # One that this transaction has inserted is pending, in its first attempt.
            guard = {"was_status": "pending", "was_attempt": 1} if not one.row else _guard(one.row)
            changed.append({**row, **guard})
            if _has_just_ended(one):
                ended.append(_event_row(one))
            one.row = row
        for worker_id in sorted(one.execution.touched):
            worker = one.execution.workers[worker_id]
            was, read = one.guards.get(worker_id), one.rows.pop(worker_id, None)
            if was is not None and read is not None and only_goes_on(worker, read):
                renewals.append(to_renewal(one.pk, worker, was))
            else:
                (inserts if was is None else updates).append(_worker_row(one, worker, was))
            one.guards[worker_id] = (worker.token, worker.status.value)
        one.execution.touched.clear()
    written = statements.write(tx, changed, updates, renewals, inserts)
    if written[0] != len(changed):
        raise GuardMissed("an execution's row was not as it had been read under its lock")
    if written[1] != len(updates) + len(renewals):
        raise GuardMissed("a worker's row was not as it had been read under its execution's lock")
    if events.publish(tx, ended) != len(ended):
        raise GuardMissed("an execution that ended had no details to publish")


def _held(row: Sequence[Any], definition: TaskDefinition) -> Held:
    (pk, uid, workspace_id, id_, app_pk, task_pk, _, key, created_at) = row[:9]
    (status, failing, attempt, open_workers, deadline_at, started_at, ended_at, message, max_retries) = row[9:]
    execution = Execution(
        policy=definition.policy.retried(max_retries),
        workers={},
        status=_STATUSES[status],
        failing=bool(failing),
        attempt=attempt,
        message=message,
        deadline_at=maybe_instant(deadline_at),
        ended_at=maybe_instant(ended_at),
    )
    return Held(
        pk=pk,
        uid=uid,
        workspace_id=workspace_id,
        id=id_,
        app_pk=app_pk,
        task_pk=task_pk,
        multiple_exec_key=key,
        created_at=from_micros(created_at),
        started_at=maybe_instant(started_at),
        definition=definition,
        execution=execution,
        row={
            "pk": pk,
            "status": status,
            "failing": failing,
            "attempt": attempt,
            "open_workers": open_workers,
            "deadline_at": deadline_at,
            "started_at": started_at,
            "ended_at": ended_at,
            "message": message,
        },
        guards={},
    )


def _execution_row(held: Held) -> dict[str, Any]:
    execution = held.execution
    return {
        "pk": held.pk,
        "status": execution.status.value,
        "failing": execution.failing,
        "attempt": execution.attempt,
        "open_workers": execution.open_workers,
        "deadline_at": maybe_micros(execution.deadline_at),
        "started_at": maybe_micros(held.started_at),
        "ended_at": maybe_micros(execution.ended_at),
        "message": execution.message,
    }


def _has_just_ended(held: Held) -> bool:
    """A retry may end in the very transaction that begins it: then it is the attempt that tells the two ends apart."""
    was_ended = held.row.get("status") in ENDED_EXECUTION and held.row["attempt"] == held.execution.attempt
    return held.execution.has_ended and not was_ended


def _event_row(held: Held) -> dict[str, Any]:
    execution, manifest = held.execution, held.definition.manifest
    name = name_of(manifest.id, manifest.aliases)
    data = data_of(held.id, execution.attempt, name, execution.status, execution.message)
    return {
        "execution_pk": held.pk,
        "id": event_id(held.uid, execution.attempt),
        "workspace_id": held.workspace_id,
        "app_pk": held.app_pk,
        "type": routing_key(name, execution.status),
        "subject": held.id,
        "before_application": data.before_application,
        "before_result": data.before_result,
        "before_message": data.before_message,
        "message": execution.message,
        "has_succeeded": execution.status is ExecutionStatus.SUCCEEDED,
        "created_at": maybe_micros(execution.ended_at),
    }


def _guard(row: dict[str, Any]) -> dict[str, Any]:
    return {"was_status": row["status"], "was_attempt": row["attempt"]}


def _worker_row(held: Held, worker: Worker, guard: tuple[int, str] | None) -> dict[str, Any]:
    row = to_row(held.pk, worker)
    if guard is None:
        return {**row, "app_pk": held.app_pk, "pull_task_pk": held.task_pk if held.definition.is_pull else None}
    row["was_token"], row["was_status"] = guard
    return row
