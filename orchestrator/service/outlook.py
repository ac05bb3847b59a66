"""What will be due soon, and for which of a node's loops: asked once for all of them."""

from datetime import timedelta
from enum import StrEnum

from orchestrator.store import outlook
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction


class Concern(StrEnum):
    """What a loop cares for. EVENTS are to be published, DELIVERIES of them to be made."""

    CALLS = "calls"
    BATCHES = "batches"
    EVENTS = "events"
    DELIVERIES = "deliveries"
    SLOTS = "slots"
    TIMERS = "timers"


def due_within(tx: Transaction, span: timedelta) -> list[Concern]:
    """Where something is due by then, or is already; read without locks, so a heuristic."""
    return [Concern(name) for name in outlook.due(tx, to_micros(tx.now() + span))]
