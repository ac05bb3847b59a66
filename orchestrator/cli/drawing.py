"""A run drawn: a header, a bar for each worker, the summary at its end. Pure: the time is an argument."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.formats import duration, number, plural
from orchestrator.cli.pace import Pace
from orchestrator.cli.printing import STATUS_STYLES, status
from orchestrator.cli.run import Lane, Progress, Run
from orchestrator.domain.states import WorkerStatus

_BAR_WIDTH = 16
_FULL = 100.0
# Below this many characters to a line, the step and the time left make room for the message.
_WIDE = 100


@dataclass(frozen=True, slots=True)
class _Part:
    """A column of the workers' table. Its least width keeps the others from jumping to and fro."""

    draw: Callable[[Lane, Pace], RenderableType]
    least_width: int
    is_right: bool = True
    only_if_wide: bool = False


def frame(run: Run, paces: Mapping[int, Pace], now: datetime, *, width: int, trouble: str = "") -> RenderableType:
    """The run as it stands; `paces` by worker id, `trouble` is why it may be out of date."""
    shown = [part for part in _PARTS if width >= _WIDE or not part.only_if_wide]
    lanes = Table.grid(padding=(0, 1), expand=True)
    for part in shown:
        justify: JustifyMethod = "right" if part.is_right else "left"
        lanes.add_column(justify=justify, no_wrap=True, min_width=part.least_width)
    lanes.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for lane in run.lanes:
        pace = paces.get(lane.worker_id) or Pace()
        message = Text(waiting_text(lane, now), style="yellow" if lane.retry_count else "dim")
        lanes.add_row(*(part.draw(lane, pace) for part in shown), message)
    parts: list[RenderableType] = [_header(run, now), lanes]
    if trouble:
        parts.append(Text(trouble, style="yellow"))
    return Group(*parts)


def summary(run: Run) -> RenderableType:
    """How the run ended, with what it brought and cost."""
    seconds = None if run.ended_at is None else run.seconds(run.ended_at)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("status", status(run.status))
    if run.message and not run.has_succeeded:
        grid.add_row("reason", Text(run.message))
    for lane in run.lanes:
        # The run's own message already holds that of the worker which made it fail.
        if lane.status == WorkerStatus.FAILED and lane.message and lane.message not in run.message:
            grid.add_row(f"worker {lane.worker_id}", Text(f"failed at step {lane.step}: {lane.message}"))
    grid.add_row("items imported", Text(_delivered(run, seconds)))
    grid.add_row("calls", Text(number(run.totals.calls) + _retries(run)))
    if seconds is not None:
        grid.add_row("time", Text(duration(seconds)))
    return grid


def calls(run: Run) -> str:
    """`312 calls (3 retries)`."""
    return plural(run.totals.calls, "call", "calls") + _retries(run)


def _retries(run: Run) -> str:
    return f" ({plural(run.totals.retries, 'retry', 'retries')})" if run.totals.retries else ""


def progress_text(progress: Progress) -> str:
    """`1,200/2,830 airports`."""
    total = "" if progress.total is None else f"/{number(progress.total)}"
    return f"{number(progress.current)}{total} {progress.unit}".rstrip()


def waiting_text(lane: Lane, now: datetime) -> str:
    """`retry 2 in 8 s: HTTP 503`: why a worker is not under way, and what it last said."""
    parts = []
    if lane.retry_count and not lane.has_ended:
        parts.append(f"retry {lane.retry_count}")
    if lane.status == WorkerStatus.READY and lane.due_at is not None and lane.due_at > now:
        parts.append(f"in {duration((lane.due_at - now).total_seconds())}")
    return ": ".join(part for part in (" ".join(parts), lane.message) if part)


def _header(run: Run, now: datetime) -> Text:
    header = Text(no_wrap=True, overflow="ellipsis")
    header.append(run.task_id, style="bold").append(" ").append(run.id, style="dim").append("\n")
    header.append_text(status(run.status))
    if run.is_failing and not run.has_ended:
        header.append(" failing", style="red")
    if run.started_at is None and run.run_at is not None:
        header.append(f" until {run.run_at:%Y-%m-%d %H:%M:%SZ}")
    seconds = run.seconds(now)
    facts = [duration(seconds), calls(run), f"{number(run.totals.items)} items"]
    undelivered = run.totals.items - run.totals.delivered_items
    if undelivered > 0:
        facts.append(f"{number(undelivered)} not yet delivered")
    if run.subtext:
        facts.append(run.subtext)
    header.append(" · " + " · ".join(fact for fact in facts if fact))
    return header


def _progress(lane: Lane, _pace: Pace) -> Text:
    return Text("" if lane.progress is None else progress_text(lane.progress))


def _rate(lane: Lane, pace: Pace) -> Text:
    rate = None if lane.has_ended else pace.per_second
    if not rate:
        return Text("")
    return Text(f"{number(round(rate) if rate >= 10 else round(rate, 1))}/s", style="cyan")


def _time_left(lane: Lane, pace: Pace) -> Text:
    left = None if lane.has_ended or lane.progress is None else pace.seconds_left(lane.progress.total)
    return Text("" if left is None else f"{duration(left)} left", style="dim")


def _bar(lane: Lane, _pace: Pace) -> RenderableType:
    if lane.progress is None or lane.progress.total is None:
        return Text("")
    share = min(lane.progress.current / lane.progress.total, 1.0)
    style = STATUS_STYLES.get(lane.status, "cyan")
    return ProgressBar(_FULL, share * _FULL, width=_BAR_WIDTH, complete_style=style, finished_style=style)


def _delivered(run: Run, seconds: float | None) -> str:
    delivered = run.totals.delivered_items
    text = number(delivered)
    if delivered and seconds:
        text += f" ({number(round(delivered / seconds))}/s)"
    undelivered = run.totals.items - delivered
    return f"{text}, {number(undelivered)} still on their way" if undelivered > 0 else text


_PARTS = (
    _Part(lambda lane, _: Text(str(lane.worker_id), style="bold"), 1),
    _Part(lambda lane, _: status(lane.status), len("awaiting"), is_right=False),
    _Part(lambda lane, _: Text(f"step {lane.step}", style="dim"), len("step 10"), only_if_wide=True),
    _Part(_bar, _BAR_WIDTH, is_right=False),
    _Part(_progress, 0),
    _Part(_rate, len("1,000/s")),
    _Part(_time_left, len("10 min left"), only_if_wide=True),
)
