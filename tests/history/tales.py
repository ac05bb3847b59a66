"""Good histories, each with what a run may meet: the checker must find nothing in them."""

from collections.abc import Callable
from typing import Any

from tests.history.dump import Occurrence, Schedule
from tests.history.json_lines import Json
from tests.history.story import TASK_PK, Story

MINUTE = 60_000_000

TALES: dict[str, Callable[[], Story]] = {}


def tale(build: Callable[[], Story]) -> Callable[[], Story]:
    """Make it one of those that the tests go through."""
    TALES[build.__name__] = build
    return build


def increment(key: str, value: Any = 1) -> Json:
    return {"operation": "increment", "key": key, "value": value}


def put(key: str, value: Any) -> Json:
    return {"operation": "set", "key": key, "value": value}


def delete(key: str) -> Json:
    return {"operation": "delete", "key": key}


def receipts(*numbers: int) -> list[Json]:
    return [{"kind": "receipt", "receipt": {"external_id": f"r{number}"}} for number in numbers]


def helpers(*ids: int, **state: Any) -> list[Json]:
    return [{"worker_id": id_, "initial_state": {"helper": id_, **state}} for id_ in ids]


@tale
def busy() -> Story:
    """Two helpers, imports, lost and fenced calls, a shared key, a helper that starts again and counts on."""
    story = Story()
    story.launch("e1", {"shop": 7})
    story.step("e1", 0, new_workers=helpers(1, 2), updated_worker_state={"phase": 1})
    story.step("e1", 1, updated_worker_state={"n": 1}, app_state_mutations=[increment("count"), put("w1", 1)])
    story.step("e1", 2, items_to_import=receipts(1, 2, 3), app_state_mutations=[increment("count", 2)])
    story.record(story.ask("e1", 1), "lost")
    story.step("e1", 1, retry_count=1, app_state_mutations=[put("latest", "one"), put("temp", 0)])
    # Answered too late: another call of the step is already under way.
    late = story.ask("e1", 2)
    retried = story.ask("e1", 2, retry_count=1)
    story.record(late, "fenced", story.answer(late, {"app_state_mutations": [increment("count", 50)]}))
    story.apply(retried, story.answer(retried, {}))
    story.step("e1", 1, app_state_mutations=[put("w1", 2), increment("rate", 0.1), delete("temp")])
    story.step("e1", 2, app_state_mutations=[put("latest", "two"), increment("rate", 0.2)])
    story.step("e1", 1, is_done=True, items_to_import=receipts(4))
    story.step("e1", 0, new_workers=helpers(1, again=True))
    story.step("e1", 1, is_done=True, updated_worker_state={"n": 2})
    story.step("e1", 2, is_done=True)
    story.step("e1", 0, is_done=True, app_state_mutations=[increment("count", 1000)])
    story.deliver()
    story.read("e1")
    return story


@tale
def failed_calls() -> Story:
    """An app that answers 503, then nonsense, then as it should."""
    story = Story()
    story.launch("e1")
    for count, (status, document) in enumerate([(503, {}), (200, {"app_state_mutations": [{"key": "no value"}]})]):
        asked = story.ask("e1", 0, retry_count=count)
        story.answer(asked, document, status)
        story.record(asked, "failed")
    story.step("e1", 0, retry_count=2, is_error=True)
    story.step("e1", 0, retry_count=3, is_done=True)
    return story


@tale
def aborted() -> Story:
    """Aborted while a call is in flight, whose answer is fenced; what was applied before is delivered all the same."""
    story = Story()
    story.launch("e1")
    story.step("e1", 0, items_to_import=receipts(1), app_state_mutations=[increment("count")])
    in_flight = story.ask("e1", 0)
    story.abort("e1")
    story.record(in_flight, "fenced", story.answer(in_flight, {"app_state_mutations": [increment("count")]}))
    story.read("e1")
    story.deliver()
    return story


@tale
def aborted_and_retried() -> Story:
    """The second attempt calls the unapplied step again, with its key and a count of 0."""
    story = Story()
    story.launch("e1", {"n": 0})
    story.step("e1", 0, updated_worker_state={"n": 1}, new_workers=helpers(1))
    in_flight = story.ask("e1", 0)
    story.abort("e1")
    story.read("e1")
    story.retry("e1")
    story.record(in_flight, "fenced", story.answer(in_flight, {}))
    story.step("e1", 0, is_done=True)
    story.step("e1", 1, is_done=True)
    story.read("e1")
    return story


@tale
def aborted_under_a_key() -> Story:
    """The abort is asked for again under its key, after a retry: the first answer comes again, and nothing happens."""
    story = Story()
    story.launch("e1")
    story.abort("e1", key="k1")
    story.retry("e1")
    story.step("e1", 0, is_done=True)
    story.client("abort", {"execution_id": "e1"}, key="k1")
    return story


@tale
def failed_and_retried() -> Story:
    """A worker fails for good; the retry goes on from its last applied state."""
    story = Story()
    story.launch("e1", {"n": 0})
    story.step("e1", 0, updated_worker_state={"n": 1}, is_error=True, is_done=True)
    story.read("e1")
    story.retry("e1", outcome="unknown")
    story.step("e1", 0, is_done=True)
    return story


@tale
def delivered_twice() -> Story:
    """A delivery that was refused, one whose answer was lost: both come again with the same key."""
    story = Story()
    story.launch("e1")
    story.step("e1", 0, items_to_import=receipts(1, 2, 3), is_done=True)
    first = story.dump.batches[0].key
    story.delivery(first, receipts(1, 2), taken=False)
    story.delivery(first, receipts(1, 2))
    story.deliver()
    return story


@tale
def interrupted() -> Story:
    """Looked at while it runs: a call in flight, batches in the outbox, a lost call whose worker waits."""
    story = Story()
    story.launch("e1")
    story.step("e1", 0, new_workers=helpers(1), items_to_import=receipts(1, 2, 3))
    story.record(story.ask("e1", 1), "lost")
    story.ask("e1", 0)
    return story


@tale
def unknown_outcomes() -> Story:
    """Clients that were cut off: what they asked for has happened, or not."""
    story = Story()
    story.launch("e1", outcome="unknown", key="k1")
    story.client("launch", {"id": "e1", "state": {}}, "ok", {"id": "e1"}, "k1")
    story.client("launch", {"id": "e2", "state": {}}, "unknown")
    story.client("launch", {"id": "e1", "state": {}}, "refused")
    story.mutate([increment("count", 5)], "unknown", is_done=False)
    story.mutate([increment("count", 3)], "unknown")
    story.mutate([put("mode", "fast")])
    story.mutate([put("mode", "slow")], "unknown")
    story.step("e1", 0, is_done=True, app_state_mutations=[increment("count")])
    story.faults.append({"begin": 0.0, "end": 10.0, "what": "kill -9"})
    return story


@tale
def scheduled() -> Story:
    """Slots of a minute: launched, skipped, missed without being listed."""
    story = Story()
    story.create("e1", {}, is_scheduled=True)
    story.step("e1", 0, is_done=True)
    anchor = 1000 * MINUTE
    slots = [
        (1, "launched", 1, None),
        (2, "skipped", None, "the task was paused"),
        (
            5,
            "missed",
            None,
            "later slots were due as well; 2 slots before this one were missed too, and are not listed",
        ),
        (6, "merged", None, "execution e1 is already waiting"),
    ]
    for number, outcome, pk, note in slots:
        story.dump.occurrences.append(Occurrence(TASK_PK, anchor + number * MINUTE, outcome, pk, note))
    story.dump.schedules.append(Schedule(TASK_PK, anchor, anchor + 7 * MINUTE, anchor + 7 * MINUTE, MINUTE))
    return story


@tale
def pulled() -> Story:
    """Two executors: a claim that timed out, and the same result twice."""
    story = Story()
    story.launch("e1")
    story.step("e1", 0, is_done=True)
    story.client("pull.claim", {}, "ok", {"tasks": [{"id": "t1", "execId": "x1"}]})
    story.client("pull.start", {"id": "t1", "execId": "x1"})
    story.client("pull.claim", {}, "ok", {"tasks": [{"id": "t1", "execId": "x2"}]})
    story.client("pull.success", {"id": "t1", "execId": "x1", "result": 1}, "refused")
    story.client("pull.success", {"id": "t1", "execId": "x2", "result": 2})
    story.client("pull.success", {"id": "t1", "execId": "x2", "result": 2})
    return story


@tale
def called_back() -> Story:
    """A worker is parked, the callback comes twice and then otherwise, and the next step carries it."""
    story = Story()
    story.launch("e1")
    story.step("e1", 0, await_callback={"resume": True})
    call_back(story, "ok", page=1)
    call_back(story, "ok", page=1)
    call_back(story, "refused", page=2)
    asked = story.ask("e1", 0, callback={"status": "SUCCESS", "output": {"page": 1}, "subtext": "ready"})
    story.apply(asked, story.answer(asked, {"is_done": True}))
    return story


@tale
def told_again_after_an_error() -> Story:
    """A step that was told of a callback ends in an error: the next one is told of it again."""
    return told_twice(is_error=True)


def told_twice(*, is_error: bool) -> Story:
    story = Story()
    story.launch("e1")
    story.step("e1", 0, await_callback={"resume": True})
    call_back(story, "ok", page=1)
    for answer in ({"is_error": is_error}, {"is_done": True}):
        asked = story.ask("e1", 0, callback={"status": "SUCCESS", "output": {"page": 1}})
        story.apply(asked, story.answer(asked, answer))
    return story


def call_back(story: Story, outcome: str, **output: Any) -> None:
    wait = {"execution_id": "e1", "worker_id": 0, "step": 0}
    story.client("callback", {**wait, "status": "SUCCESS", "output": output}, outcome)
