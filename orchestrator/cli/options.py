"""The options that several verbs share."""

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Show at most this many.")]
CursorOption = Annotated[
    str | None,
    typer.Option("--cursor", help="Go on from here (next_cursor of a list before).", show_default=False),
]
IdOption = Annotated[str | None, typer.Option("--id", help="The execution's id, without colons.", show_default=False)]
NameOption = Annotated[str | None, typer.Option(help="A name for this execution.", show_default=False)]
IdempotencyOption = Annotated[
    str | None, typer.Option(help="Launch once however often this is sent.", show_default=False)
]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Follow it; the exit code is the run's.")]
