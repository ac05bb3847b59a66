"""The nodes of the installation, for those who run it."""

from fastapi import Response

from orchestrator.api.answers import json_answer
from orchestrator.api.deps import Authenticated, Context
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import nodes as shapes
from orchestrator.api.shapes.parts import Listing
from orchestrator.domain.errors import Forbidden
from orchestrator.service import nodes
from orchestrator.service.workspaces import DEFAULT_WORKSPACE

router = guarded_router("nodes")


@router.get("/v1/nodes", response_model=Listing[shapes.Node])
async def list_nodes(context: Context, caller: Authenticated) -> Response:
    """List the nodes of the last day, the ones last heard of first. For tokens of the workspace default."""
    if caller.workspace_id != DEFAULT_WORKSPACE:
        raise Forbidden("the nodes are shown to the workspace default only", role=caller.role.value)
    found = await context.database.read(nodes.listed, context.node_timeout)
    return json_answer({"items": [shapes.node(view) for view in found], "next_cursor": None})
