"""Following a run without a terminal, and drawn on one that is none."""

import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from rich.console import Console

from orchestrator.cli.drawing import frame, summary
from orchestrator.cli.failures import Missing, Unreachable
from orchestrator.cli.pace import WINDOW_SECS, Pace
from orchestrator.cli.run import Run
from orchestrator.cli.watching import PATIENCE_SECS, POLL_SECS, ChangeLog, Clock, Watcher
from tests.cli.support import Document, ended_document, execution_document, worker_document

NOW = datetime(2026, 11, 21, 8, 30, 6, tzinfo=UTC)


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.slept = 0.0

    def sleep(self, secs: float) -> None:
        self.now += secs
        self.slept += secs

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


def answers(*documents: Document | Exception) -> Callable[[], Document]:
    left: Iterator[Document | Exception] = iter(documents)

    def fetch() -> Document:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return fetch


def drawn(renderable: object, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, color_system=None)
    console.print(renderable)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def drawn_frame(
    document: Document, paces: dict[int, Pace] | None = None, *, width: int = 110, trouble: str = ""
) -> str:
    return drawn(frame(Run.read(document), paces or {}, NOW, width=width, trouble=trouble), width)


def plain(fetch: Callable[[], Document], *, time: FakeTime | None = None, is_terminal: bool = False) -> tuple[Run, str]:
    file = io.StringIO()
    console = Console(file=file, width=110, force_terminal=is_terminal, markup=False, highlight=False)
    run = Watcher(console, fetch, (time or FakeTime()).clock).watch()
    return run, file.getvalue()


class TestWatcher:
    def test_polls_until_the_end(self) -> None:
        time = FakeTime()
        fetch = answers(execution_document(), execution_document(), ended_document())
        run, _ = plain(fetch, time=time)
        assert run.status == "succeeded"
        assert time.slept == 2 * POLL_SECS

    def test_says_each_change_once(self) -> None:
        documents = [
            execution_document(status="pending", started_at=None, workers=[]),
            execution_document(workers=[worker_document()]),
            execution_document(workers=[worker_document(status="ready", step=5)]),
            execution_document(
                workers=[worker_document(step=6, progress={"current": 300, "total": 1000, "unit": "airports"})]
            ),
            execution_document(workers=[worker_document(status="ready", retry_count=1, message="HTTP 503")]),
            ended_document(),
        ]
        _, text = plain(answers(*documents))
        assert text.splitlines() == [
            "08:30:06 app_shop_import  pending  12 calls (2 retries)  500 items",
            "08:30:06 worker 0  calling  step 4  250/1,000 airports",
            "08:30:06 app_shop_import  running  12 calls (2 retries)  500 items",
            "08:30:06 worker 0  calling  step 6  300/1,000 airports",
            "08:30:07 worker 0  ready  step 4  250/1,000 airports  retry 1: HTTP 503",
            "08:30:07 worker 0  done  step 4  1,000/1,000 airports",
            "08:30:07 app_shop_import  succeeded  40 calls (3 retries)  1,000 items",
        ]

    def test_says_why_a_run_failed(self) -> None:
        _, text = plain(answers(ended_document("failed", message="worker 0: HTTP 400")))
        assert text.splitlines()[-1].endswith("failed  40 calls (3 retries)  1,000 items  worker 0: HTTP 400")

    def test_sits_out_a_server_that_restarts(self) -> None:
        gone = Unreachable("http://x cannot be reached: refused")
        run, text = plain(answers(execution_document(), gone, gone, ended_document()))
        assert run.has_succeeded
        assert text.count("cannot be reached: refused; trying again") == 1

    def test_gives_up_after_a_while(self) -> None:
        time = FakeTime()

        def fetch() -> Document:
            if time.slept:
                raise Unreachable("gone")
            return execution_document()

        with pytest.raises(Unreachable):
            plain(fetch, time=time)
        assert PATIENCE_SECS <= time.slept <= PATIENCE_SECS + 2 * POLL_SECS

    def test_does_not_wait_for_a_server_that_never_answered(self) -> None:
        time = FakeTime()
        with pytest.raises(Unreachable):
            plain(answers(Unreachable("gone")), time=time)
        assert not time.slept

    def test_other_errors_are_not_retried(self) -> None:
        with pytest.raises(Missing):
            plain(answers(execution_document(), Missing("deleted")))

    def test_draws_on_a_terminal(self) -> None:
        workers = [worker_document(number) for number in range(10)]
        fetch = answers(execution_document(workers=workers), ended_document())
        _, text = plain(fetch, is_terminal=True)
        assert "\x1b[" in text
        assert "250/1,000 airports" in text
        assert "succeeded" in text


class TestFrame:
    def test_shows_every_worker(self) -> None:
        progress = {"current": 700, "total": 1000, "unit": "airports"}
        due = "2026-11-21T08:30:14.000000Z"
        workers = [
            worker_document(0, status="waiting", message="waits for the others", progress=None),
            worker_document(1, progress=progress),
            worker_document(2, status="ready", retry_count=2, due_at=due, message="HTTP 503"),
            worker_document(3, status="done", progress={"current": 10, "total": 10, "unit": ""}),
        ]
        pace = Pace()
        pace.add(0, 100)
        pace.add(2, 700)
        document = execution_document(workers=workers, subtext="page 3")
        lines = drawn_frame(document, {1: pace}).splitlines()
        assert lines[0].startswith("app_shop_import 0193aaaa-")
        assert lines[1].rstrip() == (
            "running · 5.0 s · 12 calls (2 retries) · 500 items · 50 not yet delivered · page 3"
        )
        assert [line.split()[0] for line in lines[2:]] == ["0", "1", "2", "3"]
        assert "waits for the others" in lines[2]
        assert "700/1,000 airports   300/s  1.0 s left" in lines[3]
        assert "━" in lines[3]
        assert "retry 2 in 8.0 s: HTTP 503" in lines[4]
        assert "left" not in lines[5]

    @pytest.mark.parametrize("width", [40, 80, 200])
    def test_keeps_a_line_for_each_worker_at_any_width(self, width: int) -> None:
        workers = [worker_document(number, message="a long message " * 20) for number in range(10)]
        document = execution_document(workers=workers, subtext="a long subtext " * 20)
        lines = drawn_frame(document, width=width).splitlines()
        assert len(lines) == 12
        assert all(len(line) <= width for line in lines)

    def test_gives_up_the_lesser_things_first(self) -> None:
        document = execution_document(workers=[worker_document(message="the message")])
        pace = Pace()
        pace.add(0, 0)
        pace.add(1, 250)
        wide, narrow = (drawn_frame(document, {0: pace}, width=width) for width in (100, 80))
        assert "step 4" in wide
        assert "3.0 s left" in wide
        assert "step 4" not in narrow
        assert "left" not in narrow
        for text in ("calling", "250/1,000 airports", "250/s", "the message"):
            assert text in wide
            assert text in narrow

    def test_shows_what_it_waits_for(self) -> None:
        document = execution_document(status="pending", started_at=None, run_at="2026-11-22T00:00:00Z", workers=[])
        assert "pending until 2026-11-22 00:00:00Z" in drawn_frame(document)

    def test_says_that_it_may_be_out_of_date(self) -> None:
        text = drawn_frame(execution_document(), trouble="the server cannot be reached")
        assert text.splitlines()[-1].strip() == "the server cannot be reached"

    def test_shows_a_failing_run(self) -> None:
        assert "running failing" in drawn_frame(execution_document(failing=True))

    def test_survives_an_answer_with_nothing_in_it(self) -> None:
        assert drawn_frame({})


class TestSummary:
    def test_of_a_success(self) -> None:
        text = drawn(summary(Run.read(ended_document())))
        assert [re.split("  +", line.strip()) for line in text.splitlines()] == [
            ["status", "succeeded"],
            ["items imported", "1,000 (100/s)"],
            ["calls", "40 (3 retries)"],
            ["time", "10 s"],
        ]

    def test_of_a_failure_names_the_reason_and_what_is_left(self) -> None:
        document = ended_document("failed", message="worker 0 failed")
        document["workers"][0]["message"] = "HTTP 400: no such page"
        document["totals"]["delivered_items"] = 750
        text = drawn(summary(Run.read(document)))
        assert "worker 0 failed" in text
        assert "failed at step 4: HTTP 400: no such page" in text
        assert "750 (75/s), 250 still on their way" in text


class TestPace:
    def test_needs_two_looks(self) -> None:
        pace = Pace()
        assert pace.per_second is None
        pace.add(0, 5)
        assert pace.per_second is None
        assert pace.seconds_left(10) is None

    def test_is_of_the_last_seconds(self) -> None:
        pace = Pace()
        pace.add(0, 0)
        pace.add(100, 1000)
        pace.add(100 + WINDOW_SECS, 1100)
        assert pace.per_second == 10
        assert pace.seconds_left(1150) == 5

    def test_starts_afresh_when_the_worker_does(self) -> None:
        pace = Pace()
        pace.add(0, 500)
        pace.add(1, 10)
        assert pace.per_second is None
        pace.add(2, 30)
        assert pace.per_second == 20

    def test_of_what_stands_still_leaves_no_time(self) -> None:
        pace = Pace()
        pace.add(0, 10)
        pace.add(1, 10)
        assert pace.per_second == 0
        assert pace.seconds_left(20) is None

    def test_knows_no_time_left_without_a_total(self) -> None:
        pace = Pace()
        pace.add(0, 0)
        pace.add(1, 10)
        assert pace.seconds_left(None) is None
        assert pace.seconds_left(5) == 0


def test_a_worker_without_a_total_is_told_of_by_its_messages() -> None:
    log = ChangeLog()

    def say(message: str, step: int) -> list[str]:
        worker = worker_document(message=message, step=step, progress=None)
        return log.changes(Run.read(execution_document(workers=[worker])), "", NOW)

    assert len(say("page 1", 1)) == 2
    assert say("page 1", 2) == []
    assert say("page 2", 3) == ["08:30:06 worker 0  calling  step 3  page 2"]
