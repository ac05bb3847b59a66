"""Pull tasks as clients of the Aidbox Task API know them: their life, and their failures."""

from tests.api.doors import Api, Json, a_task, accepted
from tests.api.pulling import TASK, an_executor, claim_of, polled, rpc


async def test_the_life_of_a_task(api: Api) -> None:
    client = await an_executor(api)
    created = await rpc(api.admin, "create-and-execute", definition="shop/send", params={"order": 7}, label="first")
    resource = created["resource"]
    assert resource["status"] == "ready"
    assert {"execId", "retryCount", "outcome"}.isdisjoint(resource)
    assert api.wakes

    [task] = await polled(client)
    assert (task["resourceType"], task["id"], task["status"]) == ("AidboxTask", resource["id"], "requested")
    assert (task["definition"], task["params"], task["label"]) == ("shop/send", {"order": 7}, "first")
    assert "retryCount" not in task
    assert set(task["meta"]) == {"createdAt", "lastUpdated", "versionId"}
    assert await polled(client) == []

    started = (await rpc(client, "start", **claim_of(task)))["resource"]
    assert (started["status"], started["retryCount"], started["execId"]) == ("in-progress", 1, task["execId"])

    beat = await rpc(client, "notify", **claim_of(task), notification="awf.task/heartbeat", message="alive")
    assert beat["inProgressTimeoutAt"].endswith("Z")
    progress: Json = {"progress-current": 3, "progress-total": 9, "progress-unit": "rows"}
    await rpc(client, "notify", **claim_of(task), notification="progress", **progress)

    done = (await rpc(client, "success", **claim_of(task), result={"sent": True}))["resource"]
    assert (done["status"], done["outcome"], done["result"]) == ("done", "succeeded", {"sent": True})
    assert done["retryCount"] == 1

    execution = accepted(await api.admin.get(f"/v1/executions/{task['id']}"))
    assert (execution["status"], execution["output"]) == ("succeeded", {"sent": True})
    assert execution["workers"][0]["progress"] == {"current": 3, "total": 9, "unit": "rows"}
    logs = accepted(await api.admin.get(f"/v1/executions/{task['id']}/logs"))["items"]
    assert [line["line"] for line in logs] == ["progress 3/9 rows", "alive"]
    [call] = accepted(await api.admin.get(f"/v1/executions/{task['id']}/calls"))["items"]
    assert (call["outcome"], call["http_status"]) == ("applied", None)


async def test_a_failure_sent_under_either_name(api: Api) -> None:
    client = await an_executor(api, allowedRetryCount=0)
    for name in ("error", "result"):
        await api.launch(TASK)
        [task] = await polled(client)
        await rpc(client, "start", **claim_of(task))
        said: Json = {name: {"message": "no"}}
        failed = (await rpc(client, "fail", **claim_of(task), **said))["resource"]
        assert (failed["status"], failed["outcome"], failed["error"]) == ("done", "failed", {"message": "no"})
        assert failed["outcomeReason"]["type"] == "awf.task/failed-by-executor"


async def test_a_thrown_error_that_became_nothing_is_a_failure(api: Api) -> None:
    client = await an_executor(api, allowedRetryCount=0)
    await api.launch(TASK)
    [task] = await polled(client)
    await rpc(client, "start", **claim_of(task))
    assert (await rpc(client, "fail", **claim_of(task), result={}))["resource"]["outcome"] == "failed"


async def test_of_a_very_long_error_its_beginning_is_kept(api: Api) -> None:
    client = await an_executor(api, allowedRetryCount=0)
    await api.launch(TASK)
    [task] = await polled(client)
    await rpc(client, "start", **claim_of(task))
    said: Json = {"message": "m" * 5000, "trace": "t" * 100_000}
    failed = (await rpc(client, "fail", **claim_of(task), error=said))["resource"]
    assert failed["error"] == {"message": "m" * 2000, "truncated": True}
    assert (await rpc(client, "fail", **claim_of(task), error=said))["resource"] == failed


async def test_a_refused_success_then_a_fail_count_once(api: Api) -> None:
    client = await an_executor(api, result_schema={"required": ["rows"]}, retryDelay=0)
    await api.launch(TASK)
    [task] = await polled(client)
    await rpc(client, "start", **claim_of(task))
    refusal = await rpc(client, "success", 422, **claim_of(task), result={"cols": 1})
    assert refusal["type"] == "invalid-result"
    assert "'rows' is a required property" in refusal["message"]
    again = await rpc(client, "fail", 422, **claim_of(task), result={"error": refusal})
    assert again["type"] == "stale-exec-id"
    [second] = await polled(client)
    assert second["retryCount"] == 1
    assert second["execId"] != task["execId"]


async def test_the_same_end_twice_is_answered_alike(api: Api) -> None:
    client = await an_executor(api)
    await api.launch(TASK)
    [task] = await polled(client)
    await rpc(client, "start", **claim_of(task))
    first = await rpc(client, "success", **claim_of(task), result={"a": 1})
    assert await rpc(client, "success", **claim_of(task), result={"a": 1}) == first
    assert (await rpc(client, "success", 422, **claim_of(task), result={"a": 2}))["type"] == "stale-exec-id"


async def test_refusals_say_which_and_change_nothing(api: Api) -> None:
    client = await an_executor(api)
    await api.launch(TASK)
    [task] = await polled(client)
    unknown = await rpc(client, "start", 404, id="nobody", execId="x")
    assert unknown["type"] == "not-found"
    wrong = await rpc(client, "start", 422, id=task["id"], execId="x")
    assert wrong["type"] == "stale-exec-id"
    early = await rpc(client, "success", 422, **claim_of(task))
    assert early["type"] == "wrong-status"
    assert (await rpc(client, "status", id=task["id"]))["resource"]["status"] == "requested"


async def test_an_executor_may_say_who_it_is(api: Api) -> None:
    client = await an_executor(api)
    execution = (await api.launch(TASK))["id"]
    [task] = await polled(client, executor="press:0198c0de")
    await rpc(client, "start", **claim_of(task))
    await rpc(client, "success", **claim_of(task))
    [call] = accepted(await api.admin.get(f"/v1/executions/{execution}/calls"))["items"]
    assert call["node"] == "press:0198c0de"


async def test_canceling(api: Api) -> None:
    client = await an_executor(api)
    task = (await rpc(api.admin, "create-and-execute", definition=TASK))["resource"]
    [claimed] = await polled(client)
    canceled = (await rpc(api.admin, "cancel", id=task["id"]))["resource"]
    assert (canceled["status"], canceled["outcome"]) == ("done", "canceled")
    assert (await rpc(client, "start", 422, **claim_of(claimed)))["type"] == "stale-exec-id"
    assert (await rpc(api.admin, "cancel", 422, id=task["id"]))["type"] == "task-has-been-done"
    assert (await rpc(api.admin, "cancel", 404, id="nobody"))["type"] == "not-found"


async def test_creating_for_later_without_a_zone(api: Api) -> None:
    await an_executor(api)
    asked: Json = {"definition": TASK, "params": {}, "id": "mine", "executeAt": "2099-05-04T15:30:43"}
    task = (await rpc(api.admin, "create-and-execute", **asked))["resource"]
    assert (task["id"], task["status"], task["executeAt"]) == ("mine", "waiting", "2099-05-04T15:30:43.000000Z")
    assert (await rpc(api.admin, "create-and-execute", 409, **asked))["type"] == "conflict"
    assert (await rpc(api.admin, "create-and-execute", 404, definition="no/such"))["type"] == "not-found"


async def test_steps_carry_the_turn_and_the_apps_state(api: Api) -> None:
    client = await an_executor(api, pull_result="step")
    await api.launch(TASK, state={"page": 1})
    [task] = await polled(client)
    assert task["app_state"] == {}
    worker = task["task_exec_worker"]
    assert (worker["worker_state"], worker["step"], worker["timeout_in_ms"]) == ({"page": 1}, 0, 120_000)
    await rpc(client, "start", **claim_of(task))
    step = {"updated_worker_state": {"page": 2}, "is_done": False}
    after = (await rpc(client, "success", **claim_of(task), result=step))["resource"]
    assert after["status"] == "ready"


async def test_the_overlap_policy_and_idempotency_are_those_of_every_task(api: Api) -> None:
    client = await an_executor(api)
    await api.install("app_one", a_task("app_one_run", transport="pull"), webhook_endpoint=None)
    first = (await rpc(api.admin, "create-and-execute", definition="app_one_run"))["resource"]
    refusal = await rpc(api.admin, "create-and-execute", 409, definition="app_one_run")
    assert (refusal["type"], refusal["execution_id"]) == ("already-running", first["id"])
    [task] = await polled(client, "app_one_run")
    await rpc(client, "start", **claim_of(task))
    await rpc(client, "success", **claim_of(task))
    headers = {"Idempotency-Key": "once"}
    again = [
        accepted(await api.admin.post("/v1/executions", json={"task_id": "app_one_run"}, headers=headers), 201)["id"]
        for _ in range(2)
    ]
    assert again[0] == again[1]
    assert [one["id"] for one in await polled(client, "app_one_run", maxBatchSize=5)] == again[:1]
