"""Going back to an earlier call, where the engine's tests cannot easily go: depth, order, and what is missing."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from app_sdk.protocol.strict_json import MAX_DEPTH, dumps
from orchestrator.domain.beginning import Beginning, Seed
from orchestrator.domain.rewind import AppliedCall, AppliedCallback, Past, RecordsMissing
from orchestrator.domain.states import WorkerStatus

LAUNCHED = Beginning({0: Seed("{}")})


def call(worker_id: int, token: int, step: int, ended_at: int = 1, **more: Any) -> AppliedCall:
    spawned, rests = more.pop("spawned", {}), more.pop("rests", WorkerStatus.READY)
    return AppliedCall(worker_id, token, step, ended_at, more, spawned, rests)


def past(*calls: AppliedCall) -> Past:
    gathered = Past(LAUNCHED)
    for one in calls:
        gathered.add(one)
    return gathered


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def test_a_beginning_is_read_back_as_it_was_written() -> None:
    beginning = Beginning(
        {
            0: Seed('{"z":18446744073709551615,"a":1.0}', '{"n":null}', WorkerStatus.WAITING),
            9: Seed(deep(MAX_DEPTH)),
            3: Seed("{}", None, WorkerStatus.DONE),
            4: Seed("{}", callback='{"status":"SUCCESS","output":{"b":1,"a":2}}'),
        },
        '{"b":1,"a":2}',
    )
    assert Beginning.of_text(beginning.as_text()) == beginning


def started(*ids: int) -> list[dict[str, Any]]:
    return [{"worker_id": id_, "initial_state": {"of": id_}} for id_ in ids]


@pytest.mark.parametrize("ends", list(permutations((10, 20, 30))))
def test_of_workers_that_put_out_the_same_key_the_latest_end_wins(ends: tuple[int, int, int]) -> None:
    """The calls come one worker after the other, whatever the order of their ends."""
    first, second, third = ends
    calls = [
        call(0, 1, 0, first, output={"who": 0}, spawned={1: 0, 2: 0}, new_workers=started(1, 2)),
        call(1, 1, 0, second, output={"who": 1}),
        call(2, 1, 0, third, output={"who": 2}),
    ]
    assert past(*calls).beginning().output == dumps({"who": ends.index(30)}).decode()


def test_a_spawn_may_be_heard_of_after_the_calls_of_the_spawned() -> None:
    calls = [
        call(0, 1, 0, spawned={2: 0}, new_workers=started(2)),
        call(2, 1, 0, rests=WorkerStatus.DONE),
        call(3, 1, 0, spawned={2: 1}, new_workers=[{"worker_id": 2, "initial_state": {"again": True}}]),
        call(3, 2, 1, spawned={3: 0}, new_workers=started(3)),
    ]
    seeds = past(*calls).beginning().seeds
    assert seeds[2] == Seed('{"again":true}')
    assert seeds[3] == Seed('{"of":3}')


def test_a_worker_whose_start_is_not_recorded_is_not_made_up() -> None:
    with pytest.raises(RecordsMissing, match="the call that started worker 4 is not recorded any more"):
        past(call(4, 1, 0)).beginning()
    with pytest.raises(RecordsMissing, match="step 1 of worker 0 is not recorded any more"):
        past(call(0, 1, 0), call(0, 4, 2))


def parking(step: int, text: str, *, resume: bool, at: int = 5, **more: Any) -> AppliedCall:
    asked = {"timeout_in_secs": 60, "resume": resume}
    return replace(call(0, step + 1, step, await_callback=asked, **more), callback=AppliedCallback(text, at))


def test_a_callback_leaves_its_worker_done_or_to_be_told() -> None:
    told = '{"status":"SUCCESS","output":{"n":1}}'
    failed = '{"status":"FAILURE"}'
    assert past(parking(0, told, resume=False)).beginning().seeds[0].rests is WorkerStatus.DONE
    resumed = past(parking(0, told, resume=True)).beginning()
    assert (resumed.seeds[0].rests, resumed.seeds[0].callback) == (WorkerStatus.READY, told)
    assert (resumed.seeds[0].output, resumed.output) == ('{"n":1}', '{"n":1}')
    for resume in (False, True):
        assert past(parking(0, failed, resume=resume)).beginning().seeds[0] == Seed("{}")


def test_a_callback_is_told_until_an_answer_without_an_error() -> None:
    story = [parking(0, '{"status":"SUCCESS"}', resume=True), call(0, 2, 1, is_error=True), call(0, 3, 2)]
    seeds = [past(*story[:length]).beginning().seeds[0].callback for length in (1, 2, 3)]
    assert seeds == ['{"status":"SUCCESS"}', '{"status":"SUCCESS"}', None]


def test_a_worker_that_is_spawned_anew_was_called_back_in_another_life() -> None:
    story = [
        parking(0, '{"status":"SUCCESS"}', resume=False),
        call(1, 1, 0, spawned={0: 1}, new_workers=started(0)),
    ]
    beginning = Beginning({0: Seed("{}"), 1: Seed("{}")})
    gathered = Past(beginning)
    for one in story:
        gathered.add(one)
    assert gathered.beginning().seeds[0] == Seed('{"of":0}')


def test_the_output_of_a_callback_wins_by_the_time_of_its_application() -> None:
    story = [
        parking(0, '{"status":"SUCCESS","output":{"n":1}}', resume=False, at=30, output={"n": 0}),
        call(1, 1, 0, 20, output={"n": 2}),
    ]
    gathered = Past(Beginning({0: Seed("{}"), 1: Seed("{}")}))
    for one in story:
        gathered.add(one)
    assert gathered.beginning().output == '{"n":1}'
