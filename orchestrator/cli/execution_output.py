"""How executions, their workers and their calls look in a terminal."""

from orchestrator.cli.drawing import progress_text
from orchestrator.cli.formats import JsonObject, clean, duration, json_text, number, parse_time, when
from orchestrator.cli.printing import Cell, Column, print_record, status
from orchestrator.cli.run import Progress, Run
from orchestrator.domain.states import ExecutionStatus


def _seconds(row: JsonObject) -> str:
    started, ended = parse_time(row.get("started_at")), parse_time(row.get("ended_at"))
    return "" if started is None or ended is None else duration((ended - started).total_seconds())


def _progress(row: JsonObject) -> str:
    progress = Progress.read(row.get("progress"))
    return "" if progress is None else progress_text(progress)


def _said(row: JsonObject) -> str:
    return clean(row.get("message") or row.get("failure"))


EXECUTIONS = (
    Column("execution", lambda row: clean(row.get("id"))),
    Column("task", lambda row: clean(row.get("task_id"))),
    Column("status", lambda row: status(row.get("status"))),
    Column("key", lambda row: clean(row.get("multiple_exec_key"))),
    Column("created", lambda row: when(row.get("created_at"))),
    Column("took", _seconds, is_number=True),
    Column("message", lambda row: clean(row.get("message")), is_prose=True),
)

WORKERS = (
    Column("worker", lambda row: clean(row.get("worker_id")), is_number=True),
    Column("status", lambda row: status(row.get("status"))),
    Column("step", lambda row: clean(row.get("step")), is_number=True),
    Column("retries", lambda row: clean(row.get("retry_count") or ""), is_number=True),
    Column("progress", _progress),
    Column("due", lambda row: when(row.get("due_at"))),
    Column("message", lambda row: clean(row.get("refused") or row.get("message")), is_prose=True),
)

CALLS = (
    Column("call", lambda row: clean(row.get("id"))),
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
            "resumed from": origin(execution.get("resumed_from")),
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


def origin(resumed_from: object) -> str | None:
    """Where an execution goes on from that was resumed from a call; None for any other."""
    if not isinstance(resumed_from, dict):
        return None
    later = resumed_from.get("since")
    calls, imported, changes = (
        number(later.get(name) if isinstance(later, dict) else None) for name in ("calls", "items", "mutations")
    )
    return (
        f"call {clean(resumed_from.get('call'))} of {clean(resumed_from.get('execution_id'))}; what the {calls} later "
        f"answers did there stays: {imported} items imported, {changes} changes of the app state"
    )


def _launcher(launched_by: object) -> str:
    return clean(launched_by.get("name")) if isinstance(launched_by, dict) else clean(launched_by)


def _status(execution: JsonObject) -> Cell:
    text = status(execution.get("status"))
    is_failing = execution.get("failing") and execution.get("status") == ExecutionStatus.RUNNING
    return text.append(" failing", style="red") if is_failing else text
