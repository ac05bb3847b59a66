"""The application's own API: users ask for an export, look how it stands, retry it, and download their files.

Its users know nothing of the orchestrator, and never reach a worker.
"""

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import FileResponse

from sample_apps.csv_export.library import Library

_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class User:
    """A user of the application, and the orchestrator with the token that belongs to them."""

    name: str
    owner_id: int
    orchestrator: httpx.Client


def _signed_in(request: Request, authorization: Annotated[str, Header()] = "") -> User:
    users: Mapping[str, User] = request.app.state.users
    key = authorization.removeprefix("Bearer ")
    if key not in users:
        raise HTTPException(401, "who are you?")
    return users[key]


Owner = Annotated[User, Depends(_signed_in)]


def build_api(library: Library, shared: Path, users: Mapping[str, User]) -> FastAPI:
    """The API. `users` by the key that they send as `Authorization: Bearer KEY`."""
    api = FastAPI(title="Books")
    api.state.users = users

    @api.post("/exports", status_code=202)
    def ask(user: Owner) -> dict[str, Any]:
        filename = _filename()
        data = {"owner_id": user.owner_id, "filename": filename}
        created = _answer(user.orchestrator.post("/v1/tasks", json={"type": "csv_export", "data": data}))
        library.note_asked(created["task_id"], user.owner_id, filename)
        return {"export": created["task_id"]}

    @api.get("/exports/{export}")
    def look(export: int, user: Owner) -> dict[str, Any]:
        task = _answer(user.orchestrator.get(f"/v1/tasks/{export}"))
        if task["status"] == "success":
            library.offer(export)
        return {"export": export, "status": task["status"]}

    @api.post("/exports/{export}/retry")
    def retry(export: int, user: Owner) -> dict[str, Any]:
        _answer(user.orchestrator.post(f"/v1/tasks/{export}/retry"))
        return {"export": export}

    @api.get("/files")
    def files(user: Owner) -> list[dict[str, str]]:
        return [{"filename": name, "created_at": created_at} for name, created_at in library.files(user.owner_id)]

    @api.get("/files/{filename}")
    def download(filename: str, user: Owner) -> FileResponse:
        if filename not in {name for name, _ in library.files(user.owner_id)}:
            raise HTTPException(404, "you have no such file")
        return FileResponse(shared / filename, media_type="text/csv", filename=filename)

    return api


def _filename() -> str:
    mark = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"export_{datetime.now(UTC):%y%m%d}_{mark}.csv"


def _answer(response: httpx.Response) -> dict[str, Any]:
    """What the orchestrator answered; its refusals are the API's own."""
    said: dict[str, Any] = response.json()
    if not response.is_success:
        raise HTTPException(response.status_code, said.get("message") or said.get("detail"))
    return said
