"""A client of the API that logs each call with its outcome, so that the checker knows what was asked and promised."""

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.history.witness.journal import Journal, clock

Json = dict[str, Any]

TIMEOUT_SECS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `status` 0 if nothing did."""

    status: int
    body: Json

    @property
    def outcome(self) -> str:
        if 200 <= self.status < 300:
            return "ok"
        return "refused" if 300 <= self.status < 500 else "unknown"


class RecordingClient:
    """Calls one node with one token; may be used by one thread at a time."""

    def __init__(self, url: str, token: str, log: Path) -> None:
        self._url = url
        self._token = token
        self._journal = Journal(log)

    def install(self, manifest: Json, secret: str) -> Answer:
        body = {"manifest": manifest, "secret_key": secret}
        return self._call("install", ("POST", "/v1/apps"), {"app_id": manifest["id"]}, body)

    def launch(self, task_id: str, state: Json, key: str | None = None, **more: Any) -> Answer:
        """`more`: id, multiple_exec_key, run_at, workers."""
        asked = {"task_id": task_id, "state": state, **more}
        return self._call("launch", ("POST", "/v1/executions"), asked, asked, key)

    def read(self, execution_id: str) -> Answer:
        return self._call("read", ("GET", f"/v1/executions/{quote(execution_id)}"), {"execution_id": execution_id})

    def abort(self, execution_id: str, key: str | None = None) -> Answer:
        return self._order("abort", execution_id, key)

    def retry(self, execution_id: str, key: str | None = None) -> Answer:
        return self._order("retry", execution_id, key)

    def mutate(self, app_id: str, mutations: list[Json]) -> Answer:
        asked = {"app_id": app_id, "mutations": mutations}
        return self._call("mutate", ("PATCH", f"/v1/apps/{app_id}/state"), asked, {"mutations": mutations})

    def _order(self, op: str, execution_id: str, key: str | None) -> Answer:
        path = f"/v1/executions/{quote(execution_id)}/{op}"
        return self._call(op, ("POST", path), {"execution_id": execution_id}, {}, key)

    def _call(
        self, op: str, request: tuple[str, str], asked: Json, body: Json | None = None, key: str | None = None
    ) -> Answer:
        begin = clock()
        answer = self._request(request, body, key)
        self._journal.write(
            {
                "event": "call",
                "op": op,
                "begin": begin,
                "end": clock(),
                "key": key,
                "asked": asked,
                "outcome": answer.outcome,
                "status": answer.status,
                "answered": answer.body,
            }
        )
        return answer

    def _request(self, request: tuple[str, str], body: Json | None, key: str | None) -> Answer:
        method, path = request
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=TIMEOUT_SECS) as answer:
                return Answer(answer.status, json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {"problem": error.read().decode("utf-8", "replace")})
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(0, {"problem": repr(error)})
