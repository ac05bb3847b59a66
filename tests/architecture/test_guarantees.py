"""Every promise of docs/guarantees.md names tests, and each of them exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text()
PROMISES = re.split(r"^## (?=\d)", TEXT, flags=re.MULTILINE)[1:]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+?\.py(?:::\w+)?)`", TEXT)))


def test_the_promises_are_counted() -> None:
    assert [int(promise.split(".")[0]) for promise in PROMISES] == list(range(1, 20))


@pytest.mark.parametrize("promise", PROMISES, ids=[promise.splitlines()[0] for promise in PROMISES])
def test_each_names_a_test(promise: str) -> None:
    assert re.search(r"`tests/[^`]+\.py(?:::\w+)?`", promise)


@pytest.mark.parametrize("name", NAMED)
def test_the_named_test_exists(name: str) -> None:
    path, _, test = name.partition("::")
    source = (ROOT / path).read_text()
    assert not test or re.search(rf"^(?:async )?def {test}\(|^(?:class )?{test}\b", source, flags=re.MULTILINE)
