"""What executors report: starts, signs of life, results, failures; once, again, too late, and against the rules."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.errors import ClaimRefused, NotFound
from orchestrator.service.tokens import Scope
from tests.engine.executors import Executor, pulled_world, time_passes
from tests.support.world import WORKSPACE


def reason_of(refusal: pytest.ExceptionInfo[ClaimRefused]) -> object:
    return refusal.value.facts["reason"]


async def output_of(executor: Executor, execution: str) -> Any:
    (output,) = await executor.world.row(
        "SELECT output FROM execution_details d JOIN executions e ON e.pk = d.execution_pk WHERE e.id = :id",
        id=execution,
    )
    return None if output is None else json.loads(output)


async def test_a_result_is_the_output_and_the_end(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        world = executor.world
        execution = await world.launch()
        task = await executor.started()
        shown = (await executor.look(task.id)).row
        assert (shown.status, shown.executor) == ("in-progress", "tok_1")
        world.advance(timedelta(seconds=3))
        settled = await executor.succeed(task, {"rows": 3, "z": 18446744073709551615})
        assert await world.status(execution) == "succeeded"
        assert await output_of(executor, execution) == {"rows": 3, "z": 18446744073709551615}
        ended = settled.task
        assert (ended.row.status, ended.row.outcome, ended.attempts) == ("done", "succeeded", 1)
        assert ended.result == {"rows": 3, "z": 18446744073709551615}
        assert ended.exec_id == task.exec_id
        [call] = await world.calls(execution)
        assert (call["outcome"], call["http_status"], call["failure"]) == ("applied", None, None)
        (node, took) = await world.row("SELECT node, ended_at - started_at FROM calls")
        assert node == "tok_1"
        assert took >= 3_000_000


@pytest.mark.parametrize("result", [7, "seven", [1, {"a": None}], False])
async def test_a_result_that_is_no_object_is_given_back_as_it_was_sent(database_url: str, result: Any) -> None:
    async with pulled_world(database_url) as executor:
        execution = await executor.world.launch()
        settled = await executor.succeed(await executor.started(), result)
        assert settled.task.result == result
        assert await output_of(executor, execution) == {"result": result}


async def test_a_result_may_be_nothing(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        execution = await executor.world.launch()
        settled = await executor.succeed(await executor.started())
        assert (settled.task.row.outcome, settled.task.result) == ("succeeded", None)
        assert await output_of(executor, execution) is None


async def test_a_failure_is_retried_after_the_delay_then_final(database_url: str) -> None:
    async with pulled_world(database_url, allowedRetryCount=1, retryDelay=5000) as executor:
        world = executor.world
        execution = await world.launch()
        settled = await executor.fail(await executor.started(), {"message": "no paper", "code": 7})
        assert (settled.task.row.status, settled.task.row.outcome, settled.task.attempts) == ("waiting", None, 1)
        assert settled.task.execute_at is not None
        assert await executor.poll() == ()
        world.advance(timedelta(seconds=5))
        second = await executor.started()
        ended = (await executor.fail(second, {"message": "no ink"})).task
        assert (ended.row.status, ended.row.outcome, ended.attempts) == ("done", "failed", 2)
        assert ended.error == {"message": "no ink"}
        assert ended.outcome_reason == {
            "type": "awf.task/failed-by-executor",
            "message": "the executor reported: no ink",
        }
        assert await world.status(execution) == "failed"
        assert "no ink" in str(await world.message(execution))


@pytest.mark.parametrize(
    ("error", "words"),
    [("broken", "broken"), ({}, "a failure without a word"), (None, "a failure without a word"), ([1], "[1]")],
)
async def test_a_failure_may_be_told_in_any_form(sqlite_url: str, error: Any, words: str) -> None:
    async with pulled_world(sqlite_url, allowedRetryCount=0) as executor:
        await executor.world.launch()
        ended = (await executor.fail(await executor.started(), error)).task
        assert ended.error == error
        assert ended.row.last_message == f"the executor reported: {words}"


async def test_the_same_again_is_answered_alike_and_changes_nothing(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        execution = await executor.world.launch()
        task = await executor.started()
        first = await executor.succeed(task, {"a": 1, "b": [{"x": 1, "y": 2}]})
        again = await executor.succeed(task, {"b": [{"y": 2, "x": 1}], "a": 1})
        assert again.is_repeat
        assert not first.is_repeat
        assert again.task == first.task
        assert len(await executor.world.calls(execution)) == 1


async def test_a_failure_told_again_is_answered_as_it_was_though_another_has_the_task(database_url: str) -> None:
    async with pulled_world(database_url, retryDelay=0) as executor:
        await executor.world.launch()
        task = await executor.started()
        first = await executor.fail(task, {"message": "no"})
        await executor.started()
        again = await executor.fail(task, {"message": "no"})
        assert again.is_repeat
        assert (again.task.row.status, again.task.row.outcome) == ("waiting", None)
        assert again.task.attempts == first.task.attempts == 1
        assert (await executor.look(task.id)).row.status == "in-progress"


async def test_another_word_after_the_last_is_refused(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        await executor.world.launch()
        task = await executor.started()
        await executor.succeed(task, {"a": 1})
        for act in (
            lambda: executor.succeed(task, {"a": 2}),
            lambda: executor.fail(task, {"a": 1}),
            lambda: executor.notify(task),
            lambda: executor.start(task),
        ):
            with pytest.raises(ClaimRefused) as refusal:
                await act()
            assert reason_of(refusal) == "stale-exec-id"
        assert (await executor.look(task.id)).result == {"a": 1}


async def test_a_claim_that_is_over_counts_no_more(database_url: str) -> None:
    async with pulled_world(database_url, retryDelay=0) as executor:
        world = executor.world
        execution = await world.launch()
        lost = await executor.started()
        world.advance(timedelta(seconds=120))
        await time_passes(world)
        present = await executor.started()
        for said in (executor.succeed(lost, {"by": "lost"}), executor.fail(lost, "late")):
            with pytest.raises(ClaimRefused, match="given out again since"):
                await said
        await executor.succeed(present, {"by": "present"})
        assert await output_of(executor, execution) == {"by": "present"}


async def test_a_result_comes_after_the_start(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        await executor.world.launch()
        task = await executor.one()
        for act in (lambda: executor.succeed(task), lambda: executor.fail(task), lambda: executor.notify(task)):
            with pytest.raises(ClaimRefused, match="start comes first") as refusal:
                await act()
            assert reason_of(refusal) == "wrong-status"
        assert (await executor.start(task)).row.status == "in-progress"
        with pytest.raises(ClaimRefused, match="in progress already"):
            await executor.start(task)


async def test_a_result_that_is_late_counts_while_nobody_else_has_the_task(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        await executor.world.launch()
        task = await executor.started()
        executor.world.advance(timedelta(seconds=121))
        with pytest.raises(ClaimRefused, match="too late"):
            await executor.notify(task)
        assert (await executor.succeed(task)).task.row.outcome == "succeeded"


async def test_signs_of_life_are_logged_shown_and_keep_the_claim(database_url: str) -> None:
    async with pulled_world(database_url, inProgressTimeout=10_000) as executor:
        world = executor.world
        execution = await world.launch()
        task = await executor.started()
        for said in range(4):
            world.advance(timedelta(seconds=9))
            await time_passes(world)
            until = await executor.notify(task, f"row {said}", {"current": said, "total": 3, "unit": "rows"})
            assert world.clock is not None
            assert timedelta(seconds=9.5) < until - world.clock() <= timedelta(seconds=10)
        lines = await world.rows("SELECT worker_id, step, line FROM log_lines ORDER BY pk")
        assert lines == [(0, 0, f"row {said}") for said in range(4)]
        (progress,) = await world.row("SELECT progress FROM worker_states")
        assert json.loads(progress) == {"current": 3, "total": 3, "unit": "rows"}
        await executor.succeed(task)
        assert await world.status(execution) == "succeeded"


@pytest.mark.parametrize("task_id", ["nobody", "nobody:3", "", ":", "a:b", "x" * 5000, "é\n"])
async def test_unknown_ids_are_not_found(sqlite_url: str, task_id: str) -> None:
    async with pulled_world(sqlite_url) as executor:
        with pytest.raises(NotFound):
            await executor.look(task_id)


async def test_what_belongs_to_others_does_not_exist(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        await executor.world.launch()
        task = await executor.started()
        for scope in (Scope("elsewhere"), Scope(WORKSPACE, tasks=("app_test_other",)), Scope(WORKSPACE, app_pk=4711)):
            other = replace(executor, scope=scope)
            with pytest.raises(NotFound):
                await other.notify(task)
            with pytest.raises(NotFound):
                await other.succeed(task)


async def test_an_abort_wins_over_the_executor(database_url: str) -> None:
    async with pulled_world(database_url) as executor:
        execution = await executor.world.launch()
        task = await executor.started()
        await executor.world.abort(execution)
        for act in (lambda: executor.notify(task), lambda: executor.succeed(task), lambda: executor.fail(task)):
            with pytest.raises(ClaimRefused, match="the worker is aborted"):
                await act()
        shown = await executor.look(execution)
        assert (shown.row.status, shown.row.outcome) == ("done", "canceled")


async def test_a_retry_of_the_execution_hands_the_task_out_again(database_url: str) -> None:
    async with pulled_world(database_url, allowedRetryCount=0) as executor:
        execution = await executor.world.launch()
        task = await executor.started()
        await executor.fail(task, "no")
        await executor.world.retry(execution)
        again = await executor.started()
        assert again.exec_id != task.exec_id
        await executor.succeed(again, {"ok": True})
        assert await executor.world.status(execution) == "succeeded"
        assert (await executor.look(execution)).result == {"ok": True}


async def test_a_failing_executions_last_claim_still_counts(database_url: str) -> None:
    async with pulled_world(database_url, allowedRetryCount=0) as executor:
        world = executor.world
        execution = await world.launch(workers={1: "{}"})
        one, other = await executor.poll(places=2)
        for task in (one, other):
            await executor.start(task)
        await executor.fail(one, "no")
        with pytest.raises(ClaimRefused, match="is failing"):
            await executor.notify(other)
        assert await world.status(execution) == "running"
        await executor.succeed(other, {"late": True})
        assert await world.status(execution) == "failed"
        assert await output_of(executor, execution) == {"late": True}


async def test_at_most_once_a_silent_executor_is_not_replaced(database_url: str) -> None:
    async with pulled_world(database_url, delivery="at_most_once") as executor:
        world = executor.world
        execution = await world.launch()
        await executor.one()
        world.advance(timedelta(seconds=10))
        await time_passes(world)
        await executor.started()
        world.advance(timedelta(seconds=120))
        await time_passes(world)
        assert await world.status(execution) == "failed"
        assert "at_most_once" in str(await world.message(execution))


async def test_executors_failures_say_nothing_of_the_apps_endpoint(database_url: str) -> None:
    async with pulled_world(database_url, allowedRetryCount=9, retryDelay=0) as executor:
        await executor.world.launch()
        for _ in range(6):
            await executor.fail(await executor.started())
        assert await executor.world.row("SELECT unanswered_calls FROM apps") == (0,)
