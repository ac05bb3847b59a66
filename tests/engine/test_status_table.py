"""What came back: every row of the status table, over real sockets.

Over 300 lines: it is one table of the protocol, and nobody would look for half of it elsewhere.
"""

import asyncio
import gzip
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks.webhooks import Webhook

from orchestrator.store.clock import from_micros
from tests.engine.scripted import ONE_RETRY, Run, Scripted, scripted_world
from tests.support.fake_app import HangUp, Received, Reply
from tests.support.waiting import eventually
from tests.support.world import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
LIMITS = {"answer_bytes": 65_536, "worker_state_bytes": 2048, "app_state_bytes": 2048, "items_per_answer": 3}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url, webhook={"timeout_secs": 1}, limits=LIMITS) as scripted:
        await scripted.world.install(
            {"retry": ONE_RETRY, "on_multiple_exec": "allow"},
            {
                "id": "app_test_slow",
                "on_multiple_exec": "allow",
                "retry": {"max_retries": 3, "initial_delay_secs": 1000, "max_delay_secs": 1000},
            },
        )
        yield scripted


def steps_of(run: Run) -> list[tuple[int, int]]:
    """(step, retry_count) as the app was told, call by call."""
    return [(one.worker["step"], one.worker["retry_count"]) for one in run.received]


def keys_of(run: Run) -> list[str]:
    return [one.headers["webhook-id"] for one in run.received]


async def hang(request: Received) -> Any:
    await asyncio.Event().wait()


# 2xx


@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_a_valid_answer_closes_the_step_and_clears_the_retry_count(app: Scripted, status: int) -> None:
    run = await app.run(Reply(503), Reply(status, {"updated_worker_state": {"n": 1}}), DONE)

    assert run.status == "succeeded"
    assert steps_of(run) == [(0, 0), (0, 1), (1, 0)]
    assert [call["outcome"] for call in run.calls] == ["failed", "applied", "applied"]
    assert [call["http_status"] for call in run.calls] == [503, status, 200]
    assert run.worker["retry_count"] == 0
    assert run.worker["message"] is None, "what a call failed with is over"


async def test_an_error_that_is_not_done_is_applied_and_the_next_step_is_called(app: Scripted) -> None:
    failing = {
        "is_error": True,
        "message": "the shop is closed",
        "updated_worker_state": {"kept": 1},
        "app_state_mutations": [{"operation": "increment", "key": "errors", "value": 1}],
        "items_to_import": [{"kind": "e"}],
    }
    run = await app.run(failing, DONE)

    assert run.status == "succeeded"
    assert steps_of(run) == [(0, 0), (1, 1)]
    assert len(set(keys_of(run))) == 2
    assert run.received[1].worker["worker_state"] == {"kept": 1}
    assert run.received[1].payload["app_state"]["errors"] == 1
    assert (run.calls[0]["outcome"], run.calls[0]["message"]) == ("applied", "the shop is closed")


async def test_errors_that_are_not_done_exhaust_the_retries(app: Scripted) -> None:
    run = await app.run({"is_error": True, "message": "closed for ever"})

    assert (run.status, run.message) == ("failed", "worker 0: out of retries (1): closed for ever")
    assert steps_of(run) == [(0, 0), (1, 1)]


async def test_an_error_waits_for_the_backoff_or_for_the_delay_that_it_asks_for(app: Scripted) -> None:
    backing_off = await app.start({"is_error": True}, task_id="app_test_slow")
    asking = await app.start({"is_error": True, "delay_next_request_in_secs": 200}, task_id="app_test_slow")

    assert timedelta(seconds=900) <= await wait_after_first_call(app, backing_off) <= timedelta(seconds=1100)
    assert await wait_after_first_call(app, asking) == pytest.approx(timedelta(seconds=200), abs=timedelta(seconds=5))
    for execution in (backing_off, asking):
        await app.world.abort(execution)


async def test_an_error_that_is_done_is_applied_and_fails_the_worker(app: Scripted) -> None:
    run = await app.run(
        {"is_done": True, "is_error": True, "message": "no such shop", "updated_worker_state": {"last": 1}}
    )

    assert (run.status, run.message) == ("failed", "worker 0: no such shop")
    assert (run.worker["status"], run.worker["step"], run.state) == ("failed", 1, {"last": 1})
    assert len(run.received) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"app_state_mutations": [{"operation": "increment", "key": "name", "value": 1}]},
            "app state key 'name' cannot be incremented: it holds a string, not a number",
        ),
        (
            {"app_state_mutations": [{"operation": "increment", "key": "huge", "value": 1}]},
            "app state key 'huge' would leave the range of numbers that JSON can carry",
        ),
        (
            {"app_state_mutations": [{"operation": "set", "key": "big", "value": "x" * 2048}]},
            "the app state would be",
        ),
        (
            {"updated_worker_state": {"big": "x" * 2048}},
            "the state of worker 0 would be 2,058 bytes; its limit is 2,048",
        ),
        (
            {"new_workers": [{"worker_id": 7, "initial_state": {"big": "x" * 2048}}]},
            "the initial state of worker 7 would be 2,058 bytes; its limit is 2,048",
        ),
    ],
)
async def test_a_valid_answer_that_the_state_refuses_fails_the_worker_at_once(
    app: Scripted, answer: dict[str, Any], words: str
) -> None:
    await app.run(
        {
            "is_done": True,
            "app_state_mutations": [
                {"operation": "set", "key": "name", "value": "text"},
                {"operation": "set", "key": "huge", "value": 2**64 - 1},
            ],
        }
    )
    before = await app.world.app_state()
    run = await app.run({"is_done": True, "logs": "half", "items_to_import": [{"kind": "half"}], **answer})

    assert run.status == "failed"
    assert words in str(run.message)
    assert words in run.calls[0]["message"]
    assert (len(run.received), run.worker["step"], run.state, list(run.workers)) == (1, 0, {}, [0])
    assert await app.world.app_state() == before
    left = await app.world.rows(
        """SELECT 1 FROM executions e LEFT JOIN import_batches b ON b.execution_pk = e.pk
             LEFT JOIN log_lines l ON l.execution_pk = e.pk
            WHERE e.id = :id AND (b.pk IS NOT NULL OR l.pk IS NOT NULL)""",
        id=run.id,
    )
    assert left == []


async def test_more_items_than_the_limit_make_an_answer_invalid(app: Scripted) -> None:
    run = await app.run({"is_done": True, "items_to_import": [{"kind": "a"}] * 4})

    assert run.calls[0]["message"] == "invalid answer: $.items_to_import: expected at most 3 items, got 4"
    assert run.status == "failed"


# 400 and 410


async def test_400_fails_the_worker_without_a_retry(app: Scripted) -> None:
    run = await app.run(Reply(400, b"the state makes no sense"))

    assert (run.status, run.message) == ("failed", "worker 0: HTTP 400: the state makes no sense")
    assert len(run.received) == 1
    assert (run.calls[0]["failure"], run.calls[0]["http_status"]) == ("status", 400)


async def test_410_fails_the_worker_and_stops_the_app_with_the_reason(app: Scripted) -> None:
    await app.world.install(app_id="app_gone")
    resting = await app.start({"delay_next_request_in_secs": 0.2}, task_id="app_gone_run", multiple_exec_key="rests")
    await eventually(lambda: has_closed_a_step(app, resting), "a resting worker")
    run = await app.run(Reply(410, b"uninstalled"), task_id="app_gone_run", multiple_exec_key="goes")

    assert (run.status, run.message) == ("failed", "worker 0: HTTP 410: uninstalled")
    status, reason = await app.world.row("SELECT status, status_reason FROM apps WHERE id = 'app_gone'")
    assert (status, reason) == ("stopped", f"the app answered 410 to {run.id}: HTTP 410: uninstalled")
    assert len(run.received) == 1
    # Its other worker is due, and is not called; others are.
    await app.run(DONE)
    assert len(app.script.received[resting]) == 1


async def has_closed_a_step(app: Scripted, execution_id: str) -> bool:
    return bool((await app.world.workers(execution_id))[0]["step"])


# Everything else is called again.


@pytest.mark.parametrize(
    "status",
    [301, 302, 307, 308, 401, 403, 404, 405, 408, 409, 413, 418, 422, 425, 429, 500, 502, 503, 504],
)
async def test_other_statuses_call_the_same_step_again(app: Scripted, status: int) -> None:
    elsewhere = f"{app.world.collector.url}/elsewhere"
    run = await app.run(Reply(status, b"what it  said\n", {"Location": elsewhere}))

    redirect = 300 <= status < 400
    words = f"HTTP {status}: what it said" + (": redirects are not followed" if redirect else "")
    assert run.status == "failed"
    assert run.message == f"worker 0: out of retries (1): {words}"
    assert steps_of(run) == [(0, 0), (0, 1)]
    assert len(set(keys_of(run))) == 1
    for call in run.calls:
        assert call["outcome"] == "failed"
        assert (call["failure"], call["http_status"]) == ("redirect" if redirect else "status", status)
        assert call["message"] == words
    assert not [one for one in app.world.collector.received if one.path.endswith("/elsewhere")]


@pytest.mark.parametrize(
    "body", [b"\x00", b"a\x00b\x1b[31m\xff\r\nc" * 100, "\ud800é".encode("utf-8", "surrogatepass")]
)
async def test_whatever_bytes_an_error_page_holds_it_is_retried_and_quoted_in_plain_text(
    app: Scripted, body: bytes
) -> None:
    run = await app.run(Reply(502, body), DONE)

    assert run.status == "succeeded"
    assert [call["outcome"] for call in run.calls] == ["failed", "applied"]
    message = run.calls[0]["message"]
    assert message.startswith("HTTP 502")
    assert message.isprintable()
    assert len(message) < 220


@pytest.mark.parametrize(
    ("step", "failure", "status", "words"),
    [
        pytest.param(hang, "timeout", None, "no complete answer within 1 s", marks=pytest.mark.slow),
        (HangUp, "connection_reset", None, "the server closed the connection"),
        (Reply(200, b"x", {"Content-Length": "200000"}), "oversize", 200, "over the limit of 65,536 bytes"),
        (Reply(200, b"x" * 65_537), "oversize", 200, "over the limit of 65,536 bytes"),
        (
            Reply(200, gzip.compress(b'{"is_done": true}'), {"Content-Encoding": "gzip"}),
            "content_encoding",
            200,
            "its Content-Encoding is 'gzip', and only identity is accepted",
        ),
    ],
    ids=["timeout", "reset", "announced oversize", "oversize", "compressed"],
)
async def test_no_complete_answer_calls_the_same_step_again(
    app: Scripted, step: Any, failure: str, status: int | None, words: str
) -> None:
    run = await app.run(step)

    assert run.status == "failed"
    assert steps_of(run) == [(0, 0), (0, 1)]
    assert len(set(keys_of(run))) == 1
    for call in run.calls:
        assert (call["outcome"], call["failure"], call["http_status"]) == ("failed", failure, status)
        assert words in call["message"]
    assert words in str(run.message)


async def test_a_refused_connection_calls_the_same_step_again(app: Scripted) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        await expect_no_connection(app, f"http://127.0.0.1:{port}/x", "connection_refused", "connection refused")


async def test_a_failed_tls_handshake_calls_the_same_step_again(app: Scripted) -> None:
    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        words = "it does not speak TLS on this port"
        await expect_no_connection(app, f"https://127.0.0.1:{port}/x", "tls", words)


async def expect_no_connection(app: Scripted, url: str, failure: str, words: str) -> None:
    app_id = f"app_{failure.replace('_', '')}"
    await app.world.install({"retry": ONE_RETRY}, app_id=app_id, url=url)
    run = await app.run(task_id=f"{app_id}_run")

    assert run.status == "failed"
    assert [call["step"] for call in run.calls] == [0, 0]
    for call in run.calls:
        assert (call["outcome"], call["failure"], call["http_status"]) == ("failed", failure, None)
        assert words in call["message"]


# Retry-After


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_retry_after_in_seconds_is_honoured(app: Scripted, status: int) -> None:
    execution = await app.start(Reply(status, headers={"Retry-After": "90"}), task_id="app_test_slow")

    assert await wait_after_first_call(app, execution) == pytest.approx(timedelta(seconds=90), abs=timedelta(seconds=5))
    await app.world.abort(execution)


async def test_retry_after_as_a_date_is_honoured(app: Scripted) -> None:
    at = datetime.now(UTC) + timedelta(minutes=5)
    reply = Reply(429, headers={"Retry-After": format_datetime(at, usegmt=True)})
    execution = await app.start(reply, task_id="app_test_slow")

    wait = await wait_after_first_call(app, execution)
    assert timedelta(minutes=4, seconds=40) < wait < timedelta(minutes=5, seconds=5)
    await app.world.abort(execution)


@pytest.mark.parametrize(("status", "value"), [(404, "90"), (302, "90"), (200, "90"), (503, "soon")])
async def test_retry_after_is_ignored_elsewhere_and_where_it_makes_no_sense(
    app: Scripted, status: int, value: str
) -> None:
    execution = await app.start(Reply(status, b"?", {"Retry-After": value}), task_id="app_test_slow")

    assert timedelta(seconds=900) <= await wait_after_first_call(app, execution) <= timedelta(seconds=1105)
    await app.world.abort(execution)


async def wait_after_first_call(app: Scripted, execution_id: str) -> timedelta:
    """From the end of the first call to the time of the second."""

    async def probe() -> tuple[int, int] | None:
        rows = await app.world.rows(
            """SELECT w.due_at, c.ended_at FROM workers w JOIN executions e ON e.pk = w.execution_pk
                 JOIN calls c ON c.execution_pk = w.execution_pk WHERE e.id = :id AND w.status = 'ready'""",
            id=execution_id,
        )
        return rows[0] if rows else None

    due_at, ended_at = await eventually(probe, f"the first call of {execution_id}")
    return from_micros(due_at) - from_micros(ended_at)


# The request


async def test_a_call_carries_what_the_protocol_says(app: Scripted) -> None:
    run = await app.run(Reply(500), {"updated_worker_state": {"s": "é"}}, DONE, state={"in": [1, "é"]})

    first, again, second = run.received
    assert set(first.payload) == {
        *(
            "api_endpoint",
            "collector_endpoint",
            "workspace_id",
            "app_id",
            "app_state",
            "kind",
            "task_exec_worker",
        )
    }
    assert (first.payload["workspace_id"], first.payload["app_id"]) == ("default", "app_test")
    assert first.payload["collector_endpoint"] == f"http://127.0.0.1:{app.world.collector.port}/collector"
    assert first.payload["kind"] == "task_exec_worker"
    worker = first.worker
    assert (worker["task_id"], worker["task_name"], worker["task_exec_id"]) == ("app_test_run", "Run", run.id)
    assert (worker["worker_id"], worker["worker_state"]) == (0, {"in": [1, "é"]})
    assert (worker["timeout_in_ms"], worker["workers"]) == (1000, {"0": "calling"})
    created = datetime.fromisoformat(worker["task_exec_created_at"])
    assert worker["task_exec_created_at"].endswith("Z")
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
    assert [one.worker["task_exec_created_at"] for one in run.received] == [worker["task_exec_created_at"]] * 3
    assert second.worker["worker_state"] == {"s": "é"}
    for one in run.received:
        assert one.headers["content-type"] == "application/json"
        assert one.headers["accept-encoding"] == "identity"
        assert one.headers["user-agent"].startswith("orchestrator/")
        assert one.headers["idempotency-key"] == one.headers["webhook-id"]
        version, trace, span, flags = one.headers["traceparent"].split("-")
        assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
    assert first.headers["webhook-id"] == again.headers["webhook-id"] != second.headers["webhook-id"]


async def test_no_two_steps_of_any_executions_share_a_key(app: Scripted) -> None:
    spawn = {"is_done": True, "new_workers": [{"worker_id": 1}, {"worker_id": 2}]}
    runs = [await app.run({}, spawn) for _ in range(3)]

    keys = [key for run in runs for key in keys_of(run)]
    assert len(keys) == len(set(keys)) == 12


async def test_both_signatures_verify(app: Scripted) -> None:
    run = await app.run(DONE, state={"text": "é\u2028"})

    [request] = run.received
    Webhook(SECRET).verify(request.body, request.headers)
    hexadecimal = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-rmd-signature"] == hexadecimal
    assert json.loads(request.body)["task_exec_worker"]["worker_state"] == {"text": "é\u2028"}
