"""Arrays as PostgreSQL's binary protocol has them: a column of many rows in one parameter.

psycopg's own lists are dumped element by element, each by a dumper that is looked up for it; that took longer than
all the rest of a statement over a hundred rows.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct(">iiiii").pack
_LENGTH = struct.Struct(">i").pack
_NULL = _LENGTH(-1)
_BIGINT = struct.Struct(">iq").pack
_INT = struct.Struct(">ii").pack
_BOOLEAN = struct.Struct(">i?").pack


class Array:
    """A column of at least one value, any of which may be None."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values


class Bigints(Array):
    """bigint[]"""


class Ints(Array):
    """int[]"""


class Booleans(Array):
    """boolean[]"""


class Texts(Array):
    """text[]"""


ARRAYS: Mapping[str, type[Array]] = {"bigint": Bigints, "int": Ints, "boolean": Booleans, "text": Texts}


def _text(value: str) -> bytes:
    data = value.encode()
    return _LENGTH(len(data)) + data


def _dumper(array_oid: int, element_oid: int, element: Callable[[Any], bytes]) -> type[Dumper]:
    class ArrayDumper(Dumper):
        format = Format.BINARY
        oid = array_oid

        def dump(self, obj: Array) -> bytes:
            try:
                return self._packed(obj.values)
            except struct.error as error:
                raise psycopg.DataError(f"a number is out of the range of its column: {error}") from error

        def _packed(self, values: Sequence[Any]) -> bytes:
            # One dimension, beginning at 1; the second number says whether an element is NULL.
            head = _HEAD(1, None in values, element_oid, len(values), 1)
            if values.count(values[0]) == len(values):
                # Most columns of a commit hold one value throughout.
                return head + written(values[0]) * len(values)
            return head + b"".join(map(written, values))

    def written(value: Any) -> bytes:
        return _NULL if value is None else element(value)

    return ArrayDumper


# Every connection of this process takes them: nobody else has these classes.
for _class, _array_oid, _element_oid, _element in (
    (Bigints, 1016, 20, lambda value: _BIGINT(8, value)),
    (Ints, 1007, 23, lambda value: _INT(4, value)),
    (Booleans, 1000, 16, lambda value: _BOOLEAN(1, value)),
    (Texts, 1009, 25, _text),
):
    psycopg.adapters.register_dumper(_class, _dumper(_array_oid, _element_oid, _element))
