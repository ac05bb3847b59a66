"""Launch: an execution begins, waits its turn, or is refused, as the overlap policy says.

`launch` serves people, programs and schedules alike; `promote` starts what has waited. Both take the lock of the
overlap group first, so that two launches at the same instant from two nodes obey the policy too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from orchestrator.domain.beginning import Beginning, Seed, as_object
from orchestrator.domain.errors import AlreadyRunning, Conflict, Invalid
from orchestrator.domain.overlap import Queue, Refuse, Start, Verdict, decide
from orchestrator.domain.policy import OnMultipleExec
from orchestrator.domain.pulling import concurrency_key
from orchestrator.domain.states import ExecutionStatus
from orchestrator.service import callback_effects, json_schemas
from orchestrator.service.definitions import Definitions, TaskDefinition
from orchestrator.service.holding import Held, hold, newly_held, present, save
from orchestrator.store import apps, executions, groups
from orchestrator.store.clock import maybe_micros, to_micros
from orchestrator.store.lookups import ExecutionKey
from orchestrator.store.transaction import Transaction

NewId = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Fit:
    """How an input was held against the `input_schema` of this version; `problem`: why it does not fit."""

    version_pk: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """What to launch. States are JSON texts, `workers` those of other workers than 0; `input` never changes later.

    One that goes on from a call of another execution has its `beginning`, and tells where it comes from. Its event
    calls the `application` by its app's id, unless it names another. `max_retries` counts instead of the task's own.
    A simple task is `launched_as` what it was asked for, and belongs to `owner_id`. `fit`: what was found out about the
    input before, which may take long.
    """

    workspace_id: str
    app_pk: int
    task_pk: int
    version_pk: int
    input: str = "{}"
    workers: Mapping[int, str] = field(default_factory=dict)
    id: str | None = None
    multiple_exec_key: str = ""
    run_at: datetime | None = None
    name: str | None = None
    launched_by: str | None = None
    beginning: Beginning | None = None
    resumed_from: str | None = None
    application: str | None = None
    max_retries: int | None = None
    launched_as: str | None = None
    owner_id: int | None = None
    fit: Fit | None = None

    @property
    def seeds(self) -> Mapping[int, Seed]:
        if self.beginning is not None:
            return self.beginning.seeds
        return {0: Seed(self.input), **{worker_id: Seed(state) for worker_id, state in self.workers.items()}}


@dataclass(frozen=True, slots=True)
class Launched:
    """The new execution."""

    pk: int
    id: str
    is_started: bool


def fit(version_pk: int, definition: TaskDefinition, input_: str, longest_secs: float | None = None) -> Fit:
    """Hold an input against its schema; touches nothing."""
    schema = definition.manifest.input_schema
    problem = None if schema is None else json_schemas.fault(schema, as_object(input_), longest_secs)
    return Fit(version_pk, problem)


def launch(tx: Transaction, definitions: Definitions, order: LaunchOrder, new_id: NewId) -> Launched:
    """Create the execution and start it if its turn is now.

    Raises AlreadyRunning when the policy refuses it (the fact `execution_id` names the one in the way), Conflict when
    its id is taken or its app is deleted, Invalid when the id holds a colon or the input does not fit the schema.
    """
    _check_id(tx, order)
    now = tx.now()
    definition = definitions.read(tx, {order.version_pk})[order.version_pk]
    _check_input(definition, order)
    later = order.run_at is not None and order.run_at > now
    group = (order.task_pk, order.multiple_exec_key)
    verdict: Verdict = Queue() if later else _verdict(tx, definition, group, now)
    if isinstance(verdict, Refuse):
        raise _refused(tx, verdict)
    held = hold(tx, definitions, verdict.replaces if isinstance(verdict, Start) else ())
    _keep_app(tx, order.app_pk)
    launched = _insert(tx, order, definition, new_id(), now)
    if isinstance(verdict, Start):
        _start({**held, launched.pk: launched}, launched.pk, now)
    save(tx, [*held.values(), launched], now)
    return Launched(launched.pk, launched.id, is_started=isinstance(verdict, Start))


def promote(tx: Transaction, definitions: Definitions, pk: int) -> bool:
    """Start a pending execution if its turn has come; False if it must go on waiting, or was started elsewhere."""
    found = groups.pending(tx, pk)
    if found is None:
        return False
    task_pk, key, version_pk, run_at = found
    now = tx.now()
    if run_at is not None and run_at > to_micros(now):
        return False
    definition = definitions.read(tx, {version_pk})[version_pk]
    verdict = _verdict(tx, definition, (task_pk, key), now, but=pk, is_queued=True)
    if isinstance(verdict, Queue) or (isinstance(verdict, Refuse) and verdict.is_waiting):
        return False
    # Read again under the locks: another node may have started or aborted it since.
    held = _hold_with_replaced(tx, definitions, pk, verdict)
    if pk not in held or held[pk].execution.status is not ExecutionStatus.PENDING:
        return False
    if isinstance(verdict, Refuse):
        held[pk].execution.abort("discarded: another execution was running when its start time came", now)
    else:
        _start(held, pk, now)
    save(tx, held.values(), now)
    return True


def restart(tx: Transaction, definitions: Definitions, found: ExecutionKey) -> Held:
    """Begin a new attempt of an execution, or let it wait its turn, as the overlap policy says.

    Raises Conflict if it has not failed or been aborted or its app is deleted, AlreadyRunning when the policy refuses,
    NotFound if it is gone.
    """
    now = tx.now()
    definition = definitions.read(tx, {found.version_pk})[found.version_pk]
    verdict = _verdict(tx, definition, (found.task_pk, found.multiple_exec_key), now, but=found.pk)
    held = _hold_with_replaced(tx, definitions, found.pk, verdict)
    one = present(held, found.pk)
    _keep_app(tx, found.app_pk)
    one.execution.retry()
    # What the workers failed with belongs to the attempt before.
    executions.forget_messages(tx, found.pk, one.execution.touched)
    match verdict:
        case Refuse():
            raise _refused(tx, verdict)
        case Start():
            _start(held, found.pk, now)
        case Queue():
            pass
        case _:
            assert_never(verdict)
    save(tx, held.values(), now)
    return one


def _keep_app(tx: Transaction, app_pk: int) -> None:
    # Looked at again under its lock, which comes after those of executions: nobody calls an app that is deleted.
    if not apps.keep(tx, app_pk):
        raise Conflict("not started: the app was deleted")


def _hold_with_replaced(tx: Transaction, definitions: Definitions, pk: int, verdict: Verdict) -> dict[int, Held]:
    """The execution, and those that it replaces: locked together, and so in their order."""
    return hold(tx, definitions, {pk, *(verdict.replaces if isinstance(verdict, Start) else ())})


def _start(held: dict[int, Held], pk: int, now: datetime) -> None:
    for other, one in held.items():
        if other != pk:
            _make_way(one, now)
    held[pk].execution.start(now)


def _make_way(held: Held, now: datetime) -> None:
    if not held.execution.has_ended:
        held.execution.abort("aborted by a newer launch (abort_existing)", now)


def _verdict(
    tx: Transaction,
    definition: TaskDefinition,
    group: tuple[int, str],
    now: datetime,
    *,
    but: int | None = None,
    is_queued: bool = False,
) -> Verdict:
    """Decide under the group's lock. `but` is not counted; one that `is_queued` yields only to older ones."""
    if definition.on_multiple_exec is OnMultipleExec.ALLOW:
        return Start()
    groups.lock(tx, *group)
    running, waiting = groups.members(tx, *group, to_micros(now))
    return decide(
        definition.on_multiple_exec,
        tuple(pk for pk in running if pk != but),
        tuple(pk for pk in waiting if pk != but and not (is_queued and but is not None and pk > but)),
    )


def _refused(tx: Transaction, verdict: Refuse) -> AlreadyRunning:
    execution_id = groups.execution_id(tx, verdict.by)
    how = "is already waiting for the running one to end" if verdict.is_waiting else "is still running"
    return AlreadyRunning(
        f"not launched: execution {execution_id} of this task and multiple_exec_key {how}", execution_id=execution_id
    )


def _check_id(tx: Transaction, order: LaunchOrder) -> None:
    if order.id is None:
        return
    if ":" in order.id or not order.id.strip() or len(order.id) > 128:
        raise Invalid("an execution's id has 1 to 128 characters and no colon", field="id")
    if groups.is_id_taken(tx, order.workspace_id, order.id):
        raise _id_taken(order.id)


def _check_input(definition: TaskDefinition, order: LaunchOrder) -> None:
    found = order.fit
    if found is None or found.version_pk != order.version_pk:
        most = json_schemas.LONGEST_IN_TRANSACTION_SECS
        found = fit(order.version_pk, definition, order.input, most)
    if found.problem is not None:
        raise Invalid(f"the input does not fit the task's input_schema: {found.problem}", field="$.state")


def _id_taken(execution_id: str) -> Conflict:
    return Conflict(f"there is an execution {execution_id} already", execution_id=execution_id)


def _insert(tx: Transaction, order: LaunchOrder, definition: TaskDefinition, uid: str, now: datetime) -> Held:
    row = {
        "uid": uid,
        "workspace_id": order.workspace_id,
        "id": order.id or uid,
        "app_pk": order.app_pk,
        "task_pk": order.task_pk,
        "version_pk": order.version_pk,
        "multiple_exec_key": order.multiple_exec_key,
        "max_retries": order.max_retries,
        "run_at": maybe_micros(order.run_at),
        "queues": definition.on_multiple_exec is OnMultipleExec.RETRY_LATER,
        "concurrency_key": _concurrency_key(definition, order),
        "created_at": to_micros(now),
    }
    pk = groups.insert_execution(tx, row)
    if pk is None:
        # Another launch with the same id has been committed since the check.
        raise _id_taken(order.id or uid)
    _insert_details(tx, pk, order, now)
    return newly_held(pk, row, definition, order.seeds)


def _concurrency_key(definition: TaskDefinition, order: LaunchOrder) -> str | None:
    path = definition.manifest.concurrency_path
    return None if path is None else concurrency_key(path, as_object(order.input))


def _insert_details(tx: Transaction, pk: int, order: LaunchOrder, now: datetime) -> None:
    seeds = order.seeds
    begins_with_more = order.beginning is not None or len(seeds) > 1
    beginning = order.beginning or Beginning(seeds)
    groups.insert_details_soon(
        tx,
        {
            "execution_pk": pk,
            "input": order.input,
            "output": beginning.output,
            "name": order.name,
            "launched_by": order.launched_by,
            "beginning": beginning.as_text() if begins_with_more else None,
            "resumed_from": order.resumed_from,
            "application": order.application,
            "launched_as": order.launched_as,
            "owner_id": order.owner_id,
        },
    )
    executions.insert_states_soon(
        tx,
        [
            {"execution_pk": pk, "worker_id": worker_id, "state": seed.state, "output": seed.output}
            for worker_id, seed in seeds.items()
        ],
    )
    callback_effects.hand_down(tx, pk, seeds, now)
