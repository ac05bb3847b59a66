"""`orchestrator db purge`: remove ended executions from a server that runs."""

import re
from typing import Annotated

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.failures import Misused
from orchestrator.cli.formats import JsonObject, number, plural
from orchestrator.cli.options import JsonOption, YesOption
from orchestrator.cli.printing import confirm, console, print_json, say

_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGE = re.compile(r"([1-9][0-9]{0,5})([hdw])", re.ASCII)
_COUNTED = ("executions", "calls", "log_lines", "import_batches", "held_back", "newest")


@remote
def purge(  # noqa: PLR0913 - an option each
    api: ApiClient,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Ended that long ago: 36h, 30d, 8w.")] = "30d",
    status: Annotated[
        list[str] | None,
        typer.Option(help="succeeded, failed or aborted; may be given several times.", show_default=False),
    ] = None,
    app_id: Annotated[str | None, typer.Option("--app", help="Of this app.", show_default=False)] = None,
    task_id: Annotated[str | None, typer.Option("--task", help="Of this task.", show_default=False)] = None,
    workspace_id: Annotated[
        str | None, typer.Option("--workspace", help="In another workspace than the token's.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; nothing is removed.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove ended executions with all that belongs to them; the server may be running, and must be.

    What waits for a delivery stays, and so does the newest execution of each task.
    """
    given = {
        "older_than_secs": _seconds(older_than),
        "statuses": status or None,
        "app_id": app_id,
        "task_id": task_id,
        "workspace_id": workspace_id,
    }
    body = {name: value for name, value in given.items() if value is not None}
    if not (dry_run or yes):
        found = _run(api, {**body, "dry_run": True})
        question = f"Remove {_amount(found)}, that ended over {older_than} ago?"
        if found["executions"]:
            confirm(question, yes=False, what="What is purged is gone for good")
    total = _run(api, {**body, "dry_run": dry_run})
    if as_json:
        print_json(total)
        return
    say(f"{'Would remove' if dry_run else 'Removed'} {_amount(total)}.")
    for count, why in (
        (total["held_back"], "with an import batch that is undelivered, or was refused"),
        (total["newest"], "the newest of their tasks"),
    ):
        if count:
            say(f"Kept, though as old: {plural(int(count), 'execution', 'executions')}, {why}.")


def _run(api: ApiClient, body: JsonObject) -> dict[str, int | bool]:
    """Send the request until it is through; the sum of all answers."""
    total: dict[str, int | bool] = {"dry_run": bool(body["dry_run"]), **dict.fromkeys(_COUNTED, 0)}
    cursor: object = None
    with console(stderr=True).status("Looking …") as progress:
        while True:
            answer = api.post("v1", "purge", body=body if cursor is None else {**body, "cursor": cursor})
            for name in _COUNTED:
                count = answer.get(name)
                total[name] += count if isinstance(count, int) else 0
            progress.update(f"{number(total['executions'])} executions, {number(total['calls'])} calls …")
            cursor = answer.get("next_cursor")
            if cursor is None:
                return total


def _amount(total: dict[str, int | bool]) -> str:
    calls = plural(int(total["calls"]), "call", "calls")
    lines = plural(int(total["log_lines"]), "log line", "log lines")
    batches = plural(int(total["import_batches"]), "import batch", "import batches")
    return f"{plural(int(total['executions']), 'execution', 'executions')} with {calls}, {lines} and {batches}"


def _seconds(age: str) -> int:
    found = _AGE.fullmatch(age.strip().lower())
    if found is None:
        raise Misused(f"{age} is not an age", "Write hours, days or weeks, such as 36h, 30d or 8w.")
    return int(found[1]) * _UNITS[found[2]]
