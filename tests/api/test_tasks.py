from orchestrator.api.shapes import apps as shapes
from orchestrator.api.shapes import executions, records
from orchestrator.store import due_schedules
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, Json, a_manifest, a_task, accepted, conforms, refused

HOURLY: Json = {"schedule": {"cron": "0 * * * *", "timezone": "Europe/Paris", "jitter_secs": 5}}


async def test_a_task_is_shown_with_its_policies_as_they_work(api: Api) -> None:
    task = a_task(
        description="All of it",
        aliases=["shop/sync", "shop.sync"],
        retry={"max_retries": 3},
        delivery="at_most_once",
        on_multiple_exec="retry_later",
        max_duration_secs=60,
        **HOURLY,
    )
    await api.install("app_shop", task)
    shown = accepted(await api.admin.get("/v1/apps/app_shop/tasks/app_shop_sync"))
    conforms(shapes.Task, shown)
    assert shown["aliases"] == ["shop/sync", "shop.sync"]
    assert shown["retry"] == {
        "max_retries": 3,
        "initial_delay_secs": 5.0,
        "multiplier": 2.0,
        "max_delay_secs": 3600.0,
    }
    assert shown["schedule"] == {
        "cron": "0 * * * *",
        "timezone": "Europe/Paris",
        "interval_secs": None,
        "jitter_secs": 5.0,
        "catch_up": "latest",
    }
    assert shown["next_slot_at"].endswith(":00:00.000000Z")
    assert (shown["on_multiple_exec"], shown["delivery"]) == ("retry_later", "at_most_once")
    assert (shown["max_duration_secs"], shown["is_paused"], shown["last_execution"]) == (60.0, False, None)


async def test_tasks_are_listed_by_id_with_their_newest_execution(api: Api) -> None:
    await api.install("app_shop", a_task("app_shop_b"), a_task("app_shop_a", is_cron=True, minutes_interval=5))
    execution = await api.launch("app_shop_b")
    first = accepted(await api.admin.get("/v1/apps/app_shop/tasks", params={"limit": 1}))
    [task] = first["items"]
    assert (task["id"], task["schedule"]["interval_secs"]) == ("app_shop_a", 300.0)
    cursor = {"limit": 1, "cursor": first["next_cursor"]}
    second = accepted(await api.admin.get("/v1/apps/app_shop/tasks", params=cursor))
    [task] = second["items"]
    conforms(shapes.Task, task)
    assert task["last_execution"] == {
        "id": execution["id"],
        "status": "running",
        "created_at": execution["created_at"],
    }
    assert second["next_cursor"] is None


async def test_a_task_is_run_through_its_app(api: Api) -> None:
    await api.install("app_shop", a_task("app_shop_a/b c"))
    await api.install("app_else")
    path = "/v1/apps/app_shop/tasks/app_shop_a/b%20c/run"
    response = await api.admin.post(path, json={"state": {"n": 1}, "name": "by hand"})
    execution = accepted(response, 201)
    conforms(executions.Execution, execution)
    assert (execution["task_id"], execution["input"]) == ("app_shop_a/b c", {"n": 1})
    assert response.headers["location"] == f"/v1/executions/{execution['id']}"
    accepted(await api.admin.post(f"/v1/executions/{execution['id']}/abort"))
    assert accepted(await api.admin.post(path), 201)["input"] == {}
    refused(await api.admin.post("/v1/apps/app_else/tasks/app_shop_a/b%20c/run"), 404, "not-found")
    refused(await api.admin.post("/v1/apps/app_shop/tasks/app_shop_no/run"), 404, "not-found")


async def test_a_schedule_is_paused_and_goes_on(api: Api) -> None:
    await api.install("app_shop", a_task(**HOURLY))
    paused = accepted(await api.admin.post("/v1/apps/app_shop/tasks/app_shop_sync/pause"))
    conforms(shapes.Task, paused)
    assert paused["is_paused"] is True
    await api.launch()
    woken = len(api.wakes)
    resumed = accepted(await api.admin.post("/v1/apps/app_shop/tasks/app_shop_sync/resume"))
    assert resumed["is_paused"] is False
    assert len(api.wakes) == woken + 1
    refused(await api.admin.post("/v1/apps/app_shop/tasks/app_shop_no/pause"), 404, "not-found")


async def test_what_became_of_slots_is_listed_latest_first(api: Api) -> None:
    await api.install("app_shop", a_task(**HOURLY))
    execution = await api.launch()

    def record(tx: Transaction) -> None:
        task = tx.row("SELECT task_pk, pk FROM executions")
        assert task is not None
        slots = ((1_000_000, "skipped", None, "the task was paused"), (2_000_000, "launched", task[1], None))
        rows = [
            {
                "task_pk": task[0],
                "slot_at": slot,
                "outcome": outcome,
                "reason": None if execution_pk else "paused",
                "execution_pk": execution_pk,
                "late_by": 2_500_000 if execution_pk else 0,
                "slots": 1,
                "note": note,
                "recorded_at": slot + 1,
            }
            for slot, outcome, execution_pk, note in slots
        ]
        due_schedules.record(tx, rows)

    await api.write(record)
    path = "/v1/apps/app_shop/tasks/app_shop_sync/occurrences"
    first = accepted(await api.admin.get(path, params={"limit": 1}))
    assert first["items"] == [
        {
            "slot_at": "1970-01-01T00:00:02.000000Z",
            "outcome": "launched",
            "reason": None,
            "execution_id": execution["id"],
            "late_secs": 2.5,
            "slots": 1,
            "note": None,
            "recorded_at": "1970-01-01T00:00:02.000001Z",
        }
    ]
    conforms(records.Occurrence, first["items"][0])
    second = accepted(await api.admin.get(path, params={"cursor": first["next_cursor"]}))
    assert [(one["note"], one["reason"]) for one in second["items"]] == [("the task was paused", "paused")]


async def test_a_task_that_a_manifest_leaves_out_is_gone(api: Api) -> None:
    await api.install("app_shop", a_task("app_shop_a"), a_task("app_shop_b"))
    manifest = a_manifest("app_shop", a_task("app_shop_b"))
    accepted(await api.admin.put("/v1/apps/app_shop", json={"manifest": manifest}))
    refused(await api.admin.get("/v1/apps/app_shop/tasks/app_shop_a"), 404, "not-found")
    refused(await api.admin.post("/v1/executions", json={"task_id": "app_shop_a"}), 404, "not-found")
