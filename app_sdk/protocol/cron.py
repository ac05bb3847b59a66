"""The shape of a cron expression: five fields, their values, names, ranges and steps."""

import re
from typing import NamedTuple

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)
_PART = re.compile(r"(?P<all>\*)|(?P<from>[0-9]{1,2}|[a-z]{3})(?:-(?P<to>[0-9]{1,2}|[a-z]{3}))?", re.ASCII)
_STEP = re.compile(r"[1-9][0-9]?", re.ASCII)


def cron_problem(expression: str) -> str | None:
    """What is wrong with a cron expression, in words, or None."""
    written = expression.split()
    if len(written) != len(_FIELDS):
        return f"a cron expression has five fields (minute hour day month weekday), this one has {len(written)}"
    for field, text in zip(_FIELDS, written, strict=True):
        for part in text.lower().split(","):
            if not _is_valid(part, field):
                return f"{text!r} is no value for the {field.name} ({field.first} to {field.last})"
    return None


def _is_valid(part: str, field: _Field) -> bool:
    values, slash, step = part.partition("/")
    found = _PART.fullmatch(values)
    if found is None or (slash and not _STEP.fullmatch(step)):
        return False
    if found["all"]:
        return True
    first = _value(found["from"], field)
    last = _value(found["to"], field) if found["to"] else first
    if first is None or last is None:
        return False
    # A week may be written as mon-sun.
    return first <= last or (last == 0 and field.names is _WEEKDAYS)


def _value(text: str, field: _Field) -> int | None:
    if text in field.names:
        return field.names.index(text) + field.first
    if text.isdigit() and field.first <= int(text) <= field.last:
        return int(text)
    return None
