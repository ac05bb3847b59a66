"""Awaiting callbacks through a real server, with the bodies and headers as VibeIQ's documentation prints them."""

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from app_sdk.protocol.signing import generate_secret
from tests.support.server import ROOT, Server, running_sample, running_server, wait_for

pytestmark = pytest.mark.slow

SECRET = generate_secret()

# As they are printed, but for the comment in the body.
BODY = """{
        "taskId": "12345678",
        "logs": "line one\\nline two",
        "status": "SUCCESS",
        "output": {
            "zipFileLocation": "https://example.com/jpeg"
        },
        "subtext": "Completed with 90/100 passing"
    }"""
CURL = """curl --request PUT \\
    --url URL/api/event-workflow-tasks/my-task-id \\
    --header 'Content-Type: application/json' \\
    --header 'X-Api-Key: API_KEY' \\
    --header 'X-Api-Org: ORG_KEY' \\
    --data '{
        "subtext": "Completed with 90/100 passing"
    }'"""


@contextmanager
def answering(received: list[Any]) -> Iterator[str]:
    """An app that answers `is_done` to everything; gives its URL, and keeps what it was sent of the worker."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(json.loads(body)["task_exec_worker"])
            answer = b'{"is_done": true}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/webhooks"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sample(server: Server, url: str) -> None:
    manifest = httpx.get(f"{url}/manifest.json").json()
    server.install(manifest, SECRET)


def printed_put(server: Server) -> httpx.Response:
    """The request that the printed command makes."""
    command = CURL.replace("\\\n", " ").replace("URL/", f"{server.url}/").replace("API_KEY", server.token)
    words = shlex.split(command)
    headers = [words[place + 1].replace("ORG_KEY", "default") for place, word in enumerate(words) if word == "--header"]
    pairs = dict(header.split(": ", 1) for header in headers)
    url, data = words[words.index("--url") + 1], words[words.index("--data") + 1]
    return httpx.put(url, content=data, headers=pairs)


def awaiting(server: Server, execution_id: str) -> Any:
    def probe() -> Any:
        found = server.execution(execution_id)
        return found if found["workers"][0]["status"] == "awaiting" else None

    return wait_for(probe, f"worker 0 of {execution_id} to await a callback")


def test_the_printed_requests(tmp_path: Path) -> None:
    task = {"id": "app_idle_job", "name": "Job", "is_async": True, "on_multiple_exec": "allow"}
    from_app: list[Any] = []
    with running_server(tmp_path / "data") as server, answering(from_app) as url:
        server.install({"id": "app_idle", "name": "Idle", "webhook_endpoint": url, "tasks": [task]}, SECRET)
        for execution_id in ("12345678", "my-task-id"):
            server.launch("app_idle_job", id=execution_id)
            awaiting(server, execution_id)
        put = printed_put(server)
        assert (put.status_code, put.json()["status"]) == (200, "AWAITING"), put.text
        shown = server.execution("my-task-id")
        assert shown["subtext"] == shown["workers"][0]["subtext"] == "Completed with 90/100 passing"

        headers = {"Content-Type": "application/json", "Authorization": f"bearer {server.token}"}
        for path in ("/api/external-events/callback/", "/external-events/callback/", "/api/external-events/callback"):
            posted = httpx.post(f"{server.url}{path}", content=BODY, headers=headers)
            assert posted.status_code == 200, posted.text
            assert posted.json() == {
                "id": "12345678",
                "status": "COMPLETE",
                "subtext": "Completed with 90/100 passing",
                "output": {"zipFileLocation": "https://example.com/jpeg"},
            }
        ended = server.ended("12345678")
        assert (ended["status"], ended["output"]) == ("succeeded", {"zipFileLocation": "https://example.com/jpeg"})
        [line] = server.get("/v1/executions/12345678/logs")["items"]
        assert line["line"] == "line one\nline two"
        assert line["logged_at"] >= ended["started_at"]
        other = httpx.post(
            f"{server.url}/api/external-events/callback/", content=BODY.replace("90", "91"), headers=headers
        )
        assert other.status_code == 409
        foreign = httpx.post(
            f"{server.url}/api/external-events/callback/", content=BODY.replace("12345678", "8"), headers=headers
        )
        assert foreign.status_code == 404
        # The worker that still awaits outlives its server, and needs no token at the URL that it was given.
        server.kill()
        server.start()
        callback_url = next(one["callback_url"] for one in from_app if one["task_exec_id"] == "my-task-id")
        assert callback_url.startswith(server.url)
        assert httpx.post(callback_url, json={"status": "FAILURE", "subtext": "no"}).status_code == 200
        failed = server.ended("my-task-id")
        assert (failed["status"], failed["message"]) == ("failed", "worker 0: the callback reported a failure: no")


def test_the_zip_job(tmp_path: Path) -> None:
    with (
        running_server(tmp_path / "data") as server,
        running_sample(tmp_path, "sample_apps.zip_job", SECRET) as url,
    ):
        sample(server, url)
        ended = server.ended(server.launch("app_zip_pack", {"files": {"a.txt": "a"}}))
        assert (ended["status"], ended["message"]) == ("succeeded", "1 files handed over")
        assert httpx.get(ended["output"]["zipFileLocation"]).content.startswith(b"PK")
        failed = server.ended(server.launch("app_zip_pack", {}))
        assert failed["status_code"] == -2
        assert "there are no files to zip" in failed["message"]
        assert failed["totals"]["calls"] == 1


def test_the_command_line_is_a_third_party_too(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server, answering([]) as url:
        task = {"id": "app_idle_job", "name": "Job", "is_async": True}
        manifest = {"id": "app_idle", "name": "Idle", "webhook_endpoint": url, "tasks": [task]}
        server.install(manifest, SECRET)
        server.launch("app_idle_job", id="by-hand")
        awaiting(server, "by-hand")
        command = ["exec", "callback", "by-hand", "--success", "--output", '{"n": 1}', "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *command],
            cwd=ROOT,
            env={**os.environ, "ORCHESTRATOR_URL": server.url, "ORCHESTRATOR_TOKEN": server.token},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["status"] == "COMPLETE"
        assert server.ended("by-hand")["output"] == {"n": 1}
