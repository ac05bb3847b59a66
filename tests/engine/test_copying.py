"""Moving: what was under way in one database goes on in the other, as after a crash; all four ways round."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orchestrator.domain.errors import Conflict, DatabaseOutdated, WrongMasterKey
from orchestrator.runtime.copying import Moved, Progress, copy_database
from orchestrator.settings import Settings
from orchestrator.settings.sections import DatabaseSettings, SecuritySettings
from orchestrator.store import outbox, schema
from orchestrator.store.clock import to_micros
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.transfer import all_tables
from tests.engine.by_hand import ByHand, answered
from tests.engine.executors import Executor, time_passes
from tests.store.test_schema import become_newer
from tests.support.fake_app import FakeApp, Received, running_app
from tests.support.fresh_database import fresh_database
from tests.support.world import World, running_world

KEY = "test master key"
HOUR_IN_MICROS = 3600 * 1_000_000
TASKS: list[dict[str, Any]] = [
    {"id": "app_test_run", "on_multiple_exec": "allow"},
    {"id": "app_test_once", "on_multiple_exec": "allow", "delivery": "at_most_once"},
]
ITEM = {"kind": "user", "user": {"external_id": "Zoë 🛫"}}


@pytest.fixture(params=["sqlite", "postgresql"])
def target_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database to copy into, on each of the two."""
    with fresh_database(request, tmp_path) as url:
        yield url


@dataclass(slots=True)
class Left:
    """What a world left behind when its server died."""

    app: FakeApp
    again: str = ""
    once: str = ""
    imported: str = ""
    keys: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def left_behind(url: str) -> AsyncIterator[Left]:
    """A database whose server died with two calls in flight and a batch on its way; the app lives on."""
    async with running_app(lambda request: {"is_done": True}) as app:
        left = Left(app)
        async with running_world(url, lambda request: {}, start=False) as world:
            await world.install(*TASKS, url=app.url)
            hand = ByHand(world)
            left.imported = await world.launch(state={"text": "\\ 日本"})
            [claim] = await hand.claims()
            await hand.apply(answered(claim, items_to_import=[ITEM], is_done=True))
            left.again, left.once = await world.launch(), await world.launch("app_test_once")
            assert len(await hand.claims()) == 2
            await world.database.write(_take_batches)
        yield left


def _take_batches(tx: Any) -> None:
    now = to_micros(tx.now())
    assert len(outbox.take(tx, 10, "gone", now, now + HOUR_IN_MICROS)) == 1


async def test_what_was_under_way_goes_on(database_url: str, target_url: str) -> None:
    collected: list[Received] = []
    async with left_behind(database_url) as left:
        moved = _copy(database_url, target_url)
        assert moved.copied.lost_calls == 2
        assert moved.copied.rows["executions"] == 3
        async with running_world(target_url, lambda request: {}, collected.append) as world:
            assert await world.ended(left.again) == "succeeded"
            assert await world.ended(left.imported) == "succeeded"
            assert await world.ended(left.once) == "failed"
            assert "at_most_once" in str(await world.message(left.once))
            assert [call["outcome"] for call in await world.calls(left.again)] == ["lost", "applied"]
            assert [call["outcome"] for call in await world.calls(left.once)] == ["lost"]
            assert [request.worker["task_exec_id"] for request in left.app.received] == [left.again]
            await _new_rows_fit_in(world)
    [batch] = collected
    assert batch.payload["items"] == [ITEM]


async def _new_rows_fit_in(world: World) -> None:
    fresh = await world.launch()
    assert await world.ended(fresh) == "succeeded"
    (number,) = await world.row("SELECT number FROM executions WHERE id = :id", id=fresh)
    assert number == 4


async def test_an_executor_that_was_at_work_goes_on_however_long_the_copy_took(
    database_url: str, target_url: str
) -> None:
    async with running_world(database_url, lambda request: {}, start=False) as world:
        await world.install({"transport": "pull"})
        await world.launch()
        task = await Executor(world).started()
        ago = to_micros(await world.database.read(lambda tx: tx.now())) - HOUR_IN_MICROS
        await world.database.write(lambda tx: tx.run("UPDATE workers SET lease_until = :ago", ago=ago))
    assert _copy(database_url, target_url).copied.lost_calls == 0
    async with running_world(target_url, lambda request: {}, start=False) as world:
        await time_passes(world)
        executor = Executor(world)
        assert (await executor.look(task.id)).row.status == "in-progress"
        assert (await executor.succeed(task)).task.row.outcome == "succeeded"


async def test_the_source_stays_as_it_was(database_url: str, target_url: str) -> None:
    async with left_behind(database_url) as left:
        _copy(database_url, target_url)
        async with running_world(database_url, lambda request: {}, start=False) as world:
            assert (await world.workers(left.again))[0]["status"] == "calling"


async def test_a_dry_run_writes_nothing(database_url: str, target_url: str) -> None:
    async with left_behind(database_url):
        would = _copy(database_url, target_url, dry_run=True)
        assert would.copied.lost_calls == 0
        assert not any(_counts(target_url).values())
        assert would.copied.rows == _counts(database_url) == _copy(database_url, target_url).copied.rows


async def test_progress_is_told_for_every_table(database_url: str, target_url: str) -> None:
    told: list[Progress] = []
    async with left_behind(database_url):
        moved = _copy(database_url, target_url, tell=told.append)
    for is_check in (False, True):
        ends = {one.table: one.rows for one in told if one.is_check is is_check and one.rows == one.total}
        assert ends == moved.copied.rows
    assert list(moved.copied.rows) == all_tables()


async def test_an_interrupted_copy_can_be_made_again(database_url: str, target_url: str) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.is_check and progress.table == "workers":
            raise KeyboardInterrupt

    async with left_behind(database_url):
        with pytest.raises(KeyboardInterrupt):
            _copy(database_url, target_url, tell=interrupt)
        assert not any(_counts(target_url).values())
        assert _copy(database_url, target_url).copied.lost_calls == 2


async def test_a_target_that_has_been_served_is_refused(database_url: str, target_url: str) -> None:
    async with left_behind(database_url):
        async with running_world(target_url, lambda request: {}, start=False):
            pass
        with pytest.raises(Conflict, match=r"the target is not empty: its table (settings|workspaces) has 1 row;"):
            _copy(database_url, target_url)


@pytest.mark.parametrize("newer", ["source", "target"])
async def test_what_a_newer_version_has_added_is_not_left_behind(
    database_url: str, target_url: str, newer: str
) -> None:
    """Its schema serves this version; but a copy by this one would have nothing in the columns that are new."""
    async with left_behind(database_url):
        become_newer(
            DatabaseOptions({"source": database_url, "target": target_url}[newer]), serves=["9999", schema.NEWEST]
        )
        with pytest.raises(
            DatabaseOutdated, match=rf"^the {newer}, .*9999, of a newer version, .* run the newer version$"
        ):
            _copy(database_url, target_url)
        assert not any(_counts(target_url).values())


async def test_another_master_key_is_refused_before_anything_is_copied(database_url: str, target_url: str) -> None:
    async with left_behind(database_url):
        with pytest.raises(WrongMasterKey):
            _copy(database_url, target_url, key="another")
        assert not any(_counts(target_url).values())


@pytest.mark.parametrize("target_url", ["sqlite"], indirect=True)
async def test_a_target_that_changes_what_it_is_given_is_noticed(database_url: str, target_url: str) -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON worker_states BEGIN UPDATE worker_states SET state = '{}'; END"
    async with left_behind(database_url):
        with schema.connected(DatabaseOptions(target_url)) as connection:
            connection.exec_driver_sql(trigger)
        with pytest.raises(Conflict, match="table worker_states has 3 rows with the digest"):
            _copy(database_url, target_url)
        assert not any(_counts(target_url).values())


def _copy(source: str, target: str, *, tell: Any = None, key: str = KEY, dry_run: bool = False) -> Moved:
    source_settings, target_settings = (
        Settings(database=DatabaseSettings(url=url), security=SecuritySettings(master_key=SecretStr(key)))
        for url in (source, target)
    )
    return copy_database(source_settings, target_settings, tell or (lambda progress: None), dry_run=dry_run)


def _counts(url: str) -> dict[str, int]:
    with schema.connected(DatabaseOptions(url)) as connection:
        return {
            table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in all_tables()
        }
