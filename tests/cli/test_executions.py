"""`orchestrator exec` and `orchestrator import`: reading, following, changing."""

import json
from typing import Any

import httpx
import pytest
import respx

from orchestrator.cli import watching
from tests.cli.support import EXECUTION_ID, Invoke, ended_document, execution_document, listing, problem

PATH = f"/v1/executions/{EXECUTION_ID}"
CALL = {
    "id": "3.9",
    "worker_id": 3,
    "step": 4,
    "token": 9,
    "attempt": 1,
    "retry_count": 2,
    "outcome": "failed",
    "failure": "status",
    "http_status": 503,
    "message": "HTTP 503",
    "notes": [],
    "spawned": [],
    "answer": None,
    "items": 0,
    "node": "n1",
    "started_at": "2026-11-21T08:30:02.000000Z",
    "ended_at": "2026-11-21T08:30:02.250000Z",
    "duration_ms": 250.0,
}
BATCH = {
    "key": "imp_1_0_2_0",
    "execution_id": EXECUTION_ID,
    "worker_id": 0,
    "step": 2,
    "part": 0,
    "item_count": 250,
    "status": "refused",
    "tries": 3,
    "due_at": None,
    "message": "HTTP 422: no kind",
    "created_at": "2026-11-21T08:30:02.000000Z",
    "ended_at": None,
}


class TestList:
    def test_shows_what_there_is(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/executions").mock(return_value=listing(ended_document()))
        shown = invoke("exec", "list").stdout
        for text in (EXECUTION_ID, "app_shop_import", "succeeded", "2026-11-21 08:30:00Z", "10 s"):
            assert text in shown

    def test_filters(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/executions").mock(return_value=listing())
        options = ["--app", "app_shop", "--task", "t", "--status", "failed", "--key", "k", "--limit", "7"]
        options += [
            "--created-after",
            "2026-11-20T00:00:00Z",
            "--created-before",
            "2026-11-21T00:00:00+01:00",
        ]
        assert invoke("exec", "list", *options, "--cursor", "c").exit_code == 0
        assert dict(server.calls.last.request.url.params) == {
            "app_id": "app_shop",
            "task_id": "t",
            "status": "failed",
            "key": "k",
            "created_after": "2026-11-20T00:00:00Z",
            "created_before": "2026-11-21T00:00:00+01:00",
            "limit": "7",
            "cursor": "c",
        }

    @pytest.mark.parametrize("options", [["--status", "sleeping"], ["--created-after", "yesterday"]])
    def test_misuse(self, options: list[str], server: respx.MockRouter, invoke: Invoke) -> None:
        assert invoke("exec", "list", *options).exit_code == 2
        assert not server.calls

    def test_json(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/executions").mock(return_value=listing(execution_document(), next_cursor="c"))
        document = json.loads(invoke("exec", "list", "--limit", "1", "--json").stdout)
        assert document == {"items": [execution_document()], "next_cursor": "c"}

    def test_of_nothing(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/executions").mock(return_value=listing())
        assert "orchestrator task run" in invoke("exec", "list").stdout
        assert json.loads(invoke("exec", "list", "--json").stdout) == {"items": [], "next_cursor": None}


class TestShow:
    def test_for_people(self, server: respx.MockRouter, invoke: Invoke) -> None:
        execution = execution_document(failing=True, launched_by={"token": "tok_1", "name": "first admin"})
        server.get(PATH).mock(return_value=httpx.Response(200, json=execution))
        shown = invoke("exec", "show", EXECUTION_ID).stdout
        for text in (
            "running failing",
            "first admin",
            "12, 2 of them retries",
            "500, 450 delivered",
            '{"from": 9223372036854775808}',
            "250/1,000 airports",
        ):
            assert text in shown

    def test_json_is_the_whole_document(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get(PATH).mock(return_value=httpx.Response(200, json=execution_document()))
        assert json.loads(invoke("exec", "show", EXECUTION_ID, "--json").stdout) == execution_document()

    def test_of_an_unknown_one(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/executions/nope").mock(return_value=problem(404, "there is no execution nope"))
        result = invoke("exec", "show", "nope")
        assert result.exit_code == 3
        assert result.stderr.splitlines() == [
            "Error: there is no execution nope",
            "  See which there are: orchestrator exec list",
        ]


class TestChanging:
    def test_abort(self, server: respx.MockRouter, invoke: Invoke) -> None:
        aborted = ended_document("aborted")
        server.post(f"{PATH}/abort").mock(return_value=httpx.Response(200, json=aborted))
        result = invoke("exec", "abort", EXECUTION_ID, "--message", "wrong month")
        assert json.loads(server.calls.last.request.content) == {"message": "wrong month"}
        assert "aborted" in result.stdout
        assert json.loads(invoke("exec", "abort", EXECUTION_ID, "--json").stdout) == aborted
        assert json.loads(server.calls.last.request.content) == {}

    def test_retry(self, server: respx.MockRouter, invoke: Invoke) -> None:
        route = server.post(f"{PATH}/retry")
        route.mock(return_value=httpx.Response(200, json=execution_document(attempt=2)))
        assert "running" in invoke("exec", "retry", EXECUTION_ID).stdout

    def test_retry_held_back_by_a_batch(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post(f"{PATH}/retry").mock(return_value=problem(409, "a batch is refused", batch="imp_1"))
        result = invoke("exec", "retry", EXECUTION_ID)
        assert result.exit_code == 4
        assert "orchestrator import redeliver imp_1" in result.stderr
        assert "orchestrator import discard imp_1" in result.stderr


class TestResuming:
    RESUMED = execution_document(
        resumed_from={
            "execution_id": "e-0",
            "call": "3.9",
            "worker_id": 3,
            "step": 4,
            "since": {"calls": 1200, "items": 250, "mutations": 3},
        }
    )

    def test_says_what_stays(self, server: respx.MockRouter, invoke: Invoke) -> None:
        route = server.post("/v1/executions/e-0/resume").mock(return_value=httpx.Response(201, json=self.RESUMED))
        shown = invoke("exec", "resume", "e-0", "3.9", "--name", "again", "--idempotency-key", "k").stdout
        assert json.loads(route.calls.last.request.content) == {"call": "3.9", "name": "again"}
        assert route.calls.last.request.headers["Idempotency-Key"] == "k"
        said = " ".join(shown.replace("│", " ").split())
        assert "call 3.9 of e-0; what the 1,200 later answers did there stays" in said
        assert "250 items imported, 3 changes of the app state" in said
        assert f"orchestrator exec watch {EXECUTION_ID}" in shown
        assert json.loads(invoke("exec", "resume", "e-0", "3.9", "--json").stdout) == self.RESUMED

    def test_follows_it_to_its_end(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/executions/e-0/resume").mock(return_value=httpx.Response(201, json=self.RESUMED))
        server.get(PATH).mock(return_value=httpx.Response(200, json=ended_document()))
        result = invoke("exec", "resume", "e-0", "3.9", "--id", "mine", "--watch")
        assert result.exit_code == 0
        assert "Resumed from call 3.9 of e-0" in " ".join((result.stderr + result.stdout).split())
        assert "succeeded" in result.stdout


class TestRecords:
    def test_calls_in_the_order_in_which_they_happened(self, server: respx.MockRouter, invoke: Invoke) -> None:
        first: dict[str, Any] = {**CALL, "step": 1, "outcome": "applied", "message": "the first"}
        server.get(f"{PATH}/calls").mock(return_value=listing(CALL, first))
        result = invoke("exec", "calls", EXECUTION_ID, "--worker", "3")
        assert server.calls.last.request.url.params["worker_id"] == "3"
        assert result.stdout.index("the first") < result.stdout.index("HTTP 503")
        assert "250" in result.stdout
        assert json.loads(invoke("exec", "calls", EXECUTION_ID, "--json").stdout)["items"] == [CALL, first]

    def test_no_calls(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get(f"{PATH}/calls").mock(return_value=listing())
        assert invoke("exec", "calls", EXECUTION_ID).stdout == "No calls yet.\n"

    def test_logs_are_lines_oldest_first(self, server: respx.MockRouter, invoke: Invoke) -> None:
        at = "2026-11-21T08:30:02.000000Z"
        newer = {"worker_id": 0, "step": 2, "line": "page 2 \x1b[2J", "logged_at": at}
        older = {"worker_id": 0, "step": 1, "line": "page 1", "logged_at": at}
        server.get(f"{PATH}/logs").mock(return_value=listing(newer, older, next_cursor="c"))
        result = invoke("exec", "logs", EXECUTION_ID, "--limit", "2")
        assert result.stdout.splitlines() == [
            "2026-11-21 08:30:02Z  worker 0 step 1  page 1",
            "2026-11-21 08:30:02Z  worker 0 step 2  page 2 \ufffd[2J",
        ]
        assert "--cursor c" in result.stderr
        assert json.loads(invoke("exec", "logs", EXECUTION_ID, "--limit", "2", "--json").stdout)["items"] == [
            newer,
            older,
        ]


class TestWatch:
    @pytest.fixture(autouse=True)
    def no_time_passes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watching, "POLL_SECS", 0)

    @pytest.mark.parametrize(("status", "exit_code"), [("succeeded", 0), ("failed", 1), ("aborted", 1)])
    def test_until_the_end(self, status: str, exit_code: int, server: respx.MockRouter, invoke: Invoke) -> None:
        documents = [execution_document(), execution_document(), ended_document(status)]
        server.get(PATH).mock(side_effect=[httpx.Response(200, json=document) for document in documents])
        result = invoke("exec", "watch", EXECUTION_ID)
        assert result.exit_code == exit_code
        assert "250/1,000 airports" in result.stdout
        assert "40 (3 retries)" in result.stdout

    def test_json(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get(PATH).mock(return_value=httpx.Response(200, json=ended_document("failed")))
        result = invoke("exec", "watch", EXECUTION_ID, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout) == ended_document("failed")

    def test_ctrl_c_leaves_it_running(self, server: respx.MockRouter, invoke: Invoke) -> None:
        def answer(request: httpx.Request, route: respx.Route) -> httpx.Response:
            if route.call_count:
                raise KeyboardInterrupt
            return httpx.Response(200, json=execution_document())

        server.get(PATH).mock(side_effect=answer)
        result = invoke("exec", "watch", EXECUTION_ID)
        assert result.exit_code == 130
        assert "The run goes on." in result.stderr
        assert all(call.request.method == "GET" for call in server.calls)

    def test_of_an_unknown_one(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get(PATH).mock(return_value=problem(404, "there is no execution"))
        assert invoke("exec", "watch", EXECUTION_ID).exit_code == 3


class TestImports:
    def test_list(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/import-batches").mock(return_value=listing(BATCH))
        result = invoke("import", "list", "--status", "refused", "--execution", EXECUTION_ID)
        params = dict(server.calls.last.request.url.params)
        assert params == {"status": "refused", "execution_id": EXECUTION_ID, "limit": "50"}
        assert "HTTP 422: no kind" in result.stdout
        assert json.loads(invoke("import", "list", "--json").stdout)["items"] == [BATCH]

    def test_redeliver(self, server: respx.MockRouter, invoke: Invoke) -> None:
        route = server.post("/v1/import-batches/imp_1_0_2_0/redeliver")
        route.mock(return_value=httpx.Response(200, json=BATCH))
        assert "imp_1_0_2_0 is on its way again" in invoke("import", "redeliver", "imp_1_0_2_0").stdout
        assert json.loads(invoke("import", "redeliver", "imp_1_0_2_0", "--json").stdout) == BATCH

    def test_discard_loses_items_and_so_needs_a_yes(self, server: respx.MockRouter, invoke: Invoke) -> None:
        route = server.post("/v1/import-batches/imp_1_0_2_0/discard")
        route.mock(return_value=httpx.Response(200, json=BATCH))
        refused = invoke("import", "discard", "imp_1_0_2_0")
        assert refused.exit_code == 2
        assert "--yes" in refused.stderr
        assert not route.called
        assert invoke("import", "discard", "imp_1_0_2_0", "--yes").exit_code == 0
        assert route.called

    def test_export_hands_every_byte_on(self, server: respx.MockRouter, invoke: Invoke) -> None:
        lines = '{"kind":"airport","name":"Zürich"}\n{"kind":"airport","n":18446744073709551615}\n'.encode()
        server.get("/collector/items").mock(return_value=httpx.Response(200, content=lines))
        result = invoke("import", "export", "--kind", "airport")
        assert result.stdout_bytes == lines
        request = server.calls.last.request
        assert request.headers["Accept"] == "application/x-ndjson"
        assert dict(request.url.params) == {"kind": "airport"}

    def test_export_refused(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/collector/items").mock(return_value=problem(403, "the role app may not do this"))
        result = invoke("import", "export")
        assert result.exit_code == 4
        assert not result.stdout

    def test_export_cut_off_is_no_success(self, server: respx.MockRouter, invoke: Invoke) -> None:
        class CutOff(httpx.SyncByteStream):
            def __iter__(self) -> Any:
                yield b'{"kind":"airport"}\n'
                raise httpx.RemoteProtocolError("peer closed connection")

        server.get("/collector/items").mock(return_value=httpx.Response(200, stream=CutOff()))
        result = invoke("import", "export")
        assert result.exit_code == 5
        assert "peer closed connection" in result.stderr
