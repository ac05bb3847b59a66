"""`orchestrator import`: the batches on their way to the collector, and what the built-in one has."""

import sys
from typing import Annotated

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.formats import JsonObject, clean, number, when
from orchestrator.cli.options import CursorOption, JsonOption, LimitOption, YesOption
from orchestrator.cli.printing import Column, confirm, print_json, print_list, say, status

app = typer.Typer(no_args_is_help=True, help="See import batches, deliver refused ones again, export what arrived.")

BatchArgument = Annotated[str, typer.Argument(metavar="KEY", help="The batch's key.", show_default=False)]

_COLUMNS = (
    Column("batch", lambda row: clean(row.get("key"))),
    Column("execution", lambda row: clean(row.get("execution_id"))),
    Column("worker", lambda row: clean(row.get("worker_id")), is_number=True),
    Column("items", lambda row: number(row.get("item_count")), is_number=True),
    Column("status", lambda row: status(row.get("status"))),
    Column("tries", lambda row: number(row.get("tries")), is_number=True),
    Column("due", lambda row: when(row.get("due_at"))),
    Column("message", lambda row: clean(row.get("message")), is_prose=True),
)


@app.command("list")
@remote
def list_batches(
    api: ApiClient,
    status_: Annotated[
        str | None,
        typer.Option("--status", help="pending, refused, delivered or discarded.", show_default=False),
    ] = None,
    execution_id: Annotated[
        str | None, typer.Option("--execution", help="Of this execution.", show_default=False)
    ] = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the batches of items that executions have handed over."""
    query = {"status": status_, "execution_id": execution_id}
    page = api.collect("v1", "import-batches", limit=limit, cursor=cursor, query=query)
    print_list(page, _COLUMNS, as_json=as_json, empty="No import batches.")


@app.command("redeliver")
@remote
def redeliver(api: ApiClient, key: BatchArgument, as_json: JsonOption = False) -> None:
    """Deliver a batch again that the collector has refused."""
    batch = api.post("v1", "import-batches", key, "redeliver")
    _tell(batch, f"Batch {key} is on its way again.", as_json=as_json)


@app.command("discard")
@remote
def discard(api: ApiClient, key: BatchArgument, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Give up a batch that the collector has refused; its items are lost."""
    confirm(f"Give up batch {key}? Its items are lost.", yes=yes, what="The items of a discarded batch are lost")
    batch = api.post("v1", "import-batches", key, "discard")
    _tell(batch, f"Batch {key} is discarded.", as_json=as_json)


@app.command("export")
@remote
def export(
    api: ApiClient,
    kind: Annotated[str | None, typer.Option(help="Only items of this kind.", show_default=False)] = None,
) -> None:
    """Write what the built-in collector has received to standard output, as NDJSON: a line for each item."""
    out = sys.stdout.buffer
    for piece in api.lines("collector", "items", query={"kind": kind}):
        out.write(piece)
    out.flush()


def _tell(batch: JsonObject, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(batch)
    else:
        say(text)
