"""Callbacks over HTTP: the addresses, the keys, the bodies as VibeIQ prints them, the answers."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app_sdk.protocol.limits import DEFAULT_LIMITS
from orchestrator.api.shapes import callbacks, executions
from orchestrator.service import ending
from orchestrator.service.apply import ApplyTerms, apply
from orchestrator.service.callback_urls import PATH, CallbackSigner
from orchestrator.service.claim import next_claims
from orchestrator.service.claimed import Claim, LeaseTerms
from orchestrator.service.sharing import Places
from orchestrator.service.workspaces import DEFAULT_WORKSPACE
from tests.api.doors import ADMIN_TOKEN, Api, a_task, accepted, conforms, fields, refused
from tests.engine.by_hand import answered

TERMS = LeaseTerms("by-hand", timedelta(seconds=30))
# As the documentation prints it.
SAMPLE = {
    "logs": "line one\nline two",
    "status": "SUCCESS",
    "output": {"zipFileLocation": "https://example.com/jpeg"},
    "subtext": "Completed with 90/100 passing",
}
DONE = {
    "status": "COMPLETE",
    "subtext": "Completed with 90/100 passing",
    "output": {"zipFileLocation": "https://example.com/jpeg"},
}


async def claimed(api: Api, execution_id: str = "12345678", **launch: Any) -> Claim:
    """Launch an execution, and claim its worker 0."""
    await api.launch(id=execution_id, **launch)
    definitions = api.context.definitions
    found = await api.write(lambda tx: next_claims(tx, definitions, TERMS, Places(10, 0)))
    [claim] = [one for one in found.claims if one.execution_id == execution_id and one.worker_id == 0]
    return claim


async def answer(api: Api, claim: Claim, **fields: Any) -> None:
    terms = ApplyTerms("by-hand", DEFAULT_LIMITS, None, is_full=False)
    report = answered(claim, **fields)
    await api.write(lambda tx: apply(tx, api.context.definitions, [report], terms, [0.0]))


async def parked(api: Api, execution_id: str = "12345678", **asked: Any) -> Claim:
    """An execution whose worker 0 awaits a callback."""
    claim = await claimed(api, execution_id)
    await answer(api, claim, await_callback=asked)
    return claim


def call_back(client: httpx.AsyncClient, **body: Any) -> Any:
    return client.post("/external-events/callback/", json={"taskId": "12345678", "status": "SUCCESS", **body})


@pytest.fixture
async def shop(api: Api) -> Api:
    await api.install("app_shop", a_task(on_multiple_exec="allow"))
    return api


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_printed_callback_completes_the_task(shop: Api, prefix: str, slash: str) -> None:
    await parked(shop)
    client = await shop.client(None)
    headers = {"Content-Type": "application/json", "Authorization": f"bearer {ADMIN_TOKEN}"}
    body = json.dumps({"taskId": "12345678", **SAMPLE})
    wakes = len(shop.wakes)
    shown = accepted(await client.post(f"{prefix}/external-events/callback{slash}", content=body, headers=headers))
    conforms(callbacks.EventWorkflowTask, shown)
    assert shown == {"id": "12345678", **DONE}
    assert len(shop.wakes) > wakes
    execution = accepted(await shop.admin.get("/v1/executions/12345678"))
    conforms(executions.ExecutionWithWorkers, execution)
    assert (execution["status"], execution["output"]) == ("succeeded", DONE["output"])
    assert execution["subtext"] == execution["workers"][0]["subtext"] == DONE["subtext"]
    [line] = accepted(await shop.admin.get("/v1/executions/12345678/logs"))["items"]
    assert (line["line"], line["worker_id"], line["step"]) == ("line one\nline two", 0, 0)


@pytest.mark.parametrize("prefix", ["", "/api", "/v1"])
async def test_the_printed_subtext_is_shown_on_the_task_and_its_parent(shop: Api, prefix: str) -> None:
    await shop.launch(id="with/slash", workers=[{"worker_id": 1, "initial_state": {}}])
    client = await shop.client(None)
    headers = {
        "Content-Type": "application/json",
        "X-Api-Key": await shop.token("operator"),
        "X-Api-Org": DEFAULT_WORKSPACE,
    }
    body = '{\n        "subtext": "Completed with 90/100 passing"\n    }'
    path = f"{prefix}/event-workflow-tasks/with/slash:1"
    shown = accepted(await client.put(path, content=body, headers=headers))
    assert shown == {"id": "with/slash:1", "status": "ACTIVE", "subtext": DONE["subtext"], "output": None}
    execution = accepted(await shop.admin.get("/v1/executions/with/slash"))
    assert [worker["subtext"] for worker in execution["workers"]] == [None, DONE["subtext"]]
    assert execution["subtext"] == DONE["subtext"]
    refused(await client.put(f"{path}1", content=body, headers=headers), 404, "not-found")
    refused(await client.put(f"{prefix}/event-workflow-tasks/", content=body, headers=headers), 404, "not-found")


async def test_the_pair_of_keys_is_a_token_and_its_workspace(shop: Api) -> None:
    await parked(shop)
    client = await shop.client(None)
    token = await shop.token("operator")
    for headers in (
        {"X-Api-Key": token},
        {"X-Api-Key": token, "X-Api-Org": "other"},
        {"X-Api-Key": "orch_unknown", "X-Api-Org": DEFAULT_WORKSPACE},
        {"X-Api-Key": "", "X-Api-Org": DEFAULT_WORKSPACE},
        {"X-Api-Org": DEFAULT_WORKSPACE},
        {"X-Api-Key": token, "X-Api-Org": DEFAULT_WORKSPACE, "Authorization": "Bearer orch_unknown"},
    ):
        response = await client.post(PATH, json={"taskId": "12345678", "status": "SUCCESS"}, headers=headers)
        refused(response, 401, "unauthenticated")
    pair = {"x-api-key": token, "x-api-org": DEFAULT_WORKSPACE}
    refused(await client.get("/v1/executions", headers=pair), 401, "unauthenticated")
    accepted(await client.post(PATH, json={"taskId": "12345678", "status": "SUCCESS"}, headers=pair))


async def test_the_same_again_is_answered_alike_and_another_refused(shop: Api) -> None:
    await parked(shop)
    first = accepted(await call_back(shop.admin, output={"a": 1, "b": 2}))
    assert first == accepted(await call_back(shop.admin, output={"b": 2, "a": 1}, taskId="12345678:0:0"))
    problem = refused(await call_back(shop.admin, output={"a": 2}), 409, "conflict")
    assert problem["outcome"] == "applied"


async def test_an_early_one_is_kept_for_the_answer_that_parks(shop: Api) -> None:
    claim = await claimed(shop)
    assert accepted(await call_back(shop.admin, **SAMPLE)) == {
        "id": "12345678",
        "status": "ACTIVE",
        "subtext": None,
        "output": None,
    }
    await answer(shop, claim, await_callback={}, output={"zipFileLocation": None, "own": 1}, subtext="waiting")
    assert accepted(await call_back(shop.admin, **SAMPLE)) == {
        "id": "12345678",
        **DONE,
        "output": {"zipFileLocation": "https://example.com/jpeg", "own": 1},
    }


async def test_after_the_timeout_it_is_gone_and_the_worker_has_failed(shop: Api) -> None:
    await parked(shop, timeout_in_secs=0.001)
    for _ in range(2):
        refused(await call_back(shop.admin), 410, "gone")
    execution = accepted(await shop.admin.get("/v1/executions/12345678"))
    assert execution["status"] == "failed"
    assert execution["message"] == "worker 0: no callback came before the timeout of the wait"
    assert execution["workers"][0]["message"] == "no callback came before the timeout of the wait"


async def test_the_words_for_each_status(shop: Api) -> None:
    claim = await claimed(shop)

    async def status() -> str:
        put = await shop.admin.put("/v1/event-workflow-tasks/12345678", json={"subtext": "x"})
        return str(accepted(put)["status"])

    assert await status() == "ACTIVE"
    await answer(shop, claim, await_callback={})
    assert await status() == "AWAITING"
    failed = accepted(await call_back(shop.admin, status="FAILURE", subtext="no"))
    assert failed["status"] == "FAILED"
    assert accepted(await shop.admin.get("/v1/executions/12345678"))["status_code"] == -2
    await shop.launch(id="later", run_at="2099-01-01T00:00:00Z")
    put = await shop.admin.put("/v1/event-workflow-tasks/later", json={"subtext": "x"})
    assert accepted(put)["status"] == "PENDING"


async def test_a_signed_url_needs_no_token_and_is_for_one_await(shop: Api) -> None:
    claim = await parked(shop, resume=True)
    signed = CallbackSigner(shop.context.vault).sign(claim.uid, 0, 0)
    anybody = await shop.client(None)
    body = {"status": "SUCCESS", "output": {"n": 1}}
    problem = refused(await anybody.post(f"{PATH}/{signed}", json={"taskId": "another", **body}), 422, "invalid")
    assert fields(problem) == ["$.taskId"]
    for prefix, named in (("", {}), ("/api", {"taskId": "12345678:0"})):
        shown = accepted(await anybody.post(f"{prefix}{PATH}/{signed}", json={**named, **body}))
        assert shown == {"id": "12345678", "status": "ACTIVE"}, "no output, no subtext: it is for strangers"
        conforms(callbacks.CalledBackTask, shown)
    refused(await anybody.post(f"{PATH}/{signed}", json={"status": "FAILURE"}), 409, "conflict")
    for forged in (signed[:-1], f"{claim.uid}.0.1.{signed.rpartition('.')[2]}", "x"):
        refused(await anybody.post(f"{PATH}/{forged}", json=body), 404, "not-found")
    other = CallbackSigner(shop.context.vault).sign("no-such-uid", 0, 0)
    refused(await anybody.post(f"{PATH}/{other}", json=body), 404, "not-found")


async def test_nothing_of_a_body_is_read_before_the_signature_is_and_not_much_after_it(shop: Api) -> None:
    claim = await parked(shop)
    signed = CallbackSigner(shop.context.vault).sign(claim.uid, 0, 0)
    anybody = await shop.client(None)
    sent: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1000)
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    forged = f"{PATH}/{signed[:-1]}"
    refused(await anybody.post(forged, content=endless(), headers=headers), 404, "not-found")
    assert sent == []
    refused(await anybody.post(forged, content=b"[", headers=headers), 404, "not-found")
    cap = shop.context.limits.worker_state_bytes
    refused(await anybody.post(f"{PATH}/{signed}", content=endless(), headers=headers), 413, "too-large")
    assert cap < sum(sent) <= cap + 2000
    declared = {**headers, "Content-Length": str(cap + 1)}
    sent.clear()
    refused(await anybody.post(f"{PATH}/{signed}", content=endless(), headers=declared), 413, "too-large")
    assert sent == []
    fits = json.dumps({"status": "SUCCESS"}).ljust(cap).encode()
    accepted(await anybody.post(f"{PATH}/{signed}", content=fits, headers=headers))


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"status": "SUCCESS"}, ["$.taskId"]),
        ({"taskId": "12345678"}, ["$.status"]),
        ({"taskId": "12345678", "status": "success"}, ["$.status"]),
        ({"taskId": 12345678, "status": "SUCCESS"}, ["$.taskId"]),
        ({"taskId": "12345678", "status": "SUCCESS", "output": []}, ["$.output"]),
        ({"taskId": "12345678", "status": "SUCCESS", "ouput": {}}, ["$.ouput"]),
        ({"taskId": "12345678", "status": "SUCCESS", "subtext": 1}, ["$.subtext"]),
    ],
)
async def test_a_wrong_body_names_the_field(api_on_sqlite: Api, body: Any, wrong: list[str]) -> None:
    assert fields(refused(await api_on_sqlite.admin.post(PATH, json=body), 422, "invalid")) == wrong


async def test_a_list_of_logs_holds_lines(api_on_sqlite: Api) -> None:
    body = {"taskId": "12345678", "status": "SUCCESS", "logs": ["a", 1]}
    assert any(
        "logs" in field for field in fields(refused(await api_on_sqlite.admin.post(PATH, json=body), 422, "invalid"))
    )


async def test_an_output_that_is_too_deep_is_told_and_nothing_is_lost(shop: Api) -> None:
    await parked(shop)
    deep: Any = 1
    for _ in range(66):
        deep = {"a": deep}
    refused(await call_back(shop.admin, output=deep), 400, "malformed-json")
    assert accepted(await call_back(shop.admin, output={"a": 1}))["status"] == "COMPLETE"


async def test_what_is_foreign_or_unknown_is_told_in_the_same_words(shop: Api) -> None:
    await shop.install("app_else")
    await parked(shop, "12345678")
    strangers = [await shop.other_workspace(), await shop.as_role("app", "app_else")]
    for stranger in strangers:
        for task_id in ("12345678", "12345678:0", "12345678:0:0"):
            problem = refused(await call_back(stranger, taskId=task_id), 404, "not-found")
            assert problem["detail"] == f"there is no task {task_id}"
        unknown = refused(await call_back(stranger, taskId="no-such"), 404, "not-found")
        assert unknown["detail"] == "there is no task no-such"
        refused(await stranger.put("/v1/event-workflow-tasks/12345678", json={"subtext": "x"}), 404, "not-found")
    own = await shop.as_role("app", "app_shop")
    accepted(await own.put("/v1/event-workflow-tasks/12345678", json={"subtext": "x"}))
    accepted(await call_back(own))


async def test_an_abort_wins(shop: Api) -> None:
    await parked(shop)
    await shop.write(lambda tx: ending.abort(tx, shop.context.definitions, DEFAULT_WORKSPACE, "12345678", None))
    problem = refused(await call_back(shop.admin), 409, "conflict")
    assert problem["worker_status"] == "aborted"
