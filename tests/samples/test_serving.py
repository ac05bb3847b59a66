"""What the samples serve over HTTP, and how they start."""

import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from app_sdk.protocol.manifest import read_manifest
from sample_apps.command_line import listen, serve, url_of
from sample_apps.hello import app
from sample_apps.serving import Site
from tests.samples.virtual_run import VirtualClock, VirtualRun


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Site(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8501") as client:
        yield client


async def test_hello_greets(client: httpx.AsyncClient, clock: VirtualClock) -> None:
    run = VirtualRun(client, clock, "app_hello", "app_hello_greet")
    await run.run({"name": "Ada"})
    assert (run.message, run.lanes[0].status, len(run.calls)) == ("Hello, Ada!", "done", 1)


async def test_the_manifest_names_the_url_that_it_was_asked_for_at(client: httpx.AsyncClient) -> None:
    answer = await client.get("/manifest.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert read_manifest(answer.content).webhook_endpoint == "http://127.0.0.1:8501/webhooks"
    elsewhere = await client.get("/manifest.json", headers={"host": "apps.example.com"})
    assert elsewhere.json()["webhook_endpoint"] == "http://apps.example.com/webhooks"


async def test_a_host_that_makes_no_url_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/manifest.json", headers={"host": "not a host"})
    assert answer.status_code == 400
    assert "$.webhook_endpoint" in answer.json()["detail"]


async def test_it_can_be_mounted_below_a_path() -> None:
    mounted = Starlette(routes=[Mount("/apps/hello", Site(app))])
    transport = httpx.ASGITransport(mounted)
    async with httpx.AsyncClient(transport=transport, base_url="http://apps") as client:
        manifest = (await client.get("/apps/hello/manifest.json")).json()
        assert manifest["webhook_endpoint"] == "http://apps/apps/hello/webhooks"
        assert (await client.post(manifest["webhook_endpoint"], content=b"{}")).status_code == 401


async def test_an_unsigned_call_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/webhooks", content=b"{}")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/webhooks", 405), ("POST", "/manifest.json", 405), ("POST", "/", 404)],
)
async def test_whatever_else_is_a_problem(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1"), ("0.0.0.0", "http://127.0.0.1"), ("::1", "http://[::1]")],
)
def test_a_listener_has_a_url(host: str, url: str) -> None:
    with listen(host, 0) as listener:
        assert url_of(listener) == f"{url}:{listener.getsockname()[1]}"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"cannot listen on 127.0.0.1, port {port}: .*--port"):
            listen("127.0.0.1", port)


def test_a_missing_uvicorn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with (
        listen("127.0.0.1", 0) as listener,
        pytest.raises(SystemExit, match=r"webhook-orchestrator\[server\]"),
    ):
        serve(Site(app), listener)


@pytest.mark.slow
@pytest.mark.parametrize("sample", ["hello", "catalog_import", "rate_limited_export"])
def test_it_serves_from_the_command_line_until_it_is_told_to_stop(sample: str) -> None:
    command = [sys.executable, "-m", f"sample_apps.{sample}", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("Listening on ").strip()
            manifest = httpx.get(f"{url}/manifest.json", trust_env=False)
            assert read_manifest(manifest.content).webhook_endpoint == f"{url}/webhooks"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM
