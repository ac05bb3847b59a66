"""What strict JSON refuses in a document or a value, and where it is.

Slow and thorough: used only once something is known to be wrong, to tell people the path of it.
"""

import json
import re
from math import isfinite
from typing import TypeAlias

from app_sdk.protocol.json_path import json_path

Container: TypeAlias = "dict[str, object] | list[object] | tuple[object, ...]"
NESTED = (dict, list, tuple)

MAX_DEPTH = 64
SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**64 - 1

INTEGER_RANGE = "an integer outside [-2^63, 2^64)"
NOT_FINITE = "a number that is not finite"
TOO_DEEP = "nesting that is too deep"
DUPLICATE_KEY = "a duplicate key"

_INTEGER_CHARS = len(str(SMALLEST_INTEGER))
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NEAR_CHARS = 24
# A hostile document of five million values would otherwise hold up its reader for seconds.
_VALUES_LOOKED_AT = 250_000


class JsonError(ValueError):
    """A document or value that strict JSON refuses: `problem`, a noun phrase, at `path`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def fault_in_text(data: bytes, max_depth: int, refusal: str) -> JsonError:
    """Why a document was refused, with the path of it; `refusal`: the parser's words, for want of better."""
    if not data.strip():
        return JsonError("$", "an empty body")
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return JsonError("$", "a byte order mark, not plain UTF-8")
    if data.count(b",") > _VALUES_LOOKED_AT:
        return JsonError("$", f"a fault in a very large document: {refusal}")
    try:
        return fault_in_value(_read_all(data.decode()), max_depth, f"a syntax error: {refusal}")
    except UnicodeDecodeError as error:
        return JsonError("$", f"bytes that are not UTF-8, from byte {error.start}")
    except json.JSONDecodeError as error:
        near = error.doc[error.pos : error.pos + _NEAR_CHARS]
        where = f"near {json.dumps(near)}" if near else "at the end"
        return JsonError("$", f"a syntax error at line {error.lineno}, column {error.colno}, {where}")
    except RecursionError:
        return JsonError("$", TOO_DEEP)


def fault_in_value(value: object, max_depth: int, otherwise: str) -> JsonError:
    """The first fault in a value, in reading order; `otherwise` at the root where none is found."""
    try:
        _Walk().visit(value, max_depth)
    except _Refused as refused:
        return JsonError(json_path(reversed(refused.parts_from_leaf)), refused.problem)
    except _TooManyValues:
        return JsonError("$", f"{otherwise}, somewhere in a very large document")
    return JsonError("$", otherwise)


class _Refused(Exception):
    """Carries a problem up to the root and collects the path on its way."""

    def __init__(self, problem: str, *parts: str | int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.parts_from_leaf: list[str | int] = list(parts)


class _TooManyValues(Exception):
    """The search has looked at as many values as it may."""


class _Unreadable:
    """Stands where the text had something that no value can stand for; `parts` lead on from there."""

    def __init__(self, problem: str, *parts: str) -> None:
        self.problem = problem
        self.parts = parts


class _Walk:
    def __init__(self) -> None:
        self._values_left = _VALUES_LOOKED_AT

    def visit(self, value: object, depth_left: int) -> None:
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, int):
            if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
                raise _Refused(INTEGER_RANGE)
        elif isinstance(value, float):
            if not isfinite(value):
                raise _Refused(NOT_FINITE)
        elif isinstance(value, NESTED):
            self._visit_container(value, depth_left)
        elif isinstance(value, _Unreadable):
            raise _Refused(value.problem, *value.parts)
        elif value is not None:
            raise _Refused(f"a {type(value).__name__}, which JSON does not have")

    def _visit_container(self, container: Container, depth_left: int) -> None:
        if depth_left == 0:
            raise _Refused(TOO_DEEP)
        is_object = isinstance(container, dict)
        for key, child in container.items() if isinstance(container, dict) else enumerate(container):
            if is_object:
                _check_key(key)
            self._values_left -= 1
            if self._values_left < 0:
                raise _TooManyValues
            try:
                self.visit(child, depth_left - 1)
            except _Refused as refused:
                refused.parts_from_leaf.append(key)
                raise


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise _Refused(f"a key that is not a string ({type(key).__name__})")
    try:
        _check_text(key)
    except _Refused as refused:
        raise _Refused(f"{refused.problem} in a key", key) from None


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _Refused("NUL (\\u0000)")
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise _Refused("a lone surrogate")


def _read_all(text: str) -> object:
    """Read with the standard library, keeping what strict JSON refuses recognisable for the walk."""
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_int=lambda digits: int(digits) if len(digits) <= _INTEGER_CHARS else _Unreadable(INTEGER_RANGE),
        parse_constant=lambda _name: _Unreadable(NOT_FINITE),
    )


def _object(pairs: list[tuple[str, object]]) -> object:
    read = dict(pairs)
    if len(read) == len(pairs):
        return read
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return _Unreadable(DUPLICATE_KEY, key)
        seen.add(key)
    return read
