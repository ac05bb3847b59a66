"""`orchestrator exec callback` and `exec subtext`: be the third party, by hand."""

import json

import httpx
import pytest
import respx

from tests.cli.support import EXECUTION_ID, Invoke, problem

TASK = {"id": f"{EXECUTION_ID}:2", "status": "COMPLETE", "subtext": "90/100", "output": {"zip": "https://x"}}
CALLBACK = "/external-events/callback"


def test_a_success_with_all_that_it_says(server: respx.MockRouter, invoke: Invoke) -> None:
    server.post(CALLBACK).mock(return_value=httpx.Response(200, json=TASK))
    said = ["--output", '{"zip": "https://x"}', "--log", "one", "--log", "two", "--subtext", "90/100"]
    result = invoke("exec", "callback", f"{EXECUTION_ID}:2:0", "--success", *said)
    assert result.exit_code == 0
    assert json.loads(server.calls.last.request.content) == {
        "taskId": f"{EXECUTION_ID}:2:0",
        "status": "SUCCESS",
        "output": {"zip": "https://x"},
        "logs": ["one", "two"],
        "subtext": "90/100",
    }
    for text in ("COMPLETE", "90/100", '{"zip": "https://x"}'):
        assert text in result.stdout
    assert json.loads(invoke("exec", "callback", EXECUTION_ID, "--failure", "--json").stdout) == TASK
    assert json.loads(server.calls.last.request.content) == {"taskId": EXECUTION_ID, "status": "FAILURE"}


@pytest.mark.parametrize("options", [[], ["--success", "--output", "[]"], ["--success", "--output", "{"]])
def test_misuse(options: list[str], server: respx.MockRouter, invoke: Invoke) -> None:
    result = invoke("exec", "callback", EXECUTION_ID, *options)
    assert result.exit_code == 2
    assert not server.calls


@pytest.mark.parametrize(("status", "code"), [(404, 3), (409, 4), (410, 4)])
def test_a_refusal_is_told(status: int, code: int, server: respx.MockRouter, invoke: Invoke) -> None:
    server.post(CALLBACK).mock(return_value=problem(status, "the callback came too late"))
    result = invoke("exec", "callback", EXECUTION_ID, "--success")
    assert result.exit_code == code
    assert "the callback came too late" in result.stderr


def test_a_subtext(server: respx.MockRouter, invoke: Invoke) -> None:
    server.put(f"/v1/event-workflow-tasks/{EXECUTION_ID}%3A2").mock(return_value=httpx.Response(200, json=TASK))
    assert "90/100" in invoke("exec", "subtext", f"{EXECUTION_ID}:2", "90/100").stdout
    assert json.loads(server.calls.last.request.content) == {"subtext": "90/100"}
