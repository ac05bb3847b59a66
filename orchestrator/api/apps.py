"""Apps: install, show, update, delete, activate, stop, rotate the secret, read and change the state."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import Response

from app_sdk.protocol.manifest import AppManifest, read_manifest
from orchestrator.api.answers import json_answer, listing, raw
from orchestrator.api.deps import Authenticated, Changing, Context, Paging, Posting
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import apps as shapes
from orchestrator.api.shapes.parts import Listing
from orchestrator.domain.states import AppStatus
from orchestrator.service import app_queries, apps, tasks
from orchestrator.service.apps import Installed
from orchestrator.service.idempotency import Reply
from orchestrator.store.transaction import Transaction

router = guarded_router("apps")


@router.post("/v1/apps", status_code=201, response_model=shapes.AppWithSecret)
async def install_app(body: shapes.Installation, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Install an app from its manifest. The secret is told in this answer, and never again."""
    manifest = await _read(body.manifest)

    def work(tx: Transaction) -> Reply:
        workspace_id = caller.workspace_id
        installed = apps.install(tx, context.vault, workspace_id, manifest, body.secret_key, activate=body.activate)
        return _with_secret(tx, workspace_id, installed, 201, f"/v1/apps/{manifest.id}")

    return await write(work, wakes=True)


@router.get("/v1/apps", response_model=Listing[shapes.App])
async def list_apps(context: Context, caller: Authenticated, page: Paging) -> Response:
    """List the apps, in the order of their ids."""
    return listing(await context.database.read(app_queries.apps, caller.workspace_id, page), shapes.app)


@router.get("/v1/apps/{app_id}", response_model=shapes.App)
async def get_app(app_id: str, context: Context, caller: Authenticated) -> Response:
    """Show an app with its whole manifest."""
    return json_answer(shapes.app(await context.database.read(app_queries.app, caller.workspace_id, app_id)))


@router.put("/v1/apps/{app_id}", response_model=shapes.App)
async def update_app(app_id: str, body: shapes.ManifestChange, caller: Authenticated, write: Changing) -> Response:
    """Replace an app's manifest. Executions keep the task's version that they were launched with."""
    manifest = await _read(body.manifest)

    def work(tx: Transaction) -> Reply:
        apps.update(tx, caller.workspace_id, app_id, manifest)
        return Reply(200, _shown(tx, caller.workspace_id, app_id))

    return await write(work, wakes=True)


@router.delete("/v1/apps/{app_id}", status_code=204)
async def delete_app(app_id: str, caller: Authenticated, write: Changing) -> Response:
    """Delete an app that has no live execution. What it has done stays readable."""

    def work(tx: Transaction) -> Reply:
        apps.delete(tx, caller.workspace_id, app_id)
        return Reply(204)

    return await write(work)


@router.post("/v1/apps/{app_id}/activate", response_model=shapes.App)
async def activate_app(app_id: str, caller: Authenticated, write: Posting) -> Response:
    """Let an app be called. Its workers go on where they were when it was stopped."""

    def work(tx: Transaction) -> Reply:
        apps.set_status(tx, caller.workspace_id, app_id, AppStatus.ACTIVE)
        return Reply(200, _shown(tx, caller.workspace_id, app_id))

    return await write(work, wakes=True)


@router.post("/v1/apps/{app_id}/stop", response_model=shapes.App)
async def stop_app(app_id: str, caller: Authenticated, write: Posting, body: shapes.Stop | None = None) -> Response:
    """Stop an app: nothing of it is called, and slots of its schedules are recorded as skipped."""
    reason = (body.reason if body else None) or f"stopped by {caller.name}"

    def work(tx: Transaction) -> Reply:
        apps.set_status(tx, caller.workspace_id, app_id, AppStatus.STOPPED, reason)
        return Reply(200, _shown(tx, caller.workspace_id, app_id))

    return await write(work)


@router.post("/v1/apps/{app_id}/rotate-secret", response_model=shapes.AppWithSecret)
async def rotate_app_secret(
    app_id: str, context: Context, caller: Authenticated, write: Posting, body: shapes.NewSecret | None = None
) -> Response:
    """Replace an app's secret, from the next call on. The new one is told in this answer, and never again."""
    wanted = body.secret_key if body else None

    def work(tx: Transaction) -> Reply:
        installed = apps.rotate_secret(tx, context.vault, caller.workspace_id, app_id, wanted)
        return _with_secret(tx, caller.workspace_id, installed, 200)

    return await write(work)


@router.get("/v1/apps/{app_id}/state", response_model=shapes.AppState)
async def get_app_state(app_id: str, context: Context, caller: Authenticated) -> Response:
    """Show an app's JSON state."""
    return json_answer({"state": raw(await context.database.read(apps.state, caller.workspace_id, app_id))})


@router.patch("/v1/apps/{app_id}/state", response_model=shapes.AppState)
async def change_app_state(
    app_id: str, body: shapes.StateChange, context: Context, caller: Authenticated, write: Changing
) -> Response:
    """Change an app's JSON state, by mutations that are made all together or not at all."""
    mutations = [asked.mutation() for asked in body.mutations]

    def work(tx: Transaction) -> Reply:
        return Reply(200, {"state": raw(apps.mutate_state(tx, caller.workspace_id, app_id, mutations, context.limits))})

    return await write(work)


def _shown(tx: Transaction, workspace_id: str, app_id: str) -> dict[str, Any]:
    return shapes.app(app_queries.app(tx, workspace_id, app_id))


def _with_secret(
    tx: Transaction, workspace_id: str, installed: Installed, status: int, location: str | None = None
) -> Reply:
    body = _shown(tx, workspace_id, installed.app.id)
    return Reply(status, body, {"secret_key": installed.secret}, location)


async def _read(manifest: Mapping[str, Any]) -> AppManifest:
    read = read_manifest(manifest)
    await asyncio.to_thread(tasks.check_schemas, read)
    return read
