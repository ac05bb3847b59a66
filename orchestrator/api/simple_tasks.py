"""Simple tasks, as BookLogr's clients speak to them: create, poll, retry. Refusals are told in their own words."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from orchestrator.api.answers import json_answer
from orchestrator.api.context import ApiContext
from orchestrator.api.deps import Authenticated, Context, Posting
from orchestrator.api.errors import said_of
from orchestrator.api.fitting import fitted
from orchestrator.api.routes import SCHEME, GuardedRoute, Handler
from orchestrator.api.shapes import simple_tasks as shapes
from orchestrator.domain.errors import Conflict, Invalid, NotFound, TooLarge
from orchestrator.service import simple_tasks
from orchestrator.service.idempotency import Reply, Work
from orchestrator.service.simple_tasks import UnknownType
from orchestrator.service.tokens import Caller
from orchestrator.store.transaction import Transaction

_KEYS = ("type", "data")
_WORDS: dict[type[Exception], tuple[int, str]] = {
    UnknownType: (422, "Invalid type"),
    Invalid: (422, "Invalid data"),
    TooLarge: (413, "Too large"),
    NotFound: (404, "Not found"),
    Conflict: (409, "Conflict"),
}


class SimpleRoute(GuardedRoute):
    """A route whose refusals are told in the words of this door; what holds for every address is told as everywhere."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_in_words(request: Request) -> Response:
            try:
                return await handle(request)
            except (UnknownType, Invalid, TooLarge, NotFound, Conflict) as error:
                status, words = next(_WORDS[cls] for cls in type(error).__mro__ if cls in _WORDS)
                return json_answer({"error": words, "message": said_of(error)}, status)

        return handle_in_words


router = APIRouter(route_class=SimpleRoute, tags=["simple tasks"], dependencies=[Depends(SCHEME)])

_REFUSED: dict[int | str, dict[str, Any]] = {404: {"model": shapes.Refused, "description": "No such task of yours"}}


@router.post(
    "/v1/tasks",
    status_code=202,
    response_model=shapes.Created,
    responses={
        400: {"model": shapes.Missing, "description": "Keys are missing"},
        409: {"model": shapes.Refused, "description": "The overlap policy or the app's status forbids it"},
        422: {"model": shapes.Refused, "description": "There is no such type, or the data do not fit it"},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": shapes.NewSimpleTask.model_json_schema()}},
        }
    },
)
async def create_simple_task(request: Request, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Create a task of a type (a task's id or alias) for the owner of the token. It is retried only if it says so."""
    asked = await request.json()
    missing = [key for key in _KEYS if not isinstance(asked, dict) or key not in asked]
    if missing:
        said = f"missing: {', '.join(missing)}"
        return json_answer({"status": "error", "message": said, "missing": missing}, 400)
    if not isinstance(asked["type"], str):
        raise UnknownType("a type is a text: the id or an alias of a task")
    wanted = await fitted(context, caller, simple_tasks.checked(asked["type"], asked["data"], context.limits))
    created: list[int] = []

    def work(tx: Transaction) -> Reply:
        number = simple_tasks.create(tx, context.definitions, caller, wanted, context.new_id)
        created[:] = [number]
        return Reply(202, {"message": "Task created.", "task_id": number}, location=f"/v1/tasks/{number}")

    answer = await write(work, wakes=True)
    for number in created:
        context.announce(number)
    return answer


@router.get("/v1/tasks/{task_id}", response_model=shapes.SimpleTask, responses=_REFUSED)
async def get_simple_task(task_id: str, context: Context, caller: Authenticated) -> Response:
    """Show a task, if it is the caller's own; operators see everybody's."""
    return json_answer(shapes.task(await context.database.read(simple_tasks.find, caller, task_id)))


@router.post(
    "/v1/tasks/{task_id}/retry",
    response_model=shapes.Said,
    responses={**_REFUSED, 409: {"model": shapes.Refused, "description": "It has not failed"}},
)
async def retry_simple_task(task_id: str, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Retry a task that has failed."""
    return await write(_retry(context, caller, task_id), wakes=True)


def _retry(context: ApiContext, caller: Caller, task_id: str) -> Work:
    def work(tx: Transaction) -> Reply:
        simple_tasks.retry(tx, context.definitions, caller, task_id)
        return Reply(200, {"message": "Task set to be retried."})

    return work
