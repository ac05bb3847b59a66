"""What becomes due while answers are being committed is claimed with the next answers: in one commit, not in two."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.domain.outcome import FailureKind, NoResponse
from orchestrator.service.apply import apply, apply_and_claim
from orchestrator.service.claim import Claimed, next_claims
from tests.engine.by_hand import ByHand, answered, reported
from tests.engine.gate import Gate
from tests.support.fake_app import Received, never
from tests.support.waiting import eventually
from tests.support.world import World, running_world
from tests.support.writes import Write, stand_before_writes

OF_THE_DISPATCHER = (apply, apply_and_claim, next_claims)


@dataclass(slots=True)
class Commits:
    """The dispatcher's transactions in their order; the first commit of an answer is held until it is let go."""

    world: World
    begun: list[str] = field(default_factory=list)
    fails: bool = False
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    is_held: bool = False

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        async def watched(write: Write, work: Callable[..., Any], *args: Any) -> Any:
            if work not in OF_THE_DISPATCHER:
                return await write(work, *args)
            self.begun.append(work.__name__)
            if work is apply and not self.is_held:
                self.is_held = True
                await self.let_go.wait()
            result = await write(work, *args)
            if work is apply_and_claim and self.fails:
                self.fails = False
                raise DatabaseUnavailable("the connection was lost, says the test")
            return result

        stand_before_writes(patch, self.world.database, watched)

    async def holds(self) -> None:
        async def probe() -> bool:
            return self.is_held

        await eventually(probe, "a commit that is held")

    async def until_busy_is_seen(self) -> None:
        """A tick of the dispatcher has come and gone while the commit is held."""
        dispatcher = self.world.node.dispatcher

        async def probe() -> bool:
            return dispatcher._claims_with_next_commit

        await eventually(probe, "a claim that is put off")


@dataclass(slots=True)
class Scene:
    """Two executions whose calls are held, and the commit of the first one's answer, which is held too."""

    world: World
    commits: Commits
    first: str
    second: str
    gates: dict[str, Gate]

    async def app(self, request: Received) -> Any:
        gate = self.gates.get(request.worker["task_exec_id"])
        return {"is_done": True} if gate is None else await gate(request)


@pytest.fixture
async def scene(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    scenes: list[Scene] = []

    async def app(request: Received) -> Any:
        return await scenes[0].app(request)

    # Nothing but wake-ups: what a poll would find would hide what they miss.
    async with running_world(database_url, app, engine={"poll_interval_secs": 30}) as world:
        await world.install({"on_multiple_exec": "allow"})
        gates = {name: Gate({"is_done": True}) for name in ("first", "second")}
        commits = Commits(world)
        scenes.append(Scene(world, commits, "first", "second", gates))
        for name in gates:
            await world.launch(id=name)
            await gates[name].holds()
        commits.watch(monkeypatch)
        gates["first"].open()
        await commits.holds()
        yield scenes[0]


async def answer_of_the_second_waits(scene: Scene) -> None:
    scene.gates["second"].open()

    async def probe() -> bool:
        return bool(scene.world.node.dispatcher._applier._waiting)

    await eventually(probe, "an answer that waits for its commit")


async def test_the_next_commit_of_answers_claims_too(scene: Scene) -> None:
    third = await scene.world.launch()
    await scene.commits.until_busy_is_seen()
    await answer_of_the_second_waits(scene)
    scene.commits.let_go.set()

    for execution in (scene.first, scene.second, third):
        assert await scene.world.ended(execution) == "succeeded"
    assert scene.commits.begun[:2] == ["apply", "apply_and_claim"]


async def test_where_no_answer_follows_it_is_claimed_by_itself(scene: Scene) -> None:
    third = await scene.world.launch()
    await scene.commits.until_busy_is_seen()
    scene.commits.let_go.set()

    assert await scene.world.ended(third) == "succeeded"
    assert scene.commits.begun[:2] == ["apply", "next_claims"]
    scene.gates["second"].open()
    assert await scene.world.ended(scene.second) == "succeeded"


async def test_claims_of_a_commit_whose_outcome_is_unknown_are_given_back(scene: Scene) -> None:
    third = await scene.world.launch()
    await scene.commits.until_busy_is_seen()
    await answer_of_the_second_waits(scene)
    scene.commits.fails = True
    scene.commits.let_go.set()

    for execution in (scene.second, third):
        assert await scene.world.ended(execution) == "succeeded"
    called = [request.worker["task_exec_id"] for request in scene.world.app.received]
    assert sorted(called) == sorted(["first", "second", third]), "each was called once"


async def test_places_that_the_answers_leave_are_taken_at_once(database_url: str) -> None:
    async with running_world(database_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"})
        hand = ByHand(world)
        executions = [await world.launch(wakes=None) for _ in range(4)]
        called = await hand.claims(places=2)

        goes_on = answered(called[0], updated_worker_state={"n": 1})
        applied, claimed = await hand.apply_and_look(goes_on, answered(called[1], is_done=True), places=0)

        assert list(applied.renewed) == [0]
        assert [claim.execution_id for claim in claimed.claims] == [executions[2]]


async def test_a_commit_that_writes_apps_leaves_the_claims_to_the_next(database_url: str) -> None:
    """It has locks of apps, and those who claim take theirs in the order of the keys."""
    async with running_world(database_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"})
        hand = ByHand(world)
        for _ in range(2):
            await world.launch(wakes=None)
        [called] = await hand.claims(places=1)
        silence = NoResponse(FailureKind.CONNECTION_REFUSED, "nobody is there", sent=False)

        applied, claimed = await hand.apply_and_look(reported(called, silence))

        assert applied.has_changed_apps
        assert claimed == Claimed((), timedelta(), is_left_out=True)
        assert [claim.worker_id for claim in await hand.claims()] == [0]


async def test_a_fault_of_the_claim_costs_no_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of somebody else's that cannot be read must not be blamed on the answers that share its transaction."""
    third = await scene.world.launch()
    await scene.commits.until_busy_is_seen()
    await answer_of_the_second_waits(scene)
    module, faults = sys.modules[apply.__module__], list[None]()

    def broken(*_arguments: Any, **_options: Any) -> Claimed:
        faults.append(None)
        raise KeyError("a stored row is broken, says the test")

    monkeypatch.setattr(module, "next_claims", broken)
    scene.commits.let_go.set()

    for execution in (scene.first, scene.second, third):
        assert await scene.world.ended(execution) == "succeeded"
    assert len(faults) == 1
    assert scene.commits.begun[:3] == ["apply", "apply_and_claim", "apply"]
    assert len(scene.world.app.received) == 3, "each was called once"


async def test_no_answer_waits_for_an_app_that_somebody_else_has_locked(postgres_url: str) -> None:
    async with running_world(postgres_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"})
        hand = ByHand(world)
        for _ in range(2):
            await world.launch(wakes=None)
        [called] = await hand.claims(places=1)
        async with await psycopg.AsyncConnection.connect(postgres_url) as somebody:
            await somebody.execute("SELECT 1 FROM apps FOR UPDATE")
            applied, claimed = await hand.apply_and_look(answered(called, updated_worker_state={"n": 1}))

        assert list(applied.renewed) == [0]
        assert (claimed.claims, claimed.is_left_out) == ((), True)
        assert claimed.wait is not None, "it looks again soon"
        assert len(await hand.claims()) == 1


async def test_conversations_that_have_just_ended_leave_no_fewer_than_no_places(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one commit follows the other, those that the first has ended are still counted."""
    async with running_world(database_url, never, start=False, engine={"concurrency": 4}) as world:
        dispatcher = world.node.dispatcher
        monkeypatch.setattr(type(dispatcher), "in_flight", 7)
        assert dispatcher._next_places().free == 0
