"""Import batches, and what the built-in collector has taken in."""

from typing import Any, Literal

from orchestrator.api.answers import instant, maybe_instant, raw
from orchestrator.api.shapes.parts import JsonObject, Shown, Time
from orchestrator.store.batch_views import BatchView
from orchestrator.store.collected import CollectedView

BatchStatus = Literal["pending", "delivered", "refused", "discarded"]


class ImportBatch(Shown):
    """A batch of items on its way to the collector; `message` is what the collector last said."""

    key: str
    execution_id: str
    worker_id: int
    step: int
    part: int
    item_count: int
    status: BatchStatus
    tries: int
    due_at: Time | None
    message: str | None
    created_at: Time
    ended_at: Time | None


class CollectedItem(Shown):
    """An item in the built-in collector."""

    number: int
    kind: str
    item: JsonObject
    batch_key: str
    received_at: Time


class Collected(Shown):
    """What became of a batch that was sent to the collector."""

    received: int
    duplicate: bool


def import_batch(view: BatchView) -> dict[str, Any]:
    return {
        "key": view.key,
        "execution_id": view.execution_id,
        "worker_id": view.worker_id,
        "step": view.step,
        "part": view.part,
        "item_count": view.item_count,
        "status": view.status,
        "tries": view.tries,
        "due_at": maybe_instant(view.due_at),
        "message": view.message,
        "created_at": instant(view.created_at),
        "ended_at": maybe_instant(view.ended_at),
    }


def collected_item(view: CollectedView) -> dict[str, Any]:
    return {
        "number": view.pk,
        "kind": view.kind,
        "item": raw(view.item),
        "batch_key": view.batch_key,
        "received_at": instant(view.received_at),
    }
