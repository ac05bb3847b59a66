"""Faults in a run: lost answers, bad statuses, timeouts, aborts; and how time passes between the calls."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app_sdk import App, Context, Continue, Done, Retry
from app_sdk.task_options import RetryOptions
from app_sdk.testing import Attempt, FailureKind, NoResponse, Response, TaskRun, VirtualClock, run_task
from tests.sdk.calls import app_with

RESET = NoResponse(FailureKind.CONNECTION_RESET, "the connection was reset", sent=True)
REFUSED = NoResponse(FailureKind.CONNECTION_REFUSED, "connection refused", sent=False)


def pages(last: int) -> Any:
    def task(ctx: Context) -> Done | Continue:
        page = ctx.state.setdefault("page", 0)
        ctx.items.append({"kind": "page", "n": page})
        ctx.app_state.increment("pages")
        ctx.state["page"] += 1
        return Done() if page == last else Continue()

    return task


def seconds(run: TaskRun) -> list[float]:
    return [call.at.total_seconds() for call in run.calls]


def test_a_lost_answer_is_asked_for_again_with_the_same_key() -> None:
    seen = []

    def task(ctx: Context) -> Done | Continue:
        seen.append(ctx.key)
        return pages(3)(ctx)  # type: ignore[no-any-return]

    run = run_task(app_with(task), "import", lose=[(0, 1), (0, 3), (0, 3)])

    assert run.status == "succeeded"
    assert [(call.step, call.outcome) for call in run.calls] == [
        (0, "applied"),
        (1, "lost"),
        (1, "applied"),
        (2, "applied"),
        (3, "lost"),
        (3, "lost"),
        (3, "applied"),
    ]
    assert seen == [call.key for call in run.calls]
    assert len(set(seen)) == 4
    assert [call.retry_count for call in run.calls] == [0, 0, 1, 0, 0, 1, 2]
    # The app did the work of seven calls, and each page counts once.
    assert [item["n"] for item in run.items] == [0, 1, 2, 3]
    assert run.app_state == {"pages": 4}


def test_what_was_lost_is_found_in_the_record() -> None:
    run = run_task(app_with(pages(0)), "import", lose={(0, 0)})
    lost = run.calls[0]
    assert lost.answer is not None
    assert (lost.answer["is_done"], lost.failure) == (True, "lost")


def test_at_most_once_repeats_no_call_that_may_have_arrived() -> None:
    app = App("app_x", "X")
    app.task("import", delivery="at_most_once")(pages(0))

    assert "at_most_once" in str(run_task(app, "import", lose={(0, 0)}).message)
    assert "at_most_once" in str(run_task(app, "import", respond=lambda call: RESET).message)
    ends: dict[int, Response | NoResponse] = {0: REFUSED, 1: Response(503, b"")}
    run = run_task(app, "import", respond=lambda call: ends.get(call.retry_count))
    assert (run.status, len(run.calls)) == ("succeeded", 3)


def test_backoffs_advance_the_time_exactly() -> None:
    app = App("app_x", "X")
    retry = RetryOptions(max_retries=5, initial_delay_secs=2.0, multiplier=3.0, max_delay_secs=30.0)
    app.task("import", retry=retry)(lambda ctx: Retry("busy"))

    run = run_task(app, "import")

    assert (run.status, run.message) == ("failed", "worker 0: out of retries (5): busy")
    assert seconds(run) == [0, 2, 8, 26, 56, 86]
    assert run.elapsed == timedelta(seconds=86)
    assert [call.step for call in run.calls] == [0, 1, 2, 3, 4, 5]


def test_an_exception_is_retried_as_a_server_would(caplog: pytest.LogCaptureFixture) -> None:
    def task(ctx: Context) -> Done:
        if ctx.retry_count < 3:
            raise ConnectionError("no route")
        return Done()

    run = run_task(app_with(task), "import")
    assert (run.status, seconds(run)) == ("succeeded", [0, 5, 15, 35])
    assert [call.message for call in run.calls[:3]] == ["ConnectionError: no route"] * 3
    assert len(caplog.records) == 3


def test_a_status_takes_the_place_of_an_answer() -> None:
    def respond(call: Attempt) -> Response | None:
        if call.step == 1 and call.retry_count == 0:
            return Response(429, b"slow down", retry_after=timedelta(seconds=90))
        if call.step == 1 and call.retry_count == 1:
            return Response(503, b"")
        return None

    run = run_task(app_with(pages(2)), "import", respond=respond)

    assert (run.status, seconds(run)) == ("succeeded", [0, 0, 90, 100, 100])
    assert [(call.http_status, call.message) for call in run.calls if call.outcome == "failed"] == [
        (429, "HTTP 429: slow down"),
        (503, "HTTP 503"),
    ]
    assert len(run.items) == 3


def test_delays_are_kept_to_the_second() -> None:
    def task(ctx: Context) -> Done | Continue:
        ctx.delay(timedelta(minutes=7, seconds=ctx.step))
        return Done() if ctx.step == 2 else Continue()

    run = run_task(app_with(task), "import")
    assert seconds(run) == [0, 420, 841]


@pytest.mark.parametrize(("status", "stopped"), [(400, False), (410, True)])
def test_some_statuses_are_final(status: int, stopped: bool) -> None:
    run = run_task(app_with(pages(2)), "import", respond=lambda call: Response(status, b"gone"))
    assert (run.status, run.message) == ("failed", f"worker 0: HTTP {status}: gone")
    assert (run.app_stopped is not None) is stopped


def test_a_stopped_app_is_not_called_any_more() -> None:
    app = App("app_x", "X")
    app.task("import", on_worker_failure="continue")(pages(2))
    gone = {(1, 0): Response(410, b"gone")}

    run = TaskRun(app, "import", workers={1: {}}, respond=lambda call: gone.get((call.worker_id, call.step)))
    run.finish()
    assert (run.status, run.app_stopped) == ("running", "the app answered 410 to test: HTTP 410: gone")
    assert [worker.status for worker in run.workers.values()] == ["ready", "failed"]


def test_silence_narrows_the_app_to_two_places() -> None:
    run = TaskRun(
        app_with(pages(0)),
        "import",
        workers={worker_id: {} for worker_id in range(1, 10)},
        respond=lambda call: REFUSED if call.retry_count == 0 else None,
    )
    for _ in range(10):
        run.step()
    run.step()
    assert [worker.status for worker in run.workers.values()].count("calling") == 1
    assert run.finish().status == "succeeded"


def test_a_call_that_takes_too_long_by_the_clock_has_timed_out() -> None:
    clock = VirtualClock()

    def task(ctx: Context) -> Done:
        clock.advance(25 if ctx.retry_count == 0 else 5)
        ctx.app_state.increment("applied")
        return Done()

    run = run_task(app_with(task), "import", clock=clock)
    assert (run.status, run.app_state) == ("succeeded", {"applied": 1})
    assert (run.calls[0].failure, run.calls[0].message) == ("timeout", "no complete answer within 20 s")
    assert run.elapsed == timedelta(seconds=25 + 5 + 5)


def test_time_can_be_moved_a_while_at_a_time() -> None:
    def task(ctx: Context) -> Continue:
        ctx.delay(60)
        return Continue()

    run = TaskRun(app_with(task), "import")
    run.advance(timedelta(minutes=3))
    assert (seconds(run), run.elapsed) == ([0, 60, 120, 180], timedelta(minutes=3))
    run.advance(59)
    assert (len(run.calls), run.elapsed) == (4, timedelta(seconds=239))
    assert run.workers[0].due_at == timedelta(seconds=240)
    call = run.step()
    assert call is not None
    assert (call.at, run.elapsed) == (timedelta(seconds=240), timedelta(seconds=240))


def test_a_task_ends_at_its_longest_duration() -> None:
    app = App("app_x", "X")

    @app.task("import", max_duration=timedelta(hours=1))
    def task(ctx: Context) -> Continue:
        ctx.delay(timedelta(minutes=25))
        return Continue()

    run = run_task(app, "import")
    assert (run.status, run.elapsed) == ("failed", timedelta(hours=1))
    assert run.message == "still running after max_duration_secs (3600 s)"
    assert len(run.calls) == 3


def test_an_abort_fences_what_is_in_flight() -> None:
    app = app_with(pages(5))
    run = TaskRun(app, "import", workers={1: {}})
    run.step()
    run.abort("enough")
    call = run.step()
    assert call is not None
    assert (call.worker_id, call.outcome) == (1, "fenced")
    assert (run.step(), run.status, run.message) == (None, "aborted", "enough")
    assert run.app_state == {"pages": 1}


def test_a_retry_resumes_what_is_unfinished() -> None:
    outage = [True]

    def task(ctx: Context) -> Any:
        if ctx.worker_id == 0 and ctx.step == 2 and outage:
            outage.clear()
            ctx.app_state.increment("not to be counted")
            raise RuntimeError("the disk is full")
        return pages(3)(ctx)

    app = App("app_x", "X")
    app.task("import", retry={"max_retries": 0})(task)
    run = run_task(app, "import", workers={1: {"page": 3}})
    assert (run.status, run.app_state) == ("failed", {"pages": 3})

    run.retry()
    run.finish()
    assert (run.status, run.app_state) == ("succeeded", {"pages": 5})
    assert [item["n"] for item in run.items] == [0, 3, 1, 2, 3]
    assert [call.worker_id for call in run.calls] == [0, 1, 0, 0, 0, 0]


def test_a_clock_needs_a_time_zone_and_never_goes_back() -> None:
    with pytest.raises(ValueError, match="time zone"):
        VirtualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
    clock = VirtualClock(datetime(2026, 5, 1, tzinfo=UTC))
    clock.advance_to(datetime(2026, 4, 1, tzinfo=UTC))
    assert (clock.now, clock()) == (datetime(2026, 5, 1, tzinfo=UTC), 0.0)
    with pytest.raises(ValueError, match="0 seconds or more"):
        clock.advance(-1)
