"""Python tasks in processes of their own: sent, run, crashed, aborted, and asked about."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app_sdk import NotFoundError, get_status, send_task
from tests.acceptance.python_workers import (
    ACME,
    LOST_AFTER_SECS,
    MODULE,
    Worker,
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


@pytest.fixture(scope="module")
def worker(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with working(tmp_path_factory.mktemp("worker") / "worker.log") as worker:
        yield worker


def test_a_task_is_run_and_tells_its_result(server: Server, worker: Worker) -> None:
    status = sent("greet", "Ada", loudly=True)
    seen = ended(status)
    result = {"text": "Hello, Ada!", "from": ACME, "attempt": 1}
    assert seen.to_dict() == {"id": status.id, "status": "SUCCESS", "result": result}
    lines = [line["line"] for line in server.get(f"/v1/executions/{status.id}/logs")["items"]]
    assert "greets Ada\N{REPLACEMENT CHARACTER}" in lines
    assert "progress 1/2 words" in lines


@pytest.mark.parametrize(
    "value", [None, 5, "text", [1, None], {}, {"result": 1}, {"result": 1, "more": {"a": [2**63]}}]
)
def test_any_result_comes_back_as_it_was(worker: Worker, value: Any) -> None:
    seen = ended(send_task("give.back", ACME, value))
    assert (seen.status, seen.result) == ("SUCCESS", value)


def test_a_result_is_a_summary(worker: Worker) -> None:
    fits, is_over = "x" * (64 * 1024 - 2), "x" * (64 * 1024 - 1)
    assert ended(send_task("give.back", ACME, fits)).result == fits
    seen = ended(send_task("give.back", ACME, is_over))
    assert seen.status == "FAILURE"
    assert "the result has 65,537 bytes, and may have 65,536: a result is a summary" in seen.result


def test_what_is_no_json_is_a_failure(worker: Worker) -> None:
    seen = ended(sent("not_json"))
    assert seen.status == "FAILURE"
    assert "a result is JSON, and this is not" in seen.result


def test_a_call_that_does_not_fit_is_a_failure(worker: Worker) -> None:
    seen = ended(sent("greet"))
    assert (seen.status, seen.result) == (
        "FAILURE",
        "TypeError: greet() missing 1 required positional argument: 'name'",
    )


def test_early_acknowledged_a_crash_is_the_end(worker: Worker, tmp_path: Path) -> None:
    seen = ended(sent("crash", str(tmp_path / "file")))
    assert seen.status == "FAILURE"
    assert seen.result == "the process that ran the task has died: it was ended by SIGKILL"
    assert (tmp_path / "file").read_text().splitlines() == ["attempt 1"]
    assert ended(sent("greet", "Ada")).status == "SUCCESS", "the worker goes on"


def is_gone(pid: int) -> bool:
    """Whether no process has this id any more, but for what is left of one that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")
def test_a_crash_is_seen_and_nothing_is_left_of_it(worker: Worker, tmp_path: Path) -> None:
    seen = ended(sent("crash_with_child", str(tmp_path / "file")))
    assert seen.result == "the process that ran the task has died: it was ended by SIGKILL"
    left = int((tmp_path / "file").read_text())
    wait_for(lambda: is_gone(left), "the end of what it had started")


def test_of_an_aborted_task_nothing_is_left(server: Server, worker: Worker, tmp_path: Path) -> None:
    status = sent("hold_with_child", str(tmp_path / "file"))
    wait_for(has_lines(tmp_path / "file", 1), "its begin")
    server.post(f"/v1/executions/{status.id}/abort", expected=200)
    left = int((tmp_path / "file").read_text())
    wait_for(lambda: is_gone(left), "the end of what it had started")


def test_a_task_may_say_much(server: Server, worker: Worker) -> None:
    status = sent("chatter", 220)
    assert ended(status).status == "SUCCESS"
    newest = server.get(f"/v1/executions/{status.id}/logs", limit=500)["items"]
    said = [line["line"] for line in newest if line["line"].startswith("line ")]
    assert said == [f"line {number}" for number in reversed(range(220))]


def test_what_orjson_writes_is_a_result(worker: Worker) -> None:
    assert ended(sent("identify")).result == {"id": "00000000-0000-0000-0000-000000000007"}


def test_a_thread_that_outlives_its_run_is_not_heard_in_the_next(
    server: Server, worker: Worker, tmp_path: Path
) -> None:
    for _ in range(2):
        assert ended(sent("speak_later", str(tmp_path / "file"))).status == "SUCCESS"
    greeted = [sent("greet", "Ada") for _ in range(6)]
    assert [ended(status).status for status in greeted] == ["SUCCESS"] * 6
    (tmp_path / "file").touch()
    for status in greeted:
        lines = [line["line"] for line in server.get(f"/v1/executions/{status.id}/logs")["items"]]
        assert "of another run" not in lines


def test_late_acknowledged_a_crash_is_made_good_three_times(worker: Worker, tmp_path: Path) -> None:
    seen = ended(sent("crash_late", str(tmp_path / "file")))
    assert seen.status == "FAILURE"
    assert (tmp_path / "file").read_text().splitlines() == [f"attempt {number}" for number in (1, 2, 3, 4)]


def test_late_acknowledged_an_exit_is_made_good(worker: Worker, tmp_path: Path) -> None:
    seen = ended(sent("second_time_lucky", str(tmp_path / "file")))
    assert (seen.status, seen.result) == ("SUCCESS", "done")
    assert (tmp_path / "file").read_text().splitlines() == ["attempt 1", "attempt 2"]


def test_a_blocked_loop_is_no_silence(worker: Worker, tmp_path: Path) -> None:
    seen = ended(sent("block", str(tmp_path / "file"), LOST_AFTER_SECS + 1.5))
    assert (seen.status, seen.result) == ("SUCCESS", "done")
    assert (tmp_path / "file").read_text().splitlines() == ["begun", "ended"]


def test_an_aborted_task_is_ended_and_its_place_is_free(server: Server, worker: Worker, tmp_path: Path) -> None:
    status = sent("block", str(tmp_path / "file"), 300)
    wait_for(has_lines(tmp_path / "file", 1), "its begin")
    server.post(f"/v1/executions/{status.id}/abort", expected=200)
    assert get_status(status.id, ACME).status == "FAILURE"
    wait_for(lambda: worker.has_said(f"{status.id} is ended"), "the worker to notice")
    assert ended(sent("greet", "Ada")).status == "SUCCESS"


def test_nobody_else_is_told(worker: Worker) -> None:
    status = sent("greet", "Ada")
    with pytest.raises(NotFoundError) as foreign:
        get_status(status.id, "another")
    with pytest.raises(NotFoundError) as unknown:
        get_status("unknown", "another")
    assert str(foreign.value).replace(status.id, "…") == str(unknown.value).replace("unknown", "…")
    assert ended(status).status == "SUCCESS"


def test_a_name_that_nobody_has_registered_is_an_error_at_once(worker: Worker) -> None:
    with pytest.raises(NotFoundError, match=f"{MODULE}.greeet"):
        sent("greeet", "Ada")


def test_it_can_be_run_by_hand(server: Server, worker: Worker) -> None:
    path = f"/v1/apps/app_tests/tasks/app_tests_{MODULE}.greet/run"
    execution = server.post(path, {"state": {"name": "Ada", "loudly": True}})["id"]

    def output() -> Any:
        return server.get(f"/v1/executions/{execution}")["output"]

    assert wait_for(output, "its end") == {"text": "Hello, Ada!", "from": "default", "attempt": 1}


def test_the_command_line_retries_resumes_and_watches_it(server: Server, worker: Worker, tmp_path: Path) -> None:
    def says(*verb: str, code: int = 0) -> str:
        log = tmp_path / "-".join(verb)
        assert spawn(log, "orchestrator", *verb).wait(timeout=60) == code, log.read_text()
        return log.read_text()

    status = sent("open_door", str(tmp_path / "door"))
    assert ended(status).result == "RuntimeError: the door is shut"
    assert "the door is shut" in says("exec", "calls", status.id)
    (tmp_path / "door").touch()
    says("exec", "retry", status.id)
    assert "succeeded" in says("exec", "watch", status.id)
    assert get_status(status.id, ACME).result == "came in"
    assert "looks at the door" in says("exec", "logs", status.id)
    anew = json.loads(says("exec", "resume", status.id, "0.1", "--json"))
    assert "succeeded" in says("exec", "watch", anew["id"])
    assert get_status(anew["id"], ACME).result == "came in", "its application goes along"


def test_a_failure_is_heard_of(server: Server, worker: Worker) -> None:
    status = sent("not_json")
    ended(status)

    def heard() -> bool:
        found = server.get("/v1/executions", task_id=f"{MODULE}.mourn", status="succeeded")["items"]
        return {"result": f"{ACME}: {MODULE}.not_json {status.id}"} in [one["output"] for one in found]

    wait_for(heard, "the handler of the failure")


def test_a_scheduled_task_is_run_by_itself(server: Server, worker: Worker) -> None:
    def run() -> Any:
        found = server.get("/v1/executions", task_id=f"{MODULE}.greet.every_second", status="succeeded")["items"]
        return found[-1] if found else None

    found = wait_for(run, "a run")
    assert found["output"] == {"text": "Hello, you!", "from": "tests", "attempt": 1}
    assert found["application"] == "tests"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("tests.acceptance.nothing", "ModuleNotFoundError: No module named 'tests.acceptance.nothing'"),
        ("tests.support.waiting", "no task is declared in tests.support.waiting"),
    ],
)
def test_a_worker_that_cannot_begin_says_why(server: Server, tmp_path: Path, module: str, words: str) -> None:
    process = spawn(tmp_path / "log", "orchestrator", "worker", module)
    assert process.wait(timeout=60) == 1
    assert words in (tmp_path / "log").read_text()


def test_a_token_for_other_tasks_is_refused(server: Server, tmp_path: Path) -> None:
    asked = {"name": "other", "role": "executor", "tasks": ["some.other"]}
    token = server.post("/v1/tokens", asked)["token"]
    process = spawn(tmp_path / "log", "orchestrator", "worker", MODULE, ORCHESTRATOR_TOKEN=token)
    assert process.wait(timeout=60) == 4
    assert "this token is not for" in (tmp_path / "log").read_text()
