"""A run with app errors, an unreliable collector, an abort and a power cut, decided by the independent checker."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.history.witness.client import RecordingClient
from tests.history.witness.journal import Journal, clock
from tests.support.server import ROOT, Server, running_server, spawn, wait_for
from tests.support.witnesses import running_witness

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FAULTS = {"error": 0.04, "status": 0.04, "reset": 0.02, "garbage": 0.02}
CROWD = {"helpers": 9, "steps": 6, "rounds": 2, "keys": 2, "faults": FAULTS}
# What the collector is sent again, and what a person would wait for.
SOON = {"ORCHESTRATOR_RETRY__INITIAL_DELAY_SECS": "0.2"}
SHORT_LEASE = {"ORCHESTRATOR_WEBHOOK__TIMEOUT_SECS": "2", "ORCHESTRATOR_ENGINE__LEASE_SECS": "8"}

pytestmark = pytest.mark.slow


def test_a_run_on_sqlite_keeps_the_promises(tmp_path: Path) -> None:
    _run(tmp_path, SOON)
    dump = tmp_path / "data" / "orchestrator.db"
    checked = _check(tmp_path, str(dump))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "no rule is broken" in checked.stdout


def test_a_run_on_postgresql_keeps_the_promises(tmp_path: Path, postgres_url: str) -> None:
    environment = {
        "ORCHESTRATOR_DATABASE__URL": postgres_url,
        "ORCHESTRATOR_SECURITY__MASTER_KEY": "a long secret",
        **SOON,
        **SHORT_LEASE,
    }
    assert spawn(tmp_path / "upgrade.log", "orchestrator", "db", "upgrade", **environment).wait(timeout=60) == 0
    _run(tmp_path, environment)
    checked = _check(tmp_path, postgres_url)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # The same run, had another worker's step been lost.
    lines = (tmp_path / "app.jsonl").read_text().splitlines()
    answered = _last_answer(lines, "late")
    (tmp_path / "app.jsonl").write_text("\n".join(lines[:answered] + lines[answered + 1 :]) + "\n")
    checked = _check(tmp_path, postgres_url)
    assert checked.returncode == 1
    assert "I2: " in checked.stdout


def _last_answer(lines: list[str], execution_id: str) -> int:
    """The position of the last answer to an execution that has succeeded, so that it was applied."""
    entries = [json.loads(line) for line in lines]
    asked = {
        entry["id"]
        for entry in entries
        if entry["event"] == "request" and json.loads(entry["body"])["task_exec_worker"]["task_exec_id"] == execution_id
    }
    return max(number for number, entry in enumerate(entries) if entry["event"] == "answer" and entry["id"] in asked)


def _run(directory: Path, environment: dict[str, str]) -> None:
    """What happens: every log and the database are in `directory` afterwards."""
    with (
        running_witness("app", directory / "app.jsonl") as app,
        running_witness("collector", directory / "collector.jsonl") as collector,
        running_server(directory / "data", ORCHESTRATOR_COLLECTOR__ENDPOINT=collector, **environment) as server,
    ):
        client = RecordingClient(server.url, server.token, directory / "client.jsonl")
        client.install(httpx.get(f"{app}/manifest.json", params={"every_secs": 3600}).json(), SECRET)
        _tell(collector, "half")
        ids = [f"crowd-{number}" for number in range(2)]
        for id_ in ids:
            client.launch("app_witness_work", {**CROWD, "seed": id_}, id=id_)
        pair = [{"worker_id": 3, "initial_state": {"steps": 4, "delay_secs": 0.05}}]
        client.launch("app_witness_work", {"steps": 200, "delay_secs": 0.05}, id="pair", workers=pair)
        client.mutate("app_witness", [{"operation": "increment", "key": "steps", "value": 1000}])
        wait_for(lambda: _lines(directory / "app.jsonl") > 60, "a part of the work")
        _tell(collector, "ok")
        client.abort("pair")
        _power_cut(server, directory / "faults.jsonl")
        client.read("pair")
        client.launch("app_witness_work", {"steps": 2}, key="once", id="late")
        client.launch("app_witness_work", {"steps": 2}, key="once", id="late")
        client.launch("app_witness_work", {"steps": 1, "fail_at": 0}, id="failing")
        server.ended("failing")
        client.read("failing")
        client.retry("failing")
        client.resume("pair", "3.1", "again")
        for id_ in (*ids, "late", "failing"):
            server.ended(id_)
            client.read(id_)
        client.abort("again")
        wait_for(lambda: _is_delivered(server), "the delivery of every batch")
        assert server.stop() == 0


def _power_cut(server: Server, log: Path) -> None:
    begin = clock()
    server.kill()
    server.start()
    Journal(log).write({"begin": begin, "end": clock(), "what": "kill -9 of the server"})


def _tell(collector: str, mode: str) -> None:
    assert httpx.post(f"{collector}/mode", json={"mode": mode}).status_code == 200


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n")


def _is_delivered(server: Server) -> bool:
    return not server.get("/v1/import-batches", status="pending")["items"]


def _check(directory: Path, url: str) -> subprocess.CompletedProcess[str]:
    logs = {"app": "app.jsonl", "collector": "collector.jsonl", "client": "client.jsonl", "fault": "faults.jsonl"}
    arguments = [part for kind, name in logs.items() for part in (f"--{kind}-log", str(directory / name))]
    command = [sys.executable, "-m", "tests.history", "--dump", url, *arguments, "--secret", SECRET, "--at-rest"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
