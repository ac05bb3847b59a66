import re
from collections.abc import Iterator

import pytest

from orchestrator.api.roles import ALLOWED, may
from orchestrator.service.tokens import Role
from tests.api.doors import Api, a_manifest, a_task, accepted, refused

# Those that need no token: health, and what is signed instead.
OPEN = {"healthz", "readyz", "collect", "call_back_signed"}


def operations(api: Api) -> Iterator[tuple[str, str, str]]:
    """(operation, method, path) of everything that the API can do."""
    for path, methods in api.app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield operation["operationId"], method.upper(), re.sub(r"\{\w+\}", "x", path)


async def test_every_operation_has_its_roles_and_every_role_its_operation(api_on_sqlite: Api) -> None:
    found = {operation for operation, _, _ in operations(api_on_sqlite)}
    assert found - OPEN == set(ALLOWED)
    assert all(ALLOWED.values())


def test_what_is_not_in_the_table_is_allowed_to_nobody() -> None:
    assert not any(may(role, "drop_everything") for role in Role)


@pytest.mark.parametrize("role", list(Role))
async def test_the_table_is_obeyed(api_on_sqlite: Api, role: Role) -> None:
    await api_on_sqlite.install()
    client = await api_on_sqlite.as_role(role.value, "app_shop" if role is Role.APP else None)
    for operation, method, path in operations(api_on_sqlite):
        if operation in OPEN:
            continue
        response = await client.request(method, path, json={})
        if may(role, operation):
            assert response.status_code not in (401, 403, 405, 500), (operation, response.text)
        else:
            assert refused(response, 403, "forbidden")["role"] == role.value


async def test_without_a_token_nothing_is_open(api_on_sqlite: Api) -> None:
    for authorization in ("", "Bearer", "Bearer ", "Bearer orch_unknown", "Basic eDp5", "bearer é"):
        client = await api_on_sqlite.client(None)
        for operation, method, path in operations(api_on_sqlite):
            if operation in OPEN:
                continue
            headers = [(b"Authorization", authorization.encode())]
            response = await client.request(method, path, headers=headers, content=b"not even JSON")
            refused(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"


async def test_the_word_bearer_may_be_written_in_any_case(api_on_sqlite: Api) -> None:
    client = await api_on_sqlite.client(None)
    token = await api_on_sqlite.token("viewer")
    for word in ("Bearer", "bearer", "BEARER"):
        accepted(await client.get("/v1/executions", headers={"Authorization": f"{word} {token}"}))


async def test_an_app_sees_and_moves_only_what_is_its_own(api: Api) -> None:
    await api.install("app_shop", a_task(aliases=["shop"]))
    await api.install("app_else", a_task("app_else_sync", aliases=["else"]))
    foreign = await api.launch("app_else_sync", id="foreign")
    client = await api.as_role("app", "app_shop")
    own = accepted(await client.post("/v1/executions", json={"task_id": "shop", "id": "own"}), 201)
    assert own["launched_by"]["name"] == "app of the test"
    for task in ("app_else_sync", "else"):
        refused(await client.post("/v1/executions", json={"task_id": task}), 404, "not-found")
    refused(await client.post("/v1/apps/app_else/tasks/app_else_sync/run"), 404, "not-found")
    refused(await client.get("/v1/apps/app_else/tasks"), 404, "not-found")
    refused(await client.get("/v1/apps/app_else/tasks/app_else_sync"), 404, "not-found")
    path = "/v1/executions/foreign"
    for response in (
        await client.get(path),
        await client.patch(path, json={"subtext": "x"}),
        await client.post(f"{path}/abort"),
        await client.post(f"{path}/retry"),
        await client.get(f"{path}/calls"),
        await client.get(f"{path}/logs"),
        await client.get(f"{path}/events"),
    ):
        refused(response, 404, "not-found")
    for params in ({}, {"app_id": "app_shop"}, {"task_id": "shop"}):
        listed = accepted(await client.get("/v1/executions", params=params))
        assert [one["id"] for one in listed["items"]] == ["own"]
    for params in ({"app_id": "app_else"}, {"task_id": "else"}):
        assert accepted(await client.get("/v1/executions", params=params))["items"] == []
    assert len(accepted(await client.get("/v1/apps/app_shop/tasks"))["items"]) == 1
    accepted(await client.patch("/v1/executions/own", json={"subtext": "x"}))
    accepted(await client.post("/v1/executions/own/abort"))
    accepted(await client.post("/v1/executions/own/retry"))
    assert accepted(await api.admin.get(path))["status"] == foreign["status"]


async def test_a_role_is_told_what_it_may_not_do_before_the_body_is_read(api_on_sqlite: Api) -> None:
    viewer = await api_on_sqlite.as_role("viewer")
    problem = refused(
        await viewer.post("/v1/apps", content=b"{", headers={"Content-Type": "application/json"}),
        403,
        "forbidden",
    )
    assert "viewer" in problem["detail"]
    refused(await viewer.post("/v1/apps", json={"manifest": a_manifest()}), 403, "forbidden")
