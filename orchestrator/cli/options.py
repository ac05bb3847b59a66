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
