"""What becomes of Python tasks when their worker dies, is stopped, or misses the server."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app_sdk import get_status
from tests.acceptance.python_workers import (
    ACME,
    LOST_AFTER_SECS,
    MODULE,
    ended,
    has_lines,
    sent,
    serving,
    working,
)
from tests.support.server import Server, spawn, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_a_worker_that_dies_leaves_what_is_acknowledged_late_to_another(server: Server, tmp_path: Path) -> None:
    with working(tmp_path / "first.log") as first:
        late = sent("hold", str(tmp_path / "late"))
        early = sent("block", str(tmp_path / "early"), 300)
        wait_for(has_lines(tmp_path / "late", 1), "its begin")
        wait_for(has_lines(tmp_path / "early", 1), "the other's begin")
        first.signal(signal.SIGKILL)
        first.ended()
    (tmp_path / "late.go").touch()
    with working(tmp_path / "second.log"):
        seen, lost = ended(late), ended(early)
    assert (seen.status, seen.result) == ("SUCCESS", "attempt 2")
    assert lost.status == "FAILURE"
    assert (tmp_path / "early").read_text().splitlines() == ["begun"]


def test_sigterm_lets_a_task_end_and_no_other_begin(server: Server, tmp_path: Path) -> None:
    with working(tmp_path / "worker.log") as leaving:
        held = sent("hold", str(tmp_path / "file"))
        wait_for(has_lines(tmp_path / "file", 1), "its begin")
        leaving.signal(signal.SIGTERM)
        wait_for(lambda: leaving.has_said("stops;"), "the worker to hear of it")
        waiting = sent("greet", "Ada")
        (tmp_path / "file.go").touch()
        assert leaving.ended() == 0
    assert get_status(held.id, ACME).result == "attempt 1"
    assert get_status(waiting.id, ACME).status == "PENDING"
    with working(tmp_path / "next.log"):
        assert ended(waiting).status == "SUCCESS"


def test_after_its_grace_a_task_is_ended_and_made_again_elsewhere(server: Server, tmp_path: Path) -> None:
    with working(tmp_path / "worker.log", "--grace", "0.2") as leaving:
        held = sent("hold", str(tmp_path / "file"))
        wait_for(has_lines(tmp_path / "file", 1), "its begin")
        leaving.signal(signal.SIGTERM)
        assert leaving.ended() == 0
    with working(tmp_path / "next.log"):
        wait_for(has_lines(tmp_path / "file", 2), "the second attempt")
        (tmp_path / "file.go").touch()
        assert ended(held).result == "attempt 2"


def test_a_worker_goes_on_when_the_server_is_back(server: Server, tmp_path: Path) -> None:
    with working(tmp_path / "worker.log", "--lost-after", "60") as worker:
        held = sent("hold", str(tmp_path / "file"))
        wait_for(has_lines(tmp_path / "file", 1), "its begin")
        server.kill()
        (tmp_path / "file.go").touch()
        wait_for(lambda: worker.has_said(f"tells the end of {MODULE}.hold {held.id}"), "the worker to miss it")
        server.start()
        assert ended(held).result == "attempt 1"
        assert ended(sent("greet", "Ada")).status == "SUCCESS"


def app_tasks(server: Server) -> list[dict[str, Any]]:
    return list(server.get("/v1/apps/app_tests")["manifest"]["tasks"])


def test_a_shorter_time_that_another_worker_has_registered_is_kept(server: Server, tmp_path: Path) -> None:
    with working(tmp_path / "worker.log", "--lost-after", "600") as patient:
        task = next(one for one in app_tasks(server) if one["id"].endswith(".block"))
        body = {"tasks": [{**task, "inProgressTimeout": LOST_AFTER_SECS * 1000}]}
        assert server.request("PUT", "/v1/apps/app_tests/tasks", json=body).json()["changed"]
        status = sent("block", str(tmp_path / "file"), LOST_AFTER_SECS * 2)
        assert ended(status).status == "SUCCESS", patient.log.read_text()


def test_a_second_signal_does_not_wait(server: Server, tmp_path: Path) -> None:
    with working(tmp_path / "worker.log") as leaving:
        held = sent("hold", str(tmp_path / "file"))
        wait_for(has_lines(tmp_path / "file", 1), "its begin")
        leaving.signal(signal.SIGTERM)
        wait_for(lambda: leaving.has_said("stops;"), "the worker to hear of it")
        leaving.signal(signal.SIGTERM)
        assert leaving.ended() == 0
    (tmp_path / "file.go").touch()
    with working(tmp_path / "next.log"):
        assert ended(held).result == "attempt 2"


def test_the_sample(server: Server, tmp_path: Path) -> None:
    with working(tmp_path / "worker.log", module="sample_apps.crm.tasks", CRM_DATA=str(tmp_path)):
        assert spawn(tmp_path / "sender.log", "sample_apps.crm").wait(timeout=60) == 0

        def heard() -> bool:
            found = server.get("/v1/executions", task_id="sample_apps.crm.tasks.note_failure")["items"]
            return [one["status"] for one in found] == ["succeeded"]

        wait_for(heard, "the handler of the failure")
    assert (tmp_path / "sender.log").read_text().splitlines() == [
        "remove_coworker: FAILURE: ValueError: coworker 1 has 200 deals; reassign them first",
        "reassign: SUCCESS: updated the coworker of 200 deals to 2",
        "remove_coworker: SUCCESS: None",
        "count_deals: SUCCESS: {'2': 200}",
    ]
