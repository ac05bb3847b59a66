"""The witness app: logs every call before it does anything, does what the plan in the worker's state says, logs that.

`GET /manifest.json?id=app_x` gives a manifest to install: a task `<id>_work` that may run many times at once.
"""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.history.witness.http_server import Exchange, arguments, serve
from tests.history.witness.journal import Journal, clock
from tests.history.witness.plan import Deed, decide

_RETRY_SOON = (("retry-after", "0"),)


class WitnessApp:
    """`first_id` numbers its requests: those of the apps of a run, and of an app's restarts, must not meet."""

    def __init__(self, journal: Journal, first_id: int = 1) -> None:
        self._journal = journal
        self._next_id = first_id
        self._host = ""

    def started(self, host: str) -> None:
        self._host = host
        self._journal.write({"event": "started", "at": clock(), "host": host})

    def handle(self, exchange: Exchange) -> None:
        if exchange.request.method == "GET":
            self._show_manifest(exchange)
            return
        id_ = self._next_id
        self._next_id += 1
        body = exchange.request.body.decode("utf-8", "replace")
        self._journal.write(
            {
                "event": "request",
                "id": id_,
                "at": clock(),
                "method": exchange.request.method,
                "path": exchange.request.path,
                "host": exchange.request.headers.get("host"),
                "headers": exchange.request.headers,
                "body": body,
            }
        )
        deed = decide(json.loads(body)["task_exec_worker"], id_)
        if deed.wait_secs:
            asyncio.get_running_loop().call_later(deed.wait_secs, self._do, exchange, id_, deed)
        else:
            self._do(exchange, id_, deed)

    def _do(self, exchange: Exchange, id_: int, deed: Deed) -> None:
        if deed.why:
            self._journal.write({"event": "silence", "id": id_, "at": clock(), "why": deed.why})
            exchange.cut()
            return
        body = "no JSON {" if deed.answer is None else json.dumps(deed.answer)
        self._journal.write({"event": "answer", "id": id_, "at": clock(), "status": deed.status, "body": body})
        exchange.answer(deed.status, body.encode(), _RETRY_SOON if deed.status == 503 else ())

    def _show_manifest(self, exchange: Exchange) -> None:
        asked = parse_qs(urlsplit(exchange.request.path).query)
        app_id = asked.get("id", ["app_witness"])[0]
        exchange.answer(200, json.dumps(manifest(app_id, f"http://{self._host}/webhooks")).encode())


def manifest(app_id: str, endpoint: str) -> dict[str, Any]:
    """One task, `<app id>_work`, whose calls are repeated soon and often."""
    task = {
        "id": f"{app_id}_work",
        "name": "Work",
        "on_multiple_exec": "allow",
        "retry": {"max_retries": 100, "initial_delay_secs": 0.05, "multiplier": 1.2, "max_delay_secs": 1},
    }
    return {"id": app_id, "name": "Witness", "webhook_endpoint": endpoint, "tasks": [task]}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--first-id", type=int, default=1, help="the number of its first request")
    asked = parser.parse_args()
    app = WitnessApp(Journal(asked.log, fsync=asked.fsync), asked.first_id)
    asyncio.run(serve(app.handle, asked.port, app.started))


if __name__ == "__main__":
    main()
