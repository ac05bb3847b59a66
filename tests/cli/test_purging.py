"""`orchestrator db purge`: it asks, repeats the request until it is through, and adds up."""

import json
from typing import Any

import httpx
import pytest
import respx

from tests.cli.support import Invoke, problem

MONTH_SECS = 30 * 86_400


def answer(executions: int, cursor: str | None = None, **more: Any) -> httpx.Response:
    counts = {"calls": executions * 20, "log_lines": 0, "import_batches": 1, "held_back": 0, "newest": 0, **more}
    return httpx.Response(200, json={"dry_run": False, "executions": executions, **counts, "next_cursor": cursor})


def bodies(server: respx.MockRouter) -> list[Any]:
    return [json.loads(call.request.content) for call in server.calls]


def test_it_goes_on_until_nothing_is_left(server: respx.MockRouter, invoke: Invoke) -> None:
    server.post("/v1/purge").mock(side_effect=[answer(100, "c1"), answer(100, "c2"), answer(7, held_back=2, newest=1)])
    result = invoke("db", "purge", "--yes")
    assert result.exit_code == 0
    base = {"older_than_secs": MONTH_SECS, "dry_run": False}
    assert bodies(server) == [base, {**base, "cursor": "c1"}, {**base, "cursor": "c2"}]
    assert result.stdout.splitlines() == [
        "Removed 207 executions with 4,140 calls, 0 log lines and 3 import batches.",
        "Kept, though as old: 2 executions, with an import batch that is undelivered, or was refused.",
        "Kept, though as old: 1 execution, the newest of their tasks.",
    ]


def test_a_dry_run_asks_for_one_and_says_so(server: respx.MockRouter, invoke: Invoke) -> None:
    server.post("/v1/purge").mock(return_value=answer(1))
    options = ["--older-than", "36h", "--status", "failed", "--status", "aborted", "--app", "app_shop"]
    result = invoke("db", "purge", *options, "--task", "shop", "--workspace", "acme", "--dry-run")
    assert bodies(server) == [
        {
            "older_than_secs": 36 * 3600,
            "statuses": ["failed", "aborted"],
            "app_id": "app_shop",
            "task_id": "shop",
            "workspace_id": "acme",
            "dry_run": True,
        }
    ]
    assert result.stdout == "Would remove 1 execution with 20 calls, 0 log lines and 1 import batch.\n"


def test_as_json(server: respx.MockRouter, invoke: Invoke) -> None:
    server.post("/v1/purge").mock(side_effect=[answer(1, "c"), answer(2)])
    assert json.loads(invoke("db", "purge", "--yes", "--json").stdout) == {
        "dry_run": False,
        "executions": 3,
        "calls": 60,
        "log_lines": 0,
        "import_batches": 2,
        "held_back": 0,
        "newest": 0,
    }


def test_nothing_is_removed_where_nobody_can_be_asked(server: respx.MockRouter, invoke: Invoke) -> None:
    server.post("/v1/purge").mock(return_value=answer(5))
    result = invoke("db", "purge")
    assert result.exit_code == 2
    assert "gone for good" in result.stderr
    assert [body["dry_run"] for body in bodies(server)] == [True]


@pytest.mark.parametrize("age", ["30", "0d", "-1d", "1.5d", "a month", "²d"])
def test_an_age_has_a_unit(age: str, server: respx.MockRouter, invoke: Invoke) -> None:
    result = invoke("db", "purge", "--older-than", age)
    assert result.exit_code == 2
    assert not server.calls


def test_a_refusal_is_told(server: respx.MockRouter, invoke: Invoke) -> None:
    server.post("/v1/purge").mock(return_value=problem(403, "the role viewer may not do this"))
    assert invoke("db", "purge", "--yes").exit_code == 4
