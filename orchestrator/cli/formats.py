"""Values as people read them: times, durations, numbers, and text that strangers wrote."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

JsonObject = dict[str, object]

# Names and messages come from apps. Escape sequences in them would drive the terminal; direction marks
# would make one text look like another.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def clean(text: object) -> str:
    """Any value as text without control characters; line ends and tabs stay."""
    return _UNPRINTABLE.sub("\ufffd", "" if text is None else str(text).replace("\r\n", "\n"))


def one_line(text: object) -> str:
    """Any value as one line of clean text."""
    return " ".join(clean(text).split())


def parse_time(value: object) -> datetime | None:
    """An RFC 3339 time of the API; None for null and for what is not a time."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def when(value: object) -> str:
    """An API's time to the second, in UTC; empty for null."""
    moment = parse_time(value)
    return clean(value) if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def duration(seconds: float | None) -> str:
    """A duration in its two largest units: `0.4 s`, `42 s`, `3 min 20 s`, `2 h 5 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _joined(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _DAY:
        return _joined(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _joined(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _joined(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def number(value: object) -> str:
    """A number with its thousands apart and at most one decimal; other values as text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}".removesuffix(".0")


def plural(count: int, one: str, many: str) -> str:
    """`1 retry`, `2,000 retries`."""
    return f"{count:,} {one if count == 1 else many}"


def json_text(value: object, *, indent: int | None = None) -> str:
    """A value as JSON, characters outside ASCII as themselves."""
    return json.dumps(value, indent=indent, ensure_ascii=False)


def schedule(value: object) -> str:
    """A task's schedule in words: `every 5 min`, `0 3 * * * Europe/Paris`; empty for none."""
    if not isinstance(value, Mapping):
        return clean(value)
    if value.get("cron"):
        zone = value.get("timezone") or "UTC"
        return clean(f"{value['cron']} {zone}")
    interval = value.get("interval_secs")
    return f"every {duration(float(interval))}" if isinstance(interval, int | float) else ""
