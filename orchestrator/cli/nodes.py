"""`orchestrator node`: which processes take part."""

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.formats import clean, number, when
from orchestrator.cli.options import JsonOption
from orchestrator.cli.printing import Column, print_list, status

app = typer.Typer(no_args_is_help=True, help="List the nodes that share a database.")

_COLUMNS = (
    Column("node", lambda row: clean(row.get("id"))),
    Column("role", lambda row: clean(row.get("role"))),
    Column("status", lambda row: status(row.get("status"))),
    Column("calls", lambda row: number(row.get("calls")), is_number=True),
    Column("version", lambda row: clean(row.get("version"))),
    Column("started", lambda row: when(row.get("started_at"))),
    Column("last sign of life", lambda row: when(row.get("heartbeat_at"))),
    Column("address", lambda row: clean(row.get("url"))),
)


@app.command("list")
@remote
def list_nodes(api: ApiClient, as_json: JsonOption = False) -> None:
    """List the nodes of the last day."""
    print_list(api.get("v1", "nodes"), _COLUMNS, as_json=as_json, empty="No nodes.")
