"""Purge ended executions by hand, before their retention is over."""

from datetime import timedelta

from fastapi import Response

from orchestrator.api.answers import json_answer
from orchestrator.api.deps import Authenticated, Context, Posting
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import purges as shapes
from orchestrator.domain.errors import NotFound
from orchestrator.domain.states import ExecutionStatus
from orchestrator.service import execution_queries, purging, workspaces
from orchestrator.service.idempotency import Reply
from orchestrator.service.purging import Place, Selection
from orchestrator.service.tokens import Caller, Scope
from orchestrator.store.transaction import Transaction

router = guarded_router("executions")


@router.post("/v1/purge", response_model=shapes.Purged)
async def purge_executions(body: shapes.Purge, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Remove ended executions with all that belongs to them, or count them: a part of them, in one transaction.

    Executions that wait for a delivery stay, as does the newest of each task.
    """
    database = context.database
    wanted, place = await database.read(_selection, caller, body)
    if body.dry_run:
        sight = await database.read(purging.look, wanted, place)
        following = purging.cursor(wanted, sight.following)
        return json_answer(shapes.purged(purging.tally(sight), following, dry_run=True))
    sight = await database.read(purging.look, wanted, place, purging.EXECUTIONS, purging.ROWS)

    def work(tx: Transaction) -> Reply:
        gone = purging.remove(tx, wanted, sight)
        return Reply(200, shapes.purged(gone, purging.cursor(wanted, sight.following), dry_run=False))

    return await write(work)


def _selection(tx: Transaction, caller: Caller, body: shapes.Purge) -> tuple[Selection, Place]:
    workspace_id = body.workspace_id or caller.workspace_id
    if workspace_id != caller.workspace_id and not caller.runs_the_installation:
        raise NotFound(f"there is no workspace {workspace_id}")
    workspaces.get(tx, workspace_id)
    until = purging.until(tx.now(), timedelta(seconds=body.older_than_secs), field="$.older_than_secs")
    statuses = None if body.statuses is None else [ExecutionStatus(status) for status in body.statuses]
    wanted = Selection(
        workspace_id=workspace_id,
        until=until,
        statuses=purging.STATUSES if statuses is None else sorted(set(statuses)),
        app_pks=execution_queries.app_pks(tx, Scope(workspace_id), body.app_id),
        task_pks=execution_queries.task_pks(tx, Scope(workspace_id), body.task_id),
    )
    return purging.resumed(wanted, body.cursor)
