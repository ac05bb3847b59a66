"""`orchestrator workspace`: tenants, and the secrets that their imports are signed with."""

from typing import Annotated

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.formats import JsonObject, clean, when
from orchestrator.cli.options import CursorOption, JsonOption, LimitOption, YesOption
from orchestrator.cli.printing import Column, confirm, print_json, print_list, say

app = typer.Typer(no_args_is_help=True, help="Make and list workspaces; show and rotate their secrets.")
secret_app = typer.Typer(no_args_is_help=True, help="The secret that a workspace's imports are signed with.")
app.add_typer(secret_app, name="secret")

WorkspaceArgument = Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace's id.")]

_COLUMNS = (
    Column("workspace", lambda row: clean(row.get("id"))),
    Column("name", lambda row: clean(row.get("name")), is_prose=True),
    Column("created", lambda row: when(row.get("created_at"))),
)


@app.command("create")
@remote
def create(
    api: ApiClient,
    workspace_id: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    name: Annotated[str | None, typer.Option(help="For people; else the id.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a workspace."""
    workspace = api.post("v1", "workspaces", body={"id": workspace_id, "name": name or workspace_id})
    if as_json:
        print_json(workspace)
    else:
        say(f"Made the workspace {workspace.get('id')}.")


@app.command("list")
@remote
def list_workspaces(
    api: ApiClient, limit: LimitOption = 50, cursor: CursorOption = None, as_json: JsonOption = False
) -> None:
    """List the workspaces."""
    page = api.collect("v1", "workspaces", limit=limit, cursor=cursor)
    print_list(page, _COLUMNS, as_json=as_json, empty="No workspaces.")


@secret_app.command("show")
@remote
def show_secret(api: ApiClient, workspace_id: WorkspaceArgument = "default", as_json: JsonOption = False) -> None:
    """Show a workspace's secret: a collector of your own verifies X-Rmd-Signature with it."""
    _print_secret(api.get("v1", "workspaces", workspace_id, "secret"), as_json=as_json)


@secret_app.command("rotate")
@remote
def rotate_secret(
    api: ApiClient,
    workspace_id: WorkspaceArgument = "default",
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Replace a workspace's secret; deliveries are signed with the new one from then on."""
    confirm(
        f"Replace the secret of {workspace_id}? Your own collector refuses imports until it knows it.",
        yes=yes,
        what="Replacing a workspace's secret cannot be undone",
    )
    _print_secret(api.post("v1", "workspaces", workspace_id, "rotate-secret"), as_json=as_json)


def _print_secret(answer: JsonObject, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        say(clean(answer.get("secret")))
