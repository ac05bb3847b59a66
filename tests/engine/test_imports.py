"""Imports: what was applied reaches the collector, whole, in order, and for as long as it takes."""

import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from app_sdk.protocol.signing import rmd_signature
from orchestrator.domain.errors import Conflict, NotFound
from orchestrator.runtime.node import Addresses, Node
from orchestrator.service import delivering, workspaces
from tests.engine.scripted import Scripted, scripted_world
from tests.engine.watching import Turnstile, count_ticks
from tests.support.fake_app import HangUp, Received, Reply, running_app
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World

DONE = {"is_done": True}
REST = {"delay_next_request_in_secs": 3600}
SOON = {"initial_delay_secs": 0.01, "max_delay_secs": 0.01}
HOLD_ONE_KEY = {"retry": {"initial_delay_secs": 0}}


@dataclass(slots=True)
class Collector:
    """Takes batches in; one whose first item is of a kind that is in `refuses` gets that answer instead."""

    refuses: dict[str, Any] = field(default_factory=dict)
    taken: list[Received] = field(default_factory=list)

    def __call__(self, request: Received) -> Any:
        answer = self.refuses.get(request.payload["items"][0]["kind"])
        if answer is HangUp:
            raise HangUp
        if answer is not None:
            return answer
        self.taken.append(request)
        return {}

    @property
    def numbers(self) -> list[int]:
        """The items taken in, in their order."""
        return [item["n"] for request in self.taken for item in request.payload["items"]]


@dataclass(slots=True)
class Desk:
    """A world for all tests here: each has an execution of its own, and a collector that it brings along."""

    scripted: Scripted
    collect: Handler = lambda request: {}
    received: list[Received] = field(default_factory=list)

    def __call__(self, request: Received) -> Any:
        self.received.append(request)
        return self.collect(request)

    @property
    def world(self) -> World:
        return self.scripted.world

    @property
    def numbers(self) -> list[int]:
        """The items that came, in their order."""
        return numbers_of(self.received)

    async def start(self, *steps: Any) -> str:
        return await self.scripted.start(*steps)

    async def run(self, *steps: Any) -> Run:
        return await self.scripted.run(*steps)

    async def batches(self, execution: str) -> list[tuple[str, str, str | None]]:
        """(status, key, message) of every batch, in their order."""
        rows = await self.world.rows(
            """SELECT b.status, b.key, b.message FROM import_batches b
                 JOIN executions e ON e.pk = b.execution_pk WHERE e.id = :id ORDER BY b.pk""",
            id=execution,
        )
        return [(status, key, message) for status, key, message in rows]

    async def statuses(self, execution: str) -> list[str]:
        return [status for status, _, _ in await self.batches(execution)]

    async def all_are(self, execution: str, *wanted: str) -> None:
        """Wait until the batches are in these statuses, in their order."""

        async def probe() -> bool:
            return await self.statuses(execution) == list(wanted)

        await eventually(probe, f"batches that are {', '.join(wanted)}")

    async def has_received(self, count: int) -> bool:
        return len(self.received) >= count

    async def redeliver(self, key: str) -> None:
        await self.world.database.write(delivering.redeliver, self.world.node.definitions, WORKSPACE, key)
        self.world.node.wake()

    async def discard(self, key: str, who: str) -> None:
        await self.world.database.write(delivering.discard, self.world.node.definitions, WORKSPACE, key, who)
        self.world.node.wake()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(shared_database_url: str) -> AsyncIterator[Desk]:
    def collect(request: Received) -> Any:
        return desk(request)

    async with scripted_world(shared_database_url, collect=collect, retry=SOON) as scripted:
        desk = Desk(scripted)
        await scripted.world.install()
        yield desk


@pytest.fixture
def desk(shared: Desk) -> Desk:
    """The desk, with nothing received and a collector that takes everything."""
    shared.received.clear()
    shared.collect = lambda request: {}
    return shared


def items(count: int, kind: str = "n", first: int = 0) -> list[dict[str, Any]]:
    return [{"kind": kind, "n": first + number} for number in range(count)]


def three_batches(middle: str = "n") -> list[dict[str, Any]]:
    """Items 0 to 599 in three batches; the second one is of the kind `middle`."""
    return [*items(250), *items(250, middle, 250), *items(100, first=500)]


def keys_of(requests: list[Received]) -> list[str]:
    return [request.headers["idempotency-key"] for request in requests]


def numbers_of(requests: list[Received]) -> list[int]:
    return [item["n"] for request in requests for item in request.payload["items"]]


# Batches


async def test_items_go_in_the_order_given_at_most_250_a_batch(database_url: str) -> None:
    collector = Collector()
    async with importing(database_url, collector) as scripted:
        run = await scripted.run(
            {"items_to_import": [json.dumps(item) for item in items(600)]},
            {"items_to_import": items(250, first=600)},
            {"is_done": True, "items_to_import": items(251, first=850)},
        )

        assert run.status == "succeeded"
        assert collector.numbers == list(range(1101))
        assert [len(one.payload["items"]) for one in collector.taken] == [250, 250, 100, 250, 250, 1]
        assert {one.path for one in collector.taken} == {"/collector/data"}
        assert {tuple(one.payload) for one in collector.taken} == {("workspace_id", "items")}
        assert {one.payload["workspace_id"] for one in collector.taken} == {WORKSPACE}
        assert {one.headers["content-type"] for one in collector.taken} == {"application/json"}
        assert len(set(keys_of(collector.taken))) == 6
        assert await statuses(scripted.world) == ["delivered"] * 6


async def test_one_batch_of_a_worker_is_under_way_at_a_time(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turnstile = Turnstile(lambda request: {})
    async with importing(database_url, turnstile) as scripted:
        ticks = count_ticks(monkeypatch, scripted.world.node.deliverer)
        spawn = {"new_workers": [{"worker_id": 1}, {"worker_id": 2}]}
        scripted.script.write("three", {"is_done": True, "items_to_import": three_batches(), **spawn})
        for worker_id in (1, 2):
            answer = {"is_done": True, "items_to_import": three_batches()}
            scripted.script.write("three", answer, worker_id=worker_id)
        await scripted.world.launch(id="three")
        await turnstile.holds(3)
        await ticks.enough()
        assert Counter(map(lane_of, turnstile.inside)) == {"0": 1, "1": 1, "2": 1}
        turnstile.let(1)
        await turnstile.holds(3)
        turnstile.open()

        assert await scripted.world.ended("three") == "succeeded"
        for worker_id in "012":
            came = [one for one in scripted.world.collector.received if lane_of(one) == worker_id]
            assert [item["n"] for one in came for item in one.payload["items"]] == list(range(600))
        assert turnstile.most == 3


def lane_of(request: Received) -> str:
    """The id of the worker that a batch comes from, as its key tells."""
    return request.headers["idempotency-key"].split("_")[2]


async def test_a_worker_with_more_than_four_undelivered_batches_is_not_called(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turnstile = Turnstile(lambda request: {})
    taken_at_second_call: list[int] = []

    def second(request: Received) -> dict[str, Any]:
        taken_at_second_call.append(turnstile.let_through)
        return DONE

    async with importing(database_url, turnstile) as scripted:
        world = scripted.world
        ticks = count_ticks(monkeypatch, world.node.dispatcher)
        execution = await scripted.start({"items_to_import": items(6 * 250)}, second)
        for undelivered in (6, 5):
            await eventually(partial(has_undelivered, world, execution, undelivered), "the batches")
            await ticks.enough()
            worker = (await world.workers(execution))[0]
            assert (worker["held"], worker["status"], taken_at_second_call) == (True, "ready", [])
            await turnstile.passes(1)
        await eventually(lambda: has_been_called(taken_at_second_call), "the second call")
        assert taken_at_second_call == [2]
        turnstile.open()

        assert await world.ended(execution) == "succeeded"


async def test_four_undelivered_batches_do_not_hold_a_worker(database_url: str) -> None:
    turnstile = Turnstile(lambda request: {})
    async with importing(database_url, turnstile) as scripted:
        world = scripted.world
        execution = await scripted.start({"items_to_import": items(4 * 250)}, DONE)
        await eventually(lambda: worker_is(world, execution, "done"), "the second step")
        assert (await world.workers(execution))[0]["undelivered"] == 4
        turnstile.open()
        await world.ended(execution)


# The end of an execution


async def test_an_execution_succeeds_when_the_last_batch_is_delivered_and_until_then_is_in_nobodys_way(
    database_url: str,
) -> None:
    turnstile = Turnstile(lambda request: {})
    async with importing(database_url, turnstile) as scripted:
        world = scripted.world
        first = await scripted.start({"is_done": True, "items_to_import": three_batches()})
        await eventually(lambda: worker_is(world, first, "done"), "the end of its worker")
        await turnstile.passes(2)
        await turnstile.holds(1)
        assert await world.status(first) == "running"
        # The task's policy is discard_new.
        assert (await scripted.run(DONE)).status == "succeeded"
        assert await world.status(first) == "running"
        turnstile.open()

        assert await world.ended(first) == "succeeded"
        assert await statuses(world) == ["delivered"] * 3


async def test_what_was_applied_is_delivered_after_an_abort(database_url: str) -> None:
    turnstile = Turnstile(lambda request: {})
    async with importing(database_url, turnstile) as scripted:
        world = scripted.world
        execution = await scripted.start({"items_to_import": three_batches(), **REST})
        await turnstile.holds(1)
        await world.abort(execution)
        turnstile.open()
        await all_are(world, "delivered", "delivered", "delivered")

        received = world.collector.received
        assert [item["n"] for one in received for item in one.payload["items"]] == list(range(600))
        assert await world.status(execution) == "aborted"


async def test_what_was_applied_is_delivered_after_a_failure(database_url: str) -> None:
    turnstile = Turnstile(lambda request: {})
    async with importing(database_url, turnstile) as scripted:
        world = scripted.world
        run = await scripted.run({"items_to_import": three_batches()}, Reply(400, b"no more"))
        assert run.message == "worker 0: HTTP 400: no more"
        turnstile.open()
        await all_are(world, "delivered", "delivered", "delivered")

        received = world.collector.received
        assert [item["n"] for one in received for item in one.payload["items"]] == list(range(600))
        assert await world.status(run.id) == "failed"


# A collector that refuses


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_batch_fails_its_worker_and_holds_back_the_later_ones_until_it_is_redelivered(
    database_url: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector({"odd": Reply(status, b"kind odd is\nunknown")})
    async with importing(database_url, collector) as scripted:
        world = scripted.world
        ticks = count_ticks(monkeypatch, world.node.deliverer)
        run = await scripted.run({"items_to_import": three_batches("odd"), **REST}, DONE)
        _, (_, key, message), _ = await batches(world)
        words = f"HTTP {status}: kind odd is unknown"

        assert message == words
        assert (run.status, run.worker["status"]) == ("failed", "failed")
        assert run.message == f"worker 0: the collector refused import batch {key}: {words}"
        await ticks.enough()
        assert await statuses(world) == ["delivered", "refused", "pending"]
        assert len(world.collector.received) == 2, "the third waits, and nobody tries the second again"
        await retry_names_the_batch(world, run.id, key)

        await redeliver(world, key)
        await eventually(lambda: has_received(world, 3), "the second try")
        await all_are(world, "delivered", "refused", "pending")
        await retry_names_the_batch(world, run.id, key)

        collector.refuses.clear()
        await redeliver(world, key)
        await all_are(world, "delivered", "delivered", "delivered")
        assert collector.numbers == list(range(600))
        assert keys_of(world.collector.received)[1:4] == [key] * 3
        await world.retry(run.id)
        assert await world.ended(run.id) == "succeeded"
        assert [one.worker["step"] for one in run.received] == [0, 1]


async def test_a_discarded_batch_makes_way_and_its_words_are_kept(database_url: str) -> None:
    collector = Collector({"odd": Reply(422, b"odd")})
    async with importing(database_url, collector) as scripted:
        world = scripted.world
        run = await scripted.run({"is_done": True, "items_to_import": three_batches("odd")})
        key = (await batches(world))[1][1]
        assert (run.status, run.worker["status"]) == ("failed", "failed")

        await world.database.write(delivering.discard, world.node.definitions, WORKSPACE, key, "the token ops")
        world.node.wake()
        await all_are(world, "delivered", "discarded", "delivered")
        assert collector.numbers == [*range(250), *range(500, 600)]
        said = "discarded by the token ops; the collector had said: HTTP 422: odd"
        assert (await batches(world))[1] == ("discarded", key, said)
        await world.retry(run.id)
        assert await world.ended(run.id) == "succeeded"
        assert len(run.received) == 1, "its last applied answer was is_done: it is not called again"


async def test_a_refusal_fails_the_worker_when_its_call_in_flight_has_been_applied(database_url: str) -> None:
    collector = Collector({"odd": Reply(422, b"odd")})
    turnstile = Turnstile(lambda request: {"is_done": True, "updated_worker_state": {"kept": 1}})
    async with importing(database_url, collector) as scripted:
        world = scripted.world
        execution = await scripted.start({"items_to_import": items(1, "odd")}, turnstile)
        await turnstile.holds(1)
        await all_are(world, "refused")
        assert await world.status(execution) == "running"
        turnstile.open()
        run = await scripted.ended(execution)

        assert (run.status, run.state) == ("failed", {"kept": 1})
        assert "the collector refused import batch" in str(run.message)


async def test_a_refusal_after_an_abort_changes_nothing_but_the_batch(database_url: str) -> None:
    turnstile = Turnstile(lambda request: Reply(422, b"odd"))
    async with importing(database_url, turnstile) as scripted:
        world = scripted.world
        execution = await scripted.start({"items_to_import": items(1), **REST}, DONE)
        await turnstile.holds(1)
        await world.abort(execution)
        turnstile.open()
        await all_are(world, "refused")

        assert (await world.status(execution), await world.message(execution)) == ("aborted", "aborted")
        await retry_names_the_batch(world, execution, (await batches(world))[0][1])


async def test_only_a_refused_batch_can_be_redelivered_or_discarded(database_url: str) -> None:
    async with importing(database_url, Collector()) as scripted:
        world = scripted.world
        await scripted.run({"is_done": True, "items_to_import": items(1)})
        [(_, key, _)] = await batches(world)

        with pytest.raises(Conflict, match="is delivered; only a refused one can be redelivered"):
            await redeliver(world, key)
        with pytest.raises(Conflict, match="is delivered; only a refused one can be discarded"):
            await world.database.write(delivering.discard, world.node.definitions, WORKSPACE, key, "ops")
        with pytest.raises(NotFound):
            await redeliver(world, "imp_nobody_0_0_0")


async def retry_names_the_batch(world: World, execution: str, key: str) -> None:
    with pytest.raises(Conflict, match=key) as refusal:
        await world.retry(execution)
    assert "redeliver or discard it" in str(refusal.value)


async def redeliver(world: World, key: str) -> None:
    await world.database.write(delivering.redeliver, world.node.definitions, WORKSPACE, key)
    world.node.wake()


# A collector that is away


async def test_nothing_is_lost_while_nobody_listens_at_the_collectors_address(database_url: str) -> None:
    collector = Collector()
    async with importing(database_url, collector, start=False) as scripted:
        world = scripted.world
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            addresses = Addresses("http://127.0.0.1:1", f"http://127.0.0.1:{port}/collector")
            node = Node(world.settings, world.database, world.vault, addresses)
            await node.start()
            execution = await scripted.start(
                {"items_to_import": items(600)}, {"is_done": True, "items_to_import": items(100, first=600)}
            )
            await eventually(lambda: has_tried(world, 3), "three tries")
            first, *others = await batches(world)
            assert first[0] == "pending"
            assert "connection refused" in str(first[2])
            assert [(status, message) for status, _, message in others] == [("pending", None)] * 3
            assert await world.status(execution) == "running"
        async with running_app(collector, port):
            assert await world.ended(execution) == "succeeded"
            await node.drain()

        assert collector.numbers == list(range(700))
        assert len(collector.taken) == 4


async def test_nothing_is_lost_when_the_collector_is_down_for_an_hour(database_url: str) -> None:
    collector = Collector({"n": HangUp})
    async with scripted_world(database_url, collect=collector, virtual_time=True) as scripted:
        world = scripted.world
        await world.install()
        execution = await scripted.start({"is_done": True, "items_to_import": items(600)})
        for tries in range(1, 61):
            await eventually(partial(is_put_off, world, tries), f"the end of try {tries}")
            world.advance(timedelta(minutes=1, seconds=7))
        collector.refuses.clear()
        world.advance(timedelta(minutes=1, seconds=7))

        assert await world.ended(execution) == "succeeded"
        assert collector.numbers == list(range(600))
        assert len(set(keys_of(world.collector.received))) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Reply(302, headers={"Location": "/elsewhere"}),
        Reply(401, b"who are you"),
        Reply(404, b"no collector here"),
        Reply(409, b"busy"),
        Reply(429, b"later", {"Retry-After": "0"}),
        Reply(500, b"broken"),
        Reply(503, b"closed"),
    ],
    ids=lambda reply: str(reply.status),
)
async def test_every_other_answer_is_retried_with_the_same_key_and_shown_as_the_reason_for_waiting(
    database_url: str, answer: Reply
) -> None:
    collector = Collector({"n": answer})
    async with importing(database_url, collector) as scripted:
        world = scripted.world
        execution = await scripted.start({"is_done": True, "items_to_import": items(300)})
        await eventually(lambda: has_tried(world, 3), "three tries")
        (status, key, message), (_, _, second) = await batches(world)
        assert status == "pending"
        assert f"HTTP {answer.status}" in str(message)
        assert answer.body == {} or answer.body.decode() in str(message)
        assert second is None
        assert (await world.workers(execution))[0]["status"] == "done"
        collector.refuses.clear()

        assert await world.ended(execution) == "succeeded"
        *tries, last = keys_of(world.collector.received)
        assert (set(tries), last != key) == ({key}, True)
        assert len({one.body for one in world.collector.received[:-1]}) == 1
        assert collector.numbers == list(range(300))


async def test_a_collector_that_asks_to_wait_is_waited_for(database_url: str) -> None:
    collector = Collector({"n": Reply(429, b"later", {"Retry-After": "600"})})
    async with importing(database_url, collector, virtual_time=True) as scripted:
        world = scripted.world
        execution = await scripted.start({"is_done": True, "items_to_import": items(1)})
        await eventually(lambda: is_put_off(world, 1), "the end of the first try")
        collector.refuses.clear()
        world.advance(timedelta(seconds=590))
        await world.node.deliverer.tick()
        assert len(world.collector.received) == 1
        world.advance(timedelta(seconds=11))

        assert await world.ended(execution) == "succeeded"


# The signature


async def test_batches_are_signed_with_the_workspaces_present_secret(database_url: str) -> None:
    collector = Collector()
    async with importing(database_url, collector) as scripted:
        world = scripted.world
        old = await world.database.read(workspaces.secret, world.vault, WORKSPACE)
        await scripted.run({"is_done": True, "items_to_import": items(300)})
        new = await world.database.write(workspaces.rotate_secret, world.vault, WORKSPACE)
        await scripted.run({"is_done": True, "items_to_import": items(1)})

        assert old != new
        signatures = [one.headers["x-rmd-signature"] for one in collector.taken]
        assert signatures == [
            rmd_signature(secret, one.body) for secret, one in zip((old, old, new), collector.taken, strict=True)
        ]


async def has_undelivered(world: World, execution: str, count: int) -> bool:
    worker = (await world.workers(execution))[0]
    return (worker["status"], worker["undelivered"]) == ("ready", count)


async def has_been_called(calls: list[int]) -> bool:
    return bool(calls)


async def has_received(world: World, count: int) -> bool:
    return len(world.collector.received) >= count


async def worker_is(world: World, execution: str, status: str) -> bool:
    return bool((await world.workers(execution))[0]["status"] == status)


async def has_tried(world: World, count: int) -> bool:
    """Whether the first batch has been tried so often, and the last answer is written down."""
    row = await world.rows("SELECT tries, message FROM import_batches ORDER BY pk LIMIT 1")
    return bool(row and row[0][0] >= count and str(row[0][1]).startswith("try "))


async def is_put_off(world: World, tries: int) -> bool:
    """Whether the first batch waits after so many tries."""
    [(tried, message)] = await world.rows("SELECT tries, message FROM import_batches ORDER BY pk LIMIT 1")
    return bool(tried == tries and str(message).startswith(f"try {tries}:"))
