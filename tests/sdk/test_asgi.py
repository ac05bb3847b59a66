"""The ASGI endpoint, by itself and mounted."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from app_sdk import App, Context, Done
from app_sdk.reply import MAX_BODY_BYTES
from tests.sdk.calls import SECRET, call_body, signed


@pytest.fixture
def app() -> App:
    app = App("app_x", "X", secret=SECRET)

    @app.task("import")
    def import_(ctx: Context) -> Done:
        return Done("imported")

    return app


def client_of(asgi: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://app")


@pytest.mark.parametrize("path", ["/", "/webhook", "/api/webhooks"])
async def test_a_call_is_answered_at_any_path(app: App, path: str) -> None:
    body = call_body()
    async with client_of(app) as client:
        response = await client.post(path, content=body, headers=signed(body))
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json()["message"] == "imported"


async def test_it_mounts_in_another_application(app: App) -> None:
    body = call_body()
    async with client_of(Starlette(routes=[Mount("/orchestrator", app)])) as client:
        response = await client.post("/orchestrator/webhook", content=body, headers=signed(body))
    assert response.json()["message"] == "imported"


async def test_a_body_may_come_in_pieces(app: App) -> None:
    body = call_body()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    async with client_of(app) as client:
        response = await client.post("/", content=pieces(), headers=signed(body))
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
async def test_only_post_is_taken(app: App, method: str) -> None:
    async with client_of(app) as client:
        response = await client.request(method, "/")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_a_refusal_is_a_problem_document(app: App) -> None:
    async with client_of(app) as client:
        response = await client.post("/", content=call_body())
    assert (response.status_code, response.headers["content-type"]) == (401, "application/problem+json")


async def exchange(app: App, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    events = iter(received)
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return next(events)

    async def send(event: Any) -> None:
        sent.append(event)

    await app(scope, receive, send)
    return sent


HTTP = {"type": "http", "method": "POST", "headers": []}


async def test_an_endless_body_is_cut_off(app: App) -> None:
    piece = {"type": "http.request", "body": bytes(MAX_BODY_BYTES // 4 + 1), "more_body": True}
    sent = await exchange(app, dict(HTTP), piece, piece, piece, piece)
    assert sent[0]["status"] == 413


async def test_a_caller_that_hangs_up_gets_nothing(app: App) -> None:
    begun = {"type": "http.request", "body": b"{", "more_body": True}
    assert await exchange(app, dict(HTTP), begun, {"type": "http.disconnect"}) == []


async def test_the_server_may_start_and_stop_it(app: App) -> None:
    sent = await exchange(app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [event["type"] for event in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_websocket_is_turned_away(app: App) -> None:
    [event] = await exchange(app, {"type": "websocket"}, {"type": "websocket.connect"})
    assert event["type"] == "websocket.close"
