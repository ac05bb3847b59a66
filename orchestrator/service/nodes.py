"""Nodes: they register, give signs of life, and leave. Equal among themselves: none of them leads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.service import timers
from orchestrator.service.definitions import Definitions
from orchestrator.store import nodes, outbox
from orchestrator.store.clock import to_micros
from orchestrator.store.nodes import NodeFacts, NodeRow
from orchestrator.store.transaction import Transaction

REMEMBERED = timedelta(days=1)


class NodeStatus(StrEnum):
    """LIVE: takes part. DRAINING: takes nothing new. STOPPED: in good order. LOST: silent for too long."""

    LIVE = "live"
    DRAINING = "draining"
    STOPPED = "stopped"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as its peers know it."""

    row: NodeRow
    status: NodeStatus


@dataclass(frozen=True, slots=True)
class Beat:
    """What a sign of life came back with: the database's time, and how many other nodes have given one lately."""

    at: datetime
    others: int


@dataclass(frozen=True, slots=True)
class Freed:
    """How many calls are to be made again, and how many import batches to be sent again."""

    claims: int
    batches: int

    @property
    def is_something(self) -> bool:
        return self.claims + self.batches > 0


def beat(tx: Transaction, facts: NodeFacts, status: NodeStatus, timeout: timedelta) -> Beat:
    """Give a sign of life; others count that have done so within `timeout`."""
    now = tx.now()
    nodes.beat(tx, facts, status.value, to_micros(now))
    return Beat(now, nodes.others(tx, facts.id, to_micros(now - timeout)))


def leave(tx: Transaction, node_id: str) -> None:
    """Say that the node has stopped in good order."""
    nodes.leave(tx, node_id, to_micros(tx.now()))


def forget(tx: Transaction) -> int:
    """Remove nodes that have been gone for a day; returns how many."""
    return nodes.forget(tx, to_micros(tx.now() - REMEMBERED))


def lose_silent(tx: Transaction, definitions: Definitions, timeout: timedelta) -> Freed:
    """Give up what nodes hold that have been silent for `timeout`, long before their leases end.

    A node that only was held up finds its answers fenced, as after the end of a lease; what it delivers counts.
    """
    now = tx.now()
    before = to_micros(now - timeout)
    silent = nodes.claims_of_lost(tx, before, timers.BATCH)
    message = f"its node gave no sign of life for {timeout.total_seconds():g} s"
    lost = timers.lose(tx, definitions, silent, message, skip_locked=True) if silent else 0
    return Freed(lost, outbox.release_lost(tx, before, timers.BATCH, to_micros(now)))


def listed(tx: Transaction, timeout: timedelta) -> Sequence[NodeView]:
    """The nodes of the last day, the ones last heard of first; at most 500."""
    silent_before = to_micros(tx.now() - timeout)
    return [_view(row, silent_before) for row in nodes.listed(tx)]


def _view(row: NodeRow, silent_before: int) -> NodeView:
    status = NodeStatus(row.state)
    is_silent = status is not NodeStatus.STOPPED and row.heartbeat_at < silent_before
    return NodeView(row, NodeStatus.LOST if is_silent else status)
