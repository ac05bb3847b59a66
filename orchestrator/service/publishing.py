"""Publish: events that were committed get their numbers, and are noted for every subscription that wants them."""

from dataclasses import dataclass

from orchestrator.domain.patterns import read_pattern
from orchestrator.domain.subscriptions import SubscriptionKind
from orchestrator.store import event_deliveries, events, subscriptions
from orchestrator.store.clock import to_micros
from orchestrator.store.events import Unnumbered
from orchestrator.store.subscriptions import Wanted
from orchestrator.store.transaction import Transaction

BATCH = 500


@dataclass(frozen=True, slots=True)
class Published:
    """How many events got a number, and how many deliveries they make."""

    events: int
    deliveries: int


def is_due(tx: Transaction) -> bool:
    """Whether there is anything to publish."""
    return events.has_unnumbered(tx)


def publish(tx: Transaction) -> Published:
    """Publish the next events, BATCH at most.

    Nodes take turns until their commits, and an event is numbered after its own: so a reader who has seen a number
    will never see a lower one appear.
    """
    last = events.lock_last(tx)
    found = events.unnumbered(tx, BATCH)
    if not found:
        return Published(0, 0)
    events.number(tx, found, last)
    wanted = subscriptions.wanted(tx, sorted({one.workspace_id for one in found}))
    now = to_micros(tx.now())
    deliveries = [
        {"subscription_pk": subscription.pk, "event_pk": one.pk, "now": now}
        for one in found
        for subscription in wanted
        if _wants(subscription, one)
    ]
    event_deliveries.put(tx, deliveries)
    return Published(len(found), len(deliveries))


def _wants(subscription: Wanted, event: Unnumbered) -> bool:
    if subscription.workspace_id != event.workspace_id:
        return False
    if event.is_follow_up and subscription.kind == SubscriptionKind.TASK:
        return False
    return read_pattern(subscription.pattern).matches(event.type)
