"""YAML is read as strictly as JSON, and written so that it reads the same."""

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app_sdk.protocol.strict_json import JsonError, JsonValue
from orchestrator.api import yaml_text

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=15,
)


@given(VALUES)
def test_what_is_written_reads_the_same(value: Any) -> None:
    found = yaml_text.loads(yaml_text.dumps(value))
    assert found == value
    assert type(found) is type(value)


NUMBER_LIKE = st.from_regex(r"[-+]?[0-9]{0,3}\.?[0-9]{0,3}([eE][-+]?[0-9]{0,3})?", fullmatch=True)
WORD_LIKE = st.sampled_from(
    ["~", "NULL", "True", ".inf", "-.Inf", ".NAN", "no", "1_000", "1:30", "0x1F", "%TAG", "", "<<"]
)


@given(st.lists(NUMBER_LIKE | WORD_LIKE | st.text("%\n a", max_size=8), min_size=1, max_size=3))
def test_a_text_comes_back_as_the_same_text(texts: list[str]) -> None:
    values: list[JsonValue] = [texts[0], list(texts), dict.fromkeys(texts, texts[0])]
    for value in values:
        assert yaml_text.loads(yaml_text.dumps(value)) == value


@pytest.mark.parametrize("text", ["12e5", "1E5", "-1e3", "+.5e1", "007"])
def test_what_looks_like_a_number_is_written_in_quotes(text: str) -> None:
    assert yaml_text.dumps({"sku": text}) == f'sku: "{text}"\n'.encode()


def test_a_call_as_the_documentation_has_it() -> None:
    body = b"method: awf.task/poll\nparams:\n    maxBatchSize: 2\n    taskDefinitions: [shop/send, 'x: y']\n"
    assert yaml_text.loads(body) == {
        "method": "awf.task/poll",
        "params": {"maxBatchSize": 2, "taskDefinitions": ["shop/send", "x: y"]},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("2026-01-31T08:00:00", "2026-01-31T08:00:00"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("'1'", "1"),
        ("~", None),
        ("-0.5e3", -500.0),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("", None),
        ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("!!str 5", "5"),
        ("18446744073709551615", 18446744073709551615),
    ],
)
def test_scalars_mean_what_json_can_say(text: str, value: Any) -> None:
    assert yaml_text.loads(text.encode()) == value


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "aliases"),
        ("a: 1\na: 2", "'a' is there twice"),
        ("1: a", "a key is a text"),
        ("[a]: b", "a key is a text"),
        ("a: .inf", "not a number of JSON"),
        ("a: 1e400", "finite"),
        ("a: 99999999999999999999", "integer"),
        ("!!python/object:os.system {}", "the tag"),
        ("a: !!binary aGk=", "the tag"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("a: [1", "malformed YAML"),
        ("\ta: 1", "malformed YAML"),
        ('a: "\\0"', "NUL"),
        ("[" * 100 + "]" * 100, "nested deeper"),
        ("%YAML 1.2\n---\na: 1", "directives"),
        ("\ufeff%TAG !a! x\n---\na: 1", "directives"),
        ("a: 1\n...\n%TAG !a! x\n---\nb: 1", "directives"),
        ("a: 1\u2028%TAG !a! x", "directives"),
    ],
)
def test_what_could_be_read_in_two_ways_or_harm_is_refused(text: str, words: str) -> None:
    with pytest.raises(JsonError) as refusal:
        yaml_text.loads(text.encode())
    assert words in str(refusal.value)


def test_many_directives_cost_no_more_than_one() -> None:
    text = b"".join(b"%%TAG !t%d! x\n" % number for number in range(60_000)) + b"--- {}\n"
    began = time.perf_counter()
    with pytest.raises(JsonError, match="directives"):
        yaml_text.loads(text)
    # To compare each with all before it takes half a minute.
    assert time.perf_counter() - began < 2


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(JsonError, match="not UTF-8"):
        yaml_text.loads(b"a: \xff")


@given(st.binary(max_size=60))
def test_no_bytes_bring_it_down(data: bytes) -> None:
    try:
        yaml_text.loads(data)
    except JsonError:
        return


def test_it_reads_as_the_reference_does_where_both_read_it() -> None:
    text = 'list:\n- a\n- {b: 1.5, c: true}\nfolded: >\n  one\n  two\n\nquoted: "\\u00e9"\n'
    assert yaml_text.loads(text.encode()) == yaml.safe_load(text)
