"""`orchestrator events`: see executions end, as it happens."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from app_sdk.protocol import strict_json
from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.failures import Unreachable
from orchestrator.cli.formats import JsonObject, clean, json_text, when
from orchestrator.cli.printing import note

app = typer.Typer(no_args_is_help=True, help="See executions end, as it happens.")

# A server that is being restarted is worth waiting for.
PATIENCE_SECS = 30.0
PAUSE_SECS = 1.0


@app.command("watch")
@remote
def watch(
    api: ApiClient,
    pattern: Annotated[
        str, typer.Option(help="Which: dotted words, * for one word, # for any number of them.")
    ] = "core.task.#",
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Begin after this number; 0: with the oldest one kept.", show_default=False),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a CloudEvent in JSON on each line.")] = False,
) -> None:
    """Print events as they are published, until interrupted; after an interruption none is missing."""
    for number, event in enumerate(Follower(api, pattern, after).events(), start=1):
        typer.echo(json_text(event).encode() if as_json else _line(event))
        if number == count:
            return


@dataclass(slots=True)
class Follower:
    """Reads the stream, and takes it up again where it broke off. `after`: the last number that was seen."""

    api: ApiClient
    pattern: str
    after: int | None
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def events(self) -> Iterator[JsonObject]:
        """Each event, once. Raises what requests raise; Unreachable at first, or if that lasts."""
        reached_at: float | None = None
        while True:
            try:
                for block in self._blocks():
                    reached_at = self.now()
                    event = self._read(block)
                    if event is not None:
                        yield event
            except Unreachable as error:
                if reached_at is None or self.now() - reached_at > PATIENCE_SECS:
                    raise
                note(f"{error.message}; trying again")
            self.sleep(PAUSE_SECS)

    def _blocks(self) -> Iterator[bytes]:
        query = {"pattern": self.pattern, "after": self.after}
        rest = b""
        for piece in self.api.lines("v1", "events", query=query, accept="text/event-stream"):
            *blocks, rest = (rest + piece).split(b"\n\n")
            yield from blocks

    def _read(self, block: bytes) -> JsonObject | None:
        event = None
        for line in block.split(b"\n"):
            name, _, value = line.partition(b": ")
            if name == b"id":
                self.after = int(value)
            elif name == b"data":
                event = strict_json.loads(value)
        return dict(event) if isinstance(event, dict) else None


def _line(event: JsonObject) -> str:
    data = event.get("data")
    message = data.get("message") if isinstance(data, dict) else None
    parts = [when(event.get("time")), clean(event.get("sequence")), clean(event.get("type"))]
    return "  ".join(part for part in (*parts, clean(event.get("subject")), clean(message)) if part)
