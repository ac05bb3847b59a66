"""What strict JSON reads and writes, and what it refuses, with the path of the fault."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH, JsonError, dumps, loads

REFUSED_DOCUMENTS = [
    (b"", "$", "an empty body"),
    (b" \n", "$", "an empty body"),
    (b"{", "$", "a syntax error at line 1, column 2, at the end"),
    (b'{"a" 1}', "$", 'a syntax error at line 1, column 6, near "1}"'),
    (b"<html>", "$", 'a syntax error at line 1, column 1, near "<html>"'),
    (b"[1,]", "$", "a syntax error"),
    (b"1 2", "$", 'a syntax error at line 1, column 3, near "2"'),
    (b"01", "$", "a syntax error"),
    (b"1.", "$", "a syntax error"),
    (b"+1", "$", "a syntax error"),
    (b"'a'", "$", "a syntax error"),
    (b'"\\x"', "$", "a syntax error"),
    (b'"a\nb"', "$", "a syntax error"),
    (b'"\x00"', "$", "a syntax error"),
    (b'\xef\xbb\xbf{"a":1}', "$", "a byte order mark, not plain UTF-8"),
    ('{"a":1}'.encode("utf-16"), "$", "a byte order mark, not plain UTF-8"),
    ('{"a":1}'.encode("utf-16-le"), "$", "a syntax error"),
    (b'{"a":"\xff"}', "$", "bytes that are not UTF-8, from byte 6"),
    (b'"\xed\xa0\x80"', "$", "bytes that are not UTF-8, from byte 1"),
    (b'{"a":1,"a":2}', "$.a", "a duplicate key"),
    (b'{"a":1,"\\u0061":2}', "$.a", "a duplicate key"),
    (b'{"a":{"b":[1,{"c":1,"d":2,"c":3}]}}', "$.a.b[1].c", "a duplicate key"),
    (b'{"a":[NaN]}', "$.a[0]", "a number that is not finite"),
    (b"[-Infinity]", "$[0]", "a number that is not finite"),
    (b'{"x y":1e400}', '$["x y"]', "a number that is not finite"),
    (b"[1E+400]", "$[0]", "a number that is not finite"),
    (b"[-1e999]", "$[0]", "a number that is not finite"),
    (b"[" + b"9" * 400 + b".5]", "$[0]", "a number that is not finite"),
    (b'{"a":18446744073709551616}', "$.a", "an integer outside [-2^63, 2^64)"),
    (b'{"a":-9223372036854775809}', "$.a", "an integer outside [-2^63, 2^64)"),
    (b'{"a":[0,' + b"7" * 5000 + b"]}", "$.a[1]", "an integer outside [-2^63, 2^64)"),
    (b'{"a":"x\\u0000y"}', "$.a", "NUL (\\u0000)"),
    (b'{"a":"\\\\\\u0000"}', "$.a", "NUL (\\u0000)"),
    (b'{"k\\u0000":1}', '$["k\\u0000"]', "NUL (\\u0000) in a key"),
    (b'{"a":["\\ud800"]}', "$.a[0]", "a lone surrogate"),
    (b'{"a":"\\ude00\\ud83d"}', "$.a", "a lone surrogate"),
    (b'{"\\ud800":1}', '$["\\ud800"]', "a lone surrogate in a key"),
    (b"[" * 65 + b"]" * 65, "$" + "[0]" * 64, "nesting that is too deep"),
    (b'{"a":' * 300 + b"1" + b"}" * 300, "$" + ".a" * 64, "nesting that is too deep"),
    (b"[" * 100_000 + b"]" * 100_000, "$", "nesting that is too deep"),
]


@pytest.mark.parametrize(("document", "path", "problem"), REFUSED_DOCUMENTS)
def test_a_refused_document_is_refused_with_its_path(document: bytes, path: str, problem: str) -> None:
    with pytest.raises(JsonError) as refusal:
        loads(document)
    assert refusal.value.path == path
    assert refusal.value.problem.startswith(problem)
    assert str(refusal.value) == f"{path}: {refusal.value.problem}"


@pytest.mark.parametrize(
    ("document", "value"),
    [
        (b"null", None),
        (b' {"b":1, "a":[true,false]} \n', {"b": 1, "a": [True, False]}),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"1e308", 1e308),
        (b"1e-400", 0.0),
        (b"0.1234567890123456789012345", 0.1234567890123456789012345),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"1234567890123456789012345"', "1234567890123456789012345"),
        (b'"1e999"', "1e999"),
        (b"[" * 64 + b"]" * 64, json.loads("[" * 64 + "]" * 64)),
        (b'["' + b"[" * 100 + b'"]', ["[" * 100]),
    ],
)
def test_an_accepted_document_is_read_exactly(document: bytes, value: object) -> None:
    read = loads(document)
    assert read == value
    assert type(read) is type(value)


def test_the_order_of_keys_is_kept() -> None:
    document = b'{"z":1,"a":{"y":2,"b":3}}'
    assert dumps(loads(document)) == document


def test_the_sign_of_a_zero_is_kept() -> None:
    zero = loads(b"-0.0")
    assert isinstance(zero, float)
    assert math.copysign(1, zero) == -1
    assert dumps(zero) == b"-0.0"


def test_a_message_of_ours_may_wrap_a_value_of_the_full_depth() -> None:
    deep = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(JsonError):
        dumps({"state": deep})
    body = dumps({"state": deep}, max_depth=MAX_DEPTH + ENVELOPE_DEPTH)
    assert loads(body, max_depth=MAX_DEPTH + ENVELOPE_DEPTH) == {"state": deep}


def _circular() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


REFUSED_VALUES = [
    (math.nan, "$", "a number that is not finite"),
    ({"a": [1, None, math.inf]}, "$.a[2]", "a number that is not finite"),
    ({"a": {"b": 2**64}}, "$.a.b", "an integer outside [-2^63, 2^64)"),
    ([-(2**63) - 1], "$[0]", "an integer outside [-2^63, 2^64)"),
    ({"a": "\0"}, "$.a", "NUL (\\u0000)"),
    ({"a": "\\\0"}, "$.a", "NUL (\\u0000)"),
    ({"\0": 1}, '$["\\u0000"]', "NUL (\\u0000) in a key"),
    (["\udfff"], "$[0]", "a lone surrogate"),
    ({1: 2}, "$", "a key that is not a string (int)"),
    ({"a": {None: 2}}, "$.a", "a key that is not a string (NoneType)"),
    ({"when": datetime(2026, 1, 1, tzinfo=UTC)}, "$.when", "a datetime, which JSON does not have"),
    ({"tags": {"x"}}, "$.tags", "a set, which JSON does not have"),
    (json.loads("[" * 65 + "]" * 65), "$" + "[0]" * 64, "nesting that is too deep"),
    (json.loads('{"a":' * 65 + "1.5" + "}" * 65), "$" + ".a" * 64, "nesting that is too deep"),
    (_circular(), "$" + "[0]" * 64, "nesting that is too deep"),
]


@pytest.mark.parametrize(("value", "path", "problem"), REFUSED_VALUES)
def test_a_value_that_cannot_be_read_back_is_not_written(value: object, path: str, problem: str) -> None:
    with pytest.raises(JsonError) as refusal:
        dumps(value)
    assert (refusal.value.path, refusal.value.problem) == (path, problem)


@pytest.mark.parametrize("value", [{"a": None, "b": [1.5, "\\u0000"]}, [None] * 100, (1, 2)])
def test_what_only_looks_suspicious_is_written(value: object) -> None:
    assert json.loads(dumps(value)) == json.loads(json.dumps(value))


HOSTILE = [
    b"[" * 10_000_000,
    b'{"a":' * 1_000_000,
    b"9" * 10_000_000,
    b"[" + b"9," * 600_000 + b"1e999]",
    b"[" + b'{"a":1},' * 500_000 + b'{"a":1,"a":2}]',
    b"[" + b"[[]]," * 100_000 + b"NaN]",
    b'["' + b"\\u0000" * 100_000 + b'"]',
    b'{"' + b"k" * 5_000_000 + b'":1e999}',
]


@pytest.mark.parametrize("document", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_document_is_refused_in_few_words(document: bytes) -> None:
    with pytest.raises(JsonError) as refusal:
        loads(document)
    assert len(str(refusal.value)) < 400


SAFE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ANY_TEXT = st.text(st.characters() | st.sampled_from("\0\ud800\udfff"))
SAFE_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | SAFE_TEXT,
    lambda children: st.lists(children) | st.dictionaries(SAFE_TEXT, children),
    max_leaves=12,
)
ANY_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda children: st.lists(children) | st.dictionaries(ANY_TEXT, children),
    max_leaves=12,
)
TOKENS = st.sampled_from(
    [
        *'{}[],:" \\\x00',
        '"a"',
        '"b"',
        '"\\u0000"',
        '"\\ud800"',
        '"\\u00e9"',
        "null",
        "true",
        "NaN",
        "-Infinity",
        "1",
        "-0",
        "1.5e3",
        "1e400",
        "9" * 30,
        "-9223372036854775809",
    ]
)


@given(SAFE_VALUES)
def test_every_safe_value_comes_back_unchanged(value: object) -> None:
    assert repr(loads(dumps(value))) == repr(value)
    assert repr(loads(json.dumps(value).encode())) == repr(value)


@given(ANY_VALUES)
def test_reading_and_writing_refuse_the_same_values(value: object) -> None:
    is_writable = _refusal(lambda: dumps(value)) is None
    text = json.dumps(value).encode()
    assert (_refusal(lambda: loads(text)) is None) == is_writable == _is_safe(value)


@given(st.binary() | st.lists(TOKENS, max_size=30).map("".join).map(str.encode))
@example(b"\x80")
@example(b"-")
@example(b"[1e5,-]")
@example(b'"\\u00"')
def test_any_bytes_are_read_as_the_standard_library_reads_them_or_refused(data: bytes) -> None:
    refusal = _refusal(lambda: loads(data))
    if refusal is None:
        assert repr(loads(data)) == repr(json.loads(data))
        assert _is_safe(loads(data))
    else:
        assert refusal.path.startswith("$")
        assert refusal.problem


def _refusal(attempt: Any) -> JsonError | None:
    try:
        attempt()
    except JsonError as refusal:
        return refusal
    return None


def _is_safe(value: object) -> bool:
    """The same rules once more, written as simply as can be."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    if isinstance(value, list):
        return all(map(_is_safe, value))
    if isinstance(value, dict):
        return all(_is_safe(key) and _is_safe(child) for key, child in value.items())
    return value is None


def outcome(document: bytes) -> Any:
    """The value with the types of its parts, or that it is refused."""
    try:
        return repr(loads(document))
    except JsonError:
        return JsonError


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
COMPACT = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
).map(lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass"))
SCRIBBLED = st.text('{}[]":,0123456789eE+-.truefalsn\\ab ', max_size=20).map(str.encode)


@given(COMPACT | SCRIBBLED)
@example(b'{"a":1,"a":1}')
@example(b'{"a":{"b":1,"b":1}}')
@example(b"[18446744073709551616]")
@example(b"[9223372036854775808,-0,-0.0,1.0,1e400]")
@example(b'["\\u0000"]')
def test_a_document_that_is_written_as_we_write_means_what_it_means_with_a_space(document: bytes) -> None:
    """The first is read in a quicker way, where that can tell; the second never is."""
    assert outcome(document) == outcome(b" " + document)
