import asyncio
from pathlib import Path

import pytest
from starlette.responses import Response

from orchestrator.api import health
from orchestrator.api.errors import INTERNAL, KINDS, TYPE_PREFIX, every_kind, kind_of, problem
from orchestrator.domain import errors
from orchestrator.store.database import Database, DatabaseOptions
from tests.api.doors import ADMIN_TOKEN, Api, a_task, accepted, fields, refused

JSON = {"Content-Type": "application/json"}
PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def descendants(cls: type[Exception]) -> set[type[Exception]]:
    below = set(cls.__subclasses__())
    return below.union(*(descendants(one) for one in below))


def test_every_error_of_the_domain_has_its_row() -> None:
    faults_of_ours = {errors.IllegalMove, errors.WrongMasterKey}
    for cls in descendants(errors.OrchestratorError) - faults_of_ours:
        assert kind_of(cls("x")) is not INTERNAL, cls
    for cls in faults_of_ours:
        assert kind_of(cls("x")) is INTERNAL


def test_a_type_names_one_kind_of_problem() -> None:
    slugs = [kind.slug for kind in every_kind()]
    assert len(slugs) == len(set(slugs))


def test_the_page_lists_every_problem() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for kind in every_kind():
        assert f"| `{kind.slug}` | {kind.status} |" in text
    assert TYPE_PREFIX in text


def test_a_fact_does_not_take_the_place_of_the_problems_own_members() -> None:
    response: Response = problem(KINDS[errors.Conflict], "no", "/x", status="aborted", batch="b")
    assert b'"status":409' in bytes(response.body)
    assert b'"batch":"b"' in bytes(response.body)


async def test_an_unknown_address_and_a_wrong_method(api_on_sqlite: Api) -> None:
    problem = refused(await api_on_sqlite.admin.get("/v1/nothing"), 404, "no-such-route")
    assert "GET /v1/nothing" in problem["detail"]
    response = await api_on_sqlite.admin.delete("/v1/executions")
    refused(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, POST"
    refused(await api_on_sqlite.admin.get("/v1/apps/"), 404, "no-such-route")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/executions/a", "GET, PATCH"),
        ("GET", "/v1/executions/a/abort", "POST"),
        ("PATCH", "/v1/executions/a/b/calls", "GET"),
        ("GET", "/v1/apps/app_a/tasks/b/run", "POST"),
        ("POST", "/v1/apps/app_a/tasks/b/c", "GET"),
    ],
)
async def test_what_follows_an_id_is_told_apart_from_it(
    api_on_sqlite: Api, method: str, path: str, allowed: str
) -> None:
    response = await api_on_sqlite.admin.request(method, path)
    refused(response, 405, "method-not-allowed")
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "$"),
        ("   ", "$"),
        ("{", "$"),
        ("[1,]", "$"),
        ('{"task_id":"a","task_id":"b"}', "$.task_id"),
        ('{"task_id":"a","state":{"x":[0,18446744073709551616]}}', "$.state.x[1]"),
        ('{"task_id":"a","state":{"x":-9223372036854775809}}', "$.state.x"),
        ('{"task_id":"a","state":{"x":1e400}}', "$.state.x"),
        ('{"task_id":"a","state":{"x":NaN}}', "$.state.x"),
        ('{"task_id":"a","state":{"x":"\\u0000"}}', "$.state.x"),
        ('{"task_id":"a","state":{"x":"\\ud800"}}', "$.state.x"),
        ('{"task_id":"a","state":' + '{"a":' * 80 + "1" + "}" * 80 + "}", "$.state"),
    ],
)
async def test_what_is_not_strict_json_is_refused_with_its_path(api_on_sqlite: Api, text: str, field: str) -> None:
    response = await api_on_sqlite.admin.post("/v1/executions", content=text, headers=JSON)
    if text == "":
        assert "needed" in refused(response, 422, "invalid")["detail"]
    else:
        assert fields(refused(response, 400, "malformed-json"))[0].startswith(field)


async def test_bytes_that_are_not_utf8_are_refused(api_on_sqlite: Api) -> None:
    response = await api_on_sqlite.admin.post("/v1/executions", content=b'{"task_id":"\xff"}', headers=JSON)
    refused(response, 400, "malformed-json")


async def test_a_state_that_is_too_deep_is_refused(api_on_sqlite: Api) -> None:
    await api_on_sqlite.install()
    text = '{"task_id":"app_shop_sync","state":' + '{"a":' * 65 + "1" + "}" * 65 + "}"
    response = await api_on_sqlite.admin.post("/v1/executions", content=text, headers=JSON)
    assert fields(refused(response, 422, "invalid"))[0].startswith("$.state.a.a")


async def test_a_body_must_be_an_object(api_on_sqlite: Api) -> None:
    bodies: list[object] = [[], "text", 1, None]
    for body in bodies:
        problem = refused(await api_on_sqlite.admin.post("/v1/executions", json=body), 422, "invalid")
        assert fields(problem) == ["$"]


async def test_only_json_is_read(api_on_sqlite: Api) -> None:
    admin = api_on_sqlite.admin
    await api_on_sqlite.install()
    text = '{"task_id":"app_shop_sync"}'
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = await admin.post("/v1/executions", content=text, headers={"Content-Type": media_type})
        assert media_type in refused(response, 415, "unsupported-media-type")["detail"]
    execution = accepted(
        await admin.post("/v1/executions", content=text, headers={"Content-Type": "Application/JSON; charset=utf-8"}),
        201,
    )
    path = f"/v1/executions/{execution['id']}/abort"
    accepted(await admin.request("POST", path, content=b'{"message":"no media type"}'))


async def test_several_wrong_fields_are_named_together(api_on_sqlite: Api) -> None:
    body = {"state": 1, "workers": [{}], "extra": 1}
    problem = refused(await api_on_sqlite.admin.post("/v1/executions", json=body), 422, "invalid")
    assert set(fields(problem)) == {"$.task_id", "$.state", "$.workers[0].worker_id", "$.extra"}
    assert "$.task_id: needed" in problem["detail"]


async def test_the_same_id_at_the_same_instant_is_a_conflict(api: Api) -> None:
    await api.install("app_shop", a_task(on_multiple_exec="allow"))
    body = {"task_id": "app_shop_sync", "id": "mine"}
    answers = await asyncio.gather(*(api.admin.post("/v1/executions", json=body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    for answer in answers:
        if answer.status_code == 409:
            refused(answer, 409, "conflict")


async def test_the_same_app_at_the_same_instant_is_a_conflict(api: Api) -> None:
    body = {"manifest": {"id": "app_shop", "name": "Shop"}}
    answers = await asyncio.gather(*(api.admin.post("/v1/apps", json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_a_database_out_of_reach_makes_the_api_unavailable(api_on_sqlite: Api) -> None:
    gone = Database(DatabaseOptions("postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=2"))
    client = await api_on_sqlite.client(ADMIN_TOKEN)
    api_on_sqlite.use_database(gone)
    response = await client.get("/v1/executions")
    await gone.close()
    assert "127.0.0.1" not in refused(response, 503, "unavailable")["detail"]
    assert response.headers["retry-after"] == "5"


async def test_a_commit_whose_outcome_is_unknown_is_told_as_such(
    api_on_sqlite: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise errors.CommitUnknown("the connection to 127.0.0.1 was lost in the commit")

    monkeypatch.setattr(Database, "write", lost)
    response = await api_on_sqlite.admin.post("/v1/tokens", json={"name": "ci", "role": "viewer"})
    problem = refused(response, 503, "outcome-unknown")
    assert "may have been done" in problem["detail"]
    assert "Idempotency-Key" in problem["detail"]
    assert "127.0.0.1" not in problem["detail"]


async def test_a_fault_of_ours_tells_nothing_of_itself(api_on_sqlite: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_status: object) -> None:
        raise RuntimeError("the master key is 1234")

    monkeypatch.setattr(health, "json_answer", fails)
    response = await api_on_sqlite.admin.get("/healthz")
    problem = refused(response, 500, "internal")
    assert "1234" not in response.text
    assert "log" in problem["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"
