"""Purging obeys age and status, keeps what it must, and gets on with whoever else moves an execution."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.errors import Invalid
from orchestrator.domain.retention import Retention
from orchestrator.domain.states import ExecutionStatus
from orchestrator.engine.pruner import REST, SHORTEST_REST, Pruner
from orchestrator.service import delivering, purging
from orchestrator.service.purging import Place, Selection, Sight, Tally
from orchestrator.store.database import Database
from tests.engine.history import Past, insert_past, left_behind
from tests.support.fake_app import never
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World, running_world

MONTH = timedelta(days=30)
FOREVER = Retention()


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with running_world(database_url, never, start=False) as world:
        await world.install({"on_multiple_exec": "allow"}, {"id": "app_test_other"})
        yield world


async def write_past(world: World, *pasts: Past) -> None:
    """The pasts, and one execution of today, so that none of them is the newest of its task."""
    for past in (*pasts, Past("today", days=0, calls=0, log_lines=0, batch=None)):
        await world.database.write(insert_past, past)


async def ids(world: World) -> set[str]:
    return {id_ for (id_,) in await world.rows("SELECT id FROM executions")}


async def selection(world: World, *statuses: ExecutionStatus, age: timedelta = MONTH, **more: Any) -> Selection:
    until = purging.until(await world.database.read(lambda tx: tx.now()), age)
    return Selection(WORKSPACE, until, statuses or purging.STATUSES, **more)


async def sights(world: World, wanted: Selection) -> list[Sight]:
    """Everything that would go, batch by batch."""
    found: list[Sight] = []
    place: Place | None = Place()
    while place is not None:
        bounds = (purging.EXECUTIONS, purging.ROWS)
        found.append(await world.database.read(purging.look, wanted, place, *bounds))
        place = found[-1].following
    return found


async def purge(world: World, wanted: Selection, database: Database | None = None) -> Tally:
    """Remove all of it; what has gone in all."""
    gone = [
        await (database or world.database).write(purging.remove, wanted, sight) for sight in await sights(world, wanted)
    ]
    while await (database or world.database).write(purging.remove_left) is not None:
        pass
    return added(gone)


def added(tallies: list[Tally]) -> Tally:
    return sum(tallies, Tally())


async def prune(world: World, retention: Retention, database: Database | None = None) -> int:
    """A whole round of the pruner, without its rests; how many bites it took."""
    pruner = Pruner(database or world.database, retention)
    bites = 0
    while await pruner.tick() is not None:
        bites += 1
    return bites


async def test_only_what_is_old_enough_and_of_the_status_goes_and_nothing_of_it_is_left(world: World) -> None:
    old = [
        Past(f"old-{status}", 3, days=40, status=status, callbacks=2) for status in ("succeeded", "failed", "aborted")
    ]
    young = [Past(f"young-{status}", 1, days=20, status=status) for status in ("succeeded", "failed", "aborted")]
    await write_past(world, *old, *young)
    retention = Retention({ExecutionStatus.SUCCEEDED: MONTH, ExecutionStatus.FAILED: 3 * MONTH})
    await prune(world, retention)
    kept = {f"old-{status}-{i}" for status in ("failed", "aborted") for i in (1, 2, 3)}
    kept |= {f"young-{status}-1" for status in ("succeeded", "failed", "aborted")} | {"today-1"}
    assert await ids(world) == kept
    assert await world.database.read(left_behind) == {}
    [(workers,)] = await world.rows("SELECT count(*) FROM workers")
    assert workers == len(kept)


async def test_a_purge_by_hand_can_be_narrowed_and_says_what_it_does(world: World) -> None:
    await write_past(world, Past("a", 2), Past("b", 2, task_id="app_test_other"), Past("c", 1, status="failed"))
    [(task_pk,)] = await world.rows("SELECT pk FROM task_definitions WHERE id = 'app_test_run'")
    wanted = await selection(world, ExecutionStatus.SUCCEEDED, task_pks=[task_pk])
    told = added([purging.tally(sight) for sight in await sights(world, wanted)])
    assert told == Tally(executions=2, calls=4, log_lines=2, import_batches=2)
    assert len(await ids(world)) == 6, "to look is to change nothing"
    assert await purge(world, wanted) == told
    assert await ids(world) == {"b-1", "b-2", "c-1", "today-1"}
    nothing = await selection(world, app_pks=[])
    assert await purge(world, nothing) == Tally()


async def test_what_waits_for_a_delivery_stays_and_is_told(world: World) -> None:
    await write_past(world, Past("pending", 2, batch="pending"), Past("refused", 1, batch="refused"), Past("gone", 1))
    wanted = await selection(world)
    gone = await purge(world, wanted)
    assert (gone.executions, gone.held_back) == (1, 3)
    assert await ids(world) == {"pending-1", "pending-2", "refused-1", "today-1"}
    await world.database.write(delivering.discard, world.node.definitions, WORKSPACE, "imp_refused-1", "me")
    assert (await purge(world, wanted)).executions == 1


async def test_a_batch_that_waits_again_since_the_look_holds_its_execution_back(world: World) -> None:
    await write_past(world, Past("old", 1))
    wanted = await selection(world, ExecutionStatus.SUCCEEDED)
    [sight] = await sights(world, wanted)
    await world.database.write(lambda tx: tx.run("UPDATE import_batches SET status = 'refused'"))
    assert (await world.database.write(purging.remove, wanted, sight)).executions == 0
    assert "old-1" in await ids(world)


async def test_the_newest_of_a_task_stays_until_the_task_is_removed(world: World) -> None:
    for past in (Past("old", 3), Past("other", 2, task_id="app_test_other")):
        await world.database.write(insert_past, past)
    gone = await purge(world, await selection(world))
    assert (gone.executions, gone.newest) == (3, 2)
    assert await ids(world) == {"old-3", "other-2"}
    removal = "UPDATE task_definitions SET removed_at = 1 WHERE id = 'app_test_other'"
    await world.database.write(lambda tx: tx.run(removal))
    assert (await purge(world, await selection(world))).executions == 1
    assert await ids(world) == {"old-3"}


async def test_less_than_a_day_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="86400 seconds"):
        await selection(world, age=timedelta(hours=23))


async def test_batches_are_bounded_in_executions_and_in_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "EXECUTIONS", 4)
    monkeypatch.setattr(purging, "ROWS", 12)
    await write_past(world, Past("few", 9), Past("some", 3, calls=9), Past("many", 1, calls=40, log_lines=30))
    wanted = await selection(world, ExecutionStatus.SUCCEEDED)
    seen = await sights(world, wanted)
    sizes = [[records.rows for records in sight.records.values()] for sight in seen]
    assert sorted(rows for batch in sizes for rows in batch) == [4] * 9 + [11] * 3 + [71]
    assert all(len(batch) <= 4 and (len(batch) == 1 or sum(batch) <= 12) for batch in sizes)
    for sight in seen:
        await world.database.write(purging.remove, wanted, sight, 12)
    assert await ids(world) == {"today-1"}
    assert await world.database.read(left_behind) == {"calls": 40, "log_lines": 30, "import_batches": 1}
    removed = []
    while (count := await world.database.write(purging.remove_left, 12)) is not None:
        removed.append(count)
    assert removed == [12] * 5 + [11]
    assert await world.database.read(left_behind) == {}


async def test_the_pruner_removes_what_a_purge_has_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "ROWS", 10)
    await write_past(world, Past("many", 1, calls=25, callbacks=25))
    wanted = await selection(world, ExecutionStatus.SUCCEEDED)
    [sight] = await sights(world, wanted)
    await world.database.write(purging.remove, wanted, sight, 10)
    assert await world.database.read(left_behind) != {}
    await prune(world, FOREVER)
    assert await world.database.read(left_behind) == {}


async def test_a_key_of_sqlite_is_not_given_to_the_next_one(sqlite_url: str) -> None:
    async with running_world(sqlite_url, never, start=False) as world:
        await world.install()
        await write_past(world)
        highest = await world.pk("today-1")
        await world.database.write(lambda tx: tx.run("DELETE FROM executions"))
        await write_past(world)
        assert await world.pk("today-1") > highest


async def test_an_overlap_group_goes_with_its_last_execution(world: World) -> None:
    await write_past(world, Past("old", 1, key="used"), Past("open", 1, days=0, key="open"))
    groups = "INSERT INTO overlap_groups (task_pk, key) SELECT task_pk, multiple_exec_key FROM executions"
    await world.database.write(lambda tx: tx.run(groups))
    await purge(world, await selection(world))
    assert {key for (key,) in await world.rows("SELECT key FROM overlap_groups")} == {"open", ""}


async def test_the_pruner_rests_nine_times_as_long_as_it_works(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "EXECUTIONS", 5)
    await write_past(world, Past("old", 20))
    pruner = Pruner(world.database, Retention({ExecutionStatus.SUCCEEDED: MONTH}))
    rests = []
    began = time.monotonic()
    while (rest := await pruner.tick()) is not None:
        rests.append(rest)
    worked = timedelta(seconds=time.monotonic() - began)
    assert len(rests) == 4
    assert min(rests) >= SHORTEST_REST
    assert sum(rests, timedelta()) <= REST * worked + 4 * SHORTEST_REST


async def test_a_round_that_failed_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await write_past(world, Past("old", 1))
    pruner = Pruner(world.database, Retention({ExecutionStatus.SUCCEEDED: MONTH}))
    with monkeypatch.context() as patch:
        patch.setattr(purging, "remove", never)
        with pytest.raises(TypeError):
            await pruner.tick()
    while await pruner.tick() is not None:
        pass
    assert await ids(world) == {"today-1"}


async def test_a_node_prunes_by_default_and_keeps_what_it_is_told_to_keep(database_url: str) -> None:
    async with running_world(database_url, never, start=False, retention={"failed_days": 0}) as world:
        await world.install({"on_multiple_exec": "allow"})
        old = [Past(f"old-{status}", days=400, status=status) for status in ("succeeded", "failed", "aborted")]
        await write_past(world, *old)
        await world.node.start()

        async def probe() -> bool:
            return await ids(world) == {"old-failed-1", "today-1"}

        await eventually(probe, "the first round of the pruner")
