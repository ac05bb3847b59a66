"""The HTTP client: what it sends, and what becomes of the answers."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
import respx

import app_sdk
from app_sdk import ApiError, Client, ConflictError, OrchestratorError, UnreachableError, WaitTimeoutError

URL = "http://127.0.0.1:8000"
RUNNING = {"id": "e1", "number": 7, "task_id": "app_x_import", "status": "running"}


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, secs: float) -> None:
        self.pauses.append(secs)
        self.now += secs

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(time: Time) -> Iterator[Client]:
    with Client(f"{URL}/", "secret-token", sleep=time.sleep, clock=time.clock) as client:
        yield client


def sent(route: respx.Route) -> Any:
    return json.loads(route.calls.last.request.content)


@respx.mock
def test_a_launch(client: Client) -> None:
    route = respx.post(f"{URL}/v1/executions").respond(201, json=RUNNING)
    execution = client.launch("app_x_import", {"limit": 5})
    assert sent(route) == {"task_id": "app_x_import", "state": {"limit": 5}}
    request = route.calls.last.request
    assert request.headers["Authorization"] == "Bearer secret-token"
    assert len(request.headers["Idempotency-Key"]) == 36
    assert (execution.id, execution.status, execution.has_ended) == ("e1", "running", False)
    assert execution.model_extra == {"number": 7}


@respx.mock
def test_a_launch_with_everything(client: Client) -> None:
    route = respx.post(f"{URL}/v1/executions").respond(201, json=RUNNING)
    client.launch(
        "app_x_import",
        idempotency_key="once",
        multiple_exec_key="shop-1",
        run_at=datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=1))),
        id="e1",
        name="By hand",
        workers=[{"worker_id": 1, "initial_state": {}}],
    )
    assert route.calls.last.request.headers["Idempotency-Key"] == "once"
    assert sent(route) == {
        "task_id": "app_x_import",
        "multiple_exec_key": "shop-1",
        "run_at": "2026-01-01T11:00:00Z",
        "id": "e1",
        "name": "By hand",
        "workers": [{"worker_id": 1, "initial_state": {}}],
    }


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadError("cut"),
        httpx.ConnectError("refused"),
        httpx.Response(503, json={"title": "It may have been done"}),
        httpx.Response(409, json={"type": "urn:orchestrator:problem:idempotency-in-progress"}),
    ],
)
@respx.mock
def test_a_launch_that_may_have_happened_is_sent_again_under_its_key(
    client: Client, time: Time, failure: httpx.Response | httpx.TransportError
) -> None:
    answers = [failure, failure, httpx.Response(201, json=RUNNING)]
    route = respx.post(f"{URL}/v1/executions").mock(side_effect=answers)
    assert client.launch("app_x_import").id == "e1"
    keys = [call.request.headers["Idempotency-Key"] for call in route.calls]
    assert (len(keys), len(set(keys))) == (3, 1)
    assert len(time.pauses) == 2
    # Another launch is another one.
    route.mock(return_value=httpx.Response(201, json=RUNNING))
    client.launch("app_x_import")
    assert route.calls.last.request.headers["Idempotency-Key"] not in keys


@respx.mock
def test_a_launch_that_is_refused_is_not_sent_again(client: Client) -> None:
    for status in (409, 422, 429, 500):
        route = respx.post(f"{URL}/v1/executions").respond(status, json={"title": "no"})
        sent_before = route.call_count
        with pytest.raises(app_sdk.ApiError):
            client.launch("app_x_import")
        assert route.call_count == sent_before + 1


@respx.mock
def test_a_launch_that_nobody_answers_ends(client: Client) -> None:
    route = respx.post(f"{URL}/v1/executions/e1/resume").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(UnreachableError, match="refused"):
        client.resume("e1", "0.2")
    assert route.call_count == 3


def test_a_start_time_needs_a_time_zone(client: Client) -> None:
    with pytest.raises(ValueError, match="time zone"):
        client.launch("app_x_import", run_at=datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None))


@respx.mock
def test_the_other_calls(client: Client) -> None:
    install = respx.post(f"{URL}/v1/apps").respond(201, json={"id": "app_x", "secret_key": "whsec_x"})
    assert client.install({"id": "app_x"}, secret_key="whsec_x")["secret_key"] == "whsec_x"
    assert sent(install) == {"manifest": {"id": "app_x"}, "secret_key": "whsec_x"}
    client.install({"id": "app_x"})
    assert sent(install) == {"manifest": {"id": "app_x"}}

    respx.get(f"{URL}/v1/executions/e1").respond(json=RUNNING | {"workers": [{"worker_id": 0}]})
    assert client.get("e1").workers == [{"worker_id": 0}]

    abort = respx.post(f"{URL}/v1/executions/e1/abort").respond(json=RUNNING | {"status": "aborted"})
    assert client.abort("e1", "not needed").status == "aborted"
    assert sent(abort) == {"message": "not needed"}

    respx.post(f"{URL}/v1/executions/e1/retry").respond(json=RUNNING)
    assert client.retry("e1").status == "running"

    resume = respx.post(f"{URL}/v1/executions/e1/resume").respond(201, json=RUNNING | {"resumed_from": {"call": "0.2"}})
    assert client.resume("e1", "0.2", id="e2", idempotency_key="k").resumed_from == {"call": "0.2"}  # type: ignore[attr-defined]
    assert sent(resume) == {"call": "0.2", "id": "e2"}
    assert resume.calls.last.request.headers["Idempotency-Key"] == "k"


@respx.mock
def test_an_id_is_one_part_of_the_path(client: Client) -> None:
    route = respx.get(url__regex=".*").respond(json=RUNNING)
    client.get("../apps/a b")
    assert route.calls.last.request.url.raw_path == b"/v1/executions/..%2Fapps%2Fa%20b"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, app_sdk.ValidationError),
        (401, app_sdk.AuthError),
        (403, app_sdk.AuthError),
        (404, app_sdk.NotFoundError),
        (409, app_sdk.ConflictError),
        (413, app_sdk.TooLargeError),
        (418, app_sdk.ApiError),
        (422, app_sdk.ValidationError),
        (429, app_sdk.ServerError),
        (500, app_sdk.ServerError),
        (503, app_sdk.ServerError),
    ],
)
@respx.mock
def test_a_refusal_has_a_type_of_its_own(client: Client, status: int, kind: type[app_sdk.ApiError]) -> None:
    problem = {
        "type": "urn:x:some-problem",
        "title": "No",
        "status": status,
        "detail": "because",
        "field": "$.id",
    }
    respx.get(f"{URL}/v1/executions/e1").respond(status, json=problem)
    with pytest.raises(app_sdk.ApiError) as refusal:
        client.get("e1")
    assert type(refusal.value) is kind
    assert str(refusal.value) == f"No: because (HTTP {status})"
    assert (refusal.value.status, refusal.value.type) == (status, "urn:x:some-problem")
    assert refusal.value.problem["field"] == "$.id"


@respx.mock
def test_a_refusal_by_somebody_else_is_shown_as_it_is(client: Client) -> None:
    respx.get(f"{URL}/v1/executions/e1").respond(502, text="<html>Bad gateway</html>")
    with pytest.raises(app_sdk.ServerError, match=r"Bad Gateway: <html>Bad gateway</html> \(HTTP 502\)") as refusal:
        client.get("e1")
    assert refusal.value.type == "about:blank"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"5"])
@respx.mock
def test_a_stranger_that_says_yes_is_not_believed(client: Client, body: bytes) -> None:
    respx.get(f"{URL}/v1/executions/e1").respond(200, content=body)
    with pytest.raises(OrchestratorError, match="is the URL an orchestrator's"):
        client.get("e1")


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.RemoteProtocolError("x")]
)
@respx.mock
def test_nobody_there(client: Client, error: httpx.TransportError) -> None:
    respx.get(f"{URL}/v1/executions/e1").mock(side_effect=error)
    with pytest.raises(UnreachableError, match=f"no answer from {URL}"):
        client.get("e1")


@respx.mock
def test_waiting_asks_less_and_less_often(client: Client, time: Time) -> None:
    answers = [httpx.Response(200, json=RUNNING)] * 12 + [httpx.Response(200, json=RUNNING | {"status": "failed"})]
    respx.get(f"{URL}/v1/executions/e1").mock(side_effect=answers)
    assert client.wait("e1", 60).status == "failed"
    assert len(time.pauses) == 12
    assert time.pauses[0] <= 0.1
    assert 1.6 <= time.pauses[-1] <= 2.0


@respx.mock
def test_waiting_ends_with_its_time(client: Client, time: Time) -> None:
    respx.get(f"{URL}/v1/executions/e1").respond(json=RUNNING)
    with pytest.raises(WaitTimeoutError, match="e1 is still running after 5 s"):
        client.wait("e1", 5)
    assert time.now == pytest.approx(5)


@respx.mock
def test_waiting_survives_a_restart_of_the_orchestrator(client: Client) -> None:
    respx.get(f"{URL}/v1/executions/e1").mock(
        side_effect=[
            httpx.ConnectError("refused"),
            httpx.Response(503, json={"title": "Draining"}),
            httpx.Response(200, json=RUNNING | {"status": "succeeded"}),
        ]
    )
    assert client.wait("e1", 60).status == "succeeded"


@respx.mock
def test_waiting_for_nobody_ends_too(client: Client) -> None:
    respx.get(f"{URL}/v1/executions/e1").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(WaitTimeoutError, match=r"e1 could not be seen \(no answer from .*\) after 5 s"):
        client.wait("e1", 5)


@respx.mock
def test_waiting_for_what_is_not_there_ends_at_once(client: Client, time: Time) -> None:
    respx.get(f"{URL}/v1/executions/e1").respond(404, json={"title": "Not found"})
    with pytest.raises(app_sdk.NotFoundError):
        client.wait("e1", 60)
    assert time.pauses == []


@respx.mock
def test_a_conflict_tells_about_the_running_one(client: Client) -> None:
    respx.post(f"{URL}/v1/executions").respond(409, json={"title": "Already running", "execution_id": "e0"})
    with pytest.raises(ConflictError) as refusal:
        client.launch("app_x_import")
    assert refusal.value.problem["execution_id"] == "e0"


def test_a_state_that_is_no_json_is_not_sent(client: Client) -> None:
    with pytest.raises(ValueError, match=r"\$\.state\.n: a number that is not finite"):
        client.launch("app_x_import", {"n": float("nan")})


@respx.mock
def test_calling_back_and_setting_a_subtext(client: Client) -> None:
    task = {"id": "e/1:2", "status": "COMPLETE", "subtext": "ready", "output": {"n": 1}}
    route = respx.post(f"{URL}/external-events/callback").respond(200, json=task)
    assert client.call_back("e/1:2:0", output={"n": 1}, logs=["one"], subtext=None) == task
    assert sent(route) == {"taskId": "e/1:2:0", "status": "SUCCESS", "output": {"n": 1}, "logs": ["one"]}
    client.call_back("e/1:2", "FAILURE")
    assert sent(route) == {"taskId": "e/1:2", "status": "FAILURE"}
    route.respond(410, json={"detail": "the callback came too late"})
    with pytest.raises(ApiError, match="too late"):
        client.call_back("e/1:2")
    line = respx.put(f"{URL}/v1/event-workflow-tasks/e%2F1%3A2").respond(200, json=task)
    assert client.set_subtext("e/1:2", "ready") == task
    assert sent(line) == {"subtext": "ready"}
