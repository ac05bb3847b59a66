"""What an app serves over HTTP besides its webhook: the manifest to install it by."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from app_sdk import App, ManifestError
from app_sdk.asgi import Receive, Scope, Send
from app_sdk.protocol.strict_json import dumps

Asgi: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

WEBHOOK_PATH = "/webhooks"
MANIFEST_PATH = "/manifest.json"


class Site:
    """An app at POST /webhooks, and at GET /manifest.json its manifest.

    The manifest's endpoint is below the URL that the manifest was asked for at: whoever can read it there can
    call the app there too. `webhooks`, when given, stands in front of the app.
    """

    def __init__(self, app: App, webhooks: Asgi | None = None) -> None:
        self._app = app
        self._webhooks = webhooks or app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == WEBHOOK_PATH:
            await self._webhooks(scope, receive, send)
        elif path == MANIFEST_PATH:
            await self._send_manifest(scope, send)
        else:
            detail = f"there are POST {WEBHOOK_PATH} and GET {MANIFEST_PATH} here"
            await send_problem(send, HTTPStatus.NOT_FOUND, detail)

    async def _send_manifest(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            detail = "the manifest is to be read: GET"
            await send_problem(send, HTTPStatus.METHOD_NOT_ALLOWED, detail, {"allow": "GET, HEAD"})
            return
        try:
            manifest = self._app.manifest(_base_url(scope) + WEBHOOK_PATH)
        except ManifestError as error:
            # The one part that is not the app's own is the URL, from the request's header Host.
            await send_problem(send, HTTPStatus.BAD_REQUEST, str(error))
            return
        await send_json(send, HTTPStatus.OK, manifest)


async def send_json(
    send: Send, status: HTTPStatus, document: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> None:
    """Answer with a JSON document."""
    body = dumps(document)
    sent = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    encoded = [(name.encode(), value.encode()) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status.value, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def send_problem(send: Send, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
    """Refuse, in the form of RFC 9457."""
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    await send_json(send, status, problem, {"content-type": "application/problem+json", **(headers or {})})


def _base_url(scope: Scope) -> str:
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    if not host:
        name, port = scope["server"]
        host = f"{name}:{port}"
    return f"{scope['scheme']}://{host}{scope.get('root_path', '')}"
