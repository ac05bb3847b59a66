"""Events that launch tasks: launch and delivery are one transaction, so that an event launches a task once."""

from app_sdk.protocol import strict_json
from app_sdk.protocol.limits import Limits
from app_sdk.protocol.strict_json import JsonError
from orchestrator.domain.errors import Conflict, Invalid, NotFound, TooLarge
from orchestrator.domain.states import AppStatus
from orchestrator.domain.subscriptions import DeliveryStatus
from orchestrator.service.cloud_events import attributes
from orchestrator.service.definitions import Definitions
from orchestrator.service.launching import LaunchOrder, NewId, launch
from orchestrator.store import event_deliveries, lookups
from orchestrator.store.clock import to_micros
from orchestrator.store.event_deliveries import OutgoingEvent
from orchestrator.store.lookups import TaskKey
from orchestrator.store.transaction import Transaction


def launch_for(tx: Transaction, definitions: Definitions, event: OutgoingEvent, limits: Limits, new_id: NewId) -> None:
    """Launch the task with the event as its input, unless whoever took the delivery over has done it.

    Raises Conflict where the task cannot be launched now, NotFound when it is gone, TooLarge and Invalid for an event
    that no state can hold: then nothing has changed.
    """
    if not event_deliveries.lock(tx, event):
        return
    task = _task(tx, event)
    # That it begins so is how an event knows later that it is a follow-up of this one.
    launched_by = strict_json.dumps({"event": event.id, "type": event.type}).decode()
    order = LaunchOrder(
        workspace_id=event.workspace_id,
        app_pk=task.app_pk,
        task_pk=task.pk,
        version_pk=task.version_pk,
        input=_input(event, limits),
        launched_by=launched_by,
    )
    launch(tx, definitions, order, new_id)
    key = {"subscription_pk": event.subscription_pk, "event_pk": event.event_pk}
    now = to_micros(tx.now())
    event_deliveries.close(tx, [{**key, "status": DeliveryStatus.DELIVERED.value, "message": None, "now": now}])


def _task(tx: Transaction, event: OutgoingEvent) -> TaskKey:
    task = None if event.task_pk is None else lookups.task_by_pk(tx, event.task_pk)
    if task is None:
        raise NotFound("not launched: the task was removed")
    if task.app_status != AppStatus.ACTIVE:
        raise Conflict(f"not launched: app {task.app_id} is {task.app_status}")
    if task.is_paused:
        raise Conflict(f"not launched: task {task.id} is paused")
    return task


def _input(event: OutgoingEvent, limits: Limits) -> str:
    """The event as JSON text, its data as it was written."""
    head = strict_json.dumps(attributes(event, event.workspace_id)).decode()
    text = f'{head[:-1]},"data":{event.data}}}'
    size = len(text.encode())
    if size > limits.worker_state_bytes:
        raise TooLarge(f"not launched: the event has {size:,} bytes; a state has {limits.worker_state_bytes:,} at most")
    try:
        strict_json.loads(text.encode())
    except JsonError as error:
        raise Invalid(f"not launched: the event is no state: {error}") from None
    return text
