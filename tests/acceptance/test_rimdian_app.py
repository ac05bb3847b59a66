"""An app written for Rimdian, by the habits of its published template, runs unchanged."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import running_server

SECRET = "a plain secret, as Rimdian's apps have it"

MANIFEST = {
    "id": "appx_orders",
    "name": "Orders",
    "homepage": "https://example.com/orders",
    "author": "Example",
    "icon_url": "https://example.com/icon.png",
    "short_description": "Imports orders.",
    "description": "Imports orders.",
    "version": "1.0.0",
    "ui_endpoint": "https://localhost:3000",
    "tasks": [
        {
            "id": "appx_orders_sync",
            "name": "Sync",
            "description": "Imports the orders",
            "is_cron": False,
            "on_multiple_exec": "abort_existing",
        }
    ],
    "data_hooks": [{"id": "appx_orders_on_create", "name": "On create", "on": "on_success", "kind": ["user"]}],
    "sql_queries": [{"id": "appx_orders_all", "type": "select", "name": "All", "query": "*", "test_args": ["x"]}],
    "extra_columns": [{"kind": "user", "columns": [{"name": "appx_orders_level", "type": "varchar", "size": 128}]}],
    "app_tables": [{"name": "appx_orders_line", "shard_key": ["id"], "columns": [{"name": "id", "type": "varchar"}]}],
}

pytestmark = pytest.mark.slow


class _TemplateLikeHandler(BaseHTTPRequestHandler):
    """Compares X-Rmd-Signature with the hex digest of the raw body, and leaves out whatever it can."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        if self.headers.get("x-rmd-signature") != expected:
            self._reply(401, b"Invalid Signature header")
            return
        self._reply(200, json.dumps(_turn(json.loads(body)["task_exec_worker"])).encode())

    def log_message(self, *args: Any) -> None:
        return

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _turn(worker: dict[str, Any]) -> dict[str, Any]:
    state = dict(worker["worker_state"])
    match state.get("current_step", "step1"):
        case "step1":
            items = [{"kind": "user", "user": {"external_id": "123"}}, {"kind": "appx_orders_line", "n": 1}]
            state |= {"step1_took": "10s", "current_step": "step2"}
            return {
                "updated_worker_state": state,
                "items_to_import": [json.dumps(item) for item in items],
                "delay_next_request_in_secs": 1,
            }
        case "step2":
            return {"updated_worker_state": state | {"current_step": "done"}}
        case _:
            mutation = {"operation": "set", "key": "last_import_completed_at", "value": "2024-01-01T00:00:00Z"}
            return {"is_done": True, "message": "task is done", "app_state_mutations": [mutation]}


@contextmanager
def _template_app() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TemplateLikeHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/webhooks"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_app_by_the_template(tmp_path: Path) -> None:
    with _template_app() as url, running_server(tmp_path / "data") as server:
        server.install({**MANIFEST, "webhook_endpoint": url}, SECRET)
        execution = server.ended(server.launch("appx_orders_sync"))

        assert execution["status"] == "succeeded", execution["message"]
        assert execution["status_code"] == 1
        assert [item["kind"] for item in server.collected()] == ["user", "appx_orders_line"]
        state = {"last_import_completed_at": "2024-01-01T00:00:00Z"}
        assert server.get("/v1/apps/appx_orders/state") == {"state": state}
        shown = server.get("/v1/apps/appx_orders")["manifest"]
        assert shown["data_hooks"] == MANIFEST["data_hooks"]
        assert shown["app_tables"] == MANIFEST["app_tables"]
