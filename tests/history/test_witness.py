"""The witnesses: what they log is what the checker reads, and they do what they are told."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.history.app_log import StepId, read_app_logs
from tests.history.client_log import read_client_logs
from tests.history.collector_log import read_collector_log
from tests.history.json_lines import Json, digest, read_lines
from tests.history.signed_lines import COLLECTOR_SECRET, SECRET, delivery_headers, signed
from tests.history.witness.app import WitnessApp, manifest
from tests.history.witness.client import RecordingClient
from tests.history.witness.collector import WitnessCollector
from tests.history.witness.http_server import Exchange, listen
from tests.history.witness.journal import Journal
from tests.history.witness.plan import decide


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        yield client


def turn(state: Json, worker: int = 0, step: int = 0, retry_count: int = 0, **more: Any) -> Json:
    place = {"task_exec_id": "e1", "worker_id": worker, "step": step, "retry_count": retry_count}
    return {**place, "worker_state": state, **more}


def call(state: Json, **place: Any) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"workspace_id": "default", "task_exec_worker": turn(state, **place)})
    return body.encode(), signed(body, f"msg_{place.get('worker', 0)}_{place.get('step', 0)}")


async def test_the_app_logs_what_it_was_asked_and_what_it_answered(tmp_path: Path, http: httpx.AsyncClient) -> None:
    log = tmp_path / "app.jsonl"
    app = WitnessApp(Journal(log, fsync=True))
    server, host = await listen(app.handle)
    app.started(host)
    async with server:
        shown = await http.get(f"http://{host}/manifest.json", params={"id": "app_x", "every_secs": 60})
        assert shown.json() == manifest("app_x", f"http://{host}/webhooks", 60.0)
        state = {"steps": 3, "items": 2}
        body, headers = call(state)
        said = (await http.post(f"http://{host}/webhooks", content=body, headers=headers)).json()
        body, headers = call({"faults": {"reset": 1}}, step=1)
        with pytest.raises(httpx.TransportError):
            await http.post(f"http://{host}/webhooks", content=body, headers=headers)

    assert [line["event"] for line in read_lines(log)] == ["started", "request", "answer", "request", "silence"]
    talks = read_app_logs([log], [SECRET]).talks
    [attempt] = talks[StepId("default", "e1", 0, 0)].attempts
    assert (attempt.key, attempt.signature_fault, attempt.state) == ("msg_0_0", None, digest(state))
    assert attempt.answer is not None
    assert attempt.answer.mark == said["witness"] == 1
    assert attempt.answer.item_count == len(said["items_to_import"]) == 2
    [cut] = talks[StepId("default", "e1", 0, 1)].attempts
    assert cut.answer is None


async def test_the_app_answers_many_connections_at_once(tmp_path: Path, http: httpx.AsyncClient) -> None:
    app = WitnessApp(Journal(tmp_path / "app.jsonl"))
    server, host = await listen(app.handle)
    async with server:
        requests = []
        for worker in range(10):
            body, headers = call({"think_secs": 0.05}, worker=worker)
            requests.append(http.post(f"http://{host}/webhooks", content=body, headers=headers))
        answers = await asyncio.gather(*requests)
    assert {answer.status_code for answer in answers} == {200}
    events = [line["event"] for line in read_lines(tmp_path / "app.jsonl")]
    assert events == ["request"] * 10 + ["answer"] * 10


@pytest.mark.parametrize(
    ("mode", "status", "taken"),
    [("ok", 200, True), ("refuse", 422, False), ("down", None, False), ("half", None, True)],
)
async def test_the_collector_does_what_it_is_told(
    tmp_path: Path, http: httpx.AsyncClient, mode: str, status: int | None, taken: bool
) -> None:
    log = tmp_path / "collector.jsonl"
    server, host = await listen(WitnessCollector(Journal(log)).handle)
    body = json.dumps({"workspace_id": "default", "items": [{"kind": "a"}, {"kind": "b"}]})
    headers = delivery_headers(body, "imp_1")
    async with server:
        asked = {"mode": mode, "status": 422, "delay_secs": 0.01}
        assert (await http.post(f"http://{host}/mode", json=asked)).status_code == 200
        assert (await http.post(f"http://{host}/mode", json={"mode": "maybe"})).status_code == 400
        if status is None:
            with pytest.raises(httpx.TransportError):
                await http.post(f"http://{host}/data", content=body, headers=headers)
        else:
            assert (await http.post(f"http://{host}/data", content=body, headers=headers)).status_code == status

    [line] = read_lines(log)
    assert (line["status"], line["taken"]) == (status, taken)
    found = read_collector_log(log, [COLLECTOR_SECRET])
    assert not found.faults
    assert (found.parcels["imp_1"].taken is not None) == taken


async def test_the_client_logs_every_outcome(tmp_path: Path) -> None:
    answers = iter([(201, b'{"id": "e1"}'), (409, b'{"type": "conflict"}'), (503, b"{}"), None])

    def handle(exchange: Exchange) -> None:
        answer = next(answers)
        if answer is None:
            exchange.cut()
        else:
            exchange.answer(*answer)

    server, host = await listen(handle)
    log = tmp_path / "client.jsonl"
    client = RecordingClient(f"http://{host}", "orch_x", log)
    async with server:
        assert (await asyncio.to_thread(client.launch, "app_x_work", {"n": 1}, "k1", id="e1")).outcome == "ok"
        assert (await asyncio.to_thread(client.abort, "e1")).outcome == "refused"
        assert (await asyncio.to_thread(client.retry, "e1")).outcome == "unknown"
        assert (await asyncio.to_thread(client.mutate, "app_x", [])).outcome == "unknown"

    calls = read_client_logs([log]).calls
    assert [(one.op, one.outcome, one.key) for one in calls] == [
        ("launch", "ok", "k1"),
        ("abort", "refused", None),
        ("retry", "unknown", None),
        ("mutate", "unknown", None),
    ]
    assert calls[0].asked == {"task_id": "app_x_work", "state": {"n": 1}, "id": "e1"}
    assert calls[0].answered == {"id": "e1"}
    assert all(one.begin <= one.end for one in calls)


def test_the_plan_leads_its_helpers_through_every_round() -> None:
    plan = {"helpers": 2, "rounds": 2, "steps": 1}
    first = decide(turn(plan), 1).answer
    assert first is not None
    assert [new["worker_id"] for new in first["new_workers"]] == [1, 2]
    assert first["wait_for_workers"]
    helper = decide(turn(first["new_workers"][0]["initial_state"], worker=1), 2).answer
    assert helper is not None
    assert helper["is_done"]
    done = {"1": {"status": "done"}, "2": {"status": "done"}}
    second = decide(turn(first["updated_worker_state"], step=1, worker_results=done), 3).answer
    assert second is not None
    last = decide(turn(second["updated_worker_state"], step=2, worker_results=done), 4).answer
    assert last is not None
    assert last["is_done"]
    failed = decide(turn(first["updated_worker_state"], step=1, worker_results={"1": {"status": "failed"}}), 3).answer
    assert failed is not None
    assert failed["is_error"]


def test_the_plan_repeats_itself_and_its_faults_come_in_their_shares() -> None:
    plan = {"faults": {"status": 0.2, "reset": 0.1}, "seed": 3}
    deeds = [decide(turn(plan, step=step), 0) for step in range(500)]
    assert deeds == [decide(turn(plan, step=step), 0) for step in range(500)]
    assert 60 < sum(deed.status == 503 for deed in deeds) < 140
    assert 20 < sum(deed.why == "reset" for deed in deeds) < 80
