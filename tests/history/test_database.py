"""Reading the tables, and the program around it. (That they are the product's tables, the judged runs prove.)"""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.history.__main__ import main
from tests.history.database import opened_dump
from tests.history.dump import App, Batch, CallbackRow, CallRow, Execution, Occurrence, Schedule, Seed, Worker
from tests.history.json_lines import digest, digests

MINUTE = 60_000_000
BEGINNING = {
    "seeds": {
        "0": {"state": {"n": 1}, "rests": "ready"},
        "3": {"state": {}, "rests": "done", "callback": {"status": "SUCCESS"}},
    }
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "executions": [
        {
            "pk": 1,
            "workspace_id": "default",
            "id": "e1",
            "app_pk": 1,
            "task_pk": 1,
            "status": "succeeded",
            "failing": 0,
            "attempt": 2,
            "open_workers": 0,
            "ended_at": 9,
        }
    ],
    "execution_details": [
        {
            "execution_pk": 1,
            "input": '{"n": 1}',
            "beginning": json.dumps(BEGINNING),
            "launched_by": '{"schedule": "2026-01-31T08:00:00+00:00"}',
        }
    ],
    "workers": [{"execution_pk": 1, "worker_id": 0, "status": "done", "step": 1, "token": 4, "undelivered": 0}],
    "worker_states": [{"execution_pk": 1, "worker_id": 0, "state": '{"n": 2}'}],
    "calls": [
        {
            "execution_pk": 1,
            "worker_id": 0,
            "token": 4,
            "step": 0,
            "attempt": 2,
            "outcome": "applied",
            "answer": '{"is_done": true}',
            "items": 2,
            "spawned": '{"3": 7}',
        }
    ],
    "apps": [{"pk": 1, "workspace_id": "default", "id": "app_till"}],
    "app_states": [{"app_pk": 1, "state": '{"count": 5}', "version": 3}],
    "import_batches": [
        {
            "execution_pk": 1,
            "worker_id": 0,
            "step": 0,
            "part": 0,
            "key": "imp_1",
            "item_count": 2,
            "status": "pending",
            "items": '[{"kind": "a"}, {"kind": "b"}]',
        }
    ],
    "collected_batches": [{"key": "imp_0"}],
    "collected_items": [{"pk": 1, "batch_key": "imp_0", "item": '{"kind": "z"}'}],
    "occurrences": [{"task_pk": 1, "slot_at": MINUTE, "outcome": "launched", "execution_pk": 1, "note": None}],
    "schedules": [
        {
            "task_pk": 1,
            "anchor_at": 0,
            "next_slot_at": 2 * MINUTE,
            "due_at": 2 * MINUTE + 1,
            "definition": '{"interval_secs": 60}',
        }
    ],
    "callbacks": [{"execution_pk": 1, "worker_id": 0, "step": 0, "fate": "unused"}],
    "task_definitions": [{"pk": 1, "id": "app_till_print"}],
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with a row in each table."""
    path = tmp_path / "run.db"
    with sqlite3.connect(path) as connection:
        for table, rows in ROWS.items():
            columns = ", ".join(rows[0])
            connection.execute(f"CREATE TABLE {table} ({columns})")
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", list(row.values()))
    connection.close()
    return path


def test_every_table_becomes_plain_values(database: Path) -> None:
    with opened_dump(f"sqlite:///{database}") as dump:
        calls = list(dump.calls)
    execution = Execution(1, "default", "e1", 1, 1, "succeeded", attempt=2, ended_at=9, is_scheduled=True)
    execution.input = digest({"n": 1})
    execution.seeds = {0: Seed(digest({"n": 1})), 3: Seed(digest({}), "done", is_called_back=True)}
    assert dump.executions == {1: execution}
    assert dump.workers == {(1, 0): Worker(1, 0, "done", 1, 4, 0, digest({"n": 2}))}
    assert calls == [CallRow(1, 0, 4, 0, 2, "applied", {"is_done": True}, 2, {3: 7})]
    assert dump.apps == {1: App(1, "default", "app_till", {"count": 5}, 3)}
    items = digests([{"kind": "a"}, {"kind": "b"}])
    assert dump.batches == [Batch(1, 0, 0, 0, "imp_1", 2, "pending", items)]
    assert dump.collected == {"imp_0": digest({"kind": "z"})}
    assert dump.occurrences == [Occurrence(1, MINUTE, "launched", 1, None)]
    assert dump.schedules == [Schedule(1, 0, 2 * MINUTE, 2 * MINUTE + 1, MINUTE)]
    assert dump.callbacks == [CallbackRow(1, 0, 0, "unused")]
    assert dump.tasks == {1: "app_till_print"}


def test_the_program_prints_what_it_found(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "app.jsonl"
    arguments = ["--dump", str(database), "--app-log", str(log), "--secret", "s"]
    monkeypatch.setattr(sys, "argv", ["history", *arguments])
    assert main() == 2
    assert "app.jsonl" in capsys.readouterr().err
    log.write_text("")
    assert main() == 1
    assert "I2: execution e1 worker 0 step 0 (token 4): the app was never asked" in capsys.readouterr().out


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "tests.history", "--help"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--app-log" in done.stdout
