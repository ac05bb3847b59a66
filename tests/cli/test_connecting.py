"""Which server is asked, with which token, and what is said when it does not answer as hoped."""

import stat
from pathlib import Path

import httpx
import pytest
import respx

from tests.cli.support import SERVER, TOKEN, Invoke, listing, problem


def given_token(router: respx.MockRouter) -> str | None:
    request: httpx.Request = router.calls.last.request
    header: str | None = request.headers.get("Authorization")
    return header


class TestTheServer:
    def test_is_the_local_one_by_default(self, server: respx.MockRouter, invoke: Invoke) -> None:
        route = server.get("/v1/apps").mock(return_value=listing())
        assert invoke("app", "list").exit_code == 0
        assert route.called
        assert given_token(server) == f"Bearer {TOKEN}"

    @pytest.mark.parametrize("how", ["flag", "environment", "config"])
    def test_can_be_named(
        self, how: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
    ) -> None:
        url = "https://orchestrator.example.com/base"
        route = respx_mock.get(f"{url}/v1/apps").mock(return_value=listing())
        arguments = ["app", "list"]
        match how:
            case "flag":
                arguments += ["--url", f"{url}/"]
            case "environment":
                monkeypatch.setenv("ORCHESTRATOR_URL", url)
            case _:
                Path("config.toml").write_text(f'[cli]\nurl = "{url}"\n', encoding="utf-8")
        assert invoke(*arguments).exit_code == 0
        assert route.called

    def test_follows_the_servers_own_settings(
        self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
    ) -> None:
        monkeypatch.setenv("ORCHESTRATOR_SERVER__PORT", "8499")
        route = respx_mock.get("http://127.0.0.1:8499/v1/apps").mock(return_value=listing())
        assert invoke("app", "list").exit_code == 0
        assert route.called

    def test_is_unknown_where_the_port_is_any(self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ORCHESTRATOR_SERVER__PORT", "0")
        result = invoke("app", "list")
        assert result.exit_code == 2
        assert "--url" in result.stderr

    def test_wrong_settings_are_a_usage_error(self, invoke: Invoke) -> None:
        result = invoke("app", "list", "--url", "localhost")
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: cli.url (from the command line)")
        assert not result.stdout


class TestTheToken:
    @pytest.mark.parametrize("how", ["flag", "environment", "config"])
    def test_can_be_given(
        self, how: str, server: respx.MockRouter, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.get("/v1/apps").mock(return_value=listing())
        arguments = ["app", "list"]
        match how:
            case "flag":
                arguments += ["--token", "orch_mine"]
            case "environment":
                monkeypatch.setenv("ORCHESTRATOR_TOKEN", "orch_mine")
            case _:
                Path("config.toml").write_text('[cli]\ntoken = "orch_mine"\n', encoding="utf-8")
        assert invoke(*arguments).exit_code == 0
        assert given_token(server) == "Bearer orch_mine"

    def test_of_a_local_server_may_be_in_its_settings(
        self, server: respx.MockRouter, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.get("/v1/apps").mock(return_value=listing())
        monkeypatch.setenv("ORCHESTRATOR_ADMIN_TOKEN", "orch_first")
        assert invoke("app", "list").exit_code == 0
        assert given_token(server) == "Bearer orch_first"

    def test_of_a_local_server_is_never_sent_elsewhere(
        self, local_token: str, invoke: Invoke, respx_mock: respx.MockRouter
    ) -> None:
        respx_mock.get("https://elsewhere.example.com/v1/apps").mock(return_value=listing())
        assert invoke("app", "list", "--url", "https://elsewhere.example.com").exit_code == 0
        assert given_token(respx_mock) is None

    def test_that_cannot_be_read_is_named(self, local_token: str, invoke: Invoke) -> None:
        path = Path(".orchestrator/admin-token")
        path.unlink()
        path.mkdir()
        result = invoke("app", "list")
        assert result.exit_code == 4
        assert ".orchestrator/admin-token cannot be read" in result.stderr
        assert "--token" in result.stderr

    def test_file_is_left_as_it_is(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps").mock(return_value=listing())
        invoke("app", "list")
        assert stat.S_IMODE(Path(".orchestrator/admin-token").stat().st_mode) == 0o600


class TestRefusals:
    @pytest.mark.parametrize(
        ("answer", "exit_code", "said"),
        [
            (problem(400, "no"), 4, "Error: no\n"),
            (problem(401, "no valid token"), 4, "--token or ORCHESTRATOR_TOKEN"),
            (problem(403, "the role viewer may not"), 4, "orchestrator token create"),
            (problem(404, "there is no app app_x"), 3, "See which there are: orchestrator app list"),
            (problem(409, "still running", execution_id="e1"), 4, "orchestrator exec watch e1"),
            (problem(409, "a batch is refused", batch="b1"), 4, "orchestrator import redeliver b1"),
            (problem(422, "bad", errors=[{"field": "$.id", "message": "bad"}]), 4, "Error: $.id: bad\n"),
            (problem(429, "slow down"), 4, "Try again in a while."),
            (problem(500, "the server failed"), 5, "answered 500: the server failed"),
            (problem(503, "draining"), 5, "answered 503: draining"),
            (httpx.Response(401, text="<html>"), 4, "Error: Unauthorized"),
            (httpx.Response(404, text="<html>"), 5, "is not an orchestrator"),
            (httpx.Response(307, headers={"Location": "/x"}), 5, "is not an orchestrator"),
            (httpx.Response(200, text="<html>"), 5, "its answer is not JSON"),
            (httpx.Response(200, json=[1]), 5, "not a JSON object"),
        ],
    )
    def test_each_has_its_exit_code_and_says_what_to_do(
        self, answer: httpx.Response, exit_code: int, said: str, server: respx.MockRouter, invoke: Invoke
    ) -> None:
        server.get("/v1/apps/app_x").mock(return_value=answer)
        result = invoke("app", "show", "app_x")
        assert result.exit_code == exit_code
        assert said in result.stderr
        assert result.stderr.startswith("Error: ")
        assert not result.stdout

    def test_several_fields_have_a_line_each(self, server: respx.MockRouter, invoke: Invoke) -> None:
        errors = [{"field": "$.a", "message": "needed"}, {"field": "$.b", "message": "write a number"}]
        answer = problem(422, "$.a: needed; $.b: write a number", errors=errors)
        server.get("/v1/apps/app_x").mock(return_value=answer)
        stderr = invoke("app", "show", "app_x").stderr
        assert stderr == "Error: A title\n  $.a: needed\n  $.b: write a number\n"

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (httpx.ConnectError("Connection refused"), "cannot be reached: Connection refused"),
            (httpx.ReadTimeout("timed out"), "took too long to answer"),
            (httpx.RemoteProtocolError("hung up"), "cannot be reached: hung up"),
        ],
    )
    def test_no_answer_is_unreachable(
        self, error: httpx.HTTPError, said: str, server: respx.MockRouter, invoke: Invoke
    ) -> None:
        server.get("/v1/apps").mock(side_effect=error)
        result = invoke("app", "list")
        assert result.exit_code == 5
        assert f"{SERVER} {said}" in result.stderr
        assert "orchestrator serve" in result.stderr

    def test_escape_sequences_of_a_stranger_do_not_reach_the_terminal(
        self, server: respx.MockRouter, invoke: Invoke
    ) -> None:
        server.get("/v1/apps/app_x").mock(return_value=problem(409, "\x1b]0;owned\x07\nsecond line"))
        stderr = invoke("app", "show", "app_x").stderr
        assert "\x1b" not in stderr
        assert stderr.count("\n") == 1

    def test_an_empty_id_asks_nobody(self, server: respx.MockRouter, invoke: Invoke) -> None:
        result = invoke("app", "show", "")
        assert result.exit_code == 2
        assert not server.calls

    def test_an_id_stays_one_part_of_the_path(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.route().mock(return_value=problem(404, "no"))
        invoke("exec", "show", "a/../b?c")
        assert server.calls.last.request.url.raw_path == b"/v1/executions/a%2F..%2Fb%3Fc"


def test_lists_are_read_page_by_page(server: respx.MockRouter, invoke: Invoke) -> None:
    server.get("/v1/apps").mock(
        side_effect=[listing({"id": "app_a"}, next_cursor="c1"), listing({"id": "app_b"}, next_cursor="c2")]
    )
    result = invoke("app", "list", "--limit", "2")
    assert "app_a" in result.stdout
    assert "app_b" in result.stdout
    assert "--cursor c2" in result.stderr
    assert [dict(call.request.url.params) for call in server.calls] == [
        {"limit": "2"},
        {"limit": "1", "cursor": "c1"},
    ]
