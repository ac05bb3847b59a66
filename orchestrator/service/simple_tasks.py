"""Simple tasks (BookLogr): create, look, retry. Each is an execution, of a task of any transport, with one owner."""

from dataclasses import dataclass, replace

from app_sdk.protocol import strict_json
from app_sdk.protocol.limits import Limits
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.errors import Conflict, Invalid, NotFound
from orchestrator.domain.states import ExecutionStatus
from orchestrator.service import ending, launching, orders
from orchestrator.service.definitions import Definitions
from orchestrator.service.launching import LaunchOrder, NewId
from orchestrator.service.orders import CheckedLaunch, LaunchRequest
from orchestrator.service.tokens import Caller, Role
from orchestrator.store import simple_tasks as statements
from orchestrator.store.simple_tasks import SimpleTaskView
from orchestrator.store.transaction import Transaction

# Data that are no object are the one value of an input that is; and so is such an object, to tell the two apart.
_WRAPPED = "data"
_LARGEST_NUMBER = 2**63 - 1
_STATUS = {
    ExecutionStatus.SUCCEEDED: "success",
    ExecutionStatus.FAILED: "failure",
    ExecutionStatus.ABORTED: "failure",
}


class UnknownType(Invalid):
    """No task has this id or alias."""


@dataclass(frozen=True, slots=True)
class SimpleTask:
    """A task in BookLogr's words. `data` is JSON text as it was sent; times in microseconds."""

    number: int
    type: str
    data: str
    status: str
    worker: str | None
    created_at: int
    updated_on: int | None
    created_by: int | None


def checked(type_: str, data: JsonValue, limits: Limits) -> CheckedLaunch:
    """What is to be launched, once it is known to be sound in itself. Raises Invalid or TooLarge."""
    input_ = data if isinstance(data, dict) and data.keys() != {_WRAPPED} else {_WRAPPED: data}
    return orders.check(LaunchRequest(task=type_, input=input_), limits)


def create(tx: Transaction, definitions: Definitions, caller: Caller, wanted: CheckedLaunch, new_id: NewId) -> int:
    """Launch a task for the owner of the caller's token; returns its number.

    It is not retried by itself unless its definition says how often. Raises UnknownType, and what `launch` raises.
    """
    launched = launching.launch(tx, definitions, _order(tx, definitions, caller, wanted), new_id)
    return statements.number_of(tx, launched.pk)


def find(tx: Transaction, caller: Caller, number: str) -> SimpleTask:
    """Raises NotFound, also for another owner's."""
    return _task(_find(tx, caller, number))


def retry(tx: Transaction, definitions: Definitions, caller: Caller, number: str) -> None:
    """Begin a new attempt of a task that has failed. Raises NotFound, Conflict."""
    found = _find(tx, caller, number)
    if _STATUS.get(ExecutionStatus(found.status)) != "failure":
        raise Conflict(f"only a task that has failed can be retried; this one is {_status(found)}")
    ending.retry(tx, definitions, caller.workspace_id, found.execution_id)


def _order(tx: Transaction, definitions: Definitions, caller: Caller, wanted: CheckedLaunch) -> LaunchOrder:
    type_ = wanted.request.task
    try:
        order = orders.order(tx, caller, wanted)
    except NotFound as error:
        raise UnknownType(f"there is no task of the type {type_}") from error
    asks = definitions.read(tx, {order.version_pk})[order.version_pk].manifest.asks_for_retries
    return replace(order, max_retries=None if asks else 0, launched_as=type_, owner_id=caller.owner_id)


def _find(tx: Transaction, caller: Caller, number: str) -> SimpleTaskView:
    is_number = number.isascii() and number.isdigit() and int(number) <= _LARGEST_NUMBER
    found = statements.find(tx, caller.workspace_id, int(number) if is_number else 0)
    if found is None or not _may_see(caller, found):
        raise NotFound("No task found")
    return found


def _may_see(caller: Caller, found: SimpleTaskView) -> bool:
    if caller.role is not Role.APP:
        return True
    return caller.scope.app_pk == found.app_pk and caller.owner_id == found.owner_id


def _task(found: SimpleTaskView) -> SimpleTask:
    return SimpleTask(
        number=found.number,
        type=found.type,
        data=_data(found),
        status=_status(found),
        worker=found.worker,
        created_at=found.created_at,
        updated_on=found.taken_at if found.ended_at is None else found.ended_at,
        created_by=found.owner_id,
    )


def _status(found: SimpleTaskView) -> str:
    return _STATUS.get(ExecutionStatus(found.status), "fresh" if found.worker is None else "started")


def _data(found: SimpleTaskView) -> str:
    value = strict_json.loads(found.input.encode()) if found.is_simple else None
    if isinstance(value, dict) and value.keys() == {_WRAPPED}:
        return strict_json.dumps(value[_WRAPPED]).decode()
    return found.input
