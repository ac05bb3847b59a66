"""Tokens and workspaces."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from orchestrator.api.answers import instant, maybe_instant
from orchestrator.api.shapes.parts import Asked, Instant, Shown, Time
from orchestrator.store.tables import Workspace as WorkspaceRow
from orchestrator.store.tokens import TokenView

RoleName = Literal["admin", "operator", "viewer", "app", "executor"]


class NewToken(Asked):
    """A token to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "ci", "role": "operator"}]})

    name: str = Field(min_length=1, max_length=255)
    role: RoleName
    app_id: str | None = Field(default=None, description="Needed for the role app, and for no other.")
    expires_at: Instant | None = None
    tasks: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="For the role executor: the ids or aliases of the tasks that it may pull; without it, every one.",
    )
    owner_id: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="The user of another system on whose behalf it acts."
    )
    workspace_id: str | None = Field(
        default=None, description="Another workspace than the caller's own; for the admins of `default`."
    )


class Token(Shown):
    """A token, without its secret."""

    id: str
    name: str
    role: RoleName
    app_id: str | None
    tasks: list[str] | None
    owner_id: int | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None


class TokenWithSecret(Token):
    """A token, with its secret, which is told only now. A replayed answer leaves it out."""

    token: str | None = Field(default=None, json_schema_extra={"examples": ["orch_…"]})


class NewWorkspace(Asked):
    """A workspace to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "acme", "name": "Acme Inc."}]})

    id: str = Field(description="1 to 64 letters, digits, - or _.")
    name: str = Field(min_length=1, max_length=255)


class Workspace(Shown):
    """A tenant."""

    id: str
    name: str
    created_at: Time


class WorkspaceSecret(Shown):
    """The secret that import batches are signed with."""

    id: str
    secret: str | None = Field(default=None, description="A replayed answer of rotate-secret leaves it out.")


def token(view: TokenView) -> dict[str, Any]:
    return {
        "id": view.id,
        "name": view.name,
        "role": view.role,
        "app_id": view.app_id,
        "tasks": None if view.tasks is None else list(view.tasks),
        "owner_id": view.owner_id,
        "created_at": instant(view.created_at),
        "expires_at": maybe_instant(view.expires_at),
        "revoked_at": maybe_instant(view.revoked_at),
    }


def workspace(row: WorkspaceRow) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "created_at": instant(row.created_at)}
