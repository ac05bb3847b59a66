"""A server and a sample app in one, for the demo: `python fake_server.py PORT SUCCEEDED|FAILED|DIES`.

It answers an execution's first two readings with progress and the next ones with its end. Where it is to die,
it kills itself at the second reading of its first life; the file `died` tells the second life of it.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ENDS_AT_READING = 3
DIES_AT_READING = 2


class Fake(BaseHTTPRequestHandler):
    """Plays the API and the app."""

    readings = 0
    end = "succeeded"

    def do_GET(self) -> None:
        """Answer a reading."""
        path = self.path.partition("?")[0]
        if path == "/collector/items":
            self._send(b'{"kind": "airport"}\n' * 100, "application/x-ndjson")
        elif path.startswith("/v1/executions/"):
            self._answer(self._execution())
        elif path == "/manifest.json":
            self._answer({"id": "app_catalog", "name": "Catalogue", "tasks": []})
        else:
            self._answer({"status": "ready"})

    def do_POST(self) -> None:
        """Answer a change, and write it down for the test."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        note = {"path": self.path, "body": body, "token": self.headers.get("Authorization")}
        with Path("posted").open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")
        self._answer({"id": "e1"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the library
        """Be quiet."""

    def _execution(self) -> dict[str, Any]:
        Fake.readings += 1
        if Fake.end == "dies" and Fake.readings == DIES_AT_READING and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        is_over = Fake.readings >= ENDS_AT_READING
        return {
            "id": "e1",
            "task_id": "app_catalog_import",
            "status": {"dies": "succeeded"}.get(Fake.end, Fake.end) if is_over else "running",
            "message": "worker 0: HTTP 400" if Fake.end == "failed" else None,
            "started_at": "2026-11-21T08:30:00Z",
            "ended_at": "2026-11-21T08:30:10Z" if is_over else None,
            "workers": [{"worker_id": number, "status": "done" if is_over else "calling"} for number in range(10)],
            "totals": {"calls": 40, "retries": 3, "items": 100, "delivered_items": 100},
        }

    def _answer(self, document: dict[str, Any]) -> None:
        self._send(json.dumps(document).encode(), "application/json")

    def _send(self, body: bytes, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port, Fake.end = int(sys.argv[1]), sys.argv[2]
    (Path(".orchestrator-demo") / "admin-token").write_text("orch_demo\n", encoding="utf-8")
    Path("environment").write_text(json.dumps(dict(os.environ)), encoding="utf-8")
    with ThreadingHTTPServer(("127.0.0.1", port), Fake) as server:
        server.serve_forever()
