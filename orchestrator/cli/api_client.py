"""The HTTP API as the command line uses it: JSON in, JSON out, and an error that says what to do next."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from app_sdk.protocol import strict_json
from orchestrator.cli.failures import Misused, Unreachable
from orchestrator.cli.formats import JsonObject
from orchestrator.cli.printing import items
from orchestrator.cli.problems import not_an_orchestrator, refusal, unreachable

# The server's own bound on `limit`.
MOST_PER_PAGE = 500
_TIMEOUT = httpx.Timeout(30, connect=5)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

Query = Mapping[str, object]


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine."""
    return httpx.URL(url).host in _LOOPBACK


class ApiClient:
    """Requests to one server; a path is given in segments. Raises CommandError for all that goes wrong."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        headers = {"Accept": "application/json", "User-Agent": "orchestrator-cli"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            headers=headers,
            timeout=_TIMEOUT,
            # To load the certificates of the world takes longer than to ask a local server.
            verify=url.startswith("https:"),
            # A proxy for the outside world knows no way to this machine.
            trust_env=not is_loopback(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, *segments: str, query: Query | None = None) -> JsonObject:
        """Read a document; query values of None are left out."""
        return self._send("GET", segments, query=query)

    def post(self, *segments: str, body: object = None, idempotency_key: str | None = None) -> JsonObject:
        """Create or do something."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._send("POST", segments, body=body, headers=headers)

    def launch(self, *segments: str, body: object, idempotency_key: str | None = None) -> JsonObject:
        """Create an execution, under a key that is made here where none is given; what is unclear can be sent again."""
        key = idempotency_key or str(uuid4())
        try:
            return self.post(*segments, body=body, idempotency_key=key)
        except Unreachable as error:
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                # It has not left this machine.
                raise
            again = f"It may have been launched. Sent again with --idempotency-key {key}, it is launched once."
            raise Unreachable(error.message, again, *error.next_steps) from error

    def put(self, *segments: str, body: object) -> JsonObject:
        """Replace something."""
        return self._send("PUT", segments, body=body)

    def patch(self, *segments: str, body: object) -> JsonObject:
        """Change something."""
        return self._send("PATCH", segments, body=body)

    def delete(self, *segments: str) -> JsonObject:
        """Remove something."""
        return self._send("DELETE", segments)

    def collect(self, *segments: str, limit: int, cursor: str | None = None, query: Query | None = None) -> JsonObject:
        """The first `limit` entries of a list, from `cursor` on, as one page."""
        found: list[JsonObject] = []
        while True:
            asked = {**(query or {}), "limit": min(limit - len(found), MOST_PER_PAGE), "cursor": cursor}
            page = self.get(*segments, query=asked)
            found.extend(items(page))
            following = page.get("next_cursor")
            cursor = following if isinstance(following, str) else None
            if cursor is None or len(found) >= limit:
                return {"items": found, "next_cursor": cursor}

    def lines(
        self, *segments: str, query: Query | None = None, accept: str = "application/x-ndjson"
    ) -> Iterator[bytes]:
        """Read a document of lines as it comes, in pieces of any length."""
        url = self._address(segments)
        headers = {"Accept": accept}
        try:
            with self._http.stream("GET", url, params=_given(query), headers=headers) as response:
                if not response.is_success:
                    response.read()
                    raise refusal(self.url, segments, response)
                yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise unreachable(self.url, error) from error

    def _send(
        self,
        method: str,
        segments: tuple[str, ...],
        *,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> JsonObject:
        content = None if body is None else strict_json.dumps(body, max_depth=_DEPTH)
        sent = {**(headers or {}), **({"Content-Type": "application/json"} if content else {})}
        try:
            response = self._http.request(
                method, self._address(segments), params=_given(query), content=content, headers=sent
            )
        except httpx.HTTPError as error:
            raise unreachable(self.url, error) from error
        if not response.is_success:
            raise refusal(self.url, segments, response)
        return self._document(response)

    def _address(self, segments: tuple[str, ...]) -> str:
        if not all(segments):
            raise Misused("an id is empty")
        return "/".join([self.url, *(quote(segment, safe="") for segment in segments)])

    def _document(self, response: httpx.Response) -> JsonObject:
        if not response.content:
            return {}
        try:
            document = strict_json.loads(response.content, max_depth=_DEPTH)
        except strict_json.JsonError as error:
            raise not_an_orchestrator(self.url, f"its answer is not JSON ({error.problem})") from None
        if not isinstance(document, dict):
            raise not_an_orchestrator(self.url, "its answer is not a JSON object")
        return dict(document)


_DEPTH = strict_json.MAX_DEPTH + strict_json.ENVELOPE_DEPTH


def _given(query: Query | None) -> dict[str, str]:
    return {name: str(value) for name, value in (query or {}).items() if value is not None}
