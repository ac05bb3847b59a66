from typing import Any

import pytest

from orchestrator.api.shapes import executions as shapes
from tests.api.doors import Api, Json, a_task, accepted, conforms, fields, refused

ALLOW = a_task(on_multiple_exec="allow")


async def listed(api: Api, **params: Any) -> list[str]:
    answer = accepted(await api.admin.get("/v1/executions", params=params))
    return [execution["id"] for execution in answer["items"]]


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
