"""The WSGI endpoint, checked against the rules of PEP 3333 and mounted in Flask."""

import io
import json
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from app_sdk import App, Context, Done
from app_sdk.reply import MAX_BODY_BYTES
from tests.sdk.calls import SECRET, call_body, signed


@pytest.fixture
def app() -> App:
    app = App("app_x", "X", secret=SECRET)

    @app.task("import")
    async def import_(ctx: Context) -> Done:
        return Done("imported")

    return app


def request(app: App, body: bytes, **environ: str) -> tuple[str, dict[str, str], bytes]:
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in signed(body).items()}
    whole: dict[str, Any] = (
        {"REQUEST_METHOD": "POST", "QUERY_STRING": "", "CONTENT_LENGTH": str(len(body))} | headers | environ
    )
    whole["wsgi.input"] = io.BytesIO(body)
    setup_testing_defaults(whole)
    started: list[Any] = []

    def start_response(status: str, response_headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started.extend([status, dict(response_headers)])
        return lambda data: None

    chunks = validator(app.wsgi())(whole, start_response)
    content = b"".join(chunks)
    getattr(chunks, "close", lambda: None)()
    return started[0], started[1], content


def test_a_call_is_answered(app: App) -> None:
    status, headers, body = request(app, call_body())
    assert (status, headers["content-type"]) == ("200 OK", "application/json")
    assert json.loads(body)["message"] == "imported"


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"REQUEST_METHOD": "GET"}, "405 Method Not Allowed"),
        ({"CONTENT_LENGTH": ""}, "411 Length Required"),
        ({"CONTENT_LENGTH": "1" * 20}, "411 Length Required"),
        ({"CONTENT_LENGTH": str(MAX_BODY_BYTES + 1)}, "413"),
        ({"HTTP_WEBHOOK_SIGNATURE": "v1,AAAA"}, "401 Unauthorized"),
    ],
)
def test_what_is_no_call_is_refused(app: App, environ: dict[str, str], status: str) -> None:
    found, headers, _ = request(app, call_body(), **environ)
    assert found.startswith(status)
    assert headers["content-type"] == "application/problem+json"


def test_it_mounts_in_flask(app: App) -> None:
    flask = Flask("site")
    flask.wsgi_app = DispatcherMiddleware(flask.wsgi_app, {"/webhook": app.wsgi()})  # type: ignore[method-assign]
    body = call_body()
    response = flask.test_client().post("/webhook", data=body, headers=signed(body))
    assert response.status_code == 200
    assert response.get_json()["message"] == "imported"
