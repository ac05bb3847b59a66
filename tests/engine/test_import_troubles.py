"""A collector that refuses a batch, is away, or does not know what it wants: nothing is lost."""

import socket
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator.domain.errors import Conflict, NotFound
from orchestrator.runtime.node import Node
from orchestrator.runtime.node_options import Addresses
from tests.engine.desk import Desk, items, numbers_of, open_desk, take_in, three_batches
from tests.engine.watching import Turnstile, count_ticks
from tests.support.fake_app import HangUp, Received, Reply, running_app
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
REST = {"delay_next_request_in_secs": 3600}


def refusing(answer: Reply) -> Callable[[Received], Any]:
    """A collector that takes everything but items of the kind "odd"."""
    return lambda request: answer if request.payload["items"][0]["kind"] == "odd" else {}


async def retry_is_refused(desk: Desk, execution: str, key: str) -> None:
    with pytest.raises(Conflict, match=f"refused import batch {key} .*redeliver or discard it"):
        await desk.world.retry(execution)


# A collector that refuses


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_batch_fails_its_worker_and_holds_back_the_later_ones_until_it_is_redelivered(
    desk: Desk, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.collect = refusing(Reply(status, b"kind odd is\nunknown"))
    ticks = count_ticks(monkeypatch, desk.world.node.deliverer)
    run = await desk.run({"items_to_import": three_batches("odd"), **REST}, DONE)
    await ticks.enough()
    _, (_, key, message), _ = await desk.batches(run.id)
    words = f"HTTP {status}: kind odd is unknown"
    assert message == words
    assert (run.status, run.worker["status"]) == ("failed", "failed")
    assert run.message == f"worker 0: the collector refused import batch {key}: {words}"
    assert await desk.statuses(run.id) == ["delivered", "refused", "pending"]
    assert len(desk.received) == 2, "the third waits, and nobody tries the second again"
    await retry_is_refused(desk, run.id, key)

    await desk.redeliver(key)
    await eventually(lambda: desk.has_received(3), "the second try")
    await desk.all_are(run.id, "delivered", "refused", "pending")
    await retry_is_refused(desk, run.id, key)

    desk.collect = take_in
    await desk.redeliver(key)
    await desk.all_are(run.id, "delivered", "delivered", "delivered")
    assert desk.keys[1:4] == [key] * 3
    assert numbers_of([desk.received[0], *desk.received[3:]]) == list(range(600))
    await desk.world.retry(run.id)
    assert await desk.world.ended(run.id) == "succeeded"
    assert [one.worker["step"] for one in run.received] == [0, 1]


async def test_a_discarded_batch_makes_way_and_its_words_are_kept(desk: Desk) -> None:
    desk.collect = refusing(Reply(422, b"odd"))
    run = await desk.run({"is_done": True, "items_to_import": three_batches("odd")})
    key = (await desk.batches(run.id))[1][1]
    assert (run.status, run.worker["status"]) == ("failed", "failed")
    await retry_is_refused(desk, run.id, key)

    await desk.discard(key, "the token ops")
    await desk.all_are(run.id, "delivered", "discarded", "delivered")
    said = "discarded by the token ops; the collector had said: HTTP 422: odd"
    assert (await desk.batches(run.id))[1] == ("discarded", key, said)
    assert numbers_of([desk.received[0], *desk.received[2:]]) == [*range(250), *range(500, 600)]
    await desk.world.retry(run.id)
    assert await desk.world.ended(run.id) == "succeeded"
    assert len(run.received) == 1, "its last applied answer was is_done: it is not called again"


async def test_a_refusal_fails_the_worker_when_its_call_in_flight_has_been_applied(desk: Desk) -> None:
    desk.collect = refusing(Reply(422, b"odd"))
    turnstile = Turnstile(lambda request: {"is_done": True, "updated_worker_state": {"kept": 1}})
    execution = await desk.start({"items_to_import": items(1, "odd")}, turnstile)
    await turnstile.holds(1)
    await desk.all_are(execution, "refused")
    assert await desk.world.status(execution) == "running"
    turnstile.open()
    run = await desk.scripted.ended(execution)

    assert (run.status, run.state) == ("failed", {"kept": 1})
    assert "the collector refused import batch" in str(run.message)


async def test_a_refusal_after_an_abort_changes_nothing_but_the_batch(desk: Desk) -> None:
    desk.collect = turnstile = Turnstile(lambda request: Reply(422, b"odd"))
    execution = await desk.start({"items_to_import": items(1), **REST}, DONE)
    await turnstile.holds(1)
    await desk.world.abort(execution)
    turnstile.open()
    await desk.all_are(execution, "refused")

    assert await desk.world.message(execution) == "aborted"
    assert await desk.world.status(execution) == "aborted"
    await retry_is_refused(desk, execution, (await desk.batches(execution))[0][1])


async def test_only_a_refused_batch_can_be_redelivered_or_discarded(desk: Desk) -> None:
    run = await desk.run({"is_done": True, "items_to_import": items(1)})
    [(_, key, _)] = await desk.batches(run.id)

    with pytest.raises(Conflict, match="is delivered; only a refused one can be redelivered"):
        await desk.redeliver(key)
    with pytest.raises(Conflict, match="is delivered; only a refused one can be discarded"):
        await desk.discard(key, "ops")
    with pytest.raises(NotFound):
        await desk.redeliver("imp_nobody_0_0_0")


# A collector that is away


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply(302, b"", {"Location": "/elsewhere"}), "HTTP 302"),
        (Reply(401, b"who are you"), "HTTP 401: who are you"),
        (Reply(404, b"no collector here"), "HTTP 404: no collector here"),
        (Reply(409, b"busy"), "HTTP 409: busy"),
        (Reply(429, b"later", {"Retry-After": "0"}), "HTTP 429: later"),
        (Reply(500, b"broken"), "HTTP 500: broken"),
        (Reply(503, b"closed"), "HTTP 503: closed"),
    ],
)
async def test_every_other_answer_is_retried_with_the_same_key_and_shown_as_the_reason_for_waiting(
    desk: Desk, answer: Reply, words: str
) -> None:
    desk.collect = lambda request: answer
    execution = await desk.start({"is_done": True, "items_to_import": items(300)})
    await eventually(lambda: desk.is_put_off(execution, 3), "three tries")
    (status, key, message), (_, _, second) = await desk.batches(execution)
    assert (status, second) == ("pending", None)
    assert words in str(message)
    assert await desk.worker_is(execution, "done")
    desk.collect = take_in

    assert await desk.world.ended(execution) == "succeeded"
    *tries, last = desk.received
    assert {(one.headers["idempotency-key"], one.body) for one in tries} == {(key, tries[0].body)}
    assert numbers_of([tries[-1], last]) == list(range(300))
    assert last.headers["idempotency-key"] != key


async def test_nothing_is_lost_while_nobody_listens_at_the_collectors_address(database_url: str) -> None:
    received: list[Received] = []
    async with open_desk(database_url, start=False) as desk:
        world = desk.world
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            addresses = Addresses("http://127.0.0.1:1", f"http://127.0.0.1:{port}/collector")
            node = Node(world.settings, world.database, world.vault, addresses)
            await node.start()
            execution = await desk.start(
                {"items_to_import": items(600)}, {"is_done": True, "items_to_import": items(100, first=600)}
            )
            await eventually(lambda: desk.is_put_off(execution, 3), "three tries")
            first, *others = await desk.batches(execution)
            assert first[0] == "pending"
            assert "connection refused" in str(first[2])
            assert [(status, message) for status, _, message in others] == [("pending", None)] * 3
            assert await world.status(execution) == "running"

        def collect(request: Received) -> Any:
            received.append(request)
            return {}

        async with running_app(collect, port):
            assert await world.ended(execution) == "succeeded"
            await node.drain()

        assert numbers_of(received) == list(range(700))
        assert len(received) == 4


async def test_nothing_is_lost_when_the_collector_is_down_for_an_hour(database_url: str) -> None:
    def hang_up(request: Received) -> Any:
        raise HangUp

    longest = {"initial_delay_secs": 60, "max_delay_secs": 3600}
    async with open_desk(database_url, hang_up, retry=longest, virtual_time=True) as desk:
        execution = await desk.start({"is_done": True, "items_to_import": items(600)})
        for tries in range(1, 61):
            await eventually(partial(desk.is_put_off, execution, tries), f"the end of try {tries}")
            # A collector that is back is noticed within a minute, give or take the jitter.
            desk.world.advance(timedelta(seconds=67))
        await eventually(partial(desk.is_put_off, execution, 61), "the last try in vain")
        tries_in_vain = len(desk.received)
        desk.collect = take_in
        desk.world.advance(timedelta(seconds=67))

        assert await desk.world.ended(execution) == "succeeded"
        assert numbers_of(desk.received[tries_in_vain:]) == list(range(600))
        assert len(set(desk.keys[: tries_in_vain + 1])) == 1


async def test_a_collector_that_asks_to_wait_is_waited_for(database_url: str) -> None:
    async with open_desk(database_url, virtual_time=True) as desk:
        desk.collect = lambda request: Reply(429, b"later", {"Retry-After": "600"})
        execution = await desk.start({"is_done": True, "items_to_import": items(1)})
        await eventually(lambda: desk.is_put_off(execution, 1), "the end of the first try")
        desk.collect = take_in
        desk.world.advance(timedelta(seconds=590))
        await desk.world.node.deliverer.tick()
        assert len(desk.received) == 1
        desk.world.advance(timedelta(seconds=11))

        assert await desk.world.ended(execution) == "succeeded"
