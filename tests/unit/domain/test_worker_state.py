"""The states that an answer asks for: which of them are written, and their limit."""

import pytest

from app_sdk.protocol.limits import Limits
from orchestrator.domain.errors import StateRefused
from orchestrator.domain.worker_state import NewStates, new_states
from tests.unit.domain.builders import answer

LIMITS = Limits(worker_state_bytes=12)


def test_what_an_answer_leaves_out_stays_as_it_is() -> None:
    assert new_states(answer(), 0, '{"n":1}', LIMITS) == NewStates(None, {})


def test_a_state_is_written_only_when_it_changes() -> None:
    assert new_states(answer(updated_worker_state={"n": 1}), 0, '{"n":1}', LIMITS).own is None
    assert new_states(answer(updated_worker_state={"n": 2}), 0, '{"n":1}', LIMITS).own == '{"n":2}'
    assert new_states(answer(updated_worker_state={}), 0, '{"n":1}', LIMITS).own == "{}"


def test_spawned_workers_bring_their_own_and_the_first_of_two_counts() -> None:
    asked = [{"worker_id": id_, "initial_state": {"n": n}} for id_, n in ((3, 1), (4, 2), (3, 5))]
    assert new_states(answer(new_workers=asked), 0, "{}", LIMITS).spawned == {3: '{"n":1}', 4: '{"n":2}'}


def test_a_state_over_its_limit_is_refused_and_the_worker_is_named() -> None:
    large = {"key": "123"}
    message = r"^the state of worker 7 would be 13 bytes; its limit is 12 \(its largest key is 'key'\)$"
    with pytest.raises(StateRefused, match=message):
        new_states(answer(updated_worker_state=large), 7, "{}", LIMITS)
    with pytest.raises(StateRefused, match=r"^the initial state of worker 3 would be 13 bytes"):
        new_states(answer(new_workers=[{"worker_id": 3, "initial_state": large}]), 7, "{}", LIMITS)
