"""`orchestrator token` and `orchestrator workspace`."""

import json

import httpx
import pytest
import respx

from tests.cli.support import Invoke, listing, problem

TOKEN = {
    "id": "tok_1",
    "name": "ci",
    "role": "app",
    "app_id": "app_shop",
    "created_at": "2026-11-21T08:30:00.000000Z",
    "expires_at": "2027-01-31T00:00:00.000000Z",
    "revoked_at": None,
}
WORKSPACE = {"id": "acme", "name": "Acme Inc.", "created_at": "2026-11-21T08:30:00.000000Z"}


def sent(router: respx.MockRouter) -> object:
    return json.loads(router.calls.last.request.content)


class TestTokens:
    def test_create_tells_it_once(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = {**TOKEN, "token": "orch_secret"}
        server.post("/v1/tokens").mock(return_value=httpx.Response(201, json=answer))
        options = ["--role", "app", "--app", "app_shop", "--expires-at", "2027-01-31T00:00:00Z"]
        result = invoke("token", "create", "ci", *options, "--workspace", "acme")
        assert result.exit_code == 0
        assert sent(server) == {
            "name": "ci",
            "role": "app",
            "app_id": "app_shop",
            "expires_at": "2027-01-31T00:00:00Z",
            "workspace_id": "acme",
        }
        assert "Token, shown this once: orch_secret\n" in result.stdout

    def test_create_makes_an_operator_by_default(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = {**TOKEN, "token": "orch_secret"}
        server.post("/v1/tokens").mock(return_value=httpx.Response(201, json=answer))
        result = invoke("token", "create", "ci", "--json")
        assert sent(server) == {"name": "ci", "role": "operator"}
        assert json.loads(result.stdout) == answer

    def test_create_binds_an_executor_to_tasks(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = {**TOKEN, "role": "executor", "tasks": ["shop/send", "shop/print"], "owner_id": 7, "token": "orch_s"}
        server.post("/v1/tokens").mock(return_value=httpx.Response(201, json=answer))
        options = ["--role", "executor", "--task", "shop/send", "--task", "shop/print", "--owner-id", "7"]
        result = invoke("token", "create", "press", *options)
        asked = {"name": "press", "role": "executor", "tasks": ["shop/send", "shop/print"], "owner_id": 7}
        assert sent(server) == asked
        assert "shop/send, shop/print" in result.stdout

    @pytest.mark.parametrize("options", [["--role", "king"], ["--expires-at", "tomorrow"]])
    def test_create_misused(self, options: list[str], server: respx.MockRouter, invoke: Invoke) -> None:
        assert invoke("token", "create", "ci", *options).exit_code == 2
        assert not server.calls

    def test_list(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/tokens").mock(return_value=listing(TOKEN))
        shown = invoke("token", "list").stdout
        assert "tok_1" in shown
        assert "2027-01-31 00:00:00Z" in shown
        assert json.loads(invoke("token", "list", "--json").stdout)["items"] == [TOKEN]

    def test_revoke(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.delete("/v1/tokens/tok_1").mock(return_value=httpx.Response(204))
        assert invoke("token", "revoke", "tok_1").stdout == "Revoked tok_1.\n"

    def test_revoke_of_an_unknown_one(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.delete("/v1/tokens/tok_2").mock(return_value=problem(404, "there is no token tok_2"))
        result = invoke("token", "revoke", "tok_2")
        assert result.exit_code == 3
        assert "orchestrator token list" in result.stderr


class TestWorkspaces:
    def test_create(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/workspaces").mock(return_value=httpx.Response(201, json=WORKSPACE))
        result = invoke("workspace", "create", "acme", "--name", "Acme Inc.")
        assert sent(server) == {"id": "acme", "name": "Acme Inc."}
        assert result.stdout == "Made the workspace acme.\n"

    def test_create_is_named_like_its_id(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/workspaces").mock(return_value=httpx.Response(201, json=WORKSPACE))
        result = invoke("workspace", "create", "acme", "--json")
        assert sent(server) == {"id": "acme", "name": "acme"}
        assert json.loads(result.stdout) == WORKSPACE

    def test_list(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/workspaces").mock(return_value=listing(WORKSPACE))
        assert "Acme Inc." in invoke("workspace", "list").stdout
        assert json.loads(invoke("workspace", "list", "--json").stdout)["items"] == [WORKSPACE]

    def test_secret_show(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = {"id": "default", "secret": "whsec_w"}
        server.get("/v1/workspaces/default/secret").mock(return_value=httpx.Response(200, json=answer))
        assert invoke("workspace", "secret", "show").stdout == "whsec_w\n"
        assert json.loads(invoke("workspace", "secret", "show", "--json").stdout) == answer

    def test_secret_rotate(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = {"id": "acme", "secret": "whsec_n"}
        route = server.post("/v1/workspaces/acme/rotate-secret")
        route.mock(return_value=httpx.Response(200, json=answer))
        assert invoke("workspace", "secret", "rotate", "acme").exit_code == 2
        assert not route.called
        assert invoke("workspace", "secret", "rotate", "acme", "--yes").stdout == "whsec_n\n"
