"""Whether this node lives, whether it can serve, and what is under way."""

from fastapi import Response

from orchestrator.api.answers import json_answer
from orchestrator.api.deps import Authenticated, Context
from orchestrator.api.errors import Unavailable
from orchestrator.api.routes import guarded_router, open_router
from orchestrator.api.shapes import status as shapes
from orchestrator.service import installation

router = open_router("health")
status_router = guarded_router("health")


@router.get("/healthz", response_model=shapes.Health)
async def healthz() -> Response:
    """The process lives. Nothing else is looked at."""
    return json_answer({"status": "alive"})


@router.get("/readyz", response_model=shapes.Health)
async def readyz(context: Context) -> Response:
    """The database is reachable, its schema serves this version, and the node is not draining; else 503."""
    if not await context.is_ready():
        raise Unavailable("this node cannot serve now: it is draining, or its database is out of reach or outdated")
    return json_answer({"status": "ready"})


@status_router.get("/v1/status", response_model=shapes.Status)
async def get_status(context: Context, caller: Authenticated) -> Response:
    """The node's version and database, and what the workspace has under way."""
    counts = await context.database.read(installation.count, caller.workspace_id)
    return json_answer(shapes.status(context.version, context.node, context.database.dialect.value, counts))
