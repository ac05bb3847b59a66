"""Follow a run: live bars on a terminal, a plain line for each change elsewhere."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.live import Live

from orchestrator.cli.drawing import calls, frame, progress_text, waiting_text
from orchestrator.cli.failures import Unreachable
from orchestrator.cli.formats import JsonObject, number
from orchestrator.cli.pace import Pace
from orchestrator.cli.run import Lane, Run
from orchestrator.domain.states import WorkerStatus

POLL_SECS = 0.25
# A server that is being restarted is worth waiting for.
PATIENCE_SECS = 30.0

Fetch = Callable[[], JsonObject]
Show = Callable[[Run, str], None]


@dataclass(frozen=True, slots=True)
class Clock:
    """The time in Unix seconds, and how to let some of it pass."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class Watcher:
    """Asks `fetch` for the execution until it has ended, and shows what it hears on the console."""

    def __init__(self, console: Console, fetch: Fetch, clock: Clock | None = None) -> None:
        self._console = console
        self._fetch = fetch
        self._clock = clock or Clock()
        self._paces: defaultdict[int, Pace] = defaultdict(Pace)

    def watch(self) -> Run:
        """Return the run once it has ended. Raises what `fetch` raises; Unreachable only if that lasts."""
        if not self._console.is_terminal:
            lines = ChangeLog()
            return self._follow(lambda run, trouble: self._print(lines.changes(run, trouble, self._now())))
        # Redrawn by hand: no second thread, and each frame is of one moment.
        with Live(console=self._console, auto_refresh=False, vertical_overflow="visible") as live:
            return self._follow(lambda run, trouble: live.update(self._frame(run, trouble), refresh=True))

    def _follow(self, show: Show) -> Run:
        run = Run.read(self._fetch())
        reached_at = self._clock.now()
        trouble = ""
        while True:
            self._measure(run)
            show(run, trouble)
            if run.has_ended:
                return run
            self._clock.sleep(POLL_SECS)
            try:
                run, trouble = Run.read(self._fetch()), ""
                reached_at = self._clock.now()
            except Unreachable as error:
                if self._clock.now() - reached_at > PATIENCE_SECS:
                    raise
                trouble = f"{error.message}; trying again"

    def _measure(self, run: Run) -> None:
        for lane in run.lanes:
            if lane.progress is not None:
                self._paces[lane.worker_id].add(self._clock.now(), lane.progress.current)

    def _frame(self, run: Run, trouble: str) -> RenderableType:
        return frame(run, self._paces, self._now(), width=self._console.width, trouble=trouble)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True)


class ChangeLog:
    """The lines that say what is new since the last look."""

    def __init__(self) -> None:
        self._trouble = ""
        self._run: object = None
        self._lanes: dict[int, object] = {}

    def changes(self, run: Run, trouble: str, now: datetime) -> list[str]:
        """A line for the execution and for each worker of which there is something to tell."""
        said = []
        if trouble and trouble != self._trouble:
            said.append(trouble)
        self._trouble = trouble
        for lane in run.lanes:
            if self._lanes.get(lane.worker_id) != _news_of(lane):
                self._lanes[lane.worker_id] = _news_of(lane)
                said.append(_lane_line(lane, now))
        news = (run.status, run.is_failing, run.subtext)
        if self._run != news:
            self._run = news
            said.append(_run_line(run))
        return [f"{now:%H:%M:%S} {line}" for line in said]


def _news_of(lane: Lane) -> object:
    """What has to change for a worker to be told of: every tenth of its way, not every call."""
    is_under_way = lane.status in (WorkerStatus.READY, WorkerStatus.CALLING)
    progress = lane.progress
    if progress is None or progress.total is None:
        return (is_under_way or lane.status, lane.retry_count, lane.message)
    return (is_under_way or lane.status, lane.retry_count, int(10 * progress.current / progress.total))


def _lane_line(lane: Lane, now: datetime) -> str:
    progress = "" if lane.progress is None else progress_text(lane.progress)
    parts = [f"worker {lane.worker_id}", lane.status, f"step {lane.step}", progress, waiting_text(lane, now)]
    return "  ".join(part for part in parts if part)


def _run_line(run: Run) -> str:
    parts = [run.task_id, "failing" if run.is_failing and not run.has_ended else run.status]
    parts += [calls(run), f"{number(run.totals.items)} items", run.subtext]
    if run.has_ended and not run.has_succeeded:
        parts.append(run.message)
    return "  ".join(part for part in parts if part)
