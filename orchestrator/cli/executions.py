"""`orchestrator exec`: list executions, look into one, follow, abort and retry it."""

from typing import Annotated

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.documents import read_object, read_time
from orchestrator.cli.drawing import summary
from orchestrator.cli.execution_output import CALLS, EXECUTIONS, WORKERS, origin, show_execution
from orchestrator.cli.failures import ExitCode, Misused
from orchestrator.cli.formats import JsonObject, clean, json_text, when
from orchestrator.cli.options import (
    CursorOption,
    IdempotencyOption,
    IdOption,
    JsonOption,
    LimitOption,
    NameOption,
    WatchOption,
)
from orchestrator.cli.printing import (
    console,
    items,
    note,
    print_json,
    print_list,
    print_record,
    print_table,
    say,
    show,
)
from orchestrator.cli.run import Run
from orchestrator.cli.watching import Watcher
from orchestrator.domain.states import ExecutionStatus

app = typer.Typer(no_args_is_help=True, help="List executions, look into one, follow, abort and retry it.")

TaskArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID[:WORKER[:STEP]]", help="The execution's id; worker 0 unless one is named.", show_default=False
    ),
]
ExecutionArgument = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.", show_default=False)]


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
        EXECUTIONS,
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
    print_table(workers if isinstance(workers, list) else [], WORKERS)


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


@app.command("resume")
@remote
def resume(  # noqa: PLR0913 - an option each
    api: ApiClient,
    execution_id: ExecutionArgument,
    call: Annotated[str, typer.Argument(metavar="CALL", help="As `exec calls` lists it.", show_default=False)],
    id_: IdOption = None,
    name: NameOption = None,
    idempotency_key: IdempotencyOption = None,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Launch anew from an earlier call, with every worker as it stood then; later imports and changes stay."""
    body: JsonObject = {"call": call, "id": id_, "name": name}
    given = {field: value for field, value in body.items() if value is not None}
    launched = api.launch("v1", "executions", execution_id, "resume", body=given, idempotency_key=idempotency_key)
    after_launch(api, launched, watch=watch, as_json=as_json)


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
        print_list(shown, CALLS, as_json=False, empty="No calls yet.")


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


@app.command("callback")
@remote
def call_back(  # noqa: PLR0913 - an option each
    api: ApiClient,
    task_id: TaskArgument,
    is_success: Annotated[bool | None, typer.Option("--success/--failure", help="How it went.")] = None,
    output: Annotated[
        str | None, typer.Option(metavar="JSON", help="Merged over the task's own; @file, -.", show_default=False)
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option(help="A line for the log; again for more.", show_default=False)
    ] = None,
    subtext: Annotated[str | None, typer.Option(help="A line to show beside it.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Be the third party that a worker awaits: it is done, or called again; with --failure it has failed."""
    if is_success is None:
        raise Misused("say how it went: --success or --failure")
    body: JsonObject = {
        "taskId": task_id,
        "status": "SUCCESS" if is_success else "FAILURE",
        "output": None if output is None else read_object(output, "--output"),
        "logs": list(log) if log else None,
        "subtext": subtext,
    }
    given = {field: value for field, value in body.items() if value is not None}
    _show_task(api.post("external-events", "callback", body=given), as_json=as_json)


@app.command("subtext")
@remote
def set_subtext(
    api: ApiClient,
    task_id: TaskArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Set the line that people see beside a worker and its execution."""
    task = api.put("v1", "event-workflow-tasks", task_id, body={"subtext": text})
    _show_task(task, as_json=as_json)


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


def after_launch(api: ApiClient, execution: JsonObject, *, watch: bool, as_json: bool) -> None:
    """Follow an execution that was launched, or print it and how to follow it."""
    execution_id = str(execution.get("id", ""))
    if watch:
        resumed_from = origin(execution.get("resumed_from"))
        if resumed_from:
            note(f"Resumed from {resumed_from}.")
        follow(api, execution_id, as_json=as_json)
    elif as_json:
        print_json(execution)
    else:
        show_execution(execution)
        say(f"Follow it: orchestrator exec watch {execution_id}")


def _show_changed(execution: JsonObject, *, as_json: bool) -> None:
    if as_json:
        print_json(execution)
    else:
        show_execution(execution)


def _show_task(task: JsonObject, *, as_json: bool) -> None:
    if as_json:
        print_json(task)
    else:
        said = {
            "subtext": clean(task.get("subtext")),
            "output": json_text(task["output"]) if task.get("output") else None,
        }
        print_record(f"task {clean(task.get('id'))}", {"status": clean(task.get("status")), **said})
