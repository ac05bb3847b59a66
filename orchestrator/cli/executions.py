"""`orchestrator exec`: list executions, look into one, follow, abort and retry it."""

from typing import Annotated

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.documents import read_time
from orchestrator.cli.drawing import progress_text, summary
from orchestrator.cli.failures import ExitCode
from orchestrator.cli.formats import JsonObject, clean, duration, json_text, number, parse_time, when
from orchestrator.cli.options import CursorOption, JsonOption, LimitOption
from orchestrator.cli.printing import (
    Cell,
    Column,
    console,
    items,
    note,
    print_json,
    print_list,
    print_record,
    print_table,
    say,
    show,
    status,
)
from orchestrator.cli.run import Progress, Run
from orchestrator.cli.watching import Watcher
from orchestrator.domain.states import ExecutionStatus

app = typer.Typer(no_args_is_help=True, help="List executions, look into one, follow, abort and retry it.")

ExecutionArgument = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.", show_default=False)]


def _seconds(row: JsonObject) -> str:
    started, ended = parse_time(row.get("started_at")), parse_time(row.get("ended_at"))
    return "" if started is None or ended is None else duration((ended - started).total_seconds())


def _progress(row: JsonObject) -> str:
    progress = Progress.read(row.get("progress"))
    return "" if progress is None else progress_text(progress)


def _said(row: JsonObject) -> str:
    return clean(row.get("message") or row.get("failure"))


_COLUMNS = (
    Column("execution", lambda row: clean(row.get("id"))),
    Column("task", lambda row: clean(row.get("task_id"))),
    Column("status", lambda row: status(row.get("status"))),
    Column("key", lambda row: clean(row.get("multiple_exec_key"))),
    Column("created", lambda row: when(row.get("created_at"))),
    Column("took", _seconds, is_number=True),
    Column("message", lambda row: clean(row.get("message")), is_prose=True),
)

_WORKER_COLUMNS = (
    Column("worker", lambda row: clean(row.get("worker_id")), is_number=True),
    Column("status", lambda row: status(row.get("status"))),
    Column("step", lambda row: clean(row.get("step")), is_number=True),
    Column("retries", lambda row: clean(row.get("retry_count") or ""), is_number=True),
    Column("progress", _progress),
    Column("due", lambda row: when(row.get("due_at"))),
    Column("message", lambda row: clean(row.get("refused") or row.get("message")), is_prose=True),
)

_CALL_COLUMNS = (
    Column("worker", lambda row: clean(row.get("worker_id")), is_number=True),
    Column("step", lambda row: clean(row.get("step")), is_number=True),
    Column("retry", lambda row: clean(row.get("retry_count") or ""), is_number=True),
    Column("outcome", lambda row: status(row.get("outcome"))),
    Column("HTTP", lambda row: clean(row.get("http_status")), is_number=True),
    Column("ms", lambda row: number(row.get("duration_ms")), is_number=True),
    Column("items", lambda row: number(row.get("items") or ""), is_number=True),
    Column("started", lambda row: when(row.get("started_at"))),
    Column("message", _said, is_prose=True),
)


@app.command("list")
@remote
def list_executions(  # noqa: PLR0913 - an option each
    api: ApiClient,
    app_id: Annotated[str | None, typer.Option("--app", help="Of this app.", show_default=False)] = None,
    task_id: Annotated[str | None, typer.Option("--task", help="Of this task.", show_default=False)] = None,
    status_: Annotated[
        ExecutionStatus | None, typer.Option("--status", help="In this status.", show_default=False)
    ] = None,
    key: Annotated[str | None, typer.Option(help="With this multiple_exec_key.", show_default=False)] = None,
    created_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="e.g. 2026-11-21T08:30:00Z", show_default=False)
    ] = None,
    created_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="e.g. 2026-11-21T08:30:00Z", show_default=False)
    ] = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List executions, the newest first."""
    query = {
        "app_id": app_id,
        "task_id": task_id,
        "status": None if status_ is None else status_.value,
        "key": key,
        "created_after": None if created_after is None else read_time(created_after),
        "created_before": None if created_before is None else read_time(created_before),
    }
    page = api.collect("v1", "executions", limit=limit, cursor=cursor, query=query)
    print_list(
        page,
        _COLUMNS,
        as_json=as_json,
        empty="No executions. Launch a task: orchestrator task run TASK --watch",
    )


@app.command("show")
@remote
def show_one(api: ApiClient, execution_id: ExecutionArgument, as_json: JsonOption = False) -> None:
    """Show an execution and its workers; with --json their states too."""
    execution = api.get("v1", "executions", execution_id)
    if as_json:
        print_json(execution)
        return
    show_execution(execution)
    workers = execution.get("workers")
    print_table(workers if isinstance(workers, list) else [], _WORKER_COLUMNS)


@app.command("watch")
@remote
def watch(api: ApiClient, execution_id: ExecutionArgument, as_json: JsonOption = False) -> None:
    """Follow an execution to its end. The exit code is 0 if it succeeds, else 1; Ctrl-C leaves it running."""
    follow(api, execution_id, as_json=as_json)


@app.command("abort")
@remote
def abort(
    api: ApiClient,
    execution_id: ExecutionArgument,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Why.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Abort an execution; no answer of a call in flight is applied any more."""
    body = {} if message is None else {"message": message}
    _show_changed(api.post("v1", "executions", execution_id, "abort", body=body), as_json=as_json)


@app.command("retry")
@remote
def retry(api: ApiClient, execution_id: ExecutionArgument, as_json: JsonOption = False) -> None:
    """Resume a failed or aborted execution: its unfinished workers go on from their last state."""
    _show_changed(api.post("v1", "executions", execution_id, "retry"), as_json=as_json)


@app.command("calls")
@remote
def calls(
    api: ApiClient,
    execution_id: ExecutionArgument,
    worker: Annotated[int | None, typer.Option(help="Of this worker only.", show_default=False)] = None,
    limit: LimitOption = 500,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the last calls of an execution; with --json, newest first and with the answers."""
    query = {"worker_id": worker}
    page = api.collect("v1", "executions", execution_id, "calls", limit=limit, cursor=cursor, query=query)
    if as_json:
        print_json(page)
    else:
        # They come newest first, and are read in the order in which they happened.
        shown: JsonObject = {**page, "items": items(page)[::-1]}
        print_list(shown, _CALL_COLUMNS, as_json=False, empty="No calls yet.")


@app.command("logs")
@remote
def logs(
    api: ApiClient,
    execution_id: ExecutionArgument,
    limit: LimitOption = 500,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last log lines that an execution's app sent; with --json, newest first."""
    page = api.collect("v1", "executions", execution_id, "logs", limit=limit, cursor=cursor)
    if as_json:
        print_json(page)
        return
    if not items(page):
        note("No log lines.")
    for line in reversed(items(page)):
        where = f"worker {line.get('worker_id')} step {line.get('step')}"
        say(f"{when(line.get('logged_at'))}  {where}  {line.get('line')}")
    if page.get("next_cursor"):
        note(f"There are earlier ones: add --cursor {page['next_cursor']}")


def follow(api: ApiClient, execution_id: str, *, as_json: bool) -> None:
    """Watch an execution, print how it ended, and exit with its result; Ctrl-C leaves it running."""
    # With --json the document alone goes to stdout.
    watcher = Watcher(console(stderr=as_json), lambda: api.get("v1", "executions", execution_id))
    try:
        run = watcher.watch()
    except KeyboardInterrupt:
        note(f"The run goes on. Follow it again: orchestrator exec watch {execution_id}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json(api.get("v1", "executions", execution_id))
    else:
        show_end(run)
    if not run.has_succeeded:
        raise typer.Exit(ExitCode.RUN_FAILED)


def show_end(run: Run) -> None:
    """Print the summary of a run that has ended, and what to do if it did not end well."""
    show(summary(run))
    if not run.has_succeeded:
        say(f"See its calls: orchestrator exec calls {run.id}")
        say(f"Resume it: orchestrator exec retry {run.id}")


def show_execution(execution: JsonObject) -> None:
    """Print the panel of an execution."""
    totals = Run.read(execution).totals
    print_record(
        f"execution {clean(execution.get('id'))}",
        {
            "task": clean(execution.get("task_id")),
            "name": clean(execution.get("name")),
            "status": _status(execution),
            "message": clean(execution.get("message")),
            "subtext": clean(execution.get("subtext")),
            "key": clean(execution.get("multiple_exec_key")),
            "number": clean(execution.get("number")),
            "attempt": clean(execution.get("attempt")),
            "launched by": _launcher(execution.get("launched_by")),
            "created": when(execution.get("created_at")),
            "starts": when(execution.get("run_at")) if not execution.get("started_at") else None,
            "started": when(execution.get("started_at")),
            "ended": when(execution.get("ended_at")),
            "took": _seconds(execution),
            "calls": f"{number(totals.calls)}, {number(totals.retries)} of them retries" if totals.calls else None,
            "items": f"{number(totals.items)}, {number(totals.delivered_items)} delivered" if totals.items else None,
            "input": json_text(execution["input"]) if execution.get("input") else None,
            "output": json_text(execution["output"]) if execution.get("output") else None,
        },
    )


def _launcher(launched_by: object) -> str:
    return clean(launched_by.get("name")) if isinstance(launched_by, dict) else clean(launched_by)


def _status(execution: JsonObject) -> Cell:
    text = status(execution.get("status"))
    is_failing = execution.get("failing") and execution.get("status") == ExecutionStatus.RUNNING
    return text.append(" failing", style="red") if is_failing else text


def _show_changed(execution: JsonObject, *, as_json: bool) -> None:
    if as_json:
        print_json(execution)
    else:
        show_execution(execution)
