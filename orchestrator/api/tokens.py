"""Tokens: make, list, revoke."""

from fastapi import Response

from orchestrator.api.answers import listing
from orchestrator.api.deps import Authenticated, Changing, Context, Paging, Posting
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import tokens as shapes
from orchestrator.api.shapes.parts import Listing
from orchestrator.domain.errors import NotFound
from orchestrator.service import tokens, workspaces
from orchestrator.service.idempotency import Reply
from orchestrator.service.tokens import Caller, Role, TokenOrder
from orchestrator.store.transaction import Transaction

router = guarded_router("tokens")


@router.post("/v1/tokens", status_code=201, response_model=shapes.TokenWithSecret)
async def create_token(body: shapes.NewToken, caller: Authenticated, write: Posting) -> Response:
    """Make a token. It is told in this answer, and never again: only its hash is kept."""

    def work(tx: Transaction) -> Reply:
        order = TokenOrder(
            workspace_id=_workspace(tx, caller, body.workspace_id),
            name=body.name,
            role=Role(body.role),
            app_id=body.app_id,
            expires_at=body.expires_at,
            tasks=None if body.tasks is None else tuple(body.tasks),
            owner_id=body.owner_id,
        )
        made, plain = tokens.create(tx, order)
        return Reply(201, shapes.token(made), {"token": plain})

    return await write(work)


@router.get("/v1/tokens", response_model=Listing[shapes.Token])
async def list_tokens(
    context: Context, caller: Authenticated, page: Paging, workspace_id: str | None = None
) -> Response:
    """List the tokens, newest first, also the revoked and the expired ones."""
    wanted = await context.database.read(_workspace, caller, workspace_id)
    return listing(await context.database.read(tokens.listed, wanted, page), shapes.token)


@router.delete("/v1/tokens/{token_id}", status_code=204)
async def revoke_token(
    token_id: str, caller: Authenticated, write: Changing, workspace_id: str | None = None
) -> Response:
    """Revoke a token, at once and for good. The last admin token of a workspace that does not expire stays."""

    def work(tx: Transaction) -> Reply:
        tokens.revoke(tx, _workspace(tx, caller, workspace_id), token_id)
        return Reply(204)

    return await write(work)


def _workspace(tx: Transaction, caller: Caller, wanted: str | None) -> str:
    """The workspace that is meant; another one than their own exists for the admins of `default` alone."""
    if wanted is None or wanted == caller.workspace_id:
        return caller.workspace_id
    if not caller.runs_the_installation:
        raise NotFound(f"there is no workspace {wanted}", field="workspace_id")
    return workspaces.get(tx, wanted).id
