"""The mutations of an app's state: order, increments, limits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_sdk.protocol.answer import Mutation
from app_sdk.protocol.strict_json import JsonValue, loads
from orchestrator.domain.app_state import encoded, mutated
from orchestrator.domain.errors import StateRefused
from tests.unit.domain.builders import answer

Json = dict[str, JsonValue]
LARGEST, SMALLEST = 2**64 - 1, -(2**63)

numbers = st.integers(SMALLEST, LARGEST) | st.floats(allow_nan=False, allow_infinity=False)
values = (
    st.none() | st.booleans() | numbers | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
)
keys = st.sampled_from("abc")
mutations = st.one_of(
    st.builds(Mutation, st.just("set"), keys, values),
    st.builds(Mutation, st.just("delete"), keys),
    st.builds(Mutation, st.just("increment"), keys, numbers),
)


def increment(key: str, by: JsonValue) -> Mutation:
    return Mutation("increment", key, by)


def test_mutations_apply_in_their_order() -> None:
    asked: list[dict[str, Any]] = [
        {"operation": "set", "key": "a", "value": [1]},
        {"operation": "delete", "key": "b"},
        {"operation": "delete", "key": "never there"},
        {"operation": "increment", "key": "c", "value": 2},
        {"operation": "increment", "key": "c", "value": 0.5},
        {"operation": "set", "key": "a", "value": None},
    ]
    changed = mutated({"b": 1, "z": 0, "a": 0}, answer(app_state_mutations=asked).app_state_mutations)
    assert list(changed.items()) == [("z", 0), ("a", None), ("c", 2.5)]


def test_the_state_given_is_left_alone() -> None:
    state: Json = {"n": 1}
    with pytest.raises(StateRefused):
        mutated(state, [increment("n", 1), Mutation("set", "x", 1), increment("x", "y")])
    assert state == {"n": 1}


@pytest.mark.parametrize(
    ("current", "by", "total"),
    [
        ({}, 1, 1),
        ({}, -1.5, -1.5),
        ({"n": 41}, 1, 42),
        ({"n": 1}, 0.5, 1.5),
        ({"n": 1.5}, 1, 2.5),
        ({"n": LARGEST - 1}, 1, LARGEST),
        ({"n": SMALLEST + 1}, -1, SMALLEST),
    ],
)
def test_increments(current: Json, by: int | float, total: int | float) -> None:
    changed = mutated(current, [increment("n", by)])
    assert changed == {"n": total}
    assert type(changed["n"]) is type(total)


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (None, "null"),
        (True, "true or false"),
        ("1", "a string"),
        ([1], "a list"),
        ({"n": 1}, "an object"),
    ],
)
def test_only_numbers_can_be_incremented_and_the_message_names_the_key(value: JsonValue, held: str) -> None:
    with pytest.raises(StateRefused) as refused:
        mutated({"n": value}, [increment("n", 1)])
    assert refused.value.message == f"app state key 'n' cannot be incremented: it holds {held}, not a number"
    assert refused.value.facts == {"key": "n"}
    with pytest.raises(StateRefused, match=rf"^app state key 'n' cannot be incremented by {held}$"):
        mutated({}, [increment("n", value)])


@pytest.mark.parametrize(("current", "by"), [(LARGEST, 1), (SMALLEST, -1), (1.7e308, 1.7e308), (-1.7e308, -1.7e308)])
def test_an_increment_stays_within_what_json_can_carry(current: int | float, by: int | float) -> None:
    with pytest.raises(StateRefused, match=r"^app state key 'n' would leave the range of numbers"):
        mutated({"n": current}, [increment("n", by)])


def test_a_key_of_megabytes_is_not_repeated_whole() -> None:
    with pytest.raises(StateRefused) as refused:
        mutated({}, [increment("k" * 1_000_000, LARGEST)] * 2)
    assert len(refused.value.message) < 250


@given(st.dictionaries(keys, values), st.lists(mutations))
def test_whatever_is_accepted_can_be_written_and_read_back(state: Json, asked: list[Mutation]) -> None:
    try:
        changed = mutated(state, asked)
    except StateRefused:
        return
    assert loads(encoded(changed, 1_000_000, "the app state").encode()) == changed


@given(st.lists(st.integers(-1000, 1000)))
def test_increments_add_up_in_any_order(amounts: list[int]) -> None:
    one_way = mutated({}, [increment("n", by) for by in amounts])
    the_other = mutated({}, [increment("n", by) for by in reversed(amounts)])
    assert one_way == the_other == ({"n": sum(amounts)} if amounts else {})


def test_a_state_may_be_as_large_as_its_limit_in_bytes() -> None:
    assert encoded({"k": "é"}, 10, "the app state") == '{"k":"é"}'
    with pytest.raises(StateRefused, match=r"^the app state would be 10 bytes; its limit is 9 \(.*key is 'k'\)$"):
        encoded({"k": "é"}, 9, "the app state")


def test_a_state_that_json_cannot_carry_is_refused_with_its_path() -> None:
    deep: JsonValue = []
    for _ in range(64):
        deep = [deep]
    with pytest.raises(StateRefused, match=r"^the app state: \$\.k\[0\].*nesting that is too deep"):
        encoded({"k": deep}, 1000, "the app state")
