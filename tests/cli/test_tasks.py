"""`orchestrator task`: listing, launching, pausing."""

import json
from pathlib import Path

import httpx
import pytest
import respx

from tests.cli.support import (
    EXECUTION_ID,
    Invoke,
    app_document,
    ended_document,
    execution_document,
    listing,
    problem,
    task_document,
)


def sent(router: respx.MockRouter) -> object:
    return json.loads(router.calls.last.request.content)


def launched(**changes: object) -> httpx.Response:
    return httpx.Response(201, json=execution_document(status="pending", started_at=None, **changes))


class TestList:
    def test_of_every_app(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps").mock(return_value=listing(app_document(), app_document(id="app_mail")))
        server.get("/v1/apps/app_shop/tasks").mock(return_value=listing(task_document()))
        cron = {"cron": "0 3 * * *", "timezone": "Europe/Paris", "interval_secs": None}
        mail = task_document(id="app_mail_send", schedule=cron, is_paused=True, last_execution=None)
        server.get("/v1/apps/app_mail/tasks").mock(return_value=listing(mail))
        shown = invoke("task", "list").stdout
        for text in (
            "app_shop_import",
            "every 5 min",
            "2026-11-21 09:00:00Z",
            "failed",
            "app_mail_send",
            "0 3 * * * Europe/Paris",
            "paused",
        ):
            assert text in shown
        items = json.loads(invoke("task", "list", "--json").stdout)["items"]
        assert items == [task_document(), mail]

    def test_of_one_app(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps/app_shop/tasks").mock(return_value=listing(task_document(schedule=None)))
        assert "app_shop_import" in invoke("task", "list", "--app", "app_shop").stdout

    def test_of_an_unknown_app(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps/app_x/tasks").mock(return_value=problem(404, "there is no app app_x"))
        assert invoke("task", "list", "--app", "app_x").exit_code == 3

    def test_of_nothing(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps").mock(return_value=listing())
        assert "orchestrator app install" in invoke("task", "list").stdout


class TestRun:
    def test_says_how_to_follow(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions").mock(return_value=launched())
        result = invoke("task", "run", "app_shop_import")
        assert result.exit_code == 0
        assert sent(server) == {"task_id": "app_shop_import"}
        assert f"orchestrator exec watch {EXECUTION_ID}" in result.stdout

    def test_has_a_key_of_its_own(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions").mock(return_value=launched())
        keys = set()
        for _ in range(2):
            invoke("task", "run", "app_shop_import")
            keys.add(server.calls.last.request.headers["Idempotency-Key"])
        assert len(keys) == 2

    @pytest.mark.parametrize("failure", [httpx.ReadTimeout("timed out"), problem(503, "it may have been done")])
    def test_tells_the_key_where_it_may_have_been_launched(
        self, failure: httpx.Response | httpx.HTTPError, server: respx.MockRouter, invoke: Invoke
    ) -> None:
        server.post("/v1/executions").mock(side_effect=[failure])
        result = invoke("task", "run", "app_shop_import")
        assert result.exit_code == 5
        assert f"--idempotency-key {server.calls.last.request.headers['Idempotency-Key']}" in result.stderr

    def test_of_what_was_never_sent_no_key_is_told(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions").mock(side_effect=httpx.ConnectError("refused"))
        result = invoke("task", "run", "app_shop_import")
        assert result.exit_code == 5
        assert "--idempotency-key" not in result.stderr

    def test_with_everything(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions").mock(return_value=launched())
        Path("two.json").write_text('{"from": 2}', encoding="utf-8")
        options = ["--state", '{"n": 18446744073709551615}', "--key", "k", "--run-at", "2026-11-21T08:30:00Z"]
        options += [
            "--id",
            "mine",
            "--name",
            "nightly",
            "--worker",
            '1={"from": 1}',
            "--worker",
            "2=@two.json",
        ]
        result = invoke("task", "run", "shop.import", *options, "--idempotency-key", "once", "--json")
        assert sent(server) == {
            "task_id": "shop.import",
            "state": {"n": 2**64 - 1},
            "multiple_exec_key": "k",
            "run_at": "2026-11-21T08:30:00Z",
            "id": "mine",
            "name": "nightly",
            "workers": [
                {"worker_id": 1, "initial_state": {"from": 1}},
                {"worker_id": 2, "initial_state": {"from": 2}},
            ],
        }
        assert server.calls.last.request.headers["Idempotency-Key"] == "once"
        assert json.loads(result.stdout)["id"] == EXECUTION_ID

    @pytest.mark.parametrize("how", ["file", "stdin"])
    def test_state_from_elsewhere(self, how: str, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions").mock(return_value=launched())
        Path("state.json").write_text('{"page": 3}', encoding="utf-8")
        source = "@state.json" if how == "file" else "-"
        invoke("task", "run", "t", "--state", source, stdin='{"page": 3}')
        assert sent(server) == {"task_id": "t", "state": {"page": 3}}

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--state", '{"a": 1e400}'], "--state is not JSON: a number that is not finite ($.a)"),
            (["--state", "[]"], "--state must be a JSON object"),
            (["--state", "@nowhere"], "nowhere cannot be read"),
            (["--run-at", "2026-11-21T08:30:00"], "with a zone"),
            (["--run-at", "soon"], "with a zone"),
            (["--worker", "0={}"], "--worker 0={}"),
            (["--worker", "1"], "--worker 1"),
            (["--worker", "1=3"], "--worker 1 must be a JSON object"),
        ],
    )
    def test_misuse_asks_nobody(self, options: list[str], said: str, server: respx.MockRouter, invoke: Invoke) -> None:
        result = invoke("task", "run", "t", *options)
        assert result.exit_code == 2
        assert said in result.stderr
        assert not server.calls

    def test_refused_by_the_overlap_policy(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions").mock(return_value=problem(409, "still running", execution_id="e1"))
        result = invoke("task", "run", "t")
        assert result.exit_code == 4
        assert "orchestrator exec watch e1" in result.stderr

    def test_of_an_unknown_task(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions").mock(return_value=problem(404, "there is no task t"))
        result = invoke("task", "run", "t")
        assert result.exit_code == 3
        assert "orchestrator task list" in result.stderr

    @pytest.mark.parametrize(("status", "exit_code"), [("succeeded", 0), ("failed", 1), ("aborted", 1)])
    def test_watch_ends_with_the_runs_result(
        self, status: str, exit_code: int, server: respx.MockRouter, invoke: Invoke
    ) -> None:
        server.post("/v1/executions").mock(return_value=launched())
        server.get(f"/v1/executions/{EXECUTION_ID}").mock(return_value=httpx.Response(200, json=ended_document(status)))
        result = invoke("task", "run", "t", "--watch")
        assert result.exit_code == exit_code
        assert status in result.stdout
        assert "1,000 (100/s)" in result.stdout
        assert ("orchestrator exec retry" in result.stdout) == (exit_code == 1)

    def test_watch_with_json_prints_one_document(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions").mock(return_value=launched())
        server.get(f"/v1/executions/{EXECUTION_ID}").mock(return_value=httpx.Response(200, json=ended_document()))
        result = invoke("task", "run", "t", "--watch", "--json")
        assert json.loads(result.stdout) == ended_document()
        assert "succeeded" in result.stderr


class TestPauseAndResume:
    @pytest.mark.parametrize("action", ["pause", "resume"])
    def test_by_id(self, action: str, server: respx.MockRouter, invoke: Invoke) -> None:
        route = server.post(f"/v1/apps/app_shop/tasks/app_shop_import/{action}")
        route.mock(return_value=httpx.Response(200, json=task_document()))
        assert invoke("task", action, "app_shop_import").exit_code == 0
        assert route.called

    def test_by_alias(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps").mock(return_value=listing(app_document()))
        server.get("/v1/apps/app_shop/tasks").mock(return_value=listing(task_document()))
        route = server.post("/v1/apps/app_shop/tasks/app_shop_import/pause")
        route.mock(return_value=httpx.Response(200, json=task_document()))
        assert "app_shop_import" in invoke("task", "pause", "shop.import").stdout
        assert route.called

    def test_of_an_unknown_alias(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps").mock(return_value=listing())
        result = invoke("task", "pause", "nothing")
        assert result.exit_code == 3
        assert "orchestrator task list" in result.stderr

    def test_of_an_unknown_id(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/apps/app_x/tasks/app_x_y/resume").mock(return_value=problem(404, "no"))
        result = invoke("task", "resume", "app_x_y")
        assert result.exit_code == 3
        assert "orchestrator task list" in result.stderr


SLOT = {
    "slot_at": "2026-11-21T08:30:00.000000Z",
    "outcome": "skipped",
    "reason": "overlap",
    "execution_id": None,
    "late_secs": 0.0,
    "slots": 1,
    "note": "execution e-1 is still running",
    "recorded_at": "2026-11-21T08:30:00.000000Z",
}
LATE = {**SLOT, "outcome": "launched", "reason": None, "execution_id": "e-2", "late_secs": 12.34, "note": None}


class TestOccurrences:
    def test_lists_what_became_of_each_slot(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps/app_shop/tasks/app_shop_import/occurrences").mock(return_value=listing(LATE, SLOT))
        shown = invoke("task", "occurrences", "app_shop_import").stdout
        for text in ("2026-11-21 08:30:00Z", "skipped", "overlap", "e-1 is still running", "launched", "e-2", "12.3 s"):
            assert text in shown
        assert json.loads(invoke("task", "occurrences", "app_shop_import", "--json").stdout)["items"] == [LATE, SLOT]

    def test_none_yet(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps/app_shop/tasks/app_shop_import/occurrences").mock(return_value=listing())
        assert "No slot of this task has come yet." in invoke("task", "occurrences", "app_shop_import").stdout
