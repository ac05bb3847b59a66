"""Statements on the nodes: who takes part, and when each last gave a sign of life.

Nothing that has to be recovered depends on these rows: a claim carries its own lease. They only let it be recovered
sooner.
"""

from dataclasses import dataclass
from typing import Any

from orchestrator.store.transaction import Transaction

_JOIN = """
INSERT INTO nodes (id, name, role, version, url, state, started_at, heartbeat_at)
VALUES (:id, :name, :role, :version, :url, :state, :now, :now)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, heartbeat_at = excluded.heartbeat_at"""
_LEAVE = "UPDATE nodes SET state = 'stopped', heartbeat_at = :now WHERE id = :id"
_FORGET = "DELETE FROM nodes WHERE heartbeat_at < :before"
_OTHERS = "SELECT count(*) FROM nodes WHERE id <> :id AND state <> 'stopped' AND heartbeat_at >= :since"
# A claim is a sign of life too. A node that was held up makes one before its next beat, and has its time for the call.
_CLAIMS_OF_LOST = """
SELECT w.execution_pk, w.worker_id, w.token FROM workers w JOIN nodes n ON n.id = w.node
 WHERE w.status = 'calling' AND w.pull_task_pk IS NULL AND n.heartbeat_at < :before AND w.claimed_at < :before
 LIMIT :places"""
_LISTED = """
SELECT n.id, n.name, n.role, n.version, n.url, n.state, n.started_at, n.heartbeat_at,
       (SELECT count(*) FROM workers w WHERE w.status = 'calling' AND w.pull_task_pk IS NULL AND w.node = n.id)
  FROM nodes n ORDER BY n.heartbeat_at DESC, n.id LIMIT 500"""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node says about itself. `id` is fresh at every boot; `name` is the operator's word for it."""

    id: str
    name: str
    role: str
    version: str
    url: str


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as it was last heard of; times in microseconds, `calls` in flight by its claims."""

    id: str
    name: str
    role: str
    version: str
    url: str
    state: str
    started_at: int
    heartbeat_at: int
    calls: int


def beat(tx: Transaction, facts: NodeFacts, state: str, now: int) -> None:
    """Give a sign of life; the first one registers the node, and so does one after its row was removed."""
    row: dict[str, Any] = {
        "id": facts.id,
        "name": facts.name,
        "role": facts.role,
        "version": facts.version,
        "url": facts.url,
    }
    tx.run(_JOIN, **row, state=state, now=now)


def leave(tx: Transaction, node_id: str, now: int) -> None:
    """The node has stopped in good order."""
    tx.run(_LEAVE, id=node_id, now=now)


def forget(tx: Transaction, before: int) -> int:
    """Remove the nodes that nobody has heard of since `before`; returns how many."""
    return tx.run(_FORGET, before=before)


def others(tx: Transaction, node_id: str, since: int) -> int:
    """How many other nodes have given a sign of life since then."""
    [(count,)] = tx.rows(_OTHERS, id=node_id, since=since)
    return int(count)


def claims_of_lost(tx: Transaction, before: int, places: int) -> list[tuple[int, int, int]]:
    """(execution, worker id, token) of claims whose node has been silent since; pull claims are not a node's."""
    return [(pk, worker_id, token) for pk, worker_id, token in tx.rows(_CLAIMS_OF_LOST, before=before, places=places)]


def listed(tx: Transaction) -> list[NodeRow]:
    return [NodeRow(*row) for row in tx.rows(_LISTED)]
