from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.api.shapes import executions as shapes
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, Json, a_task, accepted, conforms, fields, refused

ALLOW = a_task(on_multiple_exec="allow")


async def listed(api: Api, **params: Any) -> list[str]:
    answer = accepted(await api.admin.get("/v1/executions", params=params))
    return [execution["id"] for execution in answer["items"]]


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
    assert await listed(api_on_sqlite) == []


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


async def test_executions_are_listed_newest_first_page_by_page(api: Api) -> None:
    await api.install("app_shop", ALLOW)
    for number in range(5):
        await api.launch(id=f"e{number}")
    seen: list[str] = []
    cursor = None
    for length in (2, 2, 1):
        params: Json = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = accepted(await api.admin.get("/v1/executions", params=params))
        assert len(page["items"]) == length
        seen += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        # What is launched meanwhile is not met again on a later page.
        await api.launch()
    assert seen == ["e4", "e3", "e2", "e1", "e0"]
    assert cursor is None
    conforms(shapes.Execution, page["items"][0])


async def test_executions_are_filtered(api: Api) -> None:
    await api.install("app_shop", ALLOW, a_task("app_shop_b", aliases=["b/b"], on_multiple_exec="allow"))
    await api.install("app_else")
    first = await api.launch(id="first", multiple_exec_key="eu")
    await api.launch("app_shop_b", id="second")
    await api.launch("app_else_sync", id="third")
    accepted(await api.admin.post("/v1/executions/second/abort"))
    assert await listed(api, app_id="app_shop") == ["second", "first"]
    assert await listed(api, app_id="app_no") == []
    assert await listed(api, task_id="app_shop_b") == ["second"]
    assert await listed(api, task_id="b/b") == ["second"]
    assert await listed(api, task_id="no") == []
    assert await listed(api, app_id="app_else", task_id="b/b") == []
    assert await listed(api, status="running") == ["third", "first"]
    assert await listed(api, status=["aborted", "succeeded"]) == ["second"]
    assert await listed(api, key="eu") == ["first"]
    assert await listed(api, key="") == ["third", "second"]
    assert await listed(api, created_after=first["created_at"]) == ["third", "second"]
    assert await listed(api, created_before=first["created_at"]) == []
    assert await listed(api, task_id="app_shop_sync", status="running", key="eu", limit=1) == ["first"]


async def test_a_page_of_one_task_leads_to_the_next(api: Api) -> None:
    await api.install("app_shop", ALLOW, a_task("app_shop_b", on_multiple_exec="allow"))
    for name in ("a0", "a1", "a2"):
        await api.launch(id=name)
        await api.launch("app_shop_b")
    params: Json = {"task_id": "app_shop_sync", "limit": 2}
    page = accepted(await api.admin.get("/v1/executions", params=params))
    assert [one["id"] for one in page["items"]] == ["a2", "a1"]
    assert await listed(api, **params, cursor=page["next_cursor"]) == ["a0"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"cursor": "bm90IGpzb24="}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": "WyJhcHBzIiwiYXBwX2EiXQ=="}, "cursor"),
        ({"cursor": "WyJleGVjdXRpb25zIiwxXQ=="}, "cursor"),
        ({"cursor": "WyJleGVjdXRpb25zIiwxLDE4NDQ2NzQ0MDczNzA5NTUxNjE1XQ=="}, "cursor"),
        ({"status": "ready"}, "status"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": "2026-01-31T08:00:00"}, "created_before"),
    ],
)
async def test_a_list_that_is_asked_wrongly_names_the_parameter(api_on_sqlite: Api, params: Json, field: str) -> None:
    problem = refused(await api_on_sqlite.admin.get("/v1/executions", params=params), 422, "invalid")
    assert fields(problem) == [field]


async def test_the_subtext_can_be_changed_at_any_time(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"
    changed = accepted(await api.admin.patch(path, json={"subtext": "half of it"}))
    conforms(shapes.Execution, changed)
    assert changed["subtext"] == "half of it"
    accepted(await api.admin.post(f"{path}/abort"))
    assert accepted(await api.admin.patch(path, json={"subtext": "given up"}))["subtext"] == "given up"
    refused(await api.admin.patch("/v1/executions/no", json={"subtext": "x"}), 404, "not-found")


async def test_abort_ends_an_execution_with_its_workers(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch(workers=[{'worker_id': 1}]))['id']}"
    woken = len(api.wakes)
    aborted = accepted(await api.admin.post(f"{path}/abort", json={"message": "wrong data"}))
    conforms(shapes.Execution, aborted)
    assert (aborted["status"], aborted["status_code"], aborted["message"]) == ("aborted", -2, "wrong data")
    assert aborted["ended_at"] is not None
    assert len(api.wakes) == woken + 1
    workers = accepted(await api.admin.get(path))["workers"]
    assert [worker["status"] for worker in workers] == ["aborted", "aborted"]
    problem = refused(await api.admin.post(f"{path}/abort"), 409, "conflict")
    assert "aborted" in problem["detail"]


async def test_an_abort_without_words_says_whose_it_was(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}/abort"
    assert accepted(await api.admin.post(path))["message"] == "aborted by first admin"


async def test_retry_begins_a_new_attempt(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"
    refused(await api.admin.post(f"{path}/retry"), 409, "conflict")
    accepted(await api.admin.post(f"{path}/abort"))
    woken = len(api.wakes)
    again = accepted(await api.admin.post(f"{path}/retry"))
    conforms(shapes.Execution, again)
    assert (again["status"], again["attempt"], again["message"]) == ("running", 2, None)
    assert len(api.wakes) == woken + 1


async def test_a_retry_obeys_the_overlap_policy(api: Api) -> None:
    await api.install()
    first = await api.launch()
    accepted(await api.admin.post(f"/v1/executions/{first['id']}/abort"))
    second = await api.launch()
    response = await api.admin.post(f"/v1/executions/{first['id']}/retry")
    assert refused(response, 409, "already-running")["execution_id"] == second["id"]


async def test_an_execution_with_a_retried_worker_says_so_in_its_status_code(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"
    await api.write(lambda tx: tx.run("UPDATE workers SET retry_count = 2, undelivered = 3"))
    shown = accepted(await api.admin.get(path))
    assert (shown["status_code"], shown["undelivered_batches"]) == (-1, 3)
    assert [worker["retry_count"] for worker in shown["workers"]] == [2]


async def test_what_a_worker_told_is_shown(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"

    def tell(tx: Transaction) -> None:
        tx.run(
            "UPDATE worker_states SET message = :message, progress = :progress, output = :output",
            message="page 3",
            progress='{"current":3,"total":12.5,"unit":null}',
            output='{"rows":7}',
        )
        tx.run("UPDATE execution_details SET output = :output", output='{"rows":7}')

    await api.write(tell)
    shown = accepted(await api.admin.get(path))
    conforms(shapes.ExecutionWithWorkers, shown)
    [worker] = shown["workers"]
    assert worker["progress"] == {"current": 3, "total": 12.5, "unit": None}
    assert (worker["message"], worker["output"], shown["output"]) == ("page 3", {"rows": 7}, {"rows": 7})


async def test_an_unknown_execution_is_not_found(api_on_sqlite: Api) -> None:
    admin = api_on_sqlite.admin
    for response in (
        await admin.get("/v1/executions/no"),
        await admin.get("/v1/executions/"),
        await admin.post("/v1/executions/no/abort"),
        await admin.post("/v1/executions/no/retry"),
        await admin.get("/v1/executions/no/calls"),
        await admin.get("/v1/executions/no/logs"),
        await admin.get("/v1/executions/no/events"),
    ):
        refused(response, 404, "not-found")
