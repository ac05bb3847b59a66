"""Executors over a real connection: the sample, one with the habits of a published client, and those that vanish."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.server import ROOT, Server, running_server, spawn

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MANIFEST = ROOT / "sample_apps" / "pull_executor" / "manifest.json"
QUICK = {"requestedToStartTimeout": 400, "inProgressTimeout": 1000, "retryDelay": 0, "allowedRetryCount": 5}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all of them, with a task `quick` whose claims run out soon, and the sample's."""
    with running_server(tmp_path_factory.mktemp("pull") / "data") as server:
        install(server)
        yield server


def install(server: Server) -> None:
    task = {"id": "app_pull_quick", "name": "Quick", "transport": "pull", "on_multiple_exec": "allow", **QUICK}
    patient = {**task, "id": "app_pull_patient", "inProgressTimeout": 120_000}
    server.install({"id": "app_pull", "name": "Pull", "tasks": [task, patient]}, SECRET)
    server.install(json.loads(MANIFEST.read_text()), SECRET)


def token_of(server: Server, **more: Any) -> dict[str, Any]:
    return dict(server.post("/v1/tokens", {"name": "press", "role": "executor", **more}))


@contextmanager
def executor(server: Server) -> Iterator[httpx.Client]:
    """A client with the credentials of an executor: Basic, and an address with a path."""
    token = token_of(server)
    basic = httpx.BasicAuth(token["id"], token["token"])
    with httpx.Client(base_url=f"{server.url}/some/base", auth=basic, timeout=30) as client:
        yield client


def rpc(client: httpx.Client, method: str, status: int = 200, /, **params: Any) -> Any:
    response = client.post("/rpc", json={"method": f"awf.task/{method}", "params": params})
    assert response.status_code == status, response.text
    return response.json()["result" if status == 200 else "error"]


def claimed(client: httpx.Client, task: str = "app_pull_quick") -> dict[str, Any]:
    """The claim of the next task, waited for."""
    [found] = rpc(client, "long-poll", taskDefinitions=[task], timeout=20_000)["resources"]
    return {"id": found["id"], "execId": found["execId"]}


def test_the_sample_does_its_task(server: Server, tmp_path: Path) -> None:
    token = token_of(server, tasks=["words/count"])["token"]
    log = tmp_path / "executor.log"
    worker = spawn(log, "sample_apps.pull_executor", "--url", server.url, "--once", ORCHESTRATOR_TOKEN=token)
    try:
        execution = server.ended(server.launch("words/count", {"text": "one two\nthree"}))
        assert worker.wait(timeout=30) == 0, log.read_text()
    finally:
        worker.kill()
    assert (execution["status"], execution["output"]) == ("succeeded", {"lines": 2, "words": 3})
    assert execution["workers"][0]["progress"] == {"current": 2, "total": 2, "unit": "lines"}


def published_client(client: httpx.Client, handler: Any) -> None:
    """One round of a published client's loop: it dies of a poll that is not 2xx, reports failures as `result`, and
    answers a refused success with a fail that carries the refusal.
    """
    headers = {"Accept": "*/*", "User-Agent": "node"}
    polled = client.post(
        "/rpc", json={"method": "awf.task/poll", "params": {"taskDefinitions": ["app_pull_patient"]}}, headers=headers
    )
    assert polled.is_success
    for task in polled.json()["result"]["resources"]:
        claim = {"id": task["id"], "execId": task["execId"]}

        def post(method: str, claim: dict[str, str] = claim, **params: Any) -> httpx.Response:
            body = {"method": f"awf.task/{method}", "params": {**claim, **params}}
            return client.post("/rpc", json=body, headers=headers)

        if not post("start").is_success:
            continue
        try:
            result = handler(task)
        except RuntimeError:
            post("fail", result={})
            continue
        answer = post("success", result=result)
        if not answer.is_success:
            assert post("fail", result=answer.json()).status_code == 422


def test_a_published_clients_habits(server: Server) -> None:
    with executor(server) as client:
        published_client(client, lambda task: {})
        execution = server.launch("app_pull_patient")
        published_client(client, lambda task: {"order": task["params"]})
        assert server.ended(execution)["output"] == {"order": {}}

        def broken(task: Any) -> Any:
            raise RuntimeError("thrown")

        execution = server.launch("app_pull_patient")
        published_client(client, broken)
        worker = server.execution(execution)["workers"][0]
        assert worker["retry_count"] == 1
        # Its result is over the limit: refused, and the fail that follows is no second failure.
        published_client(client, lambda task: {"wide": "x" * 2_000_000})
        worker = server.execution(execution)["workers"][0]
        assert worker["retry_count"] == 2
        published_client(client, lambda task: {"fine": True})
        assert server.ended(execution)["status"] == "succeeded"
        count = client.get("/AidboxTask", params={"_count": "0", "definition": "app_pull_patient", ".status": "done"})
        assert count.json()["total"] == 2


def test_one_that_vanishes_after_its_poll(server: Server) -> None:
    with executor(server) as client:
        execution = server.launch("app_pull_quick")
        first = claimed(client)
        second = claimed(client)
        assert second["id"] == first["id"] == execution
        assert second["execId"] != first["execId"]
        assert rpc(client, "start", 422, **first)["type"] == "stale-exec-id"
        rpc(client, "start", **second)
        rpc(client, "success", **second)
        assert server.ended(execution)["workers"][0]["retry_count"] == 0


def test_one_that_vanishes_after_its_start_and_one_between_heartbeats(server: Server) -> None:
    with executor(server) as client:
        execution = server.launch("app_pull_quick")
        for beats in (0, 2):
            claim = claimed(client)
            rpc(client, "start", **claim)
            for _ in range(beats):
                rpc(client, "notify", **claim, notification="heartbeat", message="alive")
        last = claimed(client)
        assert rpc(client, "success", 422, **claim, result={"late": True})["type"] == "stale-exec-id"
        shown = rpc(client, "start", **last)["resource"]
        assert shown["retryCount"] == 3
        rpc(client, "success", **last, result={"ok": True})
        ended = server.ended(execution)
        assert (ended["status"], ended["output"]) == ("succeeded", {"ok": True})
        calls = server.get(f"/v1/executions/{execution}/calls")["items"]
        assert [call["failure"] for call in calls] == [None, "in_progress_timeout", "in_progress_timeout"]


def test_a_hang_up_that_is_seen_gets_no_task(server: Server) -> None:
    body = json.dumps(
        {"method": "awf.task/long-poll", "params": {"taskDefinitions": ["app_pull_patient"], "timeout": 60_000}}
    ).encode()
    head = f"POST /rpc HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token_of(server)['token']}\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with executor(server) as client:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(request)
            # The connection is closed: that is seen before the next launch is asked for, one round trip later.
            rpc(client, "poll", taskDefinitions=["app_pull_patient"])
        execution = server.launch("app_pull_patient")
        claim = claimed(client, "app_pull_patient")
        assert claim["id"] == execution
        assert claim["execId"].endswith("_0_1")
        rpc(client, "start", **claim)
        rpc(client, "success", **claim)


def test_a_long_poll_waits_for_a_task_and_ends_with_nothing(server: Server) -> None:
    with executor(server) as client:
        asked: Any = {"taskDefinitions": ["app_pull_patient"], "timeout": 100}
        assert rpc(client, "long-poll", **asked) == {"resources": []}
        found: list[Any] = []
        waiting = threading.Thread(target=lambda: found.append(claimed(client, "app_pull_patient")))
        waiting.start()
        execution = server.launch("app_pull_patient")
        waiting.join(timeout=30)
        assert found[0]["id"] == execution
        rpc(client, "start", **found[0])
        rpc(client, "success", **found[0])


def test_yaml_over_the_wire(server: Server) -> None:
    token = token_of(server)["token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/yaml", "Accept": "text/yaml"}
    body = "method: awf.task/poll\nparams:\n    taskDefinitions: [nobody/knows]\n"
    response = httpx.post(f"{server.url}/rpc", content=body, headers=headers, timeout=30)
    assert yaml.safe_load(response.text) == {"result": {"resources": []}}


def test_a_claim_outlives_the_servers_crash_and_its_drain(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        install(server)
        with executor(server) as client:
            execution = server.launch("app_pull_patient")
            claim = claimed(client, "app_pull_patient")
            rpc(client, "start", **claim)
            server.kill()
            server.start()
            rpc(client, "notify", **claim, notification="heartbeat", message="still here")
            waiting = threading.Thread(
                target=lambda: rpc(client, "long-poll", taskDefinitions=["app_pull_quick"], timeout=60_000)
            )
            waiting.start()
            assert server.stop() == 0
            waiting.join(timeout=10)
            assert not waiting.is_alive(), "a drain answers those who wait"
            server.start()
            rpc(client, "success", **claim, result={"survived": True})
            assert server.ended(execution)["output"] == {"survived": True}


def test_the_command_line_shows_and_retries_pull_tasks(server: Server, tmp_path: Path) -> None:
    environment = {"ORCHESTRATOR_URL": server.url, "ORCHESTRATOR_TOKEN": server.token}
    with executor(server) as client:
        execution = server.launch("app_pull_patient", multiple_exec_key="cli")
        for _ in range(6):
            claim = claimed(client, "app_pull_patient")
            rpc(client, "start", **claim)
            rpc(client, "fail", **claim, error={"message": "out of paper"})
        assert server.ended(execution)["status"] == "failed"
        log = tmp_path / "calls.log"
        assert spawn(log, "orchestrator", "exec", "calls", execution, **environment).wait(timeout=60) == 0
        assert "out of paper" in log.read_text()
        assert spawn(tmp_path / "retry.log", "orchestrator", "exec", "retry", execution, **environment).wait(60) == 0
        claim = claimed(client, "app_pull_patient")
        assert claim["id"] == execution
        rpc(client, "start", **claim)
        rpc(client, "success", **claim)
    log = tmp_path / "watch.log"
    assert spawn(log, "orchestrator", "exec", "watch", execution, **environment).wait(timeout=60) == 0
    assert "succeeded" in log.read_text()
