"""Import batches: list, redeliver, discard."""

from typing import Annotated, Any

from fastapi import Query, Response

from orchestrator.api.answers import listing
from orchestrator.api.deps import Authenticated, Context, Paging, Posting
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import imports as shapes
from orchestrator.api.shapes.parts import Listing
from orchestrator.service import delivering, import_queries
from orchestrator.service.idempotency import Reply
from orchestrator.service.tokens import Caller
from orchestrator.store.transaction import Transaction

router = guarded_router("import batches")

_Statuses = Annotated[list[shapes.BatchStatus] | None, Query(description="May be given several times.")]


@router.get("/v1/import-batches", response_model=Listing[shapes.ImportBatch])
async def list_import_batches(
    context: Context,
    caller: Authenticated,
    page: Paging,
    status: _Statuses = None,
    execution_id: str | None = None,
) -> Response:
    """List import batches, newest first."""
    workspace_id = caller.workspace_id
    found = await context.database.read(import_queries.listed, workspace_id, status, execution_id, page)
    return listing(found, shapes.import_batch)


@router.post("/v1/import-batches/{key}/redeliver", response_model=shapes.ImportBatch)
async def redeliver_import_batch(key: str, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Try a batch again that the collector has refused."""

    def work(tx: Transaction) -> Reply:
        delivering.redeliver(tx, context.definitions, caller.workspace_id, key)
        return Reply(200, _shown(tx, caller, key))

    return await write(work, wakes=True)


@router.post("/v1/import-batches/{key}/discard", response_model=shapes.ImportBatch)
async def discard_import_batch(key: str, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Give up a batch that the collector has refused. Its items are dropped; who did it is recorded."""
    who = f"{caller.name} ({caller.token_id})"

    def work(tx: Transaction) -> Reply:
        delivering.discard(tx, context.definitions, caller.workspace_id, key, who)
        return Reply(200, _shown(tx, caller, key))

    return await write(work, wakes=True)


def _shown(tx: Transaction, caller: Caller, key: str) -> dict[str, Any]:
    return shapes.import_batch(import_queries.find(tx, caller.workspace_id, key))
