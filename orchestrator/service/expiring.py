"""What time makes superfluous beside executions: each a bounded batch, in a transaction of its own."""

from datetime import timedelta

from orchestrator.domain.retention import REDELIVERABLE, SHORTEST
from orchestrator.service.idempotency import REMEMBERED
from orchestrator.store import expiring
from orchestrator.store.clock import to_micros
from orchestrator.store.expiring import Unneeded
from orchestrator.store.transaction import Transaction

ROWS = 1_000
DEFINITIONS = 100
# Each may have a large result, and a delivery for every subscription.
EVENTS = 100


def forget_requests(tx: Transaction) -> int:
    """Drop records of requests whose Idempotency-Key no longer counts; how many, ROWS if there may be more."""
    return expiring.forget_requests(tx, to_micros(tx.now() - REMEMBERED), ROWS)


def forget_occurrences(tx: Transaction, age: timedelta) -> int:
    """Drop records of slots that are older; as `forget_requests`."""
    return expiring.forget_occurrences(tx, to_micros(tx.now() - age), ROWS)


def forget_items(tx: Transaction, age: timedelta) -> int:
    """Drop what the built-in collector took in longer ago; as `forget_requests`."""
    return expiring.forget_items(tx, to_micros(tx.now() - age), ROWS)


def forget_keys(tx: Transaction, age: timedelta) -> int:
    """Drop the keys of batches taken in longer ago that cannot come a second time; as `forget_requests`."""
    return expiring.forget_keys(tx, to_micros(tx.now() - max(age, REDELIVERABLE)), ROWS)


def forget_events(tx: Transaction, age: timedelta) -> bool:
    """Drop events that are older, with their deliveries; False if nothing is left to drop."""
    return expiring.forget_events(tx, to_micros(tx.now() - age), EVENTS) > 0


def forget_subscription(tx: Transaction) -> bool:
    """Drop a part of a deleted subscription's deliveries, or it; False if there is none."""
    return expiring.forget_subscription(tx, ROWS)


def unneeded(tx: Transaction) -> Unneeded:
    """Replaced versions, removed tasks and deleted apps that no execution needs, and no launch in progress can."""
    return expiring.unneeded(tx, to_micros(tx.now() - SHORTEST), DEFINITIONS)


def drop_unneeded(tx: Transaction, these: Unneeded) -> None:
    """Remove them, or a part; the rest is found again."""
    expiring.drop_unneeded(tx, these, ROWS)
