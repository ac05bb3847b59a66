"""`orchestrator token`: make, list and revoke the bearer tokens of the API."""

from typing import Annotated, Literal

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.documents import read_time
from orchestrator.cli.formats import JsonObject, clean, when
from orchestrator.cli.options import CursorOption, JsonOption, LimitOption
from orchestrator.cli.printing import Column, print_json, print_list, print_record, say

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke bearer tokens.")

Role = Literal["admin", "operator", "viewer", "app", "executor"]

_COLUMNS = (
    Column("token", lambda row: clean(row.get("id"))),
    Column("name", lambda row: clean(row.get("name")), is_prose=True),
    Column("role", lambda row: clean(row.get("role"))),
    Column("app", lambda row: clean(row.get("app_id"))),
    Column("created", lambda row: when(row.get("created_at"))),
    Column("expires", lambda row: when(row.get("expires_at"))),
    Column("revoked", lambda row: when(row.get("revoked_at"))),
)


@app.command("create")
@remote
def create(  # noqa: PLR0913 - an option each
    api: ApiClient,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.", show_default=False)],
    role: Annotated[Role, typer.Option(help="What it allows.")] = "operator",
    app_id: Annotated[
        str | None,
        typer.Option("--app", help="The app that a token of role app is bound to.", show_default=False),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help="A task that a token of role executor may pull, by id or alias; may be repeated.",
            show_default=False,
        ),
    ] = None,
    owner_id: Annotated[
        int | None,
        typer.Option("--owner-id", metavar="N", help="The user on whose behalf it acts.", show_default=False),
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="e.g. 2027-01-31T00:00:00Z", show_default=False)
    ] = None,
    workspace_id: Annotated[
        str | None, typer.Option("--workspace", help="Another workspace than your own.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token; it is shown once."""
    body: JsonObject = {"name": name, "role": role}
    if app_id is not None:
        body["app_id"] = app_id
    if tasks:
        body["tasks"] = tasks
    if owner_id is not None:
        body["owner_id"] = owner_id
    if expires_at is not None:
        body["expires_at"] = read_time(expires_at)
    if workspace_id is not None:
        body["workspace_id"] = workspace_id
    token = api.post("v1", "tokens", body=body)
    if as_json:
        print_json(token)
        return
    shown = {key: clean(token.get(key)) for key in ("id", "name", "role", "app_id", "owner_id")}
    names = token.get("tasks")
    bound = {"tasks": clean(", ".join(map(str, names))) if isinstance(names, list) else ""}
    print_record("token", {**shown, **bound, "expires": when(token.get("expires_at"))})
    say(f"Token, shown this once: {token.get('token')}")


@app.command("list")
@remote
def list_tokens(
    api: ApiClient, limit: LimitOption = 50, cursor: CursorOption = None, as_json: JsonOption = False
) -> None:
    """List the tokens, without what they are."""
    page = api.collect("v1", "tokens", limit=limit, cursor=cursor)
    print_list(page, _COLUMNS, as_json=as_json, empty="No tokens. Make one: orchestrator token create NAME")


@app.command("revoke")
@remote
def revoke(
    api: ApiClient,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id.", show_default=False)],
) -> None:
    """Revoke a token, at once and for good."""
    api.delete("v1", "tokens", token_id)
    say(f"Revoked {token_id}.")
