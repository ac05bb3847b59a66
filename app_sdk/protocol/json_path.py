"""Places inside a JSON document, written the way people look for them: `$.tasks[0].id`."""

import json
import re
from collections.abc import Iterable

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_SHOWN_KEY_CHARS = 40


def json_path(parts: Iterable[str | int]) -> str:
    """The path made of object keys and list positions, outermost first; odd keys quoted, long ones cut."""
    return "$" + "".join(map(_step, parts))


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if _PLAIN_KEY.fullmatch(part):
        return f".{part}"
    shown = part if len(part) <= _SHOWN_KEY_CHARS else part[:_SHOWN_KEY_CHARS] + "..."
    return f"[{json.dumps(shown)}]"
