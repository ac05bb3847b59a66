"""What a task's function sees, and what it can ask for."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from app_sdk import Context, NotSentError
from app_sdk.items import Items
from tests.sdk.calls import context, payload


class User(BaseModel):
    external_id: str
    age: int = 0


def test_the_turn_is_described() -> None:
    ctx = context(
        worker_id=3,
        step=7,
        retry_count=2,
        workers={"0": "waiting", "3": "calling"},
        callback_url="http://127.0.0.1/cb",
        callback={"status": "SUCCESS", "output": {"rows": 1}},
        worker_results={"0": {"status": "done", "state": {"n": 1}}},
    )
    assert (ctx.task_id, ctx.execution_id) == ("app_x_import", "exec-1")
    assert (ctx.worker_id, ctx.step, ctx.retry_count, ctx.key) == (3, 7, 2, "exec-1:3:7")
    assert ctx.workers == {0: "waiting", 3: "calling"}
    assert ctx.callback_url == "http://127.0.0.1/cb"
    assert ctx.callback is not None
    assert ctx.callback.output == {"rows": 1}
    assert ctx.worker_results is not None
    assert ctx.worker_results[0].state == {"n": 1}


def test_what_another_server_does_not_send_is_said_so() -> None:
    ctx = context(step=None)
    for read in (lambda: ctx.step, lambda: ctx.key, lambda: ctx.callback_url):
        with pytest.raises(NotSentError, match="this server"):
            read()
    assert (ctx.callback, ctx.worker_results, ctx.workers) == (None, None, {})


@pytest.mark.parametrize(("timeout_in_ms", "left"), [(19_500, 16.5), (None, 17.0), (2_000, -1.0)])
def test_time_left_is_counted_from_receipt(timeout_in_ms: int | None, left: float) -> None:
    now = [100.0]
    whole = payload(timeout_in_ms=timeout_in_ms)
    assert whole.task_exec_worker is not None
    ctx: Context = Context(whole, whole.task_exec_worker, {}, clock=lambda: now[0])
    now[0] = 103.0
    assert ctx.time_left() == left


def test_a_turn_that_asks_for_nothing_has_no_effects() -> None:
    assert context().effects() == {}


def test_what_is_recorded_becomes_fields_of_the_answer() -> None:
    ctx = context()
    ctx.items.add("user", {"external_id": "u1"})
    ctx.app_state.increment("users")
    ctx.spawn(1, {"cursor": 0})
    ctx.spawn(9)
    ctx.delay(timedelta(minutes=1))
    ctx.progress(5, 10, "pages")
    ctx.subtext("half way")
    ctx.log("one")
    ctx.log("two\nlines")
    assert ctx.effects() == {
        "items_to_import": [{"kind": "user", "user": {"external_id": "u1"}}],
        "app_state_mutations": [{"operation": "increment", "key": "users", "value": 1}],
        "new_workers": [
            {"worker_id": 1, "initial_state": {"cursor": 0}},
            {"worker_id": 9, "initial_state": {}},
        ],
        "delay_next_request_in_secs": 60.0,
        "progress": {"current": 5, "total": 10, "unit": "pages"},
        "subtext": "half way",
        "logs": ["one", "two\nlines"],
    }


def test_a_worker_rests_for_others_or_for_a_callback() -> None:
    ctx = context()
    ctx.wait_for_workers()
    assert ctx.effects() == {"wait_for_workers": True}
    with pytest.raises(ValueError, match="not for both"):
        ctx.await_callback()
    ctx = context()
    ctx.await_callback(timedelta(hours=1), resume=True)
    assert ctx.effects() == {"await_callback": {"timeout_in_secs": 3600.0, "resume": True}}
    with pytest.raises(ValueError, match="not for both"):
        ctx.wait_for_workers()


@pytest.mark.parametrize("worker_id", [0, 10, -1])
def test_only_workers_1_to_9_can_be_started(worker_id: int) -> None:
    with pytest.raises(ValueError, match="1 to 9"):
        context().spawn(worker_id)


def test_a_worker_is_started_once_a_turn() -> None:
    ctx = context()
    ctx.spawn(1, User(external_id="u1"))
    with pytest.raises(ValueError, match="already started worker 1"):
        ctx.spawn(1)
    assert ctx.effects()["new_workers"] == [{"worker_id": 1, "initial_state": {"external_id": "u1", "age": 0}}]


@pytest.mark.parametrize("secs", [-1, float("nan"), float("inf"), timedelta(seconds=-1)])
def test_a_delay_is_a_duration(secs: Any) -> None:
    with pytest.raises(ValueError, match="0 seconds or more"):
        context().delay(secs)


def test_items_keep_their_order_and_may_be_models() -> None:
    items = Items()
    items.add("user", User(external_id="u1"))
    items.append({"kind": "order", "n": 1})
    items.extend([{"kind": "order", "n": 2}])
    assert list(items) == [
        {"kind": "user", "user": {"external_id": "u1", "age": 0}},
        {"kind": "order", "n": 1},
        {"kind": "order", "n": 2},
    ]
    assert len(items) == 3


@pytest.mark.parametrize("item", [{}, {"kind": None}, {"kind": 5}, User(external_id="u1")])
def test_an_item_needs_a_kind(item: Any) -> None:
    with pytest.raises(ValueError, match="needs a kind"):
        Items().append(item)


def test_items_have_a_limit_that_can_be_looked_at() -> None:
    items = Items(limit=2)
    assert items.room == 2
    items.extend([{"kind": "a"}, {"kind": "b"}])
    assert items.room == 0
    with pytest.raises(ValueError, match="holds 2 items"):
        items.append({"kind": "c"})


def test_the_app_state_shows_the_changes_of_this_turn() -> None:
    state = context(app_state={"a": 1, "b": "x"}).app_state
    state.set("c", [1])
    state.delete("b")
    state.delete("never there")
    state.increment("a", 2)
    state.increment("d", 0.5)
    assert dict(state) == {"a": 3, "c": [1], "d": 0.5}
    assert (state["a"], state.get("b"), "c" in state, len(state)) == (3, None, True, 3)
    assert state.mutations == [
        {"operation": "set", "key": "c", "value": [1]},
        {"operation": "delete", "key": "b"},
        {"operation": "delete", "key": "never there"},
        {"operation": "increment", "key": "a", "value": 2},
        {"operation": "increment", "key": "d", "value": 0.5},
    ]


@pytest.mark.parametrize("value", ["5", None, True, [1]])
def test_what_is_no_number_is_not_incremented(value: object) -> None:
    state = context(app_state={"a": value}).app_state
    with pytest.raises(TypeError, match="'a' is no number"):
        state.increment("a")
    assert state.mutations == []
