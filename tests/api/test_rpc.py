"""POST /rpc on the wire: JSON and YAML, batches, credentials, refusals."""

import base64
from typing import Any

import pytest
import yaml

from orchestrator.api import rpc as rpc_door
from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.service import tokens
from orchestrator.service.tokens import Role
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, Json, accepted
from tests.api.pulling import TASK, an_executor, rpc


@pytest.mark.parametrize(
    "params", [{"taskDefinitions": []}, {"workflowDefinitions": ["w"]}, {"taskDefinitions": ["?"]}]
)
@pytest.mark.parametrize("method", ["poll", "long-poll"])
async def test_nothing_is_always_an_empty_list(api_on_sqlite: Api, method: str, params: Json) -> None:
    client = await an_executor(api_on_sqlite)
    assert await rpc(client, method, timeout=0, **params) == {"resources": []}


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("poll", {}, "$.params.taskDefinitions"),
        ("poll", {"taskDefinitions": "shop/send"}, "$.params.taskDefinitions"),
        ("poll", {"taskDefinitions": ["a"], "maxBatchSize": 0}, "$.params.maxBatchSize"),
        ("start", {"id": "a"}, "$.params.execId"),
        ("notify", {"id": "a", "execId": "b", "notification": "wave"}, "$.params.notification"),
        ("notify", {"id": "a", "execId": "b", "notification": "progress"}, "$.params.progress-current"),
        ("status", {"id": 7}, "$.params.id"),
    ],
)
async def test_wrong_parameters_are_named(api_on_sqlite: Api, method: str, params: Json, field: str) -> None:
    client = await an_executor(api_on_sqlite)
    refusal = await rpc(client, method, 422, **params)
    assert [one["field"] for one in refusal["errors"]] == [field]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ('{"method": "awf.task/fly"}', 422, "unknown-method"),
        ('{"method": "awf.workflow/status", "params": {}}', 422, "not-served"),
        ('{"params": {}}', 422, "invalid-params"),
        ('"poll"', 422, "invalid-params"),
        ('{"method": "awf.task/poll", "params": [1]}', 422, "invalid-params"),
        ("{", 400, "malformed-json"),
        ('{"method": "a", "method": "b"}', 400, "malformed-json"),
        ("[" + ",".join(["{}"] * 101) + "]", 422, "invalid-params"),
    ],
)
async def test_what_is_no_call_is_refused_in_the_same_form(
    api_on_sqlite: Api, body: str, status: int, kind: str
) -> None:
    client = await an_executor(api_on_sqlite)
    response = await client.post("/rpc", content=body, headers={"Content-Type": "application/json"})
    assert accepted(response, status)["error"]["type"] == kind


async def test_yaml_in_and_out(api_on_sqlite: Api) -> None:
    client = await an_executor(api_on_sqlite)
    await api_on_sqlite.launch(TASK, state={"n": 1.5, "word": "no"})
    body = "method: awf.task/poll\nparams:\n    taskDefinitions: [shop/send]\n"
    response = await client.post("/rpc", content=body, headers={"Content-Type": "text/yaml", "Accept": "text/yaml"})
    assert response.headers["content-type"].startswith("text/yaml")
    [task] = yaml.safe_load(response.text)["result"]["resources"]
    assert task["params"] == {"n": 1.5, "word": "no"}
    assert task["status"] == "requested"


@pytest.mark.parametrize(
    ("sent", "accept", "answered"),
    [
        ("application/json", "*/*", "application/json"),
        ("text/yaml", "*/*", "text/yaml"),
        ("text/yaml; charset=utf-8", "", "text/yaml"),
        ("text/yaml", "application/json", "application/json"),
        ("application/json", "text/html, text/yaml;q=0.5", "text/yaml"),
        ("application/x-yaml", "application/xml", "text/yaml"),
    ],
)
async def test_the_form_of_the_answer(api_on_sqlite: Api, sent: str, accept: str, answered: str) -> None:
    client = await an_executor(api_on_sqlite)
    body = b'{"method": "awf.task/poll", "params": {"taskDefinitions": ["a"]}}'
    response = await client.post("/rpc", content=body, headers={"Content-Type": sent, "Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == answered


async def test_an_error_comes_in_the_clients_form_too(api_on_sqlite: Api) -> None:
    client = await an_executor(api_on_sqlite)
    response = await client.post("/rpc", content=b"a: [", headers={"Content-Type": "text/yaml"})
    assert response.status_code == 400
    assert yaml.safe_load(response.text)["error"]["type"] == "malformed-json"
    response = await client.post("/rpc", content=b"<a/>", headers={"Content-Type": "text/xml"})
    assert accepted(response, 415)["error"]["type"] == "unsupported-media-type"


async def test_yaml_has_a_limit_of_its_own(api_on_sqlite: Api) -> None:
    client = await an_executor(api_on_sqlite)
    body = b"method: awf.task/poll\nparams: {taskDefinitions: [" + b"a," * 2**19 + b"a]}\n"
    response = await client.post("/rpc", content=body, headers={"Content-Type": "text/yaml", "Accept": "text/json"})
    assert response.status_code == 413
    told = yaml.safe_load(response.text)["error"]
    assert told["type"] == "too-large"
    assert "send JSON instead" in told["message"]


async def test_a_batch_is_answered_in_its_order(api: Api) -> None:
    client = await an_executor(api)
    await api.launch(TASK)
    await api.launch(TASK)
    poll = {"method": "awf.task/poll", "params": {"taskDefinitions": [TASK]}}
    lasting = {"method": "awf.task/long-poll", "params": {"taskDefinitions": [TASK], "timeout": 600_000}}
    calls: list[Any] = [poll, {"method": "awf.task/start", "params": {"id": "x", "execId": "y"}}, poll, 7, lasting]
    answers: Any = accepted(await client.post("/rpc", json=calls))
    assert [len(one["result"]["resources"]) if "result" in one else one["error"]["type"] for one in answers] == [
        1,
        "not-found",
        1,
        "invalid-params",
        0,
    ]
    assert accepted(await client.post("/rpc", json=[])) == []  # type: ignore[comparison-overlap]


async def test_a_batch_reads_only_so_much(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_door, "MOST_IN_AN_ANSWER_BYTES", 1000)
    await an_executor(api)
    for _ in range(3):
        await api.launch(TASK, state={"text": "x" * 600})
    look = {"method": "awf.task/list", "params": {}}
    take = {"method": "awf.task/poll", "params": {"taskDefinitions": ["shop/send"]}}
    make = {"method": "awf.task/create-and-execute", "params": {"definition": "shop/send"}}
    answers = (await api.admin.post("/rpc", json=[look, look, take, make])).json()
    assert len(answers[0]["result"]["resources"]) == 3
    assert answers[1]["error"]["type"] == "too-large"
    assert answers[2]["result"]["resources"] == []
    assert answers[3]["result"]["resource"]["status"] == "ready", "what changes something is done"


async def test_while_the_database_is_away_polls_alone_are_answered(
    api_on_sqlite: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await an_executor(api_on_sqlite)

    def is_away(tx: Transaction, plain: str) -> None:
        raise DatabaseUnavailable("gone, says the test")

    monkeypatch.setattr(tokens, "authenticate", is_away)
    monkeypatch.setattr(rpc_door, "PAUSE_WITHOUT_DATABASE_SECS", 0)
    for method in ("poll", "long-poll"):
        assert await rpc(client, method, taskDefinitions=["shop/send"]) == {"resources": []}
    assert (await rpc(client, "status", 503, id="x"))["type"] == "unavailable"
    assert (await client.get("/AidboxTask")).status_code == 503
    large = {"method": "awf.task/poll", "params": {"taskDefinitions": ["x" * 70_000]}}
    assert (await client.post("/rpc", json=large)).status_code == 503
    batch: list[Json] = [{"method": "awf.task/poll", "params": {}}, {"method": "awf.task/list"}]
    first, second = (await client.post("/rpc", json=batch)).json()
    assert first == {"result": {"resources": []}}
    assert second["error"]["type"] == "unavailable"


def basic(client: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}


async def test_basic_credentials_are_the_tokens_id_or_name_and_the_token(api_on_sqlite: Api) -> None:
    await an_executor(api_on_sqlite)
    made = {"name": "Zoë's", "role": "executor"}
    token = accepted(await api_on_sqlite.admin.post("/v1/tokens", json=made), 201)
    stranger = await api_on_sqlite.client(None)
    body = {"method": "awf.task/poll", "params": {"taskDefinitions": ["a"]}}
    for client in (token["id"], "Zoë's"):
        accepted(await stranger.post("/rpc", json=body, headers=basic(client, token["token"])))
    for headers in (
        basic("somebody", token["token"]),
        basic(token["id"], "orch_wrong"),
        basic(token["id"], ""),
        {"Authorization": "Basic ?"},
        {"Authorization": "Basic /w=="},
        {"Authorization": "Digest x"},
        {},
    ):
        response = await stranger.post("/rpc", json=body, headers=headers)
        assert accepted(response, 401)["error"]["type"] == "unauthenticated"
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.EXECUTOR])
async def test_a_role_does_what_its_table_says(api_on_sqlite: Api, role: Role) -> None:
    await an_executor(api_on_sqlite)
    client = await api_on_sqlite.as_role(role.value)
    created = await rpc(client, "create-and-execute", 403, definition=TASK)
    assert created["type"] == "forbidden"
    assert await rpc(client, "list") == {"resources": []}
    await rpc(client, "poll", 200 if role is Role.EXECUTOR else 403, taskDefinitions=[TASK])


async def test_the_base_address_may_have_a_path(api_on_sqlite: Api) -> None:
    client = await an_executor(api_on_sqlite)
    body = {"method": "awf.task/poll", "params": {"taskDefinitions": ["a"]}}
    assert accepted(await client.post("/fhir/r4/rpc", json=body)) == {"result": {"resources": []}}
    assert accepted(await client.get("/base/AidboxTask?_count=0"))["total"] == 0
