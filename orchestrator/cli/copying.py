"""What `orchestrator db copy` shows: a bar on a terminal, and at the end what to do next."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from orchestrator.cli.formats import JsonObject, number
from orchestrator.cli.printing import Column, console, print_table, say
from orchestrator.runtime.copying import Moved, Progress
from orchestrator.service.copying import Tell

_COLUMNS = (
    Column("TABLE", lambda row: str(row["table"])),
    Column("ROWS", lambda row: number(row["rows"]), is_number=True),
)


@contextmanager
def shown_progress() -> Iterator[Tell]:
    """What to tell the progress to: drawn on stderr if that is a terminal, else not at all."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield _tell_nobody
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # One bar, of the table that is its turn: two for each table would not fit on a screen.
    with Bars(*columns, console=out, transient=True) as bars:
        bar = bars.add_task("")

        def tell(progress: Progress) -> None:
            if progress.rows == 0:
                what = "Checking" if progress.is_check else "Copying"
                bars.reset(bar, total=progress.total, description=f"{what} {progress.table}")
            bars.update(bar, completed=progress.rows)

        yield tell


def _tell_nobody(_progress: Progress) -> None:
    return


def _password_hint(url: str) -> str:
    return " (put the password in place of ***)" if ":***@" in url else ""


def summary(moved: Moved, *, dry_run: bool) -> JsonObject:
    """The outcome for programs."""
    return {"dry_run": dry_run, "rows": moved.copied.rows, "lost_calls": moved.copied.lost_calls}


def report(moved: Moved, *, dry_run: bool) -> None:
    """Print the outcome for people."""
    rows = moved.copied.rows
    print_table([{"table": table, "rows": count} for table, count in rows.items()], _COLUMNS)
    total = f"{number(sum(rows.values()))} rows from {moved.source} to {moved.target}"
    if dry_run:
        say(f"\nWould copy {total}; nothing was written.")
        return
    say(f"\nCopied {total}; read again there, every table is the same.")
    if moved.copied.lost_calls:
        say(f"Calls that were under way, recorded as lost as after a crash: {number(moved.copied.lost_calls)}.")
    say(f"To serve from there{_password_hint(moved.target)}:\n\n  export ORCHESTRATOR_DATABASE__URL='{moved.target}'")
    if moved.master_key_file is not None:
        path = shlex.quote(str(moved.master_key_file))
        say(f'  export ORCHESTRATOR_SECURITY__MASTER_KEY="$(cat {path})"')
        note = f"The master key is the one in {moved.master_key_file}: keep it safe, nothing else opens the secrets."
    else:
        note = "ORCHESTRATOR_SECURITY__MASTER_KEY stays as it is: the same key opens the secrets."
    say(f"  orchestrator serve\n\n{note}")
    say("Do not serve the old database again: what it had under way goes on in the new one.")
