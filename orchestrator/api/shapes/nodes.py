"""Nodes, as they are shown."""

from typing import Any, Literal

from pydantic import Field

from orchestrator.api.answers import instant
from orchestrator.api.shapes.parts import Shown, Time
from orchestrator.service.nodes import NodeView


class Node(Shown):
    """A process that takes part."""

    id: str = Field(description="Its name and a part that is fresh at every boot.")
    name: str
    role: Literal["all", "api", "engine"]
    version: str
    url: str
    status: Literal["live", "draining", "stopped", "lost"] = Field(
        description="lost: it has given no sign of life for engine.node_timeout_secs."
    )
    calls: int = Field(description="The calls that it is making.")
    started_at: Time
    heartbeat_at: Time


def node(view: NodeView) -> dict[str, Any]:
    row = view.row
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "version": row.version,
        "url": row.url,
        "status": view.status.value,
        "calls": row.calls,
        "started_at": instant(row.started_at),
        "heartbeat_at": instant(row.heartbeat_at),
    }
