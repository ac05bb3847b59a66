import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from orchestrator.service import expiring, idempotency
from orchestrator.service.idempotency import InProgress, Reply
from orchestrator.store.idempotency_records import RecordKey
from orchestrator.store.transaction import Transaction
from tests.api.doors import ADMIN_TOKEN, Api, Json, a_manifest, a_task, accepted, fields, refused

ALLOW = a_task(on_multiple_exec="allow")
KEY = {"Idempotency-Key": "order-7"}


async def launch(api: Api, key: str = "order-7", **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return await api.admin.post("/v1/executions", json={"task_id": "app_shop_sync", **body}, headers=headers)


async def how_many(api: Api) -> int:
    return len(accepted(await api.admin.get("/v1/executions"))["items"])


async def test_the_same_request_gets_the_same_answer_and_is_done_once(api: Api) -> None:
    await api.install("app_shop", ALLOW)
    first = await launch(api, state={"a": 1, "b": 2**63})
    woken = len(api.wakes)
    again = await launch(api, state={"a": 1, "b": 2**63})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(api.wakes) == woken
    assert await how_many(api) == 1


async def test_white_space_and_the_order_of_keys_do_not_make_another_body(api: Api) -> None:
    await api.install("app_shop", ALLOW)
    texts = (
        '{"task_id":"app_shop_sync","state":{"a":1,"b":[1,2]}}',
        '{ "state": {"b": [1, 2], "a": 1},\n "task_id": "app_shop_sync" }',
    )
    headers = {**KEY, "Content-Type": "application/json"}
    answers = [await api.admin.post("/v1/executions", content=text, headers=headers) for text in texts]
    assert answers[0].content == answers[1].content
    assert await how_many(api) == 1


async def test_another_body_under_the_same_key_is_refused(api: Api) -> None:
    await api.install("app_shop", ALLOW)
    accepted(await launch(api, state={"a": 1}), 201)
    problem = refused(await launch(api, state={"a": 1.0}), 422, "idempotency-key-reused")
    assert fields(problem) == ["Idempotency-Key"]
    assert await how_many(api) == 1


async def test_launches_at_the_same_time_under_one_key_launch_once(api: Api) -> None:
    await api.install("app_shop", ALLOW)
    answers = await asyncio.gather(*(launch(api) for _ in range(8)))
    done = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    for answer in answers:
        if answer.status_code != 201:
            refused(answer, 409, "idempotency-in-progress")
            assert answer.headers["retry-after"] == "1"
    assert len(set(done)) == 1
    assert await how_many(api) == 1
    assert accepted(await launch(api), 201)["id"] == done[0]


async def test_a_refused_launch_is_not_remembered(api: Api) -> None:
    await api.install()
    running = accepted(await launch(api, "first"), 201)
    refused(await launch(api), 409, "already-running")
    accepted(await api.admin.post(f"/v1/executions/{running['id']}/abort"))
    accepted(await launch(api), 201)


async def test_a_key_belongs_to_a_token_a_route_and_a_workspace(api: Api) -> None:
    await api.install("app_shop", ALLOW)
    first = accepted(await launch(api), 201)
    operator = await api.as_role("operator")
    body = {"task_id": "app_shop_sync"}
    second = accepted(await operator.post("/v1/executions", json=body, headers=KEY), 201)
    third = accepted(await api.admin.post("/v1/apps/app_shop/tasks/app_shop_sync/run", headers=KEY), 201)
    assert len({first["id"], second["id"], third["id"]}) == 3
    for execution in (first, second):
        path = f"/v1/executions/{execution['id']}/abort"
        assert accepted(await api.admin.post(path, headers=KEY))["id"] == execution["id"]
        assert accepted(await api.admin.post(path, headers=KEY))["id"] == execution["id"]


async def test_a_key_is_forgotten_after_a_day(api: Api) -> None:
    await api.install("app_shop", ALLOW)
    first = accepted(await launch(api), 201)
    age = "UPDATE idempotency_records SET created_at = created_at - :age"
    hour = 3_600_000_000
    await api.write(lambda tx: tx.run(age, age=23 * hour))
    assert accepted(await launch(api), 201)["id"] == first["id"]
    assert await api.context.database.write(expiring.forget_requests) == 0
    await api.write(lambda tx: tx.run(age, age=hour + 1))
    second = accepted(await launch(api, state={"another": "body"}), 201)
    assert second["id"] != first["id"]
    await api.write(lambda tx: tx.run(age, age=25 * hour))
    assert await api.context.database.write(expiring.forget_requests) == 1


async def test_a_replay_leaves_secrets_out(api: Api) -> None:
    body: Json | None = {"manifest": a_manifest()}
    first = accepted(await api.admin.post("/v1/apps", json=body, headers=KEY), 201)
    again = accepted(await api.admin.post("/v1/apps", json=body, headers=KEY), 201)
    assert again == {name: value for name, value in first.items() if name != "secret_key"}
    for path, body, secret in (
        ("/v1/apps/app_shop/rotate-secret", None, "secret_key"),
        ("/v1/tokens", {"name": "x", "role": "viewer"}, "token"),
        ("/v1/workspaces/default/rotate-secret", None, "secret"),
    ):
        first = (await api.admin.post(path, json=body, headers=KEY)).json()
        again = (await api.admin.post(path, json=body, headers=KEY)).json()
        assert set(first) - set(again) == {secret}
    kept = await api.read(lambda tx: tx.rows("SELECT answer FROM idempotency_records"))
    assert len(kept) == 4
    assert "whsec_" not in str(kept)
    assert "orch_" not in str(kept)


@pytest.mark.parametrize("key", ["", "k" * 256, "é", "a\tb"])
async def test_a_key_is_printable_ascii(api_on_sqlite: Api, key: str) -> None:
    headers = [(b"Authorization", f"Bearer {ADMIN_TOKEN}".encode()), (b"Idempotency-Key", key.encode())]
    problem = refused(
        await api_on_sqlite.admin.post("/v1/executions", json={"task_id": "x"}, headers=headers),
        422,
        "invalid",
    )
    assert fields(problem) == ["Idempotency-Key"]


async def test_what_fails_leaves_neither_work_nor_record(api: Api) -> None:
    key = RecordKey("default", "tok", "POST /x", "k")

    def fails(tx: Transaction) -> Reply:
        tx.run("UPDATE workspaces SET name = 'half done'")
        raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError):
        await api.context.database.write(idempotency.once, key, "hash", fails)
    assert await api.read(lambda tx: tx.rows("SELECT name FROM workspaces")) == [("Default",)]
    done = await api.context.database.write(idempotency.once, key, "hash", lambda _: Reply(200, {"a": 1}))
    assert (done.is_replayed, done.text) == (False, b'{"a":1}')
    empty = RecordKey("default", "tok", "POST /x", "empty")
    for is_replayed in (False, True):
        done = await api.context.database.write(idempotency.once, empty, "hash", lambda _: Reply(204))
        assert (done.status, done.text, done.is_replayed) == (204, b"", is_replayed)


async def test_while_the_first_is_in_progress_the_second_is_refused(api_on_postgresql: Api) -> None:
    key = RecordKey("default", "tok", "POST /x", "k")
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(_: Transaction) -> Reply:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(timeout=10)
        return Reply(200, {"a": 1})

    database = api_on_postgresql.context.database
    first = asyncio.ensure_future(database.write(idempotency.once, key, "hash", slow))
    await entered.wait()
    with pytest.raises(InProgress):
        await database.write(idempotency.once, key, "hash", slow)
    for other in ({"key": "k_2"}, {"route": "elsewhere"}, {"token_id": "another"}, {"workspace_id": "another"}):
        done = await database.write(idempotency.once, replace(key, **other), "hash", lambda _: Reply(200, {"a": 2}))
        assert not done.is_replayed
    leave.set()
    assert not (await first).is_replayed
    again = await database.write(idempotency.once, key, "hash", slow)
    assert (again.is_replayed, again.text) == (True, b'{"a":1}')
