"""Which calls an app takes: signed ones, with a body that is a turn of a task."""

import json
import logging

import pytest

from app_sdk import App, Context, Done
from app_sdk.protocol.signing import rmd_signature
from tests.sdk.calls import SECRET, app_with, call_body, signed


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-Rmd-Signature": "0" * 64}, 401),
        ({"X-Rmd-Signature": rmd_signature(SECRET, call_body())}, 200),
        ({"x-rmd-signature": rmd_signature(SECRET, call_body())}, 200),
        ({"webhook-id": "m", "webhook-timestamp": "1614265330", "webhook-signature": "v1,AAAA"}, 401),
    ],
)
async def test_only_signed_calls_run(headers: dict[str, str], status: int) -> None:
    calls = []

    def task(ctx: Context) -> Done:
        calls.append(ctx)
        return Done()

    reply = await app_with(task).handle(call_body(), headers)
    assert (reply.status, len(calls)) == (status, 1 if status == 200 else 0)


async def test_a_refused_signature_says_why_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    reply = await app_with(lambda ctx: Done()).handle(call_body(), {})
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "the request has neither webhook-signature nor X-Rmd-Signature",
    }
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "$: an empty body"),
        (b"[]", "$: "),
        (call_body(worker_id=10), "$.task_exec_worker.worker_id: "),
        (
            b'{"workspace_id":"w","app_id":"app_x","kind":"data_hook"}',
            "app_x has tasks, and nothing for 'data_hook'",
        ),
    ],
)
async def test_a_body_that_is_no_call_is_a_problem(body: bytes, detail: str) -> None:
    reply = await app_with(lambda ctx: Done()).handle(body, signed(body))
    assert reply.status == 400
    assert json.loads(reply.body)["detail"].startswith(detail)


async def test_the_secret_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App("app_x", "X")
    app.task("import")(lambda ctx: Done())
    monkeypatch.delenv("APP_SECRET_KEY", raising=False)
    body = call_body()
    refusal = await app.handle(body, signed(body))
    assert refusal.status == 500
    assert "set APP_SECRET_KEY" in json.loads(refusal.body)["detail"]
    monkeypatch.setenv("APP_SECRET_KEY", SECRET)
    assert (await app.handle(body, signed(body))).status == 200
    assert (await app.handle(body, {})).status == 401


async def test_verification_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APP_SECRET_KEY", raising=False)
    app = App("app_x", "X", verify=False)
    app.task("import")(lambda ctx: Done())
    assert (await app.handle(call_body(), {})).status == 200
