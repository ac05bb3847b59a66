"""An app as a WSGI application, for Flask, Django and their like."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias
from wsgiref.types import StartResponse, WSGIEnvironment

from app_sdk.reply import MAX_BODY_BYTES, Reply, problem, too_large, wrong_method

_LENGTH_CHARS = 15

Handle: TypeAlias = Callable[[bytes, Mapping[str, str]], Reply]


class WsgiEndpoint:
    """A WSGI application around an app's way of handling a call."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        reply = self._reply(environ)
        status = HTTPStatus(reply.status)
        start_response(f"{status.value} {status.phrase}", reply.headers)
        return [reply.body]

    def _reply(self, environ: WSGIEnvironment) -> Reply:
        if environ["REQUEST_METHOD"] != "POST":
            return wrong_method()
        length = str(environ.get("CONTENT_LENGTH") or "")
        if not length.isdecimal() or len(length) > _LENGTH_CHARS:
            return problem(HTTPStatus.LENGTH_REQUIRED, "the header Content-Length is missing or makes no sense")
        if int(length) > MAX_BODY_BYTES:
            return too_large()
        return self._handle(environ["wsgi.input"].read(int(length)), _headers(environ))


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    return {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
