"""What a worker asks of the server: to take its tasks, to register them, to hand them out, and to hear how they end."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from app_sdk.errors import error_of
from app_sdk.protocol.strict_json import JsonError, dumps, loads

POLL_SECS = 20.0
_PATIENCE_SECS = 15.0
# More than any input or result may have, with what is around them.
_DEPTH = 200
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
# As many as the server takes in one batch.
_MOST_AT_ONCE = 100
_PASSING_KINDS = frozenset({"unavailable", "outcome-unknown", "internal"})


class AwayError(Exception):
    """The server did not answer, or cannot just now."""


class RefusedError(Exception):
    """The server refused it; `kind` is the type of the error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Server:
    """The server's API for workers; use it as an asynchronous context manager."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"User-Agent": "app_sdk.worker"} | ({"Authorization": f"Bearer {token}"} if token else {})
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=_PATIENCE_SECS, limits=limits)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def register(self, app_id: str, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Add the tasks to the app, or bring them up to date. Raises AwayError; ApiError for a refusal."""
        response = await self._send("PUT", f"/v1/apps/{quote(app_id, safe='')}/tasks", {"tasks": list(tasks)})
        if not response.is_success:
            raise error_of(response)

    async def poll(self, tasks: Sequence[str], name: str) -> list[dict[str, Any]]:
        """Wait for a task, for a while. Raises AwayError, RefusedError."""
        asked = {"taskDefinitions": list(tasks), "executor": name, "timeout": int(POLL_SECS * 1000)}
        found = await self.call("long-poll", asked, patience_secs=POLL_SECS + _PATIENCE_SECS)
        return list(found["resources"])

    async def call(self, method: str, params: Mapping[str, Any], patience_secs: float = _PATIENCE_SECS) -> Any:
        """Call a method of the door for executors. Raises AwayError, RefusedError."""
        return _result(await self._rpc(_method(method, params), patience_secs))

    async def notify(self, notes: Sequence[Mapping[str, Any]]) -> None:
        """Tell several things of a claim, in their order. Raises AwayError; RefusedError where one was refused."""
        for begin in range(0, len(notes), _MOST_AT_ONCE):
            batch = [_method("notify", note) for note in notes[begin : begin + _MOST_AT_ONCE]]
            answers = await self._rpc(batch, _PATIENCE_SECS)
            # A batch that is refused as a whole has one answer.
            for answer in answers if isinstance(answers, list) else [answers]:
                _result(answer)

    async def _rpc(self, asked: Any, patience_secs: float) -> Any:
        response = await self._send("POST", "/rpc", asked, patience_secs)
        try:
            return loads(response.content, max_depth=_DEPTH)
        except JsonError:
            # A gateway before the server, most likely.
            raise AwayError(f"{response.url} answered HTTP {response.status_code}, and no JSON") from None

    async def _send(self, method: str, path: str, body: Any, patience_secs: float = _PATIENCE_SECS) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        try:
            content = dumps(body, max_depth=_DEPTH)
        except JsonError as error:
            raise RefusedError("invalid-params", f"this cannot be sent: {error}") from None
        try:
            response = await self._http.request(method, path, content=content, headers=headers, timeout=patience_secs)
        except httpx.TransportError as error:
            raise AwayError(str(error) or type(error).__name__) from error
        if response.status_code in _PASSING:
            raise AwayError(f"HTTP {response.status_code}")
        return response


def _method(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": f"awf.task/{name}", "params": dict(params)}


def _result(answer: Any) -> Any:
    match answer:
        case {"result": result}:
            return result
        case {"error": {"type": str(kind), "message": str(message)}} if kind in _PASSING_KINDS:
            raise AwayError(message)
        case {"error": {"type": str(kind), "message": str(message)}}:
            raise RefusedError(kind, message)
        case _:
            raise AwayError("what answers is no orchestrator")
