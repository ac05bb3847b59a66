"""JSON as both databases, every language and every reader of it agree on.

Parsers differ on duplicate keys, integers over 64 bits, 1e400, NaN, NUL, lone surrogates and deep nesting,
and stores differ on what they keep of them. What could be read in two ways is refused here, with its path.
"""

import re
from math import isfinite
from typing import TypeAlias

import jiter
import orjson

from app_sdk.protocol.json_fault import (
    MAX_DEPTH,
    NESTED,
    TOO_DEEP,
    JsonError,
    fault_in_text,
    fault_in_value,
)

__all__ = ["ENVELOPE_DEPTH", "MAX_DEPTH", "JsonError", "JsonValue", "dumps", "loads", "rewrite"]

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

ENVELOPE_DEPTH = 8
"""Levels that a message of ours may wrap around a value of MAX_DEPTH before it is sent on."""

_DIGITS_AS_ZERO = bytes.maketrans(b"123456789E", b"000000000e")
_NINETEEN_DIGITS = b"0" * 19
_WRITTEN_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SCALARS = (str, int, type(None))
# A datetime or a dataclass would not come back as what it was.
_WRITE_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def loads(data: bytes, *, max_depth: int = MAX_DEPTH) -> JsonValue:
    """Read one UTF-8 JSON document.

    Raises JsonError, and nothing else, for malformed JSON and for duplicate keys, integers outside
    [-2^63, 2^64), numbers that are not finite, NUL, lone surrogates and nesting deeper than `max_depth`.
    """
    if (read := _read_canonical(data, max_depth)) is not None:
        return read
    try:
        value: JsonValue = jiter.from_json(data, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError as refusal:
        raise fault_in_text(data, max_depth, str(refusal)) from None
    if _text_is_suspicious(data):
        dumps(value, max_depth=max_depth)
    elif _may_be_deep(data, max_depth) and not _is_finite_and_shallow(value, max_depth):
        raise fault_in_value(value, max_depth, TOO_DEEP)
    return value


def dumps(value: object, *, max_depth: int = MAX_DEPTH) -> bytes:
    """Write a value as compact UTF-8 JSON, keys in their order.

    Raises JsonError for what `loads` would refuse, and for what JSON does not have.
    """
    try:
        data = orjson.dumps(value, option=_WRITE_OPTIONS)
    except TypeError as refusal:
        raise fault_in_value(value, max_depth, str(refusal)) from None
    # orjson writes NaN and the infinities as null.
    needs_a_look = b"null" in data or _may_be_deep(data, max_depth)
    if needs_a_look and not _is_finite_and_shallow(value, max_depth):
        raise fault_in_value(value, max_depth, "a number that is not finite, or nesting that is too deep")
    if _may_have_nul(data) and _WRITTEN_NUL.search(data):
        raise fault_in_value(value, max_depth, "NUL (\\u0000)")
    return data


def rewrite(value: JsonValue) -> bytes:
    """As `dumps`, of a value that `loads` has read, or of a part of it: nothing in it needs another look."""
    return orjson.dumps(value)


def _read_canonical(data: bytes, max_depth: int) -> JsonValue:
    """The value of a document that is written just as we would write it, None for any other.

    Most programs write no white space, and most documents need no escape. What is written again without a change had
    no key twice and no number that was read as another, which takes half the time of looking for them.
    """
    if b"\\" in data or _is_spaced(data) or _may_be_deep(data, max_depth):
        return None
    try:
        value: JsonValue = orjson.loads(data)
    except ValueError:
        return None
    return value if orjson.dumps(value) == data else None


def _is_spaced(data: bytes) -> bool:
    """Whether there is white space after the first key: who writes it there would be read twice in vain."""
    after_key = data.find(b":") + 1
    return data[after_key : after_key + 1].isspace()


def _text_is_suspicious(data: bytes) -> bool:
    """Whether jiter may have let something through: a cheap test, wrong in one direction only."""
    shape = data.translate(_DIGITS_AS_ZERO)
    if _NINETEEN_DIGITS in shape or b"0e000" in shape or (b"+" in shape and b"0e+000" in shape):
        return True
    return _may_have_nul(data)


def _may_have_nul(data: bytes) -> bool:
    # A single byte is found much sooner than six, and most documents have no escape at all.
    return b"\\" in data and b"\\u0000" in data


def _may_be_deep(data: bytes, max_depth: int) -> bool:
    return data.count(b"[") + data.count(b"{") > max_depth


def _is_finite_and_shallow(value: object, max_depth: int) -> bool:
    """Look at one level of the value at a time: most documents are wide, and a comprehension is quick."""
    level: list[object] = [value]
    for _ in range(max_depth):
        nested = []
        for entry in level:
            if isinstance(entry, NESTED):
                nested.append(entry)
            elif isinstance(entry, float) and not isfinite(entry):
                return False
        level = [
            child
            for container in nested
            for child in (container.values() if isinstance(container, dict) else container)
            if not isinstance(child, _SCALARS)
        ]
        if not level:
            return True
    return all(isinstance(entry, float) and isfinite(entry) for entry in level)
