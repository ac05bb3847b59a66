import re
from typing import Any

import httpx

from tests.api.doors import Api, Json, accepted


async def document(api: Api) -> Json:
    return accepted(await (await api.client(None)).get("/openapi.json"))


def operations(found: Json) -> list[tuple[str, Json]]:
    return [(f"{method} {path}", one) for path, item in found["paths"].items() for method, one in item.items()]


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


async def test_every_operation_is_described_with_its_answers(api_on_sqlite: Api) -> None:
    found = await document(api_on_sqlite)
    assert found["openapi"].startswith("3.1")
    assert found["servers"] == [{"url": "http://127.0.0.1:8400"}]
    for name, operation in operations(found):
        assert operation["description"], name
        problem = operation["responses"]["default"]["content"]["application/problem+json"]
        assert problem["schema"]["$ref"].endswith("/Problem"), name
        [success] = [status for status in operation["responses"] if status.startswith("2")]
        content = operation["responses"][success].get("content", {})
        assert success == "204" or any(one["schema"] for one in content.values()), name
        assert "HTTPValidationError" not in str(operation["responses"].get("422")), name


async def test_every_reference_leads_somewhere(api_on_sqlite: Api) -> None:
    found = await document(api_on_sqlite)
    for reference in references(found):
        node: Any = found
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node
    assert "HTTPValidationError" not in found["components"]["schemas"]


async def test_what_people_send_has_an_example(api_on_sqlite: Api) -> None:
    schemas = (await document(api_on_sqlite))["components"]["schemas"]
    for name in (
        "Launch",
        "Run",
        "Installation",
        "NewToken",
        "NewWorkspace",
        "StateChange",
        "Execution",
        "Problem",
    ):
        assert schemas[name]["examples"], name
        assert schemas[name].get("additionalProperties", False) is (name == "Problem") or name == "Execution"


async def test_a_token_is_asked_for_where_one_is_needed(api_on_sqlite: Api) -> None:
    found = await document(api_on_sqlite)
    [scheme] = found["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    open_ones = {name for name, operation in operations(found) if "security" not in operation}
    assert open_ones == {
        "get /healthz",
        "get /readyz",
        "post /collector/data",
        "post /external-events/callback/{signed}",
    }


async def test_every_post_takes_an_idempotency_key(api_on_sqlite: Api) -> None:
    for name, operation in operations(await document(api_on_sqlite)):
        headers = {one["name"] for one in operation.get("parameters", []) if one["in"] == "header"}
        assert ("idempotency-key" in {header.lower() for header in headers}) is name.startswith("post "), name


async def test_the_page_loads_everything_from_here(api_on_sqlite: Api) -> None:
    client = await api_on_sqlite.client(None)
    page = await client.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 3
    for address in loaded:
        assert address.startswith("/docs/")
        asset: httpx.Response = await client.get(address)
        assert (asset.status_code, asset.content[:1] != b"") == (200, True)
        assert asset.headers["content-type"].partition(";")[0] in ("text/css", "text/javascript", "image/png")
    assert "://" not in page.text.replace("http://www.w3.org", "")
    assert (await client.get("/docs/secret")).status_code == 404
