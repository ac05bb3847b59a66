"""Patterns, against an oracle that tries every way of dealing out the words."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.domain.errors import Invalid
from orchestrator.domain.patterns import read_pattern


def oracle(pattern: list[str], key: list[str]) -> bool:
    """The definition, word by word."""
    if not pattern:
        return not key
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return any(oracle(rest, key[taken:]) for taken in range(len(key) + 1))
    return bool(key) and first in ("*", key[0]) and oracle(rest, key[1:])


WORDS = st.sampled_from(["a", "b", "core", ""])


@given(
    pattern=st.lists(st.sampled_from(["*", "#", "a", "b", "core", ""]), min_size=1, max_size=6),
    key=st.lists(WORDS, min_size=1, max_size=7),
)
@example(pattern=["#"], key=[""])
@example(pattern=["a", "#"], key=["a"])
@example(pattern=["#", "#", "a", "#", "*"], key=["a", "a"])
def test_it_matches_what_the_definition_says(pattern: list[str], key: list[str]) -> None:
    text = ".".join(pattern)
    if text:
        assert read_pattern(text).matches(".".join(key)) is oracle(pattern, key)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("core.task.#", True),
        ("#", True),
        ("core.task.shop.tasks.sync.success.v1", True),
        ("core.task.*.*.*.success.v1", True),
        ("core.task.#.success.*", True),
        ("#.v1", True),
        ("core.task.*.success.v1", False),
        ("core.task.#.failure.v1", False),
        ("core.task", False),
        ("*", False),
    ],
)
def test_a_dotted_task(pattern: str, matches: bool) -> None:
    assert read_pattern(pattern).matches("core.task.shop.tasks.sync.success.v1") is matches


def test_many_wildcards_cost_no_more_than_their_number() -> None:
    pattern = read_pattern(".".join(["#", "a"] * 60))
    assert not pattern.matches(".".join(["a"] * 120 + ["b"]))
    assert pattern.matches(".".join(["a"] * 120))


@pytest.mark.parametrize("text", ["", "core.task*", "a.##", "a b", "ä", "a.#b", "x" * 256, "a\n"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_pattern(text)
    assert refusal.value.facts["field"] == "pattern"
