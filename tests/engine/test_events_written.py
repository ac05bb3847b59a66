"""Whatever ends an execution writes one event for the attempt, in the same transaction, with the final output."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.outcome import Response
from orchestrator.domain.retry import RetryPolicy
from orchestrator.service import delivering, execution_queries, launching, timers
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.delivering import Delivery
from orchestrator.service.tokens import Scope
from orchestrator.store import events
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand, answered, reported
from tests.engine.posting import published
from tests.support.fake_app import never
from tests.support.world import WORKSPACE, running_world

DAY = timedelta(days=1)
OUTPUT = {"count": 12345678901234567890, "text": 'ä\u2028"', "none": None}
TASKS = (
    {"aliases": ["plain", "shop.tasks/sync", "shop.other"], "retry": {"max_retries": 0}, "on_multiple_exec": "allow"},
    {"id": "app_test_once", "delivery": "at_most_once"},
    {"id": "app_test_newest", "on_multiple_exec": "abort_existing"},
    {"id": "app_test_async", "on_multiple_exec": "allow", "max_duration_secs": 7200},
)


@pytest_asyncio.fixture
async def hand(database_url: str) -> AsyncIterator[ByHand]:
    async with running_world(database_url, never, start=False, virtual_time=True) as world:
        await world.install(*TASKS)
        yield ByHand(world)


async def start(hand: ByHand, task_id: str = "app_test_run", **order: Any) -> str:
    return await hand.world.launch(task_id, wakes=None, **order)


async def turn(hand: ByHand, **answer: Any) -> None:
    claims = await hand.claims()
    assert claims
    await hand.apply(*(answered(claim, **answer) for claim in claims), renews=False)


async def deliver(hand: ByHand, status: int) -> None:
    database = hand.world.database
    taken = await database.write(delivering.take, 8, LeaseTerms("by hand", timedelta(seconds=10)))
    done = [Delivery(batch, Response(status, b""), 0.0) for batch in taken.batches]
    assert done
    await database.write(delivering.deliver, hand.world.node.definitions, done, RetryPolicy())


Way = Callable[[ByHand], Awaitable[str]]


async def last_answer(hand: ByHand) -> str:
    execution = await start(hand, workers={1: "{}"})
    await turn(hand, output={"early": 1})
    assert await published(hand.world, execution) == []
    claims = list(await hand.claims())
    await hand.apply(answered(claims.pop(0), is_done=True, output=OUTPUT), renews=False)
    assert await published(hand.world, execution) == []
    await hand.apply(answered(claims.pop(), is_done=True, output={"late": True}), renews=False)
    return execution


async def last_delivery(hand: ByHand) -> str:
    execution = await start(hand)
    await turn(hand, is_done=True, items_to_import=[{"kind": "n"}], output=OUTPUT)
    assert await published(hand.world, execution) == []
    await deliver(hand, 200)
    return execution


async def discarded_batch(hand: ByHand) -> str:
    execution = await start(hand)
    await turn(hand, items_to_import=[{"kind": "n"}])
    await turn(hand, is_error=True, message="no more")
    assert len(await published(hand.world, execution)) == 1
    await deliver(hand, 422)
    (key,) = await hand.world.row("SELECT key FROM import_batches")
    database, definitions = hand.world.database, hand.world.node.definitions
    await database.write(delivering.discard, definitions, "default", key, "tester")
    return execution


async def refused_batch(hand: ByHand) -> str:
    execution = await start(hand)
    await turn(hand, is_done=True, items_to_import=[{"kind": "n"}], output=OUTPUT)
    await deliver(hand, 422)
    return execution


async def error_answer(hand: ByHand) -> str:
    execution = await start(hand)
    await turn(hand, is_error=True, message="broken", output=OUTPUT)
    return execution


async def silence(hand: ByHand) -> str:
    execution = await start(hand)
    [claim] = await hand.claims()
    await hand.apply(reported(claim, Response(400, b"bad")))
    return execution


async def last_in_flight_of_one_that_fails(hand: ByHand) -> str:
    execution = await start(hand, workers={1: "{}"})
    first, second = await hand.claims()
    await hand.apply(answered(first, is_error=True))
    assert await published(hand.world, execution) == []
    await hand.apply(answered(second, is_done=True))
    return execution


async def abort_of_a_running_one(hand: ByHand) -> str:
    execution = await start(hand)
    await hand.world.abort(execution)
    return execution


async def abort_of_a_pending_one(hand: ByHand) -> str:
    execution = await start(hand, run_at=await hand.world.database.read(lambda tx: tx.now() + DAY))
    await hand.world.abort(execution)
    return execution


async def newer_launch(hand: ByHand) -> str:
    execution = await start(hand, "app_test_newest")
    newer = await start(hand, "app_test_newest")
    assert await published(hand.world, newer) == []
    return execution


async def discarded_at_its_time(hand: ByHand) -> str:
    database = hand.world.database
    run_at = await database.read(lambda tx: tx.now() + timedelta(hours=1))
    execution = await start(hand, "app_test_once", run_at=run_at)
    await start(hand, "app_test_once")
    hand.world.advance(timedelta(hours=2))
    [pk] = await database.read(timers.pending_due)
    assert await database.write(launching.promote, hand.world.node.definitions, pk)
    return execution


async def deadline(hand: ByHand) -> str:
    execution = await start(hand, "app_test_async")
    hand.world.advance(timedelta(hours=3))
    assert await hand.world.database.write(timers.expire, hand.world.node.definitions)
    return execution


async def no_callback(hand: ByHand) -> str:
    execution = await start(hand, "app_test_async")
    await turn(hand, await_callback={"timeout_in_secs": 60})
    hand.world.advance(timedelta(minutes=2))
    assert await hand.world.database.write(timers.expire, hand.world.node.definitions)
    return execution


async def lost_lease(hand: ByHand) -> str:
    execution = await start(hand, "app_test_once")
    assert await hand.claims()
    hand.world.advance(timedelta(minutes=2))
    assert await hand.world.database.write(timers.lose_leases, hand.world.node.definitions) == 1
    return execution


async def lost_node(hand: ByHand) -> str:
    execution = await start(hand, "app_test_once")
    assert await hand.claims()
    assert await hand.world.database.write(timers.void_claims, hand.world.node.definitions) == 1
    return execution


WAYS: dict[Way, tuple[str, str | None]] = {
    last_answer: ("succeeded", None),
    last_delivery: ("succeeded", None),
    error_answer: ("failed", "broken"),
    silence: ("failed", "HTTP 400"),
    last_in_flight_of_one_that_fails: ("failed", "worker 0"),
    refused_batch: ("failed", "the collector refused"),
    discarded_batch: ("failed", "no more"),
    abort_of_a_running_one: ("aborted", "aborted"),
    abort_of_a_pending_one: ("aborted", "aborted"),
    newer_launch: ("aborted", "a newer launch"),
    discarded_at_its_time: ("aborted", "discarded"),
    deadline: ("failed", "max_duration_secs"),
    no_callback: ("failed", "no callback"),
    lost_lease: ("failed", "the lease ran out"),
    lost_node: ("failed", "stopped during the call"),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_each_way_of_ending_writes_one_event(hand: ByHand, way: Way) -> None:
    execution = await way(hand)
    status, words = WAYS[way]
    row = await hand.world.row(
        """SELECT e.status, e.message, t.id, d.output FROM executions e JOIN task_definitions t ON t.pk = e.task_pk
             JOIN execution_details d ON d.execution_pk = e.pk WHERE e.id = :id""",
        id=execution,
    )
    shown = await hand.world.database.read(execution_queries.find, Scope(WORKSPACE), execution)
    assert row[0] == status
    assert words is None or words in row[1]
    [(type_, data)] = await published(hand.world, execution)
    name = "shop.tasks/sync" if row[2] == "app_test_run" else row[2]
    end = "success" if status == "succeeded" else "failure"
    assert type_ == f"core.task.{name.replace('/', '_')}.{end}.v1"
    assert data == {
        "id": execution,
        "attempt": 1,
        "task": name,
        "application": "app_test",
        "status": end.upper(),
        "result": json.loads(row[3]) if end == "success" else None,
        "error": None if end == "success" else row[1],
        "message": shown.message,
    }
    if end == "success":
        assert data["result"].items() >= OUTPUT.items()


@pytest.mark.parametrize("delivered_last", [False, True])
async def test_a_success_says_what_its_main_worker_said_last(hand: ByHand, *, delivered_last: bool) -> None:
    said = 'half "é\\\u0001'
    execution = await start(hand, workers={1: "{}"})
    first, second = await hand.claims()
    items = [{"kind": "n"}] if delivered_last else []
    await hand.apply(answered(first, is_done=True, message=said, items_to_import=items))
    await hand.apply(answered(second, is_done=True, message="not the main one"))
    if delivered_last:
        await deliver(hand, 200)
    [(_, data)] = await published(hand.world, execution)
    assert (data["status"], data["message"], data["error"]) == ("SUCCESS", said, None)
    shown = await hand.world.database.read(execution_queries.find, Scope(WORKSPACE), execution)
    assert shown.message == said


async def test_each_attempt_has_an_event_of_its_own(hand: ByHand) -> None:
    execution = await error_answer(hand)
    await hand.world.retry(execution)
    assert len(await published(hand.world, execution)) == 1
    await turn(hand, is_done=True)
    found = await published(hand.world, execution)
    assert [(type_.split(".")[-2], data["attempt"]) for type_, data in found] == [("failure", 1), ("success", 2)]
    # Its output comes from the attempt before: what was applied stays.
    assert found[1][1]["result"] == OUTPUT


async def test_the_application_may_be_another_than_the_app(hand: ByHand) -> None:
    execution = await start(hand, application='say "é\\')
    await turn(hand, is_done=True)
    [(_, data)] = await published(hand.world, execution)
    assert (data["application"], data["result"]) == ('say "é\\', None)


async def test_without_its_event_nothing_ends(hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = await start(hand)
    [claim] = await hand.claims()

    def fail(tx: Transaction, rows: list[dict[str, Any]]) -> int:
        raise RuntimeError("a full disk")

    monkeypatch.setattr(events, "publish", fail)
    for end in (hand.apply(answered(claim, is_done=True)), hand.world.abort(execution)):
        with pytest.raises(RuntimeError, match="a full disk"):
            await end
    assert await hand.world.status(execution) == "running"
    monkeypatch.undo()
    await hand.apply(answered(claim, is_done=True))
    assert len(await published(hand.world, execution)) == 1


async def test_what_ends_nothing_runs_no_statement_for_events(hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for name in ("run_many", "run_all", "put_off"):
        original = getattr(Transaction, name)

        def recording(tx: Transaction, sql: str, rows: list[dict[str, Any]], original: Any = original) -> Any:
            if rows:
                ran.append(sql)
            return original(tx, sql, rows)

        monkeypatch.setattr(Transaction, name, recording)
    await start(hand)
    [claim] = await hand.claims()
    await hand.apply(answered(claim, updated_worker_state={"n": 1}), renews=False)
    assert not [sql for sql in ran if "events" in sql]
    hand.world.advance(DAY)
    [claim] = await hand.claims()
    await hand.apply(answered(claim, is_done=True), renews=False)
    assert [sql for sql in ran if "events" in sql] == [ran[-1]]
