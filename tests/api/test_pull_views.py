"""What is shown of pull tasks, and to whom: lists, logs, settings, statuses."""

from typing import Any

import pytest

from orchestrator.service import pull_queries
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, Json, accepted
from tests.api.pulling import TASK, an_executor, claim_of, polled, rpc


async def test_a_list_has_only_so_much(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_queries, "MOST_LISTED_BYTES", 3000)
    await an_executor(api)
    ids = [(await api.launch(TASK, state={"text": "x" * 600}))["id"] for _ in range(4)]
    for order, wanted in (("asc", ids[:2]), ("desc", ids[:1:-1])):
        found = (await rpc(api.admin, "list", sort={"createdAt": order}))["resources"]
        assert [task["id"] for task in found] == wanted
    monkeypatch.setattr(pull_queries, "MOST_LISTED_BYTES", 1)
    assert len((await rpc(api.admin, "list"))["resources"]) == 1


async def test_the_log_of_a_worker_is_its_own(api: Api) -> None:
    client = await an_executor(api)
    execution = (await api.launch(TASK, workers=[{"worker_id": 1}]))["id"]
    first, second = await polled(client, maxBatchSize=2)
    for task in (first, second):
        await rpc(client, "start", **claim_of(task))
        await rpc(client, "notify", **claim_of(task), notification="heartbeat", message=f"of {task['id']}")
        await rpc(client, "success", **claim_of(task))
    for id_ in (execution, f"{execution}:1"):
        log = (await rpc(api.admin, "status", id=id_, **{"include-log?": True}))["log"]
        said = [entry["action-params"]["message"] for entry in log if entry["action"] == "awf.task/notify"]
        assert said == [f"of {id_}"]


async def test_a_step_that_awaits_is_waiting_and_its_result_has_the_callbacks_output(api: Api) -> None:
    client = await an_executor(api, pull_result="step")
    execution = (await api.launch(TASK))["id"]
    [task] = await polled(client)
    await rpc(client, "start", **claim_of(task))
    step = {"await_callback": {"timeout_in_secs": 600}, "output": {"a": 1, "b": 1}}
    parked = (await rpc(client, "success", **claim_of(task), result=step))["resource"]
    assert (parked["status"], parked["retryCount"]) == ("waiting", 1)
    assert "executeAt" not in parked, "nothing is going to begin then"
    said = {"taskId": execution, "status": "SUCCESS", "output": {"b": 2}}
    accepted(await api.admin.post("/external-events/callback", json=said))
    done = (await rpc(api.admin, "status", id=execution))["resource"]
    assert (done["status"], done["outcome"], done["result"]) == ("done", "succeeded", {"a": 1, "b": 2})


async def test_a_bound_token_knows_its_own_tasks_only(api: Api) -> None:
    client = await an_executor(api, "shop/other")
    execution = (await api.launch(TASK))["id"]
    assert await polled(client) == []
    assert await rpc(client, "list") == {"resources": []}
    assert (await rpc(client, "status", 404, id=execution))["type"] == "not-found"


async def test_an_executor_sees_nothing_of_tasks_whose_app_is_called(api: Api) -> None:
    client = await an_executor(api)
    await api.install("app_bank")
    execution = (await api.launch("app_bank_sync", state={"iban": "DE02"}))["id"]
    for method, params in (
        ("status", {"include-log?": True}),
        ("start", {"execId": "x"}),
        ("success", {"execId": "x"}),
    ):
        assert (await rpc(client, method, 404, id=execution, **params))["type"] == "not-found"
    assert (await rpc(api.admin, "status", id=execution))["resource"]["params"] == {"iban": "DE02"}
    assert (await rpc(api.admin, "start", 422, id=execution, execId="x"))["type"] == "wrong-status"


async def test_an_unknown_worker_is_no_task(api: Api) -> None:
    client = await an_executor(api)
    claim = {"id": f"{(await api.launch(TASK))['id']}:7", "execId": "x_y_7_1"}
    for method in ("start", "success", "fail", "status"):
        assert (await rpc(client, method, 404, **claim))["type"] == "not-found"
    assert (await rpc(client, "notify", 404, notification="heartbeat", **claim))["type"] == "not-found"


async def test_foreign_and_unknown_tasks_are_denied_by_the_same_statements(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await an_executor(api, "shop/other")
    foreign = (await api.launch(TASK))["id"]
    said: list[str] = []
    rows = Transaction.rows

    def noted(tx: Transaction, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        said.append(sql)
        return rows(tx, sql, **parameters)

    monkeypatch.setattr(Transaction, "rows", noted)
    denials = []
    for task_id in (foreign, foreign[::-1]):
        said.clear()
        refusal = await rpc(client, "start", 404, id=task_id, execId="x")
        denials.append((refusal["message"].replace(task_id, ""), tuple(said)))
    assert denials[0] == denials[1]
    assert any("task_aliases" in sql for sql in said)


async def test_status_with_everything(api: Api) -> None:
    client = await an_executor(api, allowedRetryCount=1, retryDelay=0, concurrencyLimit=5)
    execution = (await api.launch(TASK))["id"]
    [task] = await polled(client)
    await rpc(client, "start", **claim_of(task))
    await rpc(client, "notify", **claim_of(task), notification="heartbeat", message="busy")
    await rpc(client, "fail", **claim_of(task), error={"message": "no"})
    asked: Json = {"id": execution, "include-log?": True, "include-settings?": True}
    shown = await rpc(client, "status", **asked)
    assert shown["settings"] == {
        "allowedRetryCount": 1,
        "retryDelay": 0,
        "requestedToStartTimeout": 10_000,
        "inProgressTimeout": 120_000,
        "concurrencyLimit": 5,
    }
    assert {entry["action"] for entry in shown["log"]} == {"awf.task/notify", "awf.task/fail"}
    assert all(entry["subject"] == {"resourceType": "AidboxTask", "id": execution} for entry in shown["log"])
    assert (shown["resource"]["status"], shown["resource"]["retryCount"]) == ("ready", 1)


async def test_listing_and_counting(api: Api) -> None:
    client = await an_executor(api)
    done, busy = [(await api.launch(TASK, state={"word": word}))["id"] for word in ("Alpha", "beta_%")]
    for task in await polled(client):
        await rpc(client, "start", **claim_of(task))
        await rpc(client, "success", **claim_of(task))

    async def ids(**params: Any) -> list[str]:
        return [task["id"] for task in (await rpc(client, "list", **params))["resources"]]

    assert await ids() == [busy, done]
    assert await ids(sort={"createdAt": "asc"}) == [done, busy]
    assert (await ids(sort={"lastUpdated": "desc"}))[0] == done
    assert await ids(filter={"outcome": "succeeded"}) == [done]
    assert await ids(filter={"status": "ready"}) == [busy]
    assert await ids(filter={"includeDefinitions": ["shop/send"]}) == [busy, done]
    assert await ids(filter={"includeDefinitions": ["no/such"]}) == []
    assert await ids(filter={"excludeDefinitions": ["shop/send"]}) == []
    assert await ids(filter={"ilike": "ALPHA"}) == [done]
    assert await ids(filter={"ilike": "a_%"}) == [busy]

    async def total(query: str) -> int:
        found = accepted(await client.get(f"/AidboxTask?_count=0&{query}"))
        assert (found["resourceType"], found["entry"]) == ("Bundle", [])
        return int(found["total"])

    assert await total(".status=ready&definition=shop/send") == 1
    assert await total(".status=in-progress") == 0
    assert await total(".status=in-progress,ready&.status=requested") == 1
    assert await total("definition-not=awf.workflow/decision-task") == 2
    assert await total("definition=no/such,shop/send") == 2


async def test_a_foreign_workspaces_tasks_do_not_exist(api: Api) -> None:
    await an_executor(api)
    execution = (await api.launch(TASK))["id"]
    stranger = await api.other_workspace()
    assert await polled(stranger) == []
    assert (await rpc(stranger, "status", 404, id=execution))["type"] == "not-found"
    assert (await rpc(stranger, "cancel", 404, id=execution))["type"] == "not-found"
    assert await rpc(stranger, "list") == {"resources": []}
