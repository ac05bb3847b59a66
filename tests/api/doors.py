"""What the tests of the API share: the application over one database, and clients for each role."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from fastapi import FastAPI
from pydantic import BaseModel
from sqlmodel import SQLModel

from app_sdk.protocol.limits import Limits
from orchestrator.api.app import create_api
from orchestrator.api.context import ApiContext
from orchestrator.domain.retry import RetryPolicy
from orchestrator.engine.intake import Intake
from orchestrator.service import tokens, workspaces
from orchestrator.service.callback_urls import CallbackSigner, CallbackUrls
from orchestrator.service.definitions import Definitions
from orchestrator.service.pull_claims import Wanted, hand_out
from orchestrator.service.pull_tasks import PullTask
from orchestrator.service.tokens import Role, TokenOrder
from orchestrator.service.vault import Vault
from orchestrator.service.workspaces import DEFAULT_WORKSPACE
from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect
from orchestrator.store.share import Share
from orchestrator.store.transaction import Transaction

ADMIN_TOKEN = "orch_the-first-admin"
BODY_BYTES = 12 * 1024 * 1024
LIMITS = Limits(worker_state_bytes=4096, app_state_bytes=4096)

_put_together: dict[int, FastAPI] = {}

T = TypeVar("T")
Json = dict[str, Any]


@dataclass
class Api:
    """The API over one database.

    `wakes` counts how often the engine would have been woken, `announced` are the numbers of new simple tasks.
    """

    app: FastAPI
    context: ApiContext
    admin: httpx.AsyncClient
    closing: AsyncExitStack
    wakes: list[None] = field(default_factory=list)
    announced: list[int] = field(default_factory=list)
    is_ready: bool = True

    async def client(self, token: str | None) -> httpx.AsyncClient:
        """A client with this token."""
        return await self.closing.enter_async_context(_client(self.app, token))

    async def token(self, role: str, app_id: str | None = None, workspace_id: str = DEFAULT_WORKSPACE) -> str:
        """A new token of this role."""
        order = TokenOrder(workspace_id, f"{role} of the test", Role(role), app_id)
        _, plain = await self.context.database.write(tokens.create, order)
        return plain

    async def as_role(
        self, role: str, app_id: str | None = None, workspace_id: str = DEFAULT_WORKSPACE
    ) -> httpx.AsyncClient:
        """A client with a new token of this role."""
        return await self.client(await self.token(role, app_id, workspace_id))

    async def other_workspace(self) -> httpx.AsyncClient:
        """The admin of another workspace."""
        await self.context.database.write(workspaces.create, self.context.vault, "other", "Another one")
        return await self.as_role("admin", workspace_id="other")

    def use_database(self, database: Database) -> None:
        """Put another database behind the application."""
        self.app.state.context = replace(self.context, database=Share(database))

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await self.context.database.write(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self.context.database.read(work)

    async def install(self, app_id: str = "app_shop", *tasks: Json, **manifest: Any) -> Json:
        """Install an app; a task `<app id>_sync` is given to it if none is named."""
        whole = {**a_manifest(app_id, *tasks), **manifest}
        return accepted(await self.admin.post("/v1/apps", json={"manifest": whole}), 201)

    async def launch(self, task: str = "app_shop_sync", **body: Any) -> Json:
        return accepted(await self.admin.post("/v1/executions", json={"task_id": task, **body}), 201)


@asynccontextmanager
async def open_api(database: Database, body_bytes: int = BODY_BYTES) -> AsyncIterator[Api]:
    """The API over a database, emptied but for the workspace `default` and its first admin."""
    vault = Vault("a master key for tests")
    await database.write(_empty)
    await database.write(workspaces.ensure_default, vault)
    await database.write(tokens.ensure_admin_token, ADMIN_TOKEN)
    async with AsyncExitStack() as closing:
        wakes: list[None] = []
        announced: list[int] = []
        given_back: list[PullTask] = []

        async def is_ready() -> bool:
            return api.is_ready

        async def poll(wanted: Wanted, patience: timedelta) -> tuple[PullTask, ...]:
            return (await database.write(hand_out, context.definitions, callbacks, [wanted])).given[0]

        callbacks = CallbackUrls("http://127.0.0.1:8400", CallbackSigner(vault))
        share = Share(database)
        context = ApiContext(
            database=share,
            definitions=Definitions(RetryPolicy()),
            vault=vault,
            limits=LIMITS,
            api_body_bytes=body_bytes,
            public_url="http://127.0.0.1:8400",
            new_id=lambda: str(uuid4()),
            wake=lambda: wakes.append(None),
            announce=announced.append,
            poll=poll,
            give_back=given_back.extend,
            take_in=Intake(share).take_in,
            is_ready=is_ready,
            node="node-1",
            node_timeout=timedelta(seconds=10),
            version="0.1.0",
        )
        app = _application(context)
        admin = await closing.enter_async_context(_client(app, ADMIN_TOKEN))
        api = Api(app, context, admin, closing, wakes, announced)
        yield api


def _client(app: FastAPI, token: str | None) -> httpx.AsyncClient:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


def _application(context: ApiContext) -> FastAPI:
    """The application over this context; to put it together takes longer than most tests."""
    if context.api_body_bytes not in _put_together:
        _put_together[context.api_body_bytes] = create_api(context)
    app = _put_together[context.api_body_bytes]
    app.state.context = context
    return app


def _empty(tx: Transaction) -> None:
    # The rows of a test are few: to delete them is quicker than to make another database, or to truncate.
    tables = [table.name for table in reversed(SQLModel.metadata.sorted_tables)]
    if tx.dialect is Dialect.POSTGRESQL:
        tx.run(";".join(f"DELETE FROM {table}" for table in tables))
    else:
        for table in tables:
            tx.run(f"DELETE FROM {table}")


def a_task(task_id: str = "app_shop_sync", **more: Any) -> Json:
    return {"id": task_id, "name": "Synchronise", **more}


def a_manifest(app_id: str = "app_shop", *tasks: Json) -> Json:
    return {
        "id": app_id,
        "name": "Shop",
        "version": "1.2.0",
        "webhook_endpoint": "https://apps.example.com/hook",
        "tasks": list(tasks) or [a_task(f"{app_id}_sync")],
    }


def accepted(response: httpx.Response, status: int = 200) -> Json:
    """The JSON of an answer with this status."""
    assert response.status_code == status, response.text
    body: Json = response.json()
    return body


def refused(response: httpx.Response, status: int, slug: str) -> Json:
    """The problem of an answer that refuses."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: Json = response.json()
    assert problem["type"] == f"urn:orchestrator:problem:{slug}", problem
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == response.request.url.path
    return problem


def fields(problem: Json) -> list[str]:
    """The fields that a problem names."""
    return [entry["field"] for entry in problem["errors"]]


def conforms(model: type[BaseModel], given: Json) -> None:
    """The answer is what the documentation says: each field of it, with its type, and no other field."""
    read = model.model_validate_json(httpx.Response(200, json=given).content)
    assert read.model_dump(mode="json", exclude_unset=True) == given
    assert model.model_fields.keys() >= given.keys()
