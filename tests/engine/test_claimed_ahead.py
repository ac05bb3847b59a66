"""Workers are claimed a little before they are due, and called when they are: not before, and not long after."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from time import monotonic, time

import pytest
import uvloop

from app_sdk.protocol.limits import DEFAULT_LIMITS
from orchestrator.domain import execution
from orchestrator.domain.outcome import Response
from orchestrator.domain.worker import AHEAD
from orchestrator.engine.sleeping import until
from orchestrator.service import sharing, timers
from orchestrator.service.report import report
from tests.engine.by_hand import ByHand, due_at, launched
from tests.engine.scripted import scripted_world
from tests.support.fake_app import Received, never
from tests.support.world import running_world

LONG = timedelta(minutes=1)
DONE = {"is_done": True}


@pytest.fixture
def far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """So far that no slow machine is late."""
    monkeypatch.setattr(sharing, "AHEAD", LONG)
    monkeypatch.setattr(execution, "AHEAD", LONG)


@pytest.fixture
async def hand(database_url: str) -> AsyncIterator[ByHand]:
    async with running_world(database_url, never, start=False) as world:
        yield ByHand(world)


@pytest.mark.usefixtures("far_ahead")
async def test_a_worker_that_is_due_soon_is_claimed_for_then(hand: ByHand) -> None:
    await launched(hand, 30)
    due = await due_at(hand.world)

    [claim] = await hand.claims()

    assert claim.claimed_at == due
    assert claim.not_before is not None
    assert 25 < claim.not_before - monotonic() <= 30
    [(lease_until,)] = await hand.world.rows("SELECT lease_until FROM workers")
    assert datetime.fromtimestamp(lease_until / 1_000_000, UTC) == due + hand.lease


async def test_a_worker_that_is_due_later_is_not(hand: ByHand) -> None:
    await launched(hand, 30)
    claimed = await hand.look()
    assert claimed.claims == ()
    assert claimed.wait is not None
    assert timedelta(seconds=25) < claimed.wait <= timedelta(seconds=30) - AHEAD / 2


async def test_a_worker_that_is_due_is_called_at_once(hand: ByHand) -> None:
    await launched(hand, 0.0)
    [claim] = await hand.claims()
    assert claim.not_before is None


@pytest.mark.usefixtures("far_ahead")
async def test_no_worker_of_an_app_with_a_rate_limit_is_claimed_before_it_is_due(hand: ByHand) -> None:
    await launched(hand, 30, rate_limit={"calls": 100, "per_secs": 1})
    claimed = await hand.look()
    assert claimed.claims == ()
    assert claimed.wait is not None
    assert timedelta(seconds=25) < claimed.wait <= timedelta(seconds=30)


@pytest.mark.usefixtures("far_ahead")
async def test_a_claim_that_is_given_back_is_due_when_it_was(hand: ByHand) -> None:
    await launched(hand, 30)
    due = await due_at(hand.world)
    [claim] = await hand.claims()

    held = [(claim.execution_pk, claim.worker_id, claim.token)]
    await hand.world.database.write(timers.release_claims, hand.world.node.definitions, held)

    assert await due_at(hand.world) == due


@pytest.mark.usefixtures("far_ahead")
async def test_no_call_is_made_before_it_is_due(database_url: str) -> None:
    ended_at = list[float]()

    def rest(_request: Received) -> object:
        ended_at.append(time())
        return {"delay_next_request_in_secs": 0.3}

    def end(_request: Received) -> object:
        ended_at.append(time())
        return DONE

    async with scripted_world(database_url) as scripted:
        await scripted.world.install()
        run = await scripted.run(rest, end)
    assert run.status == "succeeded"
    assert ended_at[1] - ended_at[0] >= 0.3


def test_no_event_loop_wakes_a_call_too_early() -> None:
    """The server's own wakes up to a millisecond early, since it counts whole ones."""

    async def early_secs() -> list[float]:
        found = []
        for tenths in range(300):
            instant = monotonic() + tenths % 37 / 10_000
            await until(instant)
            found.append(instant - monotonic())
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert max(runner.run(early_secs())) <= 0


async def test_a_wait_for_a_callback_counts_from_its_commit(hand: ByHand) -> None:
    """None could be kept before; and it is a limit, where a delay is the opposite."""
    await hand.world.install()
    await hand.world.launch(wakes=None)
    [claim] = await hand.claims()
    answer = Response(200, b'{"await_callback": {"timeout_in_secs": 60}}')

    await hand.apply(report(claim, answer, DEFAULT_LIMITS, timedelta(), monotonic() - 100))

    assert await due_at(hand.world) > datetime.now(UTC) + timedelta(seconds=50)


async def test_what_an_answer_asks_to_wait_counts_from_when_it_came(hand: ByHand) -> None:
    """And not from its commit, which the commits before may have kept waiting."""
    await hand.world.install()
    await hand.world.launch(wakes=None)
    [claim] = await hand.claims()
    took, came_at = timedelta(milliseconds=1), monotonic() - 100
    answer = Response(200, b'{"delay_next_request_in_secs": 160}')

    await hand.apply(report(claim, answer, DEFAULT_LIMITS, took, came_at))

    left = await due_at(hand.world) - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)


async def test_an_answer_whose_wait_is_over_is_followed_by_the_next_call(hand: ByHand) -> None:
    await hand.world.install()
    await hand.world.launch(wakes=None)
    [claim] = await hand.claims()
    answer = Response(200, b'{"delay_next_request_in_secs": 60}')

    applied = await hand.apply(report(claim, answer, DEFAULT_LIMITS, timedelta(), monotonic() - 100))

    assert [renewed.step for renewed in applied.renewed.values()] == [1]


@pytest.mark.usefixtures("far_ahead")
async def test_the_last_places_are_for_who_is_due_already(hand: ByHand) -> None:
    await launched(hand, 30, 30)
    claimed = await hand.look(places=1)
    assert claimed.claims == ()
    assert claimed.wait is not None
    assert timedelta(seconds=25) < claimed.wait <= timedelta(seconds=30)
    assert len(await hand.claims(places=2)) == 2
