"""Events for those who read them one after the other, in the order of their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.domain.patterns import Pattern
from orchestrator.service import tokens
from orchestrator.service.tokens import Caller
from orchestrator.store import events
from orchestrator.store.events import EventView, Head, Range
from orchestrator.store.transaction import Transaction

# What one look takes in: without their data, which is read for one event at a time.
LOOK = 500


@dataclass(frozen=True, slots=True)
class Sight:
    """Those that match among the events that follow; all up to the number `after` were seen."""

    matching: Sequence[Head]
    after: int
    has_more: bool


def newest(tx: Transaction) -> int:
    """The number of the last event so far."""
    return events.last(tx)


def look(tx: Transaction, caller: Caller, pattern: Pattern, after: int) -> Sight:
    """See what follows the number `after`. Raises Unauthenticated once the caller's token does not count any more."""
    tokens.check_still_valid(tx, caller)
    found = events.heads(tx, Range(caller.workspace_id, after, caller.scope.app_pk), LOOK)
    return Sight(
        matching=[head for head in found if pattern.matches(head.type)],
        after=found[-1].seq if found else after,
        has_more=len(found) == LOOK,
    )


def find(tx: Transaction, head: Head) -> EventView | None:
    """The event with its data; None if it has been purged since it was seen."""
    return events.find(tx, head.pk)
