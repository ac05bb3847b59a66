"""Orders: what somebody asked to launch, checked and made into what `launch` takes, for every door."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app_sdk.protocol import strict_json
from app_sdk.protocol.limits import Limits
from app_sdk.protocol.strict_json import JsonError, JsonValue
from orchestrator.domain.errors import Conflict, Invalid, NotFound, TooLarge
from orchestrator.domain.states import AppStatus
from orchestrator.service.definitions import Definitions, TaskDefinition
from orchestrator.service.launching import Fit, LaunchOrder
from orchestrator.service.tokens import Caller
from orchestrator.store import lookups
from orchestrator.store.lookups import TaskKey
from orchestrator.store.transaction import Transaction

LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What is to be launched, as it was asked. `task`: an id or an alias; `workers`: (worker id, state)."""

    task: str
    input: JsonValue = None
    workers: Sequence[tuple[int, JsonValue]] = ()
    id: str | None = None
    multiple_exec_key: str | None = None
    run_at: datetime | None = None
    name: str | None = None
    application: str | None = None


@dataclass(frozen=True, slots=True)
class CheckedLaunch:
    """A request that is sound in itself, its states as JSON texts; whether the task exists is open.

    `fit`: how its input was held against the task's schema, where it was.
    """

    request: LaunchRequest
    input: str
    workers: dict[int, str]
    fit: Fit | None = None


def check(request: LaunchRequest, limits: Limits) -> CheckedLaunch:
    """Raises Invalid or TooLarge, naming the field."""
    if request.run_at is not None and request.run_at.tzinfo is None:
        raise Invalid("say in which time zone, as in 2026-01-31T08:00:00Z", field="$.run_at")
    for field, text in (("name", request.name), ("multiple_exec_key", request.multiple_exec_key)):
        if text is not None and len(text) > LONGEST_NAME:
            raise Invalid(f"at most {LONGEST_NAME} characters", field=f"$.{field}")
    workers: dict[int, str] = {}
    for position, (worker_id, state) in enumerate(request.workers):
        place = f"$.workers[{position}]"
        if not 1 <= worker_id < limits.workers:
            raise Invalid(f"a number from 1 to {limits.workers - 1}", field=f"{place}.worker_id")
        if worker_id in workers:
            raise Invalid(f"worker {worker_id} is named twice", field=f"{place}.worker_id")
        workers[worker_id] = _state(state, f"{place}.initial_state", limits)
    return CheckedLaunch(request, _state(request.input, "$.state", limits), workers)


def present_version(
    tx: Transaction, definitions: Definitions, caller: Caller, checked: CheckedLaunch
) -> tuple[int, TaskDefinition] | None:
    """The version of the task that would be launched now, if its input has a schema to fit."""
    task = lookups.task_key(tx, caller.workspace_id, checked.request.task)
    if task is None or caller.scope.app_pk not in (None, task.app_pk):
        return None
    definition = definitions.read(tx, {task.version_pk})[task.version_pk]
    return None if definition.manifest.input_schema is None else (task.version_pk, definition)


def order(tx: Transaction, caller: Caller, checked: CheckedLaunch) -> LaunchOrder:
    """Find the task within what the caller can see. Raises NotFound; Conflict if its app is not active."""
    request = checked.request
    task = _task(tx, caller, request.task)
    return LaunchOrder(
        workspace_id=caller.workspace_id,
        app_pk=task.app_pk,
        task_pk=task.pk,
        version_pk=task.version_pk,
        input=checked.input,
        workers=checked.workers,
        id=request.id,
        multiple_exec_key=request.multiple_exec_key or "",
        run_at=request.run_at,
        name=request.name,
        application=request.application,
        fit=checked.fit,
        launched_by=strict_json.dumps({"token": caller.token_id, "name": caller.name}).decode(),
    )


def _task(tx: Transaction, caller: Caller, name: str) -> TaskKey:
    task = lookups.task_key(tx, caller.workspace_id, name)
    if task is None or caller.scope.app_pk not in (None, task.app_pk):
        raise NotFound(f"there is no task with the id or alias {name}", field="$.task_id")
    if task.app_status != AppStatus.ACTIVE:
        why = f" ({task.app_status_reason})" if task.app_status_reason else ""
        raise Conflict(
            f"not launched: app {task.app_id} is {task.app_status}{why}; activate it first",
            app_id=task.app_id,
        )
    return task


def _state(value: JsonValue, field: str, limits: Limits) -> str:
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise Invalid("write a JSON object", field=field)
    try:
        text = strict_json.dumps(value)
    except JsonError as error:
        raise Invalid(error.problem, field=field + error.path.removeprefix("$")) from None
    if len(text) > limits.worker_state_bytes:
        raise TooLarge(f"{len(text):,} bytes; the limit of a state is {limits.worker_state_bytes:,}", field=field)
    return text.decode()
