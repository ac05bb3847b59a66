"""Workspaces: list, make, show and rotate the secret.

The admins of `default` see all of them, others their own.
"""

from fastapi import Response

from orchestrator.api.answers import json_answer, listing
from orchestrator.api.deps import Authenticated, Context, Paging, Posting
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import tokens as shapes
from orchestrator.api.shapes.parts import Listing
from orchestrator.domain.errors import Forbidden, NotFound
from orchestrator.service import workspaces
from orchestrator.service.idempotency import Reply
from orchestrator.service.paging import Page, Slice, cut
from orchestrator.service.tokens import Caller
from orchestrator.store.tables import Workspace
from orchestrator.store.transaction import Transaction

router = guarded_router("workspaces")


@router.get("/v1/workspaces", response_model=Listing[shapes.Workspace])
async def list_workspaces(context: Context, caller: Authenticated, page: Paging) -> Response:
    """List the workspaces, in the order of their ids."""
    return listing(await context.database.read(_visible, caller, page), shapes.workspace)


@router.post("/v1/workspaces", status_code=201, response_model=shapes.Workspace)
async def create_workspace(
    body: shapes.NewWorkspace, context: Context, caller: Authenticated, write: Posting
) -> Response:
    """Make a workspace. `POST /v1/tokens` with its `workspace_id` then makes its first admin token."""
    if not caller.runs_the_installation:
        raise Forbidden("only an admin of the workspace default may make workspaces", role=caller.role.value)

    def work(tx: Transaction) -> Reply:
        return Reply(201, shapes.workspace(workspaces.create(tx, context.vault, body.id, body.name)))

    return await write(work)


@router.get("/v1/workspaces/{workspace_id}/secret", response_model=shapes.WorkspaceSecret)
async def get_workspace_secret(workspace_id: str, context: Context, caller: Authenticated) -> Response:
    """Show the secret that the workspace's import batches are signed with: its collector verifies with it."""
    _check_visible(caller, workspace_id)
    secret = await context.database.read(workspaces.secret, context.vault, workspace_id)
    return json_answer({"id": workspace_id, "secret": secret})


@router.post("/v1/workspaces/{workspace_id}/rotate-secret", response_model=shapes.WorkspaceSecret)
async def rotate_workspace_secret(
    workspace_id: str, context: Context, caller: Authenticated, write: Posting
) -> Response:
    """Replace the workspace's secret, from the next delivery on."""
    _check_visible(caller, workspace_id)

    def work(tx: Transaction) -> Reply:
        secret = workspaces.rotate_secret(tx, context.vault, workspace_id)
        return Reply(200, {"id": workspace_id}, {"secret": secret})

    return await write(work)


def _visible(tx: Transaction, caller: Caller, page: Page) -> Slice[Workspace]:
    after = page.text("workspaces") or ""
    found = [
        row
        for row in workspaces.every(tx)
        if row.id > after and (caller.runs_the_installation or row.id == caller.workspace_id)
    ]
    return cut(found[: page.limit + 1], page, "workspaces", lambda row: (row.id,))


def _check_visible(caller: Caller, workspace_id: str) -> None:
    if workspace_id != caller.workspace_id and not caller.runs_the_installation:
        raise NotFound(f"there is no workspace {workspace_id}")
