"""What commands print: tables and panels for people, one JSON document for programs, errors on stderr."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import typer
from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from orchestrator.cli.failures import CommandError, Misused
from orchestrator.cli.formats import JsonObject, clean, json_text, one_line

Cell = str | Text

# Where nobody looks at it but a program or a file, nothing is cut off.
_UNLIMITED_WIDTH = 100_000

STATUS_STYLES = {
    "succeeded": "green",
    "done": "green",
    "active": "green",
    "ok": "green",
    "applied": "green",
    "delivered": "green",
    "running": "cyan",
    "calling": "cyan",
    "ready": "cyan",
    "pending": "yellow",
    "awaiting": "yellow",
    "waiting": "yellow",
    "initializing": "yellow",
    "stopped": "yellow",
    "paused": "yellow",
    "warning": "yellow",
    "fenced": "yellow",
    "lost": "yellow",
    "failed": "red",
    "refused": "red",
    "aborted": "red",
    "disabled": "red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list: its title, and what a row shows in it. `is_prose` may be wrapped."""

    title: str
    cell: Callable[[JsonObject], Cell]
    is_prose: bool = False
    is_number: bool = False


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr that takes text as it is: no markup, no colours of its own devising."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = _UNLIMITED_WIDTH
    return made


def status(value: object) -> Text:
    """A status in its colour."""
    text = clean(value)
    return Text(text, style=STATUS_STYLES.get(text, ""))


def print_json(document: object) -> None:
    """Print one JSON document, and nothing else, on stdout."""
    typer.echo(json_text(document, indent=2).encode())


def print_table(rows: Iterable[JsonObject], columns: Sequence[Column]) -> None:
    """Print a row for each object."""
    head = box.SIMPLE_HEAD if console().is_terminal else None
    table = Table(box=head, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            no_wrap=not column.is_prose,
            overflow="fold",
            justify="right" if column.is_number else "left",
        )
    for row in rows:
        table.add_row(*(as_text(column.cell(row)) for column in columns))
    show(table)


def print_list(page: JsonObject, columns: Sequence[Column], *, as_json: bool, empty: str) -> None:
    """Print a page of a list, or `empty` where it has none; how to get the next page goes to stderr."""
    if as_json:
        print_json(page)
        return
    rows = items(page)
    if not rows:
        say(empty)
        return
    print_table(rows, columns)
    if page.get("next_cursor"):
        note(f"There are more: add --cursor {page['next_cursor']}")


def print_record(title: str, pairs: Mapping[str, Cell | None]) -> None:
    """Print the names and values of one thing; a value of None, or an empty one, is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs.items():
        if value:
            grid.add_row(name, as_text(value))
    if console().is_terminal:
        show(Panel.fit(grid, title=as_text(title), title_align="left", box=box.ROUNDED))
    else:
        show(Group(as_text(title), grid))


def show(renderable: RenderableType) -> None:
    """Print something drawn on stdout; where no terminal is, without the blanks that fill its lines."""
    out = console()
    if out.is_terminal:
        out.print(renderable)
        return
    with out.capture() as capture:
        out.print(renderable)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def say(text: str) -> None:
    """Print a line of text on stdout, unbroken."""
    typer.echo(clean(text))


def note(text: str) -> None:
    """Print a line beside the output proper, on stderr."""
    typer.secho(clean(text), err=True, dim=True)


def print_error(error: CommandError) -> None:
    """Say on stderr what went wrong, in one line, and below it what to do next."""
    typer.secho("Error: ", err=True, nl=False, fg="red", bold=True)
    typer.echo(one_line(error.message), err=True)
    for step in error.next_steps:
        typer.echo(f"  {clean(step)}", err=True)


def as_text(cell: Cell) -> Text:
    """A cell as rich text, free of control characters."""
    return cell if isinstance(cell, Text) else Text(clean(cell))


def items(page: JsonObject) -> list[JsonObject]:
    """The objects of a page of a list."""
    found = page.get("items")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def is_interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, *, yes: bool, what: str) -> None:
    """Ask before what cannot be undone, as `what` says; raises Misused where nobody can be asked."""
    if yes:
        return
    if not is_interactive():
        raise Misused(f"{what}, and there is nobody here to ask", "If you mean it, say --yes.")
    typer.confirm(clean(question), abort=True, err=True)
