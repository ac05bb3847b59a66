"""Cutting items into batches, and the keys of the batches."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.imports import batch_key, batches


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (0, []),
        (1, [1]),
        (250, [250]),
        (251, [250, 1]),
        (600, [250, 250, 100]),
        (10_000, [250] * 40),
    ],
)
def test_at_most_250_to_a_batch(count: int, sizes: list[int]) -> None:
    items: list[dict[str, JsonValue]] = [{"kind": "n", "n": n} for n in range(count)]
    cut = batches(items)
    assert [len(batch) for batch in cut] == sizes
    assert [item for batch in cut for item in batch] == items


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 500), st.integers(0, 40)), unique=True))
def test_no_two_batches_share_a_key(places: list[tuple[int, int, int]]) -> None:
    keys = [batch_key(uid, *place) for uid, place in product(("u1", "u11"), places)]
    assert len(set(keys)) == len(keys)
    assert keys == [batch_key(uid, *place) for uid, place in product(("u1", "u11"), places)]
