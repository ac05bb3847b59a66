"""Reading an answer, line by line of the contract."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_sdk.protocol.answer import (
    Answer,
    AnswerError,
    AwaitCallback,
    Mutation,
    NewWorker,
    Progress,
    read_answer,
)

NOTHING = Answer(
    is_done=False,
    is_error=False,
    message=None,
    updated_worker_state=None,
    app_state_mutations=(),
    items_to_import=(),
    worker_id=None,
    delay_next_request_in_secs=None,
    new_workers=(),
    wait_for_workers=False,
    await_callback=None,
    progress=None,
    subtext=None,
    logs=(),
    output=None,
    unknown={},
)
KNOWN_FIELDS = [name for name in Answer.__dataclass_fields__ if name != "unknown"]


def read(**fields: Any) -> Answer:
    return read_answer(json.dumps(fields).encode())


def test_an_empty_object_says_nothing() -> None:
    assert read() == NOTHING


@pytest.mark.parametrize("field", KNOWN_FIELDS)
def test_null_means_absent(field: str) -> None:
    assert read(**{field: None}) == NOTHING


def test_the_example_of_the_documentation() -> None:
    item = {"kind": "user", "user": {"external_id": "user1", "is_authenticated": False}}
    answer = read(
        is_done=False,
        updated_worker_state={"key1": "value1"},
        app_state_mutations=[{"operation": "set", "key": "key1", "value": "value1"}],
        items_to_import=[item],
        worker_id=0,
        is_error=False,
        message="Task is still running",
        delay_next_request_in_secs=10,
    )
    assert answer.updated_worker_state == {"key1": "value1"}
    assert answer.app_state_mutations == (Mutation("set", "key1", "value1"),)
    assert answer.items_to_import == (item,)
    assert (answer.worker_id, answer.delay_next_request_in_secs) == (0, 10.0)
    assert (answer.message, answer.unknown) == ("Task is still running", {})


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"is_done": True}, "is_done", True),
        ({"is_error": True}, "is_error", True),
        ({"message": ""}, "message", ""),
        ({"message": 5}, "message", "5"),
        ({"message": False}, "message", "false"),
        ({"message": {"a": [1, "x"]}}, "message", '{"a":[1,"x"]}'),
        ({"updated_worker_state": {}}, "updated_worker_state", {}),
        ({"app_state_mutations": []}, "app_state_mutations", ()),
        (
            {"app_state_mutations": [{"operation": "set", "key": "k", "value": None}]},
            "app_state_mutations",
            (Mutation("set", "k", None),),
        ),
        (
            {"app_state_mutations": [{"operation": "delete", "key": "k", "value": "ignored"}]},
            "app_state_mutations",
            (Mutation("delete", "k"),),
        ),
        (
            {"app_state_mutations": [{"operation": "increment", "key": "", "value": -1.5}]},
            "app_state_mutations",
            (Mutation("increment", "", -1.5),),
        ),
        ({"items_to_import": ['{"kind":"user","n":1}']}, "items_to_import", ({"kind": "user", "n": 1},)),
        (
            {"items_to_import": [{"kind": "a"}, '{"kind":"b"}']},
            "items_to_import",
            ({"kind": "a"}, {"kind": "b"}),
        ),
        ({"worker_id": 3}, "worker_id", 3),
        ({"worker_id": -7}, "worker_id", -7),
        ({"worker_id": "0"}, "worker_id", None),
        ({"worker_id": True}, "worker_id", None),
        ({"worker_id": 1.0}, "worker_id", None),
        ({"worker_id": [1]}, "worker_id", None),
        ({"delay_next_request_in_secs": 0}, "delay_next_request_in_secs", 0.0),
        ({"delay_next_request_in_secs": 0.25}, "delay_next_request_in_secs", 0.25),
        ({"delay_next_request_in_secs": 2_592_001}, "delay_next_request_in_secs", 2_592_000.0),
        ({"delay_next_request_in_secs": 1e300}, "delay_next_request_in_secs", 2_592_000.0),
        (
            {"new_workers": [{"worker_id": 1, "initial_state": {"a": 1}}, {"worker_id": 9}]},
            "new_workers",
            (NewWorker(1, {"a": 1}), NewWorker(9, {})),
        ),
        ({"new_workers": [{"worker_id": 2, "initial_state": None}]}, "new_workers", (NewWorker(2, {}),)),
        ({"wait_for_workers": True}, "wait_for_workers", True),
        ({"await_callback": {}}, "await_callback", AwaitCallback(86_400.0, False)),
        (
            {"await_callback": {"timeout_in_secs": None, "resume": None, "note": 1}},
            "await_callback",
            AwaitCallback(86_400.0, False),
        ),
        (
            {"await_callback": {"timeout_in_secs": 0.5, "resume": True}},
            "await_callback",
            AwaitCallback(0.5, True),
        ),
        (
            {"await_callback": {"timeout_in_secs": 1e300}},
            "await_callback",
            AwaitCallback(31_536_000.0, False),
        ),
        ({"progress": {"current": 1}}, "progress", Progress(1)),
        ({"progress": {"current": 1.5, "total": 10, "unit": "rows"}}, "progress", Progress(1.5, 10, "rows")),
        ({"subtext": "half way"}, "subtext", "half way"),
        ({"logs": "one\nline"}, "logs", ("one\nline",)),
        ({"logs": ["a", "b"]}, "logs", ("a", "b")),
        ({"output": {"rows": 5}}, "output", {"rows": 5}),
        ({"isDone": True, "x": [1]}, "unknown", {"isDone": True, "x": [1]}),
    ],
)
def test_a_field_is_read(fields: dict[str, Any], name: str, value: object) -> None:
    assert getattr(read(**fields), name) == value


def test_an_item_may_be_as_deep_whichever_way_it_is_written() -> None:
    def item(depth: int) -> str:
        return '{"kind":"a","x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"

    for written in (item(62), json.dumps(item(62))):
        assert len(read_answer(f'{{"items_to_import":[{written}]}}'.encode()).items_to_import) == 1
    for written in (item(63), json.dumps(item(63))):
        with pytest.raises(AnswerError, match="nesting that is too deep"):
            read_answer(f'{{"items_to_import":[{written}]}}'.encode())


def test_large_numbers_and_the_order_of_keys_reach_the_state_unchanged() -> None:
    answer = read_answer(b'{"updated_worker_state":{"z":18446744073709551615,"a":-9223372036854775808}}')
    assert json.dumps(answer.updated_worker_state) == '{"z": 18446744073709551615, "a": -9223372036854775808}'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 12) | st.floats() | st.sampled_from(["", "set", "k", '{"kind":"a"}']),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "operation", "key", "value", "worker_id", "current", "resume"]), children
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*KNOWN_FIELDS, "other"]), VALUES))
def test_any_object_is_read_or_refused(fields: dict[str, Any]) -> None:
    answer = _answer_or_refusal(json.dumps(fields).encode())
    if isinstance(answer, AnswerError):
        assert answer.path.startswith("$")
        return
    assert not (answer.is_done and (answer.await_callback or answer.wait_for_workers))
    assert all(isinstance(item["kind"], str) for item in answer.items_to_import)
    assert {worker.worker_id for worker in answer.new_workers} <= set(range(1, 10))


def _answer_or_refusal(body: bytes) -> Answer | AnswerError:
    try:
        return read_answer(body)
    except AnswerError as refusal:
        return refusal
