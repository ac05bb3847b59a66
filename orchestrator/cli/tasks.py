"""`orchestrator task`: which tasks there are, launch one, pause and resume its schedule."""

import re
from typing import Annotated

import typer

from orchestrator.cli.api_client import MOST_PER_PAGE, ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.documents import as_object, read_argument, read_object, read_time
from orchestrator.cli.executions import after_launch
from orchestrator.cli.failures import Missing, Misused
from orchestrator.cli.formats import JsonObject, clean, number, schedule, when
from orchestrator.cli.options import (
    CursorOption,
    IdempotencyOption,
    IdOption,
    JsonOption,
    LimitOption,
    NameOption,
    WatchOption,
)
from orchestrator.cli.printing import Cell, Column, items, print_list, say, status

app = typer.Typer(no_args_is_help=True, help="List tasks, launch them, pause and resume their schedules.")

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="The task's id or an alias.", show_default=False)]

StateOption = Annotated[
    str | None, typer.Option(metavar="JSON", help="The input: a JSON object, @file or -.", show_default=False)
]
KeyOption = Annotated[str | None, typer.Option(help="The multiple_exec_key.", show_default=False)]
RunAtOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Start then, e.g. 2026-11-21T08:30:00Z.", show_default=False),
]
WorkerOption = Annotated[
    list[str] | None,
    typer.Option(metavar="N=JSON", help="Start worker N (1 to 9) too, so. Repeatable.", show_default=False),
]

_LATE_SECS = 1.0
# A task's id begins with its app's.
_APP_OF_TASK = re.compile(r"(appx?_[a-z0-9]+)_.+")


def _last_execution(row: JsonObject) -> Cell:
    last = row.get("last_execution")
    return status(last.get("status")) if isinstance(last, dict) else ""


_COLUMNS = (
    Column("task", lambda row: clean(row.get("id"))),
    Column("name", lambda row: clean(row.get("name")), is_prose=True),
    Column("schedule", lambda row: schedule(row.get("schedule")) or "by hand"),
    Column("next", lambda row: "paused" if row.get("is_paused") else when(row.get("next_slot_at"))),
    Column("last run", _last_execution),
)


_OCCURRENCE_COLUMNS = (
    Column("slot", lambda row: when(row.get("slot_at"))),
    Column("outcome", lambda row: status(row.get("outcome"))),
    Column("reason", lambda row: clean(row.get("reason"))),
    Column("late", lambda row: _late(row.get("late_secs")), is_number=True),
    Column("slots", lambda row: number(row.get("slots")), is_number=True),
    Column("execution", lambda row: clean(row.get("execution_id"))),
    Column("note", lambda row: clean(row.get("note")), is_prose=True),
)


def _late(secs: object) -> str:
    return f"{secs:.1f} s" if isinstance(secs, int | float) and secs >= _LATE_SECS else ""


@app.command("list")
@remote
def list_tasks(
    api: ApiClient,
    app_id: Annotated[str | None, typer.Option("--app", help="Only those of this app.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the tasks of every app."""
    found = _tasks_of(api, app_id) if app_id is not None else _every_task(api)
    print_list(
        {"items": found, "next_cursor": None},
        _COLUMNS,
        as_json=as_json,
        empty="No tasks yet. An app brings them: orchestrator app install manifest.json",
    )


@app.command("run")
@remote
def run(  # noqa: PLR0913 - an option each
    api: ApiClient,
    task: TaskArgument,
    state: StateOption = None,
    key: KeyOption = None,
    run_at: RunAtOption = None,
    id_: IdOption = None,
    name: NameOption = None,
    worker: WorkerOption = None,
    idempotency_key: IdempotencyOption = None,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Launch a task."""
    body: JsonObject = {
        "task_id": task,
        "state": None if state is None else read_object(state, "--state"),
        "id": id_,
        "name": name,
        "workers": [_worker(option) for option in worker or []] or None,
        "multiple_exec_key": key,
        "run_at": None if run_at is None else read_time(run_at),
    }
    given = {field: value for field, value in body.items() if value is not None}
    launched = api.launch("v1", "executions", body=given, idempotency_key=idempotency_key)
    after_launch(api, launched, watch=watch, as_json=as_json)


@app.command("occurrences")
@remote
def occurrences(
    api: ApiClient,
    task: TaskArgument,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what became of each slot of a task's schedule, the latest first."""
    app_id, task_id = _find(api, task)
    page = api.collect("v1", "apps", app_id, "tasks", task_id, "occurrences", limit=limit, cursor=cursor)
    print_list(page, _OCCURRENCE_COLUMNS, as_json=as_json, empty="No slot of this task has come yet.")


@app.command("pause")
@remote
def pause(api: ApiClient, task: TaskArgument) -> None:
    """Pause a task's schedule; launches by hand go on, and slots meanwhile are recorded as skipped."""
    task_id = _change(api, task, "pause")
    say(f"Paused {task_id}. To resume: orchestrator task resume {task_id}")


@app.command("resume")
@remote
def resume(api: ApiClient, task: TaskArgument) -> None:
    """Resume a task's schedule."""
    say(f"Resumed {_change(api, task, 'resume')}.")


def _worker(option: str) -> JsonObject:
    worker, separator, state = option.partition("=")
    if not separator or not re.fullmatch("[1-9]", worker):
        raise Misused(f"--worker {option}: write the worker's number and its state, such as 1={{}}")
    name = f"--worker {worker}"
    return {"worker_id": int(worker), "initial_state": as_object(read_argument(state, name), name)}


def _change(api: ApiClient, task: str, action: str) -> str:
    app_id, task_id = _find(api, task)
    api.post("v1", "apps", app_id, "tasks", task_id, action)
    return task_id


def _find(api: ApiClient, task: str) -> tuple[str, str]:
    """The app and the id of a task that is named by its id or an alias."""
    named = _APP_OF_TASK.fullmatch(task)
    if named:
        return named[1], task
    for found in _every_task(api):
        aliases = found.get("aliases")
        if isinstance(aliases, list) and task in aliases:
            return str(found.get("app_id", "")), str(found.get("id", ""))
    raise Missing(f"there is no task {task}", "See which there are: orchestrator task list")


def _every_task(api: ApiClient) -> list[JsonObject]:
    apps = items(api.collect("v1", "apps", limit=MOST_PER_PAGE * 100))
    return [task for app_ in apps for task in _tasks_of(api, str(app_.get("id", "")))]


def _tasks_of(api: ApiClient, app_id: str) -> list[JsonObject]:
    return items(api.collect("v1", "apps", app_id, "tasks", limit=MOST_PER_PAGE * 100))
