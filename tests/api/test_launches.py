import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from app_sdk.protocol.strict_json import JsonValue
from orchestrator.api.shapes import executions as shapes
from orchestrator.service import json_schemas, launching
from tests.api.doors import Api, Json, a_manifest, a_task, accepted, conforms, fields, refused

ALLOW = a_task(on_multiple_exec="allow")


async def test_a_launch_answers_with_the_execution(api: Api) -> None:
    await api.install()
    body = {
        "task_id": "app_shop_sync",
        "state": {"page": 1},
        "id": "order 7/é",
        "workers": [{"worker_id": 9, "initial_state": {"x": 1}}, {"worker_id": 3}],
        "multiple_exec_key": "eu",
        "name": "first",
    }
    woken = len(api.wakes)
    response = await api.admin.post("/v1/executions", json=body)
    execution = accepted(response, 201)
    conforms(shapes.Execution, execution)
    assert len(api.wakes) == woken + 1
    assert response.headers["location"] == "/v1/executions/order%207/%C3%A9"
    assert (execution["id"], execution["number"], execution["attempt"]) == ("order 7/é", 1, 1)
    assert (execution["status"], execution["status_code"]) == ("running", 0)
    assert (execution["input"], execution["output"]) == ({"page": 1}, None)
    assert (execution["multiple_exec_key"], execution["name"]) == ("eu", "first")
    assert execution["launched_by"]["name"] == "first admin"
    shown = accepted(await api.admin.get(response.headers["location"]))
    conforms(shapes.ExecutionWithWorkers, shown)
    assert {worker["worker_id"]: worker["state"] for worker in shown["workers"]} == {
        0: {"page": 1},
        3: {},
        9: {"x": 1},
    }
    assert shown["totals"] == {"calls": 0, "retries": 0, "items": 0, "delivered_items": 0}


async def test_a_task_is_launched_by_its_alias(api: Api) -> None:
    await api.install("app_shop", a_task(aliases=["pkg.tasks/sync"]))
    assert (await api.launch("pkg.tasks/sync"))["task_id"] == "app_shop_sync"


async def test_a_launch_names_the_execution_in_the_way(api: Api) -> None:
    await api.install()
    running = await api.launch()
    problem = refused(await api.admin.post("/v1/executions", json={"task_id": "app_shop_sync"}), 409, "already-running")
    assert problem["execution_id"] == running["id"]
    assert (await api.launch(multiple_exec_key="another"))["number"] == 2


async def test_a_launch_for_later_stays_pending(api: Api) -> None:
    await api.install()
    later = datetime.now(UTC) + timedelta(hours=1)
    execution = await api.launch(run_at=later.isoformat())
    assert (execution["status"], execution["status_code"], execution["started_at"]) == ("pending", 0, None)
    assert execution["run_at"] == later.isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "$.task_id"),
        ({"task_id": 7}, "$.task_id"),
        ({"task_id": "app_shop_sync", "colour": "red"}, "$.colour"),
        ({"task_id": "app_shop_sync", "state": [1]}, "$.state"),
        ({"task_id": "app_shop_sync", "state": "{}"}, "$.state"),
        ({"task_id": "app_shop_sync", "id": "a:b"}, "id"),
        ({"task_id": "app_shop_sync", "id": " "}, "id"),
        ({"task_id": "app_shop_sync", "workers": [{"worker_id": 0}]}, "$.workers[0].worker_id"),
        ({"task_id": "app_shop_sync", "workers": [{"worker_id": 10}]}, "$.workers[0].worker_id"),
        ({"task_id": "app_shop_sync", "workers": [{"worker_id": True}]}, "$.workers[0].worker_id"),
        (
            {"task_id": "app_shop_sync", "workers": [{"worker_id": 1}, {"worker_id": 1}]},
            "$.workers[1].worker_id",
        ),
        (
            {"task_id": "app_shop_sync", "workers": [{"worker_id": 1, "initial_state": 1}]},
            "$.workers[0].initial_state",
        ),
        ({"task_id": "app_shop_sync", "run_at": "2026-01-31T08:00:00"}, "$.run_at"),
        ({"task_id": "app_shop_sync", "run_at": "9999-12-31T23:59:59-23:59"}, "$.run_at"),
        ({"task_id": "app_shop_sync", "run_at": "tomorrow"}, "$.run_at"),
        ({"task_id": "app_shop_sync", "run_at": 1769846400}, "$.run_at"),
        ({"task_id": "app_shop_sync", "name": "n" * 256}, "$.name"),
        ({"task_id": "app_shop_sync", "multiple_exec_key": "k" * 256}, "$.multiple_exec_key"),
    ],
)
async def test_a_launch_that_is_not_sound_names_the_field(api_on_sqlite: Api, body: Json, field: str) -> None:
    await api_on_sqlite.install()
    problem = refused(await api_on_sqlite.admin.post("/v1/executions", json=body), 422, "invalid")
    assert fields(problem) == [field]
    assert accepted(await api_on_sqlite.admin.get("/v1/executions"))["items"] == []


async def test_a_state_over_its_limit_is_refused(api: Api) -> None:
    await api.install()
    for body, field in (
        ({"state": {"wide": "x" * 5000}}, "$.state"),
        (
            {"workers": [{"worker_id": 1, "initial_state": {"wide": "x" * 5000}}]},
            "$.workers[0].initial_state",
        ),
    ):
        response = await api.admin.post("/v1/executions", json={"task_id": "app_shop_sync", **body})
        problem = refused(response, 413, "too-large")
        assert fields(problem) == [field]
        assert "4,096" in problem["detail"]


async def test_a_taken_id_is_a_conflict(api: Api) -> None:
    await api.install("app_shop", ALLOW)
    await api.launch(id="mine")
    problem = refused(
        await api.admin.post("/v1/executions", json={"task_id": "app_shop_sync", "id": "mine"}),
        409,
        "conflict",
    )
    assert problem["execution_id"] == "mine"


async def test_an_unknown_task_is_not_found(api: Api) -> None:
    problem = refused(await api.admin.post("/v1/executions", json={"task_id": "app_no_t"}), 404, "not-found")
    assert fields(problem) == ["$.task_id"]


async def test_a_pull_task_is_launched_like_any_other(api: Api) -> None:
    await api.install("app_shop", a_task(transport="pull"), webhook_endpoint=None)
    assert (await api.launch())["status"] == "running"


async def test_an_input_must_fit_the_tasks_schema(api: Api) -> None:
    await api.install("app_shop", a_task(input_schema={"required": ["order"]}))
    refusal = await api.admin.post("/v1/executions", json={"task_id": "app_shop_sync", "state": {}})
    assert fields(refused(refusal, 422, "invalid")) == ["$.state"]
    await api.launch(state={"order": 1})


async def test_an_input_is_held_against_its_schema_before_the_transaction_that_launches(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.install("app_shop", a_task(input_schema={"required": ["order"]}, on_multiple_exec="allow"))
    threads: list[str] = []

    def noted(schema: Json, value: JsonValue, longest_secs: float | None) -> str | None:
        threads.append(threading.current_thread().name)
        return json_schemas.fault(schema, value, longest_secs)

    monkeypatch.setattr(launching, "json_schemas", SimpleNamespace(fault=noted))
    state: Json = {"order": 1}
    await api.launch(state=state)
    accepted(await api.admin.post("/v1/apps/app_shop/tasks/app_shop_sync/run", json={"state": state}), 201)
    accepted(await api.admin.post("/v1/tasks", json={"type": "app_shop_sync", "data": state}), 202)
    call = {"method": "awf.task/create-and-execute", "params": {"definition": "app_shop_sync", "params": state}}
    accepted(await api.admin.post("/rpc", json=call))
    assert len(threads) == 4
    assert all(name.startswith("asyncio_") for name in threads)


async def test_a_repeated_launch_is_answered_alike_after_the_schema_has_changed(api: Api) -> None:
    await api.install("app_shop", a_task())
    body, headers = {"task_id": "app_shop_sync"}, {"Idempotency-Key": "once"}
    first = accepted(await api.admin.post("/v1/executions", json=body, headers=headers), 201)
    manifest = a_manifest("app_shop", a_task(input_schema={"required": ["order"]}))
    accepted(await api.admin.put("/v1/apps/app_shop", json={"manifest": manifest}))
    assert accepted(await api.admin.post("/v1/executions", json=body, headers=headers), 201) == first


async def test_a_schema_in_circles_refuses_every_launch(api: Api) -> None:
    await api.install("app_shop", a_task(input_schema={"$ref": "#"}))
    problem = refused(await api.admin.post("/v1/executions", json={"task_id": "app_shop_sync"}), 422, "invalid")
    assert "without end" in problem["detail"]
