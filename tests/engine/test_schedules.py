"""Schedules: every slot is launched once or recorded with the reason why not, whoever looks and whenever."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from app_sdk.protocol.manifest import read_manifest
from orchestrator.domain.states import AppStatus
from orchestrator.runtime.identifiers import new_id
from orchestrator.service import apps, scheduling, tasks
from orchestrator.store.clock import from_micros
from tests.support.fake_app import Received
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World, running_world

MINUTE = timedelta(minutes=1)


def done(request: Received) -> object:
    return {"is_done": True}


def rest(request: Received) -> object:
    return {"delay_next_request_in_secs": 3600}


def every_minute(**more: Any) -> dict[str, Any]:
    return {"schedule": {"interval_secs": 60, **more.pop("schedule", {})}, **more}


async def occurrences(world: World, task_id: str = "app_test_run") -> list[tuple[datetime, str, str | None]]:
    """(slot, outcome, note) of a task, in order."""
    rows = await world.rows(
        """SELECT o.slot_at, o.outcome, o.note FROM occurrences o JOIN task_definitions t ON t.pk = o.task_pk
            WHERE t.id = :id ORDER BY o.slot_at""",
        id=task_id,
    )
    return [(from_micros(slot), outcome, note) for slot, outcome, note in rows]


async def outcomes(world: World, count: int, task_id: str = "app_test_run") -> list[str]:
    """What became of the slots, once there are `count`."""

    async def probe() -> list[str] | None:
        found = [outcome for _, outcome, _ in await occurrences(world, task_id)]
        return found if len(found) >= count else None

    return await eventually(probe, f"{count} slots of {task_id}")


async def anchor(world: World, task_id: str = "app_test_run") -> datetime:
    (at,) = await world.row(
        "SELECT s.anchor_at FROM schedules s JOIN task_definitions t ON t.pk = s.task_pk WHERE t.id = :id", id=task_id
    )
    return from_micros(at)


async def executions(world: World, task_id: str = "app_test_run") -> list[tuple[str, str]]:
    """(id, status) of a task's executions, in order."""
    rows = await world.rows(
        """SELECT e.id, e.status FROM executions e JOIN task_definitions t ON t.pk = e.task_pk
            WHERE t.id = :id ORDER BY e.pk""",
        id=task_id,
    )
    return [(id_, status) for id_, status in rows]


async def all_ended(world: World, count: int, task_id: str = "app_test_run") -> None:
    async def probe() -> bool:
        found = await executions(world, task_id)
        return len(found) == count and all(status == "succeeded" for _, status in found)

    await eventually(probe, f"the end of {count} executions of {task_id}")


async def pause(world: World, *, paused: bool) -> None:
    await world.database.write(tasks.set_paused, WORKSPACE, "app_test_run", paused=paused)


async def set_status(world: World, status: AppStatus) -> None:
    await world.database.write(apps.set_status, WORKSPACE, "app_test", status)


# When


async def test_an_interval_counts_from_its_anchor_and_does_not_drift(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        rimdian = {"id": "app_test_rimdian", "is_cron": True, "minutes_interval": 1}
        await world.install(every_minute(), rimdian)
        assert await occurrences(world) == []
        for count in (1, 2, 3):
            world.advance(MINUTE + timedelta(seconds=3 * count))
            for task_id in ("app_test_run", "app_test_rimdian"):
                assert await outcomes(world, count, task_id) == ["launched"] * count
                await all_ended(world, count, task_id)

        start = await anchor(world)
        assert [slot for slot, _, _ in await occurrences(world)] == [start + MINUTE * n for n in (1, 2, 3)]
        late = [note for _, _, note in await occurrences(world)]
        assert all(note is not None and note.startswith("late by ") for note in late[1:])


async def test_cron_runs_on_the_wall_clock_of_its_zone_through_the_change_of_the_hour(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        assert world.clock is not None
        world.clock.shift = datetime(2027, 3, 27, 12, tzinfo=UTC) - datetime.now(UTC)
        night = {"schedule": {"cron": "30 2 * * *", "timezone": "Europe/Paris"}}
        await world.install(night)
        for count in (1, 2):
            world.advance(timedelta(days=1))
            assert await outcomes(world, count) == ["launched"] * count
            await all_ended(world, count)

        # On the 28th there is no 02:30 in Paris: the first valid instant after it is 03:00, which is 01:00 in UTC.
        slots = [slot for slot, _, _ in await occurrences(world)]
        assert slots == [datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 3, 29, 0, 30, tzinfo=UTC)]


async def test_jitter_moves_a_slot_alike_for_every_node_and_never_before_its_time(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        await world.install(every_minute(schedule={"jitter_secs": 30}))
        due_at, slot_at = await world.row("SELECT due_at, next_slot_at FROM schedules")
        assert timedelta() < from_micros(due_at) - from_micros(slot_at) < timedelta(seconds=30)

        world.advance(from_micros(due_at) - from_micros(slot_at) + MINUTE)
        await outcomes(world, 1)
        assert [slot for slot, _, _ in await occurrences(world)] == [from_micros(slot_at)]


# After an outage


async def test_latest_launches_the_last_slot_that_was_missed_and_records_the_others(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        await world.install(every_minute())
        world.advance(MINUTE * 5 + timedelta(seconds=10))
        assert await outcomes(world, 5) == ["missed"] * 4 + ["launched"]

        start = await anchor(world)
        assert [slot for slot, _, _ in await occurrences(world)] == [start + MINUTE * n for n in range(1, 6)]
        assert {note for _, outcome, note in await occurrences(world) if outcome == "missed"} == {
            "later slots were due as well"
        }
        await all_ended(world, 1)


async def test_none_launches_no_slot_that_is_more_than_a_minute_late(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        await world.install({"schedule": {"interval_secs": 600, "catch_up": "none"}})
        world.advance(timedelta(minutes=25))
        assert await outcomes(world, 2) == ["missed", "missed"]
        world.advance(timedelta(minutes=5, seconds=30))
        assert await outcomes(world, 3) == ["missed", "missed", "launched"]
        await all_ended(world, 1)


async def test_all_launches_one_missed_slot_after_the_other(database_url: str) -> None:
    async with running_world(database_url, rest, virtual_time=True) as world:
        await world.install(every_minute(schedule={"catch_up": "all"}, on_multiple_exec="allow"))
        world.advance(MINUTE * 4 + timedelta(seconds=30))
        for count in (1, 2, 3):
            assert await outcomes(world, count) == ["launched"] * count
            statuses = [status for _, status in await executions(world)]
            assert statuses == ["aborted"] * (count - 1) + ["running"], "the next one waits for this one's end"
            await world.abort((await executions(world))[-1][0])
            world.advance(timedelta(seconds=2))
        assert await outcomes(world, 4) == ["launched"] * 4

        start = await anchor(world)
        assert [slot for slot, _, _ in await occurrences(world)] == [start + MINUTE * n for n in range(1, 5)]


async def test_a_backlog_of_quick_runs_is_worked_off_without_waiting_for_the_poll(database_url: str) -> None:
    slow_poll = {"poll_interval_secs": 60}
    async with running_world(database_url, done, virtual_time=True, engine=slow_poll, start=False) as world:
        paused = every_minute(schedule={"catch_up": "all"}, on_multiple_exec="allow")
        await world.install(paused)
        await pause(world, paused=True)
        world.advance(MINUTE * 30 + timedelta(seconds=1))
        await world.node.start()
        assert await outcomes(world, 30) == ["skipped"] * 30


# Paused, stopped, removed


async def test_slots_of_a_paused_task_or_a_stopped_app_are_recorded_as_skipped(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        await world.install(every_minute())
        await pause(world, paused=True)
        world.advance(MINUTE)
        assert await outcomes(world, 1) == ["skipped"]
        await pause(world, paused=False)
        await set_status(world, AppStatus.STOPPED)
        world.advance(MINUTE)
        assert await outcomes(world, 2) == ["skipped"] * 2
        await set_status(world, AppStatus.ACTIVE)
        world.advance(MINUTE)
        assert await outcomes(world, 3) == ["skipped", "skipped", "launched"]

        notes = [note for _, outcome, note in await occurrences(world) if outcome == "skipped"]
        assert notes == ["the task was paused", "the app was stopped"]
        await all_ended(world, 1)


async def test_a_task_that_a_later_manifest_leaves_out_is_launched_no_more(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        await world.install(every_minute(), every_minute(id="app_test_other"))
        left = {"id": "app_test_other", "name": "Other", **every_minute()}
        manifest = read_manifest({"id": "app_test", "name": "Test", "webhook_endpoint": world.app.url, "tasks": [left]})
        await world.database.write(apps.update, WORKSPACE, "app_test", manifest)
        world.advance(MINUTE)
        assert await outcomes(world, 1, "app_test_other") == ["launched"]
        assert await occurrences(world) == []


# Overlapping


async def test_the_policies_by_schedule(database_url: str) -> None:
    policies = ("allow", "discard_new", "retry_later", "abort_existing")
    async with running_world(database_url, rest, virtual_time=True) as world:
        await world.install(*(every_minute(id=f"app_test_{policy}", on_multiple_exec=policy) for policy in policies))
        for count in (1, 2, 3):
            world.advance(MINUTE)
            for policy in policies:
                await outcomes(world, count, f"app_test_{policy}")

        found = {policy: await occurrences(world, f"app_test_{policy}") for policy in policies}
        assert {policy: [outcome for _, outcome, _ in slots] for policy, slots in found.items()} == {
            "allow": ["launched", "launched", "launched"],
            "discard_new": ["launched", "skipped", "skipped"],
            "retry_later": ["launched", "launched", "merged"],
            "abort_existing": ["launched", "launched", "launched"],
        }
        statuses = {
            policy: [status for _, status in await executions(world, f"app_test_{policy}")] for policy in policies
        }
        assert statuses == {
            "allow": ["running"] * 3,
            "discard_new": ["running"],
            "retry_later": ["running", "pending"],
            "abort_existing": ["aborted", "aborted", "running"],
        }
        running, waiting = [id_ for id_, _ in await executions(world, "app_test_retry_later")]
        assert waiting in str(found["retry_later"][2][2])
        assert (await executions(world, "app_test_discard_new"))[0][0] in str(found["discard_new"][1][2])
        assert running != waiting


# Once


async def test_a_slot_is_launched_once_when_nodes_race_for_it(database_url: str) -> None:
    async with running_world(database_url, rest, start=False, virtual_time=True) as world:
        await world.install(every_minute(on_multiple_exec="allow"))
        async with world.another_database() as other:
            for count in (1, 2, 3):
                world.advance(MINUTE)
                [task_pk] = await world.database.read(scheduling.due_tasks)
                launches = [
                    database.write(scheduling.launch_due, world.node.definitions, task_pk, new_id)
                    for database in (world.database, other) * 4
                ]
                turns = Counter(await asyncio.gather(*launches))
                assert turns == {scheduling.Turn.LAUNCHED: 1, scheduling.Turn.NOTHING: 7}
                assert len(await executions(world)) == count


async def test_two_whole_nodes_launch_each_slot_once(postgres_url: str) -> None:
    quick = {"poll_interval_secs": 0.02}
    async with (
        running_world(postgres_url, done, virtual_time=True, engine=quick) as world,
        world.another_node() as other,
    ):
        await world.install(every_minute(on_multiple_exec="allow"))
        for count in (1, 2, 3, 4):
            world.advance(MINUTE)
            other.wake()
            assert await outcomes(world, count) == ["launched"] * count
            await all_ended(world, count)


async def test_a_slot_that_fell_due_while_no_server_ran_is_launched_once_by_the_next(database_url: str) -> None:
    async with running_world(database_url, done, virtual_time=True) as world:
        await world.install(every_minute())
        world.advance(MINUTE)
        await all_ended(world, 1)
        assert world.clock is not None
        shift = world.clock.shift
    async with running_world(database_url, done, virtual_time=True, start=False) as world:
        world.advance(shift + MINUTE)
        await world.node.start()
        assert await outcomes(world, 2) == ["launched", "launched"]
        assert [slot for slot, _, _ in await occurrences(world)] == [await anchor(world) + MINUTE * n for n in (1, 2)]
