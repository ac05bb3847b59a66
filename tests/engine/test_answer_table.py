"""Reading the answer: every field's rule, and the words for every answer that breaks one.

Over 300 lines: it is one table of the protocol, and nobody would look for half of it elsewhere.
"""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.store.clock import from_micros
from tests.engine.scripted import ONE_RETRY, Scripted, scripted_world
from tests.support.fake_app import Reply
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url) as scripted:
        await scripted.world.install({"retry": ONE_RETRY, "on_multiple_exec": "allow"})
        yield scripted


@pytest.mark.parametrize("answer", [{}, {"is_done": None, "is_error": None}, {"is_done": False}])
async def test_is_done_and_is_error_that_are_absent_or_null_are_false(app: Scripted, answer: dict[str, Any]) -> None:
    run = await app.run(answer, DONE)

    assert run.status == "succeeded"
    assert [(call["step"], call["outcome"]) for call in run.calls] == [(0, "applied"), (1, "applied")]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("hello", "hello"),
        (17, "17"),
        (True, "true"),
        ([1, "é"], '[1,"é"]'),
        ({"b": 1, "a": None}, '{"b":1,"a":null}'),
    ],
)
async def test_a_message_of_any_json_is_told_as_text(app: Scripted, message: Any, told: str) -> None:
    run = await app.run({"is_done": True, "message": message})

    assert (run.calls[0]["message"], run.worker["message"]) == (told, told)


async def test_a_long_message_is_shown_cut_and_kept_whole_in_the_record(app: Scripted) -> None:
    run = await app.run({"is_done": True, "message": "é" * 501})

    assert run.worker["message"] == "é" * 500
    assert run.calls[0]["message"] == "é" * 501


async def test_a_worker_state_replaces_the_one_before_and_null_or_nothing_keeps_it(app: Scripted) -> None:
    run = await app.run(
        {"updated_worker_state": {"page": 2}},
        {"updated_worker_state": None},
        {"is_done": True},
        state={"page": 1, "gone": True},
    )

    assert [one.worker["worker_state"] for one in run.received] == [
        {"page": 1, "gone": True},
        {"page": 2},
        {"page": 2},
    ]
    assert run.state == {"page": 2}


async def test_numbers_unicode_and_the_order_of_keys_survive_the_round_trip(app: Scripted) -> None:
    text = '{"z":-9223372036854775808,"a":18446744073709551615,"f":0.1,"e":1e-300,"é\U0001f600":"\\u001f\u2028"}'
    run = await app.run(Reply(body=b'{"updated_worker_state":%b}' % text.encode()), DONE)

    assert run.received[1].worker["worker_state"] == json.loads(text)
    assert list(json.loads(run.worker["state"])) == ["z", "a", "f", "e", "é\U0001f600"]
    assert b'"z":-9223372036854775808,"a":18446744073709551615,"f":0.1' in run.received[1].body


async def test_the_app_state_is_set_deleted_and_incremented_in_order(app: Scripted) -> None:
    run = await app.run(
        {
            "app_state_mutations": [
                {"operation": "set", "key": "row1", "value": {"deep": [1, None]}},
                {"operation": "increment", "key": "row2", "value": 2},
                {"operation": "increment", "key": "row2", "value": -0.5},
                {"operation": "set", "key": "row3", "value": 1},
                {"operation": "delete", "key": "row3", "value": "means nothing"},
                {"operation": "delete", "key": "never there"},
                {"operation": "set", "key": "row4", "value": None},
            ]
        },
        DONE,
    )

    assert run.status == "succeeded"
    seen = run.received[1].payload["app_state"]
    assert {key: value for key, value in seen.items() if key.startswith("row")} == {
        "row1": {"deep": [1, None]},
        "row2": 1.5,
        "row4": None,
    }


async def test_items_may_be_objects_or_strings_that_hold_one(app: Scripted) -> None:
    written = '{"kind": "b", "big": 18446744073709551615}'
    run = await app.run({"is_done": True, "items_to_import": [{"kind": "a", "n": 1}, written]})

    [batch] = [one for one in app.world.collector.received if run_key(one.headers) in await keys_of(app, run.id)]
    assert batch.payload["items"] == [{"kind": "a", "n": 1}, {"kind": "b", "big": 18446744073709551615}]


def run_key(headers: dict[str, str]) -> str:
    return headers["idempotency-key"]


async def keys_of(app: Scripted, execution_id: str) -> list[str]:
    pk = await app.world.pk(execution_id)
    rows = await app.world.rows("SELECT key FROM import_batches WHERE execution_pk = :pk", pk=pk)
    return [key for (key,) in rows]


@pytest.mark.parametrize("worker_id", [3, -1, 2**40])
async def test_a_foreign_worker_id_is_ignored_and_noted(app: Scripted, worker_id: int) -> None:
    run = await app.run({"is_done": True, "worker_id": worker_id, "updated_worker_state": {"mine": 1}})

    assert run.status == "succeeded"
    assert (list(run.workers), run.state) == ([0], {"mine": 1})
    assert run.calls[0]["notes"] == f"the answer says worker_id {worker_id}; it was applied to worker 0"


@pytest.mark.parametrize("worker_id", [0, None, "0", {"any": "thing"}])
async def test_the_right_worker_id_or_none_at_all_is_not_noted(app: Scripted, worker_id: Any) -> None:
    run = await app.run({"is_done": True, "worker_id": worker_id})

    assert (run.status, run.calls[0]["notes"]) == ("succeeded", None)


@pytest.mark.parametrize(("asked", "given"), [(90, 90), (0.25e3, 250), (1e12, 30 * 86_400)])
async def test_a_delay_is_kept_up_to_thirty_days(app: Scripted, asked: float, given: float) -> None:
    execution = await app.start({"delay_next_request_in_secs": asked})
    due_at = await due_after_first_step(app, execution)
    ended_at = await end_of_first_call(app, execution)

    late = from_micros(due_at) - from_micros(ended_at) - timedelta(seconds=given)
    assert timedelta() <= late < timedelta(seconds=10)
    await app.world.abort(execution)


async def end_of_first_call(app: Scripted, execution_id: str) -> int:
    (ended_at,) = await app.world.row(
        "SELECT ended_at FROM calls WHERE execution_pk = :pk", pk=await app.world.pk(execution_id)
    )
    return int(ended_at)


async def due_after_first_step(app: Scripted, execution_id: str) -> int:
    async def probe() -> int | None:
        worker = (await app.world.workers(execution_id))[0]
        return worker["due_at"] if worker["step"] == 1 and worker["status"] in ("ready", "awaiting") else None

    return await eventually(probe, "the end of the first step")


async def test_a_delay_of_zero_calls_at_once(app: Scripted) -> None:
    run = await app.run({"delay_next_request_in_secs": 0}, DONE)

    assert len(run.received) == 2


@pytest.mark.parametrize(("asked", "secs"), [({}, 86_400), ({"timeout_in_secs": 60, "resume": True}, 60)])
async def test_await_callback_parks_the_worker_until_its_timeout(
    app: Scripted, asked: dict[str, Any], secs: int
) -> None:
    execution = await app.start({"await_callback": asked})
    due_at = await due_after_first_step(app, execution)

    assert (await app.world.workers(execution))[0]["status"] == "awaiting"
    ended_at = await end_of_first_call(app, execution)
    late = from_micros(due_at) - from_micros(ended_at) - timedelta(seconds=secs)
    assert timedelta() <= late < timedelta(seconds=10)
    await app.world.abort(execution)


async def test_progress_subtext_logs_and_output_are_shown(app: Scripted) -> None:
    run = await app.run(
        {
            "progress": {"current": 1, "total": 2.5, "unit": "pages"},
            "subtext": "half way",
            "logs": "one line,\nhowever written",
            "output": {"a": 1, "b": {"c": 1}},
        },
        {"is_done": True, "logs": ["two", ""], "output": {"b": 2}, "subtext": "there"},
    )

    pk = await app.world.pk(run.id)
    output, subtext = await app.world.row(
        "SELECT output, subtext FROM execution_details WHERE execution_pk = :pk", pk=pk
    )
    assert (json.loads(output), subtext) == ({"a": 1, "b": 2}, "there")
    lines = await app.world.rows("SELECT step, line FROM log_lines WHERE execution_pk = :pk ORDER BY pk", pk=pk)
    assert lines == [(0, "one line,\nhowever written"), (1, "two"), (1, "")]
    [progress] = await app.world.row("SELECT progress FROM worker_states WHERE execution_pk = :pk", pk=pk)
    assert json.loads(progress) == {"current": 1, "total": 2.5, "unit": "pages"}


async def test_unknown_fields_are_kept_in_the_record_and_otherwise_ignored(app: Scripted) -> None:
    run = await app.run({"is_done": True, "is_dun": True, "vendor": {"trace": [1]}})

    record = json.loads(run.calls[0]["answer"])
    assert (record["is_dun"], record["vendor"]) == (True, {"trace": [1]})


@pytest.mark.parametrize("field", ["await_callback", "wait_for_workers", "delay_next_request_in_secs"])
async def test_an_error_comes_before_every_other_wish(app: Scripted, field: str) -> None:
    wish: Any = {"await_callback": {}, "wait_for_workers": True, "delay_next_request_in_secs": 0}[field]
    run = await app.run({"is_error": True, "message": "again", field: wish}, DONE)

    assert run.status == "succeeded"
    assert [one.worker["retry_count"] for one in run.received] == [0, 1]


async def test_done_comes_before_a_delay(app: Scripted) -> None:
    run = await app.run({"is_done": True, "delay_next_request_in_secs": 3600})

    assert run.status == "succeeded"


INVALID_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"is_done": "yes"}, '$.is_done: expected true or false, got "yes"'),
    ({"is_done": 1}, "$.is_done: expected true or false, got 1"),
    ({"is_error": "false"}, '$.is_error: expected true or false, got "false"'),
    ({"updated_worker_state": []}, "$.updated_worker_state: expected an object, got a list"),
    ({"updated_worker_state": "{}"}, '$.updated_worker_state: expected an object, got "{}"'),
    ({"app_state_mutations": {}}, "$.app_state_mutations: expected a list, got an object"),
    ({"app_state_mutations": [1]}, "$.app_state_mutations[0]: expected an object, got 1"),
    (
        {"app_state_mutations": [{"operation": "append", "key": "a", "value": 1}]},
        '$.app_state_mutations[0].operation: expected "set", "delete" or "increment", got "append"',
    ),
    (
        {"app_state_mutations": [{"key": "a"}]},
        '$.app_state_mutations[0].operation: expected "set", "delete" or',
    ),
    (
        {"app_state_mutations": [{"operation": "set"}]},
        "$.app_state_mutations[0].key: expected a string, got nothing",
    ),
    (
        {"app_state_mutations": [{"operation": "delete", "key": "a"}, {"operation": "set", "key": "a"}]},
        "$.app_state_mutations[1].value: expected a value to set, got nothing",
    ),
    (
        {"app_state_mutations": [{"operation": "increment", "key": "a", "value": "1"}]},
        '$.app_state_mutations[0].value: expected a number, got "1"',
    ),
    ({"items_to_import": {"kind": "a"}}, "$.items_to_import: expected a list, got an object"),
    ({"items_to_import": [5]}, "$.items_to_import[0]: expected an object, or a string that holds one, got 5"),
    ({"items_to_import": ["[]"]}, "$.items_to_import[0]: expected an object, or a string that holds one"),
    (
        {"items_to_import": [{"kind": "a"}, '{"kind": "a", "n": NaN}']},
        "$.items_to_import[1].n: expected an object, or a string that holds one",
    ),
    ({"items_to_import": ["kind"]}, "$.items_to_import[0]: expected an object, or a string that holds one"),
    ({"items_to_import": [{"id": 1}]}, "$.items_to_import[0].kind: expected a string, got nothing"),
    ({"items_to_import": ['{"kind": 7}']}, "$.items_to_import[0].kind: expected a string, got 7"),
    (
        {"delay_next_request_in_secs": -0.1},
        "$.delay_next_request_in_secs: expected 0 seconds or more, got -0.1",
    ),
    ({"delay_next_request_in_secs": "5"}, '$.delay_next_request_in_secs: expected a number, got "5"'),
    ({"delay_next_request_in_secs": True}, "$.delay_next_request_in_secs: expected a number, got true"),
    ({"new_workers": {}}, "$.new_workers: expected a list, got an object"),
    (
        {"new_workers": [{"worker_id": 0}]},
        "$.new_workers[0].worker_id: expected an integer from 1 to 9, got 0",
    ),
    (
        {"new_workers": [{"worker_id": 10}]},
        "$.new_workers[0].worker_id: expected an integer from 1 to 9, got 10",
    ),
    (
        {"new_workers": [{"worker_id": "1"}]},
        '$.new_workers[0].worker_id: expected an integer from 1 to 9, got "1"',
    ),
    (
        {"new_workers": [{"worker_id": True}]},
        "$.new_workers[0].worker_id: expected an integer from 1 to 9, got true",
    ),
    ({"new_workers": [{}]}, "$.new_workers[0].worker_id: expected an integer from 1 to 9, got nothing"),
    (
        {"new_workers": [{"worker_id": 1, "initial_state": []}]},
        "$.new_workers[0].initial_state: expected an object, got a list",
    ),
    ({"wait_for_workers": 1}, "$.wait_for_workers: expected true or false, got 1"),
    ({"await_callback": True}, "$.await_callback: expected an object, got true"),
    (
        {"await_callback": {"timeout_in_secs": 0}},
        "$.await_callback.timeout_in_secs: expected more than 0 seconds, got 0",
    ),
    ({"await_callback": {"resume": "no"}}, '$.await_callback.resume: expected true or false, got "no"'),
    (
        {"is_done": True, "await_callback": {}},
        "$.await_callback: expected nothing, since is_done is true, got both",
    ),
    (
        {"is_done": True, "wait_for_workers": True},
        "$.wait_for_workers: expected nothing, since is_done is true, got",
    ),
    (
        {"await_callback": {}, "wait_for_workers": True},
        "$.wait_for_workers: expected nothing, since await_callback is given, got both",
    ),
    ({"progress": 3}, "$.progress: expected an object, got 3"),
    ({"progress": {"total": 3}}, "$.progress.current: expected a number, got nothing"),
    ({"progress": {"current": 3, "unit": 3}}, "$.progress.unit: expected a string, got 3"),
    ({"subtext": 3}, "$.subtext: expected a string, got 3"),
    ({"logs": 3}, "$.logs: expected a string or a list of strings, got 3"),
    ({"logs": ["a", 3]}, "$.logs[1]: expected a string, got 3"),
    ({"output": []}, "$.output: expected an object, got a list"),
]

INVALID_BODIES: list[tuple[bytes, str]] = [
    (b"", "$: expected valid JSON, got an empty body"),
    (b"OK", "$: expected valid JSON, got a syntax error at line 1, column 1"),
    (b'{"is_done": tru', "$: expected valid JSON, got a syntax error"),
    (b'{"is_done": true} {}', "$: expected valid JSON, got a syntax error"),
    (b"[]", "$: expected a JSON object, got a list"),
    (b"null", "$: expected a JSON object, got null"),
    (b'"{}"', '$: expected a JSON object, got "{}"'),
    (
        b'{"delay_next_request_in_secs": NaN}',
        "$.delay_next_request_in_secs: expected valid JSON, got a number that is not",
    ),
    (b'{"a": [0, 1e400]}', "$.a[1]: expected valid JSON, got a number that is not finite"),
    (b'{"a": 18446744073709551616}', "$.a: expected valid JSON, got an integer outside [-2^63, 2^64)"),
    (b'{"is_done": true, "is_done": false}', "$.is_done: expected valid JSON, got a duplicate key"),
    (b'{"a": "\\ud800"}', "$.a: expected valid JSON, got"),
    (b'{"a": "\\u0000"}', "$.a: expected valid JSON, got NUL"),
    (b'{"a": "\xff"}', "$: expected valid JSON, got bytes that are not UTF-8, from byte 7"),
    (b"\xef\xbb\xbf{}", "$: expected valid JSON, got a byte order mark"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "expected valid JSON, got nesting that is too deep"),
]


@pytest.mark.parametrize(
    ("body", "words"),
    [(json.dumps(answer).encode(), words) for answer, words in INVALID_FIELDS] + INVALID_BODIES,
    ids=[words for _, words in (*INVALID_FIELDS, *INVALID_BODIES)],
)
async def test_an_invalid_answer_changes_nothing_and_says_where_and_what(
    app: Scripted, body: bytes, words: str
) -> None:
    run = await app.run(Reply(body=body), state={"kept": 1})

    assert run.status == "failed"
    for call in run.calls:
        assert (call["outcome"], call["failure"], call["http_status"]) == ("failed", "invalid_body", 200)
        assert call["message"].startswith("invalid answer: $")
        assert words in call["message"]
    # The same step is called again, with the same key.
    assert [(one.worker["step"], one.worker["retry_count"]) for one in run.received] == [(0, 0), (0, 1)]
    assert len({one.headers["webhook-id"] for one in run.received}) == 1
    assert run.message == f"worker 0: out of retries (1): {run.calls[0]['message']}"
    assert (list(run.workers), run.state, run.worker["step"]) == ([0], {"kept": 1}, 0)


async def test_an_answer_invalid_in_one_place_applies_nothing_of_the_rest(app: Scripted) -> None:
    before = await app.world.app_state()
    run = await app.run(
        {
            "is_done": True,
            "updated_worker_state": {"new": 1},
            "app_state_mutations": [{"operation": "set", "key": "half", "value": 1}],
            "items_to_import": [{"kind": "half"}],
            "new_workers": [{"worker_id": 1}, {"worker_id": 11}],
            "output": {"half": 1},
            "logs": "half",
        }
    )

    assert run.status == "failed"
    assert "$.new_workers[1].worker_id" in str(run.message)
    assert await app.world.app_state() == before
    assert (list(run.workers), run.state) == ([0], {})
    assert await keys_of(app, run.id) == []
