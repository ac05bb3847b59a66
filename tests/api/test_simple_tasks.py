"""/v1/tasks: create, poll, retry, in the words that BookLogr's clients read."""

from typing import Any

import httpx
import pytest

from orchestrator.api.shapes import simple_tasks as shapes
from orchestrator.service import ending
from orchestrator.store import simple_tasks as statements
from tests.api.doors import Api, Json, a_task, accepted, conforms, refused
from tests.api.pulling import PULL, claim_of, polled, rpc

NOT_FOUND = {"error": "Not found", "message": "No task found"}
EXPORT: Json = {**PULL, "aliases": ["csv_export", "shop/send"]}


async def installed(api: Api, **task: Any) -> None:
    await api.install("app_shop", a_task(**{**EXPORT, **task}), webhook_endpoint=None)


async def user(api: Api, owner_id: int | None, app_id: str = "app_shop") -> httpx.AsyncClient:
    """A client that acts for a user of the app."""
    order = {"name": "user", "role": "app", "app_id": app_id, "owner_id": owner_id}
    return await api.client(accepted(await api.admin.post("/v1/tokens", json=order), 201)["token"])


async def executor(api: Api) -> httpx.AsyncClient:
    made = await api.admin.post("/v1/tokens", json={"name": "printer", "role": "executor"})
    return await api.client(accepted(made, 201)["token"])


async def created(client: httpx.AsyncClient, data: Any = None, type_: str = "csv_export") -> int:
    answer = accepted(await client.post("/v1/tasks", json={"type": type_, "data": {} if data is None else data}), 202)
    conforms(shapes.Created, answer)
    assert answer["message"]
    return int(answer["task_id"])


async def shown(client: httpx.AsyncClient, number: int) -> Json:
    task = accepted(await client.get(f"/v1/tasks/{number}"))
    conforms(shapes.SimpleTask, task)
    return task


async def started(api: Api) -> tuple[httpx.AsyncClient, Json]:
    worker = await executor(api)
    [task] = await polled(worker, executor="printer:1b4e28ba")
    await rpc(worker, "start", **claim_of(task))
    return worker, task


async def test_a_task_from_its_creation_to_its_success(api: Api) -> None:
    await installed(api)
    ada = await user(api, 7)
    number = await created(ada, {"shelf": "read", "n": 12345678901234567890})
    assert api.announced == [number]
    fresh = await shown(ada, number)
    assert (fresh["id"], fresh["type"], fresh["status"]) == (number, "csv_export", "fresh")
    assert fresh["data"] == {"shelf": "read", "n": 12345678901234567890}
    assert (fresh["worker"], fresh["updated_on"], fresh["created_by"]) == (None, None, 7)

    worker = await executor(api)
    [task] = await polled(worker, executor="printer:1b4e28ba")
    assert task["params"] == fresh["data"]
    assert (await shown(ada, number))["status"] == "fresh", "handed out, and not begun"
    await rpc(worker, "start", **claim_of(task))
    begun = await shown(ada, number)
    assert (begun["status"], begun["worker"]) == ("started", "printer:1b4e28ba")
    assert begun["updated_on"] >= begun["created_at"]

    await rpc(worker, "success", **claim_of(task), result={"filename": "a.csv"})
    ended = await shown(ada, number)
    assert (ended["status"], ended["worker"]) == ("success", "printer:1b4e28ba")
    assert ended["updated_on"] >= begun["updated_on"]


async def test_a_failure_shows_at_once_and_can_be_retried(api: Api) -> None:
    await installed(api)
    ada = await user(api, 7)
    number = await created(ada)
    worker, task = await started(api)
    early = accepted(await ada.post(f"/v1/tasks/{number}/retry"), 409)
    assert early == {
        "error": "Conflict",
        "message": "only a task that has failed can be retried; this one is started",
    }
    await rpc(worker, "fail", **claim_of(task), error={"why": "no paper"})
    assert (await shown(ada, number))["status"] == "failure"

    said = accepted(await ada.post(f"/v1/tasks/{number}/retry"))
    conforms(shapes.Said, said)
    assert (await shown(ada, number))["status"] == "fresh"
    worker, task = await started(api)
    assert (await shown(ada, number))["status"] == "started"
    await rpc(worker, "success", **claim_of(task), result={})
    assert (await shown(ada, number))["status"] == "success"
    again = accepted(await ada.post(f"/v1/tasks/{number}/retry"), 409)
    assert again["message"].endswith("this one is success")


async def test_a_task_that_asks_for_retries_gets_them(api: Api) -> None:
    await installed(api, allowedRetryCount=1, retryDelay=0)
    ada = await user(api, 7)
    number = await created(ada)
    for status in ("fresh", "failure"):
        worker, task = await started(api)
        await rpc(worker, "fail", **claim_of(task))
        assert (await shown(ada, number))["status"] == ("started" if status == "fresh" else status)


async def test_what_was_aborted_is_a_failure_too(api: Api) -> None:
    await installed(api)
    ada = await user(api, 7)
    number = await created(ada)
    found = await api.read(lambda tx: statements.find(tx, "default", number))
    assert found is not None
    await api.write(lambda tx: ending.abort(tx, api.context.definitions, "default", found.execution_id, None))
    assert (await shown(ada, number))["status"] == "failure"


@pytest.mark.parametrize("data", ["a,b\n1,2", ["x"], 7, None, {"data": {"data": 1}}, {"data": 1}, {"a": None}])
async def test_data_come_back_as_they_were_sent(api_on_sqlite: Api, data: Any) -> None:
    await installed(api_on_sqlite)
    sent = {"type": "csv_export", "data": data}
    number = accepted(await api_on_sqlite.admin.post("/v1/tasks", json=sent), 202)["task_id"]
    assert (await shown(api_on_sqlite.admin, number))["data"] == data


async def test_another_owners_is_not_there(api: Api) -> None:
    await installed(api)
    await api.install("app_other", a_task("app_other_run"))
    ada = await user(api, 7)
    number = await created(ada)
    strangers = [await user(api, 8), await user(api, None), await user(api, 7, "app_other")]
    strangers.append(await api.other_workspace())
    for stranger in strangers:
        for one in (number, number + 1000):
            assert accepted(await stranger.get(f"/v1/tasks/{one}"), 404) == NOT_FOUND
            assert accepted(await stranger.post(f"/v1/tasks/{one}/retry"), 404) == NOT_FOUND
    for friend in (api.admin, await api.as_role("operator"), await user(api, 7)):
        assert (await shown(friend, number))["created_by"] == 7


@pytest.mark.parametrize("id_", ["x", "0", "-1", "1.0", "9" * 30, "²"])
async def test_what_is_no_number_is_not_there(api_on_sqlite: Api, id_: str) -> None:
    assert accepted(await api_on_sqlite.admin.get(f"/v1/tasks/{id_}"), 404) == NOT_FOUND


@pytest.mark.parametrize(
    ("body", "missing"),
    [({}, ["type", "data"]), ([], ["type", "data"]), ({"type": "csv_export"}, ["data"]), ({"data": {}}, ["type"])],
)
async def test_missing_keys_are_named(api_on_sqlite: Api, body: Any, missing: list[str]) -> None:
    await installed(api_on_sqlite)
    answer = accepted(await api_on_sqlite.admin.post("/v1/tasks", json=body), 400)
    conforms(shapes.Missing, answer)
    assert (answer["status"], answer["missing"]) == ("error", missing)


@pytest.mark.parametrize("type_", ["shred", 7, None, ["csv_export"], ""])
async def test_an_unknown_type_is_refused(api_on_sqlite: Api, type_: Any) -> None:
    await installed(api_on_sqlite)
    answer = accepted(await api_on_sqlite.admin.post("/v1/tasks", json={"type": type_, "data": {}}), 422)
    conforms(shapes.Refused, answer)
    assert answer["error"] == "Invalid type"
    assert not api_on_sqlite.announced


async def test_a_type_of_another_app_is_unknown_to_an_apps_token(api_on_sqlite: Api) -> None:
    await installed(api_on_sqlite)
    await api_on_sqlite.install("app_other", a_task("app_other_run"))
    ada = await user(api_on_sqlite, 7)
    answer = accepted(await ada.post("/v1/tasks", json={"type": "app_other_run", "data": {}}), 422)
    assert answer["error"] == "Invalid type"


async def test_what_is_no_json_is_refused_as_everywhere(api_on_sqlite: Api) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    refused(await api_on_sqlite.admin.post("/v1/tasks", content="type=x", headers=form), 415, "unsupported-media-type")
    broken = await api_on_sqlite.admin.post("/v1/tasks", content="{", headers={"Content-Type": "application/json"})
    refused(broken, 400, "malformed-json")


async def test_a_policy_that_forbids_a_second_one_is_told(api_on_sqlite: Api) -> None:
    await installed(api_on_sqlite, on_multiple_exec="discard_new")
    await created(api_on_sqlite.admin)
    answer = accepted(await api_on_sqlite.admin.post("/v1/tasks", json={"type": "csv_export", "data": {}}), 409)
    assert answer["error"] == "Conflict"
    assert "still running" in answer["message"]


async def test_a_key_creates_one_task(api: Api) -> None:
    await installed(api)
    key = {"Idempotency-Key": "one"}
    sent = {"type": "csv_export", "data": {}}
    first, second = [accepted(await api.admin.post("/v1/tasks", json=sent, headers=key), 202) for _ in range(2)]
    assert first == second
    assert api.announced == [first["task_id"]]


async def test_an_execution_of_another_door_is_seen_by_operators(api_on_sqlite: Api) -> None:
    await installed(api_on_sqlite)
    launched = await api_on_sqlite.launch("shop/send", state={"data": 5})
    task = await shown(api_on_sqlite.admin, launched["number"])
    assert (task["type"], task["data"], task["created_by"]) == ("app_shop_sync", {"data": 5}, None)
    ada = await user(api_on_sqlite, 7)
    assert accepted(await ada.get(f"/v1/tasks/{launched['number']}"), 404) == NOT_FOUND


async def test_there_is_no_list(api_on_sqlite: Api) -> None:
    refused(await api_on_sqlite.admin.get("/v1/tasks"), 405, "method-not-allowed")


async def test_the_view_tells_foreign_programs_the_same(api_on_postgresql: Api) -> None:
    api = api_on_postgresql
    await installed(api)
    ada = await user(api, 7)
    number = await created(ada, {"shelf": "read"})
    sql = "SELECT id, type, data, status, worker, created_by, updated_on IS NULL FROM tasks ORDER BY id"
    assert await api.read(lambda tx: tx.rows(sql)) == [
        (number, "csv_export", '{"shelf":"read"}', "fresh", None, 7, True)
    ]
    worker, task = await started(api)
    [row] = await api.read(lambda tx: tx.rows(sql))
    assert row[3:] == ("started", "printer:1b4e28ba", 7, False)
    await rpc(worker, "fail", **claim_of(task))
    [row] = await api.read(lambda tx: tx.rows(sql))
    assert row[3:5] == ("failure", "printer:1b4e28ba")
    await ada.post(f"/v1/tasks/{number}/retry")
    [row] = await api.read(lambda tx: tx.rows(sql))
    assert row[3:5] == ("fresh", None)
