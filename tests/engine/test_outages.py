"""The database goes away, or its word of a commit is lost: no answer in hand is lost, no call is made for nothing."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import psycopg
import psycopg.sql
import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.service import timers
from orchestrator.service.apply import apply, apply_and_claim
from orchestrator.service.claim import next_claims
from orchestrator.service.definitions import Definitions
from orchestrator.service.delivering import deliver, take
from orchestrator.service.report import ReadyAnswer
from orchestrator.store.transaction import Transaction
from tests.engine.gate import Gate
from tests.support.fake_app import Received
from tests.support.waiting import eventually
from tests.support.world import World, running_world
from tests.support.writes import Write, stand_before_writes

pytestmark = pytest.mark.slow

STEPS = 5
CUT_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()"""
READ_ONLY = psycopg.sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
AT_MOST_ONCE = {"delivery": "at_most_once", "retry": {"max_retries": 0}}


def five_steps(request: Received) -> object:
    step = request.worker["step"]
    return {
        "is_done": step == STEPS - 1,
        "updated_worker_state": {"step": step},
        "app_state_mutations": [{"operation": "increment", "key": "steps", "value": 1}],
        "items_to_import": [{"kind": "step", "n": step}],
    }


class Outage:
    """The database fails in the middle of chosen transactions: before their commit, or, the commit done, after it."""

    def __init__(self, patch: pytest.MonkeyPatch, world: World) -> None:
        self._before: Counter[str] = Counter()
        self._after: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        stand_before_writes(patch, world.database, self._disturbed)

    def before(self, use_case: Callable[..., Any], times: int) -> None:
        self._before[use_case.__name__] += times

    def after(self, use_case: Callable[..., Any], times: int) -> None:
        self._after[use_case.__name__] += times

    async def _disturbed(self, write: Write, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # To an answer it is all the same whether its commit claims too.
        name = getattr(apply if work is apply_and_claim else work, "__name__", "")
        if self._before[name]:
            self._before[name] -= 1
            self.met[name] += 1
            raise DatabaseUnavailable("the database is away, says the test")
        result = await write(work, *args, **kwargs)
        if self._after[name] and _is_something(result):
            self._after[name] -= 1
            self.met[name] += 1
            raise DatabaseUnavailable("the connection was lost, says the test")
        return result


def _is_something(result: Any) -> bool:
    """False for a look that has found nothing to do."""
    return bool(getattr(result, "claims", True) and getattr(result, "batches", True))


async def expect_five_steps(world: World, outage: Outage, use_case: Callable[..., Any], times: int) -> None:
    """Every step is called once and applied once, its items arrive once: though the task forbids a second call."""
    execution = await world.launch()
    assert await world.ended(execution) == "succeeded", await world.message(execution)
    assert outage.met == {use_case.__name__: times}
    called = [request.worker["step"] for request in world.app.received]
    assert called == list(range(STEPS))
    assert [call["outcome"] for call in await world.calls(execution)] == ["applied"] * STEPS
    assert await world.app_state() == f'{{"steps":{STEPS}}}'
    batches = {request.headers["idempotency-key"]: request.payload["items"] for request in world.collector.received}
    assert [item["n"] for items in batches.values() for item in items] == list(range(STEPS))


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("use_case", [apply, next_claims, deliver, take])
async def test_while_the_database_is_away_everything_waits_and_nothing_is_lost(
    database_url: str, monkeypatch: pytest.MonkeyPatch, use_case: Callable[..., Any], times: int
) -> None:
    short = {"timeout_secs": 1}
    async with running_world(database_url, five_steps, webhook=short) as world:
        await world.install(AT_MOST_ONCE)
        outage = Outage(monkeypatch, world)
        outage.before(use_case, times)
        await expect_five_steps(world, outage, use_case, times)


@pytest.mark.parametrize("use_case", [apply, next_claims, deliver, take])
async def test_a_commit_whose_outcome_is_unknown_is_read_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch, use_case: Callable[..., Any]
) -> None:
    short = {"timeout_secs": 1}
    async with running_world(database_url, five_steps, webhook=short) as world:
        await world.install(AT_MOST_ONCE)
        outage = Outage(monkeypatch, world)
        outage.after(use_case, 1)
        await expect_five_steps(world, outage, use_case, 1)


async def test_an_unknown_claim_is_given_back_though_an_older_call_of_its_worker_is_under_way(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older call is that of an attempt that was aborted; with its end, at the latest, it hides nothing any more."""
    gate = Gate({"is_done": True})
    looks: list[str] = []
    release = timers.release_unknown

    def release_unknown(tx: Transaction, definitions: Definitions, node: str, known: Collection[Any]) -> None:
        looks.append(node)
        release(tx, definitions, node, known)

    async def answer(request: Received) -> object:
        return {"is_done": True} if gate.held else await gate(request)

    async with running_world(database_url, answer) as world:
        monkeypatch.setattr(timers, "release_unknown", release_unknown)
        await world.install(AT_MOST_ONCE)
        outage = Outage(monkeypatch, world)
        execution = await world.launch()
        await gate.holds()
        await world.abort(execution)
        outage.after(next_claims, 1)
        await world.retry(execution)

        async def has_looked() -> bool:
            return bool(looks)

        await eventually(has_looked, "a look at the claims of the node")
        gate.open()
        assert await world.ended(execution) == "succeeded", await world.message(execution)
        assert [call["outcome"] for call in await world.calls(execution)] == ["fenced", "applied"]
        assert len(world.app.received) == 2


async def test_an_answer_that_the_database_refuses_fails_its_worker_and_no_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_world(database_url, five_steps) as world:
        await world.install({"on_multiple_exec": "allow"})

        async def refusing(write: Write, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if work in (apply, apply_and_claim) and any(
                one.claim.execution_id == "poison" and isinstance(one.meaning, ReadyAnswer) for one in args[1]
            ):
                raise psycopg.DataError("no room for it in a column, says the test")
            return await write(work, *args, **kwargs)

        stand_before_writes(monkeypatch, world.database, refusing)
        others = [await world.launch() for _ in range(10)]
        poison = await world.launch(id="poison")

        assert await world.ended(poison) == "failed"
        assert await world.message(poison) == (
            "worker 0: refused: the database refuses it: no room for it in a column, says the test"
        )
        assert {await world.ended(execution) for execution in others} == {"succeeded"}
        assert [one.worker["task_exec_id"] for one in world.app.received].count("poison") == 1


async def test_what_is_no_fault_of_the_answer_fails_no_worker(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the database is away nor the data are wrong: somebody has taken a right from us. The step comes again."""
    async with running_world(database_url, five_steps) as world:
        await world.install({"retry": {"max_retries": 5, "initial_delay_secs": 0.05}})
        refusals = 4

        async def refusing(write: Write, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal refusals
            if (
                work in (apply, apply_and_claim)
                and refusals
                and any(isinstance(one.meaning, ReadyAnswer) for one in args[1])
            ):
                refusals -= 1
                raise psycopg.errors.InsufficientPrivilege("permission denied for table calls, says the test")
            return await write(work, *args, **kwargs)

        stand_before_writes(monkeypatch, world.database, refusing)
        execution = await world.launch()
        assert await world.ended(execution) == "succeeded", await world.message(execution)
        assert refusals == 0
        assert await world.app_state() == f'{{"steps":{STEPS}}}'


async def test_a_failover_that_leaves_the_database_read_only_for_a_while_costs_no_step(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a standby does before its promotion, it refuses every write, on each connection made meanwhile."""
    gate = Gate({"is_done": True, "app_state_mutations": [{"operation": "increment", "key": "n", "value": 1}]})
    async with running_world(postgres_url, gate) as world:
        await world.install({"on_multiple_exec": "allow", **AT_MOST_ONCE})
        refused: Counter[str] = Counter()

        async def watched(write: Write, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            try:
                return await write(work, *args, **kwargs)
            except DatabaseUnavailable as error:
                refused[work.__name__] += "read-only transaction" in error.message
                raise

        async def has_been_refused() -> bool:
            return refused["apply"] > 3

        executions = [await world.launch() for _ in range(3)]
        await gate.holds(3)
        stand_before_writes(monkeypatch, world.database, watched)
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as operator:
            name = psycopg.sql.Identifier(operator.info.dbname)
            await operator.execute(READ_ONLY.format(name, psycopg.sql.SQL("on")))
            await operator.execute(CUT_ALL)
            gate.open()
            await eventually(has_been_refused, "writes that are refused")
            await operator.execute("SET default_transaction_read_only = off")
            await operator.execute(READ_ONLY.format(name, psycopg.sql.SQL("off")))
            assert {await world.ended(execution) for execution in executions} == {"succeeded"}
        assert await world.app_state() == '{"n":3}'
        assert len(world.app.received) == 3


async def test_connections_that_are_cut_again_and_again_cost_no_step(postgres_url: str) -> None:
    def answer(request: Received) -> object:
        step = request.worker["step"]
        spawned = [{"worker_id": worker_id} for worker_id in range(1, 10)] if step == 0 else []
        is_first = request.worker["worker_id"] == 0
        return {
            "is_done": step == 19,
            "updated_worker_state": {"step": step},
            "app_state_mutations": [{"operation": "increment", "key": "steps", "value": 1}],
            "new_workers": spawned if is_first else [],
        }

    async with running_world(postgres_url, answer) as world:
        await world.install()
        execution = await world.launch()
        connection = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
        async with connection:
            for round_ in range(1, 9):

                async def has_gone_on(wanted: int = round_ * 20) -> bool:
                    return len(world.app.received) >= wanted

                await eventually(has_gone_on, f"{round_ * 20} calls")
                await connection.execute(CUT_ALL)
        await eventually(lambda: is_over(world, execution), "the end")

        assert await world.status(execution) == "succeeded", await world.message(execution)
        assert await world.app_state() == '{"steps":200}'
        applied = Counter(
            (call["worker_id"], call["step"]) for call in await world.calls(execution) if call["outcome"] == "applied"
        )
        assert applied == {(worker_id, step): 1 for worker_id in range(10) for step in range(20)}


async def is_over(world: World, execution_id: str) -> bool:
    try:
        return await world.status(execution_id) != "running"
    except DatabaseUnavailable:
        return False
