"""Which values several writers can have left in one key of an app's state."""

from typing import Any

import pytest

from tests.history.effects import Mutation
from tests.history.key_history import ABSENT, KeyHistory, Write


def written(*writes: tuple[object, str, Any], unknown: tuple[tuple[str, Any], ...] = ()) -> KeyHistory:
    """A key that writers (by their names) have changed for certain, and clients perhaps."""
    key = KeyHistory()
    for writer, operation, value in writes:
        key.add(writer, Write(Mutation(operation, "k", value)))
    for number, (operation, value) in enumerate(unknown):
        key.add(f"client {number}", Write(Mutation(operation, "k", value), is_certain=False))
    return key


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        (written(("a", "increment", 2), ("b", "increment", 3)), [5], [2, 3, 5.0, ABSENT, "5"]),
        (written(*((writer, "increment", 0.1) for writer in "abcdefghij")), [1.0, 0.9999999999999999], [0.9, 1]),
        (written(("a", "set", 7), ("a", "increment", 1), ("a", "delete", None)), [ABSENT], [8, None]),
        (written(("a", "set", 7), ("a", "increment", 1)), [8], [7, 1, ABSENT]),
        (written(("a", "set", 1), ("a", "set", 2), ("b", "set", 3)), [2, 3], [1, ABSENT, True]),
        (written(("a", "set", {"x": 1}), ("b", "delete", None)), [{"x": 1}, ABSENT], [{"x": 2}, None]),
        (written(("a", "set", 10), ("b", "increment", 5), ("c", "increment", -1)), [10, 14, 15, 9], [16, 8, "10"]),
        (written(unknown=(("set", 1),)), [1, ABSENT], [0]),
        (written(unknown=(("increment", 1), ("increment", 10))), [ABSENT, 1, 10, 11], [0, 2]),
        (written(("a", "increment", 100), unknown=(("increment", 1),) * 13), [100, 107, 113], [99, 114]),
    ],
)
def test_what_a_key_may_hold(key: KeyHistory, right: list[Any], wrong: list[Any]) -> None:
    assert {repr(value): key.fault(value) for value in right} == {repr(value): None for value in right}
    assert all(key.fault(value) for value in wrong)


def test_a_write_that_was_certainly_followed_cannot_be_the_last() -> None:
    key = KeyHistory()
    key.add("a", Write(Mutation("set", "k", 1), applied_after=10, committed_before=20))
    key.add("b", Write(Mutation("set", "k", 2), applied_after=15, committed_before=30))
    assert key.fault(1) is None
    assert key.fault(2) is None
    key.add("b", Write(Mutation("set", "k", 3), applied_after=25))
    assert key.fault(1) == "it holds 1, the last writes were 3"
    assert key.fault(3) is None
