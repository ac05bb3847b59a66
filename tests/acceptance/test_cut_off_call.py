"""A server killed in the middle of a call: the step is called again, with the same key, and applied once."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import PATIENCE_SECS, running_server, wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

pytestmark = pytest.mark.slow


@dataclass(slots=True)
class HoldingApp:
    """Keeps the first call waiting until `release`; answers every later one at once."""

    url: str = ""
    keys: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def answer(self, key: str) -> dict[str, Any]:
        self.keys.append(key)
        if len(self.keys) == 1:
            self.release.wait(PATIENCE_SECS)
        item = {"kind": "receipt", "receipt": {"external_id": "r1"}}
        increment = {"operation": "increment", "key": "receipts", "value": 1}
        return {"is_done": True, "items_to_import": [item], "app_state_mutations": [increment]}


@contextmanager
def _holding_app() -> Iterator[HoldingApp]:
    app = HoldingApp()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(app.answer(self.headers["Idempotency-Key"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    app.url = f"http://127.0.0.1:{server.server_port}/webhooks"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        app.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_call_that_a_power_cut_ended_is_made_again_with_its_key(tmp_path: Path) -> None:
    task = {"id": "app_till_print", "name": "Print"}
    with _holding_app() as app, running_server(tmp_path / "data") as server:
        server.install({"id": "app_till", "name": "Till", "webhook_endpoint": app.url, "tasks": [task]}, SECRET)
        execution = server.launch("app_till_print")
        wait_for(lambda: app.keys, "the first call")
        server.kill()
        server.start()

        assert server.ended(execution)["status"] == "succeeded"
        assert len(app.keys) == 2
        assert len(set(app.keys)) == 1
        calls = server.get(f"/v1/executions/{execution}/calls")["items"]
        assert sorted((call["step"], call["outcome"]) for call in calls) == [(0, "applied"), (0, "lost")]
        assert server.get("/v1/apps/app_till/state") == {"state": {"receipts": 1}}
        assert len(server.collected()) == 1
