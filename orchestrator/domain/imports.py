"""How the items of an answer are cut into import batches, and what a collector's answer means."""

from collections.abc import Sequence
from enum import StrEnum

from app_sdk.protocol.strict_json import JsonValue

ITEMS_PER_BATCH = 250
REFUSED_STATUSES = frozenset({400, 413, 422})


class BatchStatus(StrEnum):
    """PENDING: to be delivered, in order. REFUSED: kept with the collector's words, holds back later ones."""

    PENDING = "pending"
    DELIVERED = "delivered"
    REFUSED = "refused"
    DISCARDED = "discarded"


def batches(items: Sequence[dict[str, JsonValue]]) -> list[Sequence[dict[str, JsonValue]]]:
    """`items` in the order given, at most 250 to a batch."""
    return [items[start : start + ITEMS_PER_BATCH] for start in range(0, len(items), ITEMS_PER_BATCH)]


def batch_key(execution_uid: str, worker_id: int, step: int, part: int) -> str:
    """The Idempotency-Key of a batch: the same at every delivery, never used by another batch."""
    return f"imp_{execution_uid}_{worker_id}_{step}_{part}"
