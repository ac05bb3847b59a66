"""What is written from the event loop's thread, and what would hold it up for too long."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest

from orchestrator.domain.outcome import FailureKind, NoResponse
from orchestrator.engine.ways_to_write import way_to_answer, way_to_claim
from orchestrator.service.claimed import Claim
from tests.engine.by_hand import ByHand, answered, reported
from tests.engine.gate import Gate
from tests.support.fake_app import never
from tests.support.waiting import eventually
from tests.support.world import running_world


@pytest.fixture
async def hand(sqlite_url: str) -> AsyncIterator[ByHand]:
    async with running_world(sqlite_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"})
        await world.launch(wakes=None)
        yield ByHand(world)


def large_together(database: Any, claim: Claim, **answer: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """How such an answer is written by itself, and how twenty of them."""
    report = answered(claim, **answer)
    return way_to_answer(database, [report]), way_to_answer(database, [report] * 20)


@pytest.mark.parametrize(
    "answer",
    [
        {"updated_worker_state": {"pad": "x" * 100_000}},
        {"items_to_import": [{"pad": "x" * 1000} for _ in range(100)]},
        {"message": "x" * 100_000},
        # Each is a row, however short.
        {"logs": ["x"] * 1000},
    ],
    ids=lambda answer: next(iter(answer)),
)
async def test_many_large_answers_are_left_to_a_thread(hand: ByHand, answer: dict[str, Any]) -> None:
    [claim] = await hand.claims()
    database = hand.world.database
    assert large_together(database, claim, **answer) == (database.write_here, database.write)


async def test_small_ones_are_not(hand: ByHand) -> None:
    [claim] = await hand.claims()
    database = hand.world.database
    assert large_together(database, claim, updated_worker_state={"pad": "x" * 1000}, output={"n": 1}) == (
        database.write_here,
        database.write_here,
    )
    assert way_to_answer(database, [reported(claim, NoResponse(FailureKind.TIMEOUT, "", sent=True))]) == (
        database.write_here
    )


async def test_an_output_that_is_merged_into_what_there_is_may_be_any_amount(hand: ByHand) -> None:
    [claim] = await hand.claims()
    applied = await hand.apply(answered(claim, output={"n": 1}))
    database = hand.world.database
    assert way_to_answer(database, [answered(applied.renewed[0], output={"n": 2})]) == database.write


async def test_on_sqlite_nobody_holds_what_a_claim_could_wait_for(hand: ByHand) -> None:
    assert way_to_claim(hand.world.database) == hand.world.database.write_here


async def test_no_answer_waits_for_a_claim_that_waits_for_an_app(postgres_url: str) -> None:
    gate = Gate({"updated_worker_state": {"answered": True}})
    async with running_world(postgres_url, gate) as world:
        await world.install()
        await world.install(app_id="app_other")
        going_on = await world.launch()
        await gate.holds()
        async with await psycopg.AsyncConnection.connect(postgres_url) as stranger:
            await stranger.execute("SELECT 1 FROM apps WHERE id = 'app_other' FOR NO KEY UPDATE")
            await world.launch(task_id="app_other_run")

            async def claims_in_wait() -> list[tuple[Any, ...]]:
                return await world.rows("SELECT pid, xact_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

            async def is_applied() -> bool:
                return bool(await world.calls(going_on))

            await eventually(claims_in_wait, "a claim that waits for an app")
            waiting = await claims_in_wait()
            gate.open()
            await eventually(is_applied, "the answer of the other app")
            assert await claims_in_wait() == waiting, "it has waited until the claim gave up"
            await stranger.rollback()
