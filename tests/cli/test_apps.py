"""`orchestrator app` and `orchestrator token`, `workspace`: what is asked of the API, and what is shown."""

import json
from pathlib import Path

import httpx
import pytest
import respx

from orchestrator.cli import printing
from tests.cli.support import Invoke, app_document, listing, problem

MANIFEST = {"id": "app_shop", "name": "Shop", "tasks": [], "icon_url": "kept"}


def sent(router: respx.MockRouter) -> object:
    return json.loads(router.calls.last.request.content)


def write_manifest(text: str | None = None) -> str:
    Path("manifest.json").write_text(json.dumps(MANIFEST) if text is None else text, encoding="utf-8")
    return "manifest.json"


class TestInstall:
    def test_from_a_file_tells_the_secret_once(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = app_document(secret_key="whsec_x")
        server.post("/v1/apps").mock(return_value=httpx.Response(201, json=answer))
        result = invoke("app", "install", write_manifest())
        assert result.exit_code == 0
        assert sent(server) == {"manifest": MANIFEST, "activate": True}
        assert "Secret key, shown this once: whsec_x\n" in result.stdout
        assert "app_shop_import" in result.stdout

    def test_from_standard_input(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/apps").mock(return_value=httpx.Response(201, json=app_document()))
        assert invoke("app", "install", "-", stdin=json.dumps(MANIFEST)).exit_code == 0
        assert sent(server) == {"manifest": MANIFEST, "activate": True}

    def test_from_a_url_without_showing_it_our_token(self, server: respx.MockRouter, invoke: Invoke) -> None:
        url = "https://app.example.com/manifest.json"
        fetched = server.get(url).mock(return_value=httpx.Response(200, json=MANIFEST))
        server.post("/v1/apps").mock(return_value=httpx.Response(201, json=app_document()))
        assert invoke("app", "install", url).exit_code == 0
        assert "Authorization" not in fetched.calls.last.request.headers
        assert sent(server) == {"manifest": MANIFEST, "activate": True}

    def test_from_a_url_that_does_not_answer(self, server: respx.MockRouter, invoke: Invoke) -> None:
        url = "https://app.example.com/manifest.json"
        server.get(url).mock(return_value=httpx.Response(404))
        result = invoke("app", "install", url)
        assert result.exit_code == 5
        assert url in result.stderr

    def test_with_a_secret_of_the_apps_own(self, server: respx.MockRouter, invoke: Invoke) -> None:
        Path("secret").write_text("s3cret\n", encoding="utf-8")
        answer = app_document(secret_key="s3cret")
        server.post("/v1/apps").mock(return_value=httpx.Response(201, json=answer))
        result = invoke("app", "install", write_manifest(), "--secret-key", "@secret", "--no-activate")
        assert sent(server) == {"manifest": MANIFEST, "activate": False, "secret_key": "s3cret"}
        assert "s3cret" not in result.stdout

    def test_update_replaces_the_manifest(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.put("/v1/apps/app_shop").mock(return_value=httpx.Response(200, json=app_document()))
        result = invoke("app", "install", write_manifest(), "--update")
        assert result.exit_code == 0
        assert sent(server) == {"manifest": MANIFEST}
        assert "ecret" not in result.stdout

    def test_update_takes_no_secret(self, server: respx.MockRouter, invoke: Invoke) -> None:
        result = invoke("app", "install", write_manifest(), "--update", "--secret-key", "x")
        assert result.exit_code == 2
        assert "rotate-secret" in result.stderr

    def test_of_an_installed_app_says_how_to_update(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.post("/v1/apps").mock(return_value=problem(409, "app app_shop is installed already"))
        result = invoke("app", "install", write_manifest())
        assert result.exit_code == 4
        assert "--update" in result.stderr

    def test_json(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = app_document(secret_key="whsec_x")
        server.post("/v1/apps").mock(return_value=httpx.Response(201, json=answer))
        result = invoke("app", "install", write_manifest(), "--json")
        assert json.loads(result.stdout) == answer

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('{"id": 1, "id": 2}', "manifest.json is not JSON: a duplicate key ($.id)"),
            ("[]", "manifest.json must be a JSON object"),
        ],
    )
    def test_refuses_what_is_not_a_manifest(
        self, text: str, said: str, server: respx.MockRouter, invoke: Invoke
    ) -> None:
        result = invoke("app", "install", write_manifest(text))
        assert result.exit_code == 2
        assert said in result.stderr

    def test_names_a_file_that_is_not_there(self, server: respx.MockRouter, invoke: Invoke) -> None:
        result = invoke("app", "install", "nowhere.json")
        assert result.exit_code == 2
        assert "nowhere.json cannot be read: No such file" in result.stderr


class TestReading:
    def test_list(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps").mock(return_value=listing(app_document()))
        result = invoke("app", "list")
        assert "app_shop" in result.stdout
        assert "http://127.0.0.1:9000/webhooks" in result.stdout

    def test_list_of_nothing_says_how_to_begin(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps").mock(return_value=listing())
        assert "orchestrator app install" in invoke("app", "list").stdout

    def test_list_json(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps").mock(return_value=listing(app_document()))
        document = json.loads(invoke("app", "list", "--json").stdout)
        assert document == {"items": [app_document()], "next_cursor": None}

    def test_show(self, server: respx.MockRouter, invoke: Invoke) -> None:
        stopped = app_document(status="stopped", status_reason="the app answered 410")
        server.get("/v1/apps/app_shop").mock(return_value=httpx.Response(200, json=stopped))
        shown = invoke("app", "show", "app_shop").stdout
        for text in ("Shop", "stopped (the app answered 410)", "5 calls in 1.0 s", "2026-11-21 08:30:00Z"):
            assert text in shown

    def test_show_json_keeps_large_numbers(self, server: respx.MockRouter, invoke: Invoke) -> None:
        document = app_document(manifest={"large": 2**64 - 1, "small": -(2**63)})
        server.get("/v1/apps/app_shop").mock(return_value=httpx.Response(200, json=document))
        assert json.loads(invoke("app", "show", "app_shop", "--json").stdout) == document

    def test_a_name_with_markup_is_shown_as_it_is(self, server: respx.MockRouter, invoke: Invoke) -> None:
        document = app_document(name="[red]Shop[/] :rocket:")
        server.get("/v1/apps/app_shop").mock(return_value=httpx.Response(200, json=document))
        assert "[red]Shop[/] :rocket:" in invoke("app", "show", "app_shop").stdout


class TestChanging:
    @pytest.mark.parametrize("action", ["activate", "stop"])
    def test_activate_and_stop(self, action: str, server: respx.MockRouter, invoke: Invoke) -> None:
        route = server.post(f"/v1/apps/app_shop/{action}")
        route.mock(return_value=httpx.Response(200, json=app_document()))
        assert invoke("app", action, "app_shop").exit_code == 0
        assert route.called

    def test_rotate_secret(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = app_document(secret_key="whsec_new")
        route = server.post("/v1/apps/app_shop/rotate-secret")
        route.mock(return_value=httpx.Response(200, json=answer))
        assert "whsec_new" in invoke("app", "rotate-secret", "app_shop").stdout
        assert json.loads(invoke("app", "rotate-secret", "app_shop", "--json").stdout) == answer

    def test_delete_needs_a_yes_where_nobody_can_be_asked(self, server: respx.MockRouter, invoke: Invoke) -> None:
        result = invoke("app", "delete", "app_shop")
        assert result.exit_code == 2
        assert "--yes" in result.stderr
        assert not server.calls

    def test_delete(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.delete("/v1/apps/app_shop").mock(return_value=httpx.Response(204))
        assert invoke("app", "delete", "app_shop", "--yes").stdout == "Deleted app_shop.\n"

    @pytest.mark.parametrize(("answer", "exit_code"), [("y\n", 0), ("n\n", 1)])
    def test_delete_asks_on_a_terminal(
        self,
        answer: str,
        exit_code: int,
        server: respx.MockRouter,
        invoke: Invoke,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(printing, "is_interactive", lambda: True)
        route = server.delete("/v1/apps/app_shop").mock(return_value=httpx.Response(204))
        result = invoke("app", "delete", "app_shop", stdin=answer)
        assert result.exit_code == exit_code
        assert route.called == (exit_code == 0)

    def test_delete_of_a_busy_app_says_what_to_end(self, server: respx.MockRouter, invoke: Invoke) -> None:
        busy = problem(409, "app app_shop has live executions", execution_id="e1")
        server.delete("/v1/apps/app_shop").mock(return_value=busy)
        result = invoke("app", "delete", "app_shop", "--yes")
        assert result.exit_code == 4
        assert "orchestrator exec abort e1" in result.stderr


class TestState:
    def test_is_printed_as_json(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = httpx.Response(200, json={"state": {"cursor": "é", "n": 2**63}})
        server.get("/v1/apps/app_shop/state").mock(return_value=answer)
        stdout = invoke("app", "state", "app_shop").stdout
        assert json.loads(stdout) == {"cursor": "é", "n": 2**63}
        assert "é" in stdout

    def test_is_changed_in_one_request(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.patch("/v1/apps/app_shop/state").mock(return_value=httpx.Response(200, json={"state": {"n": 3}}))
        options = ["--set", "a=1", "--set", "b=plain text", "--set", 'c={"x": [1]}', "--set", "d=a=b"]
        result = invoke("app", "state", "app_shop", *options, "--delete", "old", "--increment", "n=-2.5")
        assert json.loads(result.stdout) == {"n": 3}
        assert sent(server) == {
            "mutations": [
                {"operation": "set", "key": "a", "value": 1},
                {"operation": "set", "key": "b", "value": "plain text"},
                {"operation": "set", "key": "c", "value": {"x": [1]}},
                {"operation": "set", "key": "d", "value": "a=b"},
                {"operation": "delete", "key": "old"},
                {"operation": "increment", "key": "n", "value": -2.5},
            ]
        }

    @pytest.mark.parametrize(
        "options",
        [
            ["--set", "a"],
            ["--set", "=1"],
            ["--set", 'a={"x"'],
            ["--increment", "n=many"],
            ["--increment", "n=true"],
            ["--set", "a=1", "--delete", "a"],
        ],
    )
    def test_misuse_asks_nobody(self, options: list[str], server: respx.MockRouter, invoke: Invoke) -> None:
        assert invoke("app", "state", "app_shop", *options).exit_code == 2
        assert not server.calls

    def test_refused_by_the_data(self, server: respx.MockRouter, invoke: Invoke) -> None:
        refused = problem(422, "n is not a number", errors=[{"field": "$.mutations[0]", "message": "x"}])
        server.patch("/v1/apps/app_shop/state").mock(return_value=refused)
        result = invoke("app", "state", "app_shop", "--increment", "n=1")
        assert result.exit_code == 4
        assert result.stderr == "Error: $.mutations[0]: n is not a number\n"
