"""Answers that break the contract, and the words in which each is refused."""

import json
from typing import Any

import pytest

from app_sdk.protocol.answer import AnswerError, read_answer
from app_sdk.protocol.limits import Limits


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"is_done": "yes"}, '$.is_done: expected true or false, got "yes"'),
        ({"is_done": 1}, "$.is_done: expected true or false, got 1"),
        ({"is_error": "false"}, '$.is_error: expected true or false, got "false"'),
        ({"wait_for_workers": 0}, "$.wait_for_workers: expected true or false, got 0"),
        ({"updated_worker_state": []}, "$.updated_worker_state: expected an object, got a list"),
        ({"updated_worker_state": "{}"}, '$.updated_worker_state: expected an object, got "{}"'),
        ({"output": 5}, "$.output: expected an object, got 5"),
        ({"subtext": {}}, "$.subtext: expected a string, got an object"),
        ({"app_state_mutations": {}}, "$.app_state_mutations: expected a list, got an object"),
        ({"app_state_mutations": [None]}, "$.app_state_mutations[0]: expected an object, got null"),
        (
            {"app_state_mutations": [{"operation": "delete"}]},
            "$.app_state_mutations[0].key: expected a string, got nothing",
        ),
        (
            {"app_state_mutations": [{"operation": "delete", "key": 5}]},
            "$.app_state_mutations[0].key: expected a string, got 5",
        ),
        (
            {"app_state_mutations": [{"key": "k"}]},
            '$.app_state_mutations[0].operation: expected "set", "delete" or "increment", got nothing',
        ),
        (
            {"app_state_mutations": [{"operation": ["set"], "key": "k"}]},
            '$.app_state_mutations[0].operation: expected "set", "delete" or "increment", got a list',
        ),
        (
            {"app_state_mutations": [{"operation": "set", "key": "k"}]},
            "$.app_state_mutations[0].value: expected a value to set, got nothing",
        ),
        (
            {"app_state_mutations": [{"operation": "increment", "key": "k"}]},
            "$.app_state_mutations[0].value: expected a number, got nothing",
        ),
        (
            {"app_state_mutations": [{"operation": "increment", "key": "k", "value": True}]},
            "$.app_state_mutations[0].value: expected a number, got true",
        ),
        ({"items_to_import": {}}, "$.items_to_import: expected a list, got an object"),
        (
            {"items_to_import": [{"kind": "a"}, 5]},
            "$.items_to_import[1]: expected an object, or a string that holds one, got 5",
        ),
        (
            {"items_to_import": ["[]"]},
            '$.items_to_import[0]: expected an object, or a string that holds one, got "[]"',
        ),
        (
            {"items_to_import": ["user"]},
            "$.items_to_import[0]: expected an object, or a string that holds one, "
            'got a syntax error at line 1, column 1, near "user"',
        ),
        (
            {"items_to_import": ['{"kind":"a","x":[1,NaN]}']},
            "$.items_to_import[0].x[1]: expected an object, or a string that holds one, "
            "got a number that is not finite",
        ),
        (
            {"items_to_import": ['{"kind":"a","kind":"b"}']},
            "$.items_to_import[0].kind: expected an object, or a string that holds one, got a duplicate key",
        ),
        ({"items_to_import": [{}]}, "$.items_to_import[0].kind: expected a string, got nothing"),
        ({"items_to_import": [{"kind": 5}]}, "$.items_to_import[0].kind: expected a string, got 5"),
        ({"items_to_import": ['{"kind":null}']}, "$.items_to_import[0].kind: expected a string, got null"),
        (
            {"delay_next_request_in_secs": -1},
            "$.delay_next_request_in_secs: expected 0 seconds or more, got -1",
        ),
        ({"delay_next_request_in_secs": "10"}, '$.delay_next_request_in_secs: expected a number, got "10"'),
        ({"delay_next_request_in_secs": True}, "$.delay_next_request_in_secs: expected a number, got true"),
        ({"new_workers": [{}]}, "$.new_workers[0].worker_id: expected an integer from 1 to 9, got nothing"),
        (
            {"new_workers": [{"worker_id": 0}]},
            "$.new_workers[0].worker_id: expected an integer from 1 to 9, got 0",
        ),
        (
            {"new_workers": [{"worker_id": 1}, {"worker_id": 10}]},
            "$.new_workers[1].worker_id: expected an integer from 1 to 9, got 10",
        ),
        (
            {"new_workers": [{"worker_id": "1"}]},
            '$.new_workers[0].worker_id: expected an integer from 1 to 9, got "1"',
        ),
        (
            {"new_workers": [{"worker_id": True}]},
            "$.new_workers[0].worker_id: expected an integer from 1 to 9, got true",
        ),
        (
            {"new_workers": [{"worker_id": 1, "initial_state": "x"}]},
            '$.new_workers[0].initial_state: expected an object, got "x"',
        ),
        ({"await_callback": True}, "$.await_callback: expected an object, got true"),
        (
            {"await_callback": {"timeout_in_secs": 0}},
            "$.await_callback.timeout_in_secs: expected more than 0 seconds, got 0",
        ),
        (
            {"await_callback": {"resume": "yes"}},
            '$.await_callback.resume: expected true or false, got "yes"',
        ),
        ({"progress": 50}, "$.progress: expected an object, got 50"),
        ({"progress": {}}, "$.progress.current: expected a number, got nothing"),
        ({"progress": {"current": 1, "total": "9"}}, '$.progress.total: expected a number, got "9"'),
        ({"progress": {"current": 1, "unit": 9}}, "$.progress.unit: expected a string, got 9"),
        ({"logs": 5}, "$.logs: expected a string or a list of strings, got 5"),
        ({"logs": ["a", None]}, "$.logs[1]: expected a string, got null"),
        (
            {"is_done": True, "wait_for_workers": True},
            "$.wait_for_workers: expected nothing, since is_done is true, got both",
        ),
        (
            {"is_done": True, "is_error": True, "await_callback": {}},
            "$.await_callback: expected nothing, since is_done is true, got both",
        ),
        (
            {"wait_for_workers": True, "await_callback": {}},
            "$.wait_for_workers: expected nothing, since await_callback is given, got both",
        ),
        ({"is_done": "x" * 100}, f'$.is_done: expected true or false, got "{"x" * 59}...'),
    ],
)
def test_an_invalid_field_is_named_with_what_was_expected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(AnswerError) as refusal:
        read_answer(json.dumps(fields).encode())
    assert str(refusal.value) == message
    assert message == f"{refusal.value.path}: expected {refusal.value.expected}, got {refusal.value.got}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "$: expected valid JSON, got an empty body"),
        (b"OK", '$: expected valid JSON, got a syntax error at line 1, column 1, near "OK"'),
        (b"null", "$: expected a JSON object, got null"),
        (b"[]", "$: expected a JSON object, got a list"),
        (b'"done"', '$: expected a JSON object, got "done"'),
        (b'{"is_done":true,"is_done":false}', "$.is_done: expected valid JSON, got a duplicate key"),
        (b'{"output":{"n":1e999}}', "$.output.n: expected valid JSON, got a number that is not finite"),
        (b'{"message":"\\u0000"}', "$.message: expected valid JSON, got NUL (\\u0000)"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(AnswerError) as refusal:
        read_answer(body)
    assert str(refusal.value) == message


def test_the_number_of_items_is_limited() -> None:
    body = json.dumps({"items_to_import": [{"kind": "a"}] * 3}).encode()
    assert len(read_answer(body, Limits(items_per_answer=3)).items_to_import) == 3
    with pytest.raises(AnswerError, match=r"^\$\.items_to_import: expected at most 2 items, got 3$"):
        read_answer(body, Limits(items_per_answer=2))


def test_the_size_of_an_answer_is_limited() -> None:
    assert read_answer(b"{}", Limits(answer_bytes=2)).logs == ()
    with pytest.raises(AnswerError, match=r"^\$: expected at most 2 bytes, got 3$"):
        read_answer(b"{ }", Limits(answer_bytes=2))
