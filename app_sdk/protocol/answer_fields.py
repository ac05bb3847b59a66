"""Reading single fields of an answer: absent and null mean the same, anything of another type is refused."""

from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.strict_json import JsonValue, dumps

Json = dict[str, JsonValue]
Path = tuple[str | int, ...]

_SHOWN_CHARS = 60


class AnswerError(ValueError):
    """An answer that breaks the contract: at `path` one thing was `expected`, another `got`."""

    def __init__(self, path: str, expected: str, got: str) -> None:
        super().__init__(f"{path}: expected {expected}, got {got}")
        self.path = path
        self.expected = expected
        self.got = got


def wrong(path: Path, expected: str, value: JsonValue) -> AnswerError:
    return AnswerError(json_path(path), expected, _shown(value))


def wrong_field(holder: Json, name: str, path: Path, expected: str) -> AnswerError:
    got = _shown(holder[name]) if name in holder else "nothing"
    return AnswerError(json_path((*path, name)), expected, got)


def _shown(value: JsonValue) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = dumps(value).decode()
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def flag(holder: Json, name: str, path: Path = ()) -> bool:
    value = holder.get(name)
    if value is None or isinstance(value, bool):
        return value is True
    raise wrong_field(holder, name, path, "true or false")


def text(holder: Json, name: str, path: Path = ()) -> str | None:
    value = holder.get(name)
    if value is None or isinstance(value, str):
        return value
    raise wrong_field(holder, name, path, "a string")


def object_or_none(holder: Json, name: str, path: Path = ()) -> Json | None:
    value = holder.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise wrong_field(holder, name, path, "an object")


def number(holder: Json, name: str, path: Path = ()) -> float | int | None:
    value = holder.get(name)
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise wrong_field(holder, name, path, "a number")


def needed_number(holder: Json, name: str, path: Path) -> float | int:
    value = number(holder, name, path)
    if value is None:
        raise wrong_field(holder, name, path, "a number")
    return value


def listed(holder: Json, name: str) -> list[JsonValue]:
    value = holder.get(name)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise wrong_field(holder, name, (), "a list")
