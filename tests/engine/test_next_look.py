"""When the dispatcher looks again: each look tells when the first of those that it leaves can be claimed."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

import pytest

from orchestrator.domain.worker import AHEAD
from orchestrator.store import apps
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand, answered, due_at, launched
from tests.support.fake_app import never
from tests.support.world import running_world


@pytest.fixture
async def hand(database_url: str) -> AsyncIterator[ByHand]:
    async with running_world(database_url, never, start=False) as world:
        yield ByHand(world)


async def test_an_answer_and_what_it_makes_due_share_a_commit(hand: ByHand) -> None:
    """Who is due is read once, before the answer is applied: what that changes is known without asking again."""
    await hand.world.install()
    await hand.world.launch(wakes=None)
    [claim] = await hand.claims()
    spawning = answered(claim, new_workers=[{"worker_id": 1}], delay_next_request_in_secs=60)

    applied, claimed = await hand.apply_and_look(spawning)

    assert applied.renewed == {}
    assert [one.worker_id for one in claimed.claims] == [1]
    assert not claimed.is_short
    assert claimed.wait is not None
    assert timedelta(seconds=55) < claimed.wait <= timedelta(seconds=60)


async def test_the_next_look_is_when_the_first_of_those_that_are_left_is_due(hand: ByHand) -> None:
    await launched(hand, 0.0, 40, 20)
    claimed = await hand.look()
    assert len(claimed.claims) == 1
    assert not claimed.is_short
    assert claimed.wait is not None
    assert timedelta(seconds=15) < claimed.wait <= timedelta(seconds=20)


async def test_an_app_at_its_limit_leaves_the_dispatcher_short(hand: ByHand) -> None:
    """The end of a call is then what it has to be woken by."""
    await hand.world.install({"on_multiple_exec": "allow"}, max_concurrent_calls=2)
    for _ in range(3):
        await hand.world.launch(wakes=None)
    claimed = await hand.look()
    assert len(claimed.claims) == 2
    assert claimed.is_short


def instants(patch: pytest.MonkeyPatch, *told: datetime) -> None:
    """What a transaction is told of when its rows were read, one after the other."""
    left = list(told)
    patch.setattr(Transaction, "read_at", lambda _tx: left.pop(0) if len(left) > 1 else left[0])


@pytest.mark.parametrize("other", [False, True])
async def test_a_worker_that_comes_within_reach_during_a_look_is_looked_at_again(
    hand: ByHand, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    await hand.world.install(app_id="app_other")
    await launched(hand, 30)
    due = await due_at(hand.world)
    if other:
        await hand.world.launch("app_other_run", wakes=None)
    instants(monkeypatch, due - AHEAD - timedelta(milliseconds=5), due - AHEAD + timedelta(milliseconds=5))

    claimed = await hand.look()

    assert len(claimed.claims) == other
    assert claimed.wait is not None
    assert claimed.wait < AHEAD


async def test_who_comes_later_is_waited_for_though_a_candidate_was_taken_by_others(
    hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hand.world.install(app_id="app_other")
    await launched(hand, 30)
    taken = await hand.world.launch(wakes=None)
    await hand.world.launch("app_other_run", wakes=None)
    pk = await hand.world.pk(taken)

    def take(tx: Transaction) -> None:
        tx.run(
            """UPDATE workers SET status = 'calling', token = token + 1, node = 'other', claimed_at = due_at,
               lease_until = due_at + 30000000, due_at = NULL WHERE execution_pk = :pk""",
            pk=pk,
        )

    after_waiting(monkeypatch, take)
    claimed = await hand.look()

    assert [claim.task_id for claim in claimed.claims] == ["app_other_run"]
    assert claimed.wait is not None
    assert timedelta(seconds=25) < claimed.wait < timedelta(seconds=30)


async def test_a_rate_that_others_have_used_up_is_waited_for(hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    await hand.world.install(app_id="app_other")
    await hand.world.install(rate_limit={"calls": 1, "per_secs": 60})
    await hand.world.launch(wakes=None)
    await hand.world.launch("app_other_run", wakes=None)

    def use_up(tx: Transaction) -> None:
        until_micros = to_micros(tx.now() + timedelta(seconds=60))
        tx.run("UPDATE apps SET rate_recent = :recent WHERE id = 'app_test'", recent=f"[[{until_micros}, 1]]")

    after_waiting(monkeypatch, use_up)
    claimed = await hand.look()

    assert [claim.task_id for claim in claimed.claims] == ["app_other_run"]
    assert claimed.wait is not None
    assert timedelta(seconds=55) < claimed.wait <= timedelta(seconds=121)


async def test_after_the_last_call_that_a_rate_allows_nobody_looks_in_vain(hand: ByHand) -> None:
    await hand.world.install({"on_multiple_exec": "allow"}, rate_limit={"calls": 2, "per_secs": 60})
    for _ in range(4):
        await hand.world.launch(wakes=None)
    claimed = await hand.look()
    assert len(claimed.claims) == 2
    assert claimed.wait is not None
    assert claimed.wait > timedelta(seconds=50)


def after_waiting(patch: pytest.MonkeyPatch, change: Callable[[Transaction], None]) -> None:
    """Let others change something between the look at the candidates and their locks."""
    real = apps.waiting

    def waiting(tx: Transaction, wanted: Sequence[apps.Wanted]) -> apps.Waiting:
        found = real(tx, wanted)
        change(tx)
        return found

    patch.setattr(apps, "waiting", waiting)
