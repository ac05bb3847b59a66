from collections.abc import AsyncIterator

import pytest

from orchestrator.store.database import Database
from tests.api.doors import Api, accepted, open_api, refused

CAP = 2000


@pytest.fixture
async def small(sqlite_database: Database) -> AsyncIterator[Api]:
    """An API that takes bodies of 2,000 bytes."""
    async with open_api(sqlite_database, body_bytes=CAP) as api:
        yield api


async def in_pieces(count: int, sent: list[int]) -> AsyncIterator[bytes]:
    for number in range(count):
        sent.append(number)
        yield b" " * 100


async def test_a_body_that_says_it_is_too_large_is_not_read(small: Api) -> None:
    response = await small.admin.post("/v1/executions", content=b" " * (CAP + 1))
    problem = refused(response, 413, "too-large")
    assert problem["limit_bytes"] == CAP
    assert "2,000" in problem["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/v1/executions", "/collector/data"])
async def test_a_body_that_does_not_say_so_is_cut_while_it_is_read(small: Api, path: str) -> None:
    sent: list[int] = []
    response = await small.admin.post(path, content=in_pieces(100, sent))
    refused(response, 413, "too-large")
    assert len(sent) == CAP // 100 + 1


async def test_a_body_of_the_whole_size_is_taken(small: Api) -> None:
    await small.install()
    text = b'{"task_id":"app_shop_sync"}'.ljust(CAP)
    response = await small.admin.post("/v1/executions", content=text)
    accepted(response, 201)


async def test_nul_has_no_place_in_an_address(api: Api) -> None:
    for path in ("/v1/executions/a%00b", "/v1/executions?key=%00", "/v1/apps/%00"):
        refused_one = await api.admin.get(path)
        assert refused_one.status_code == 400
        assert refused_one.json()["type"] == "urn:orchestrator:problem:bad-request"


async def test_odd_addresses_find_nothing(api: Api) -> None:
    for path in ("%FF", "%ED%A0%80", "%25", "'%3B--", "a" * 3000, "..%2F..", "%0A"):
        response = await api.admin.get(f"/v1/executions/{path}")
        assert response.status_code == 404
        assert response.json()["type"] == "urn:orchestrator:problem:not-found"
        assert accepted(await api.admin.get(f"/v1/executions?key={path}"))["items"] == []


async def test_every_answer_carries_the_security_headers(api_on_sqlite: Api) -> None:
    admin = api_on_sqlite.admin
    for response in (
        await admin.get("/v1/executions"),
        await admin.get("/v1/nothing"),
        await admin.get("/healthz"),
        await admin.get("/openapi.json"),
        await admin.get("/docs"),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
