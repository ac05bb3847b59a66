"""A webhook answer, as the engine reads it: lenient about what is left out, strict about what is there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from app_sdk.protocol.answer_fields import (
    AnswerError,
    Json,
    Path,
    flag,
    listed,
    needed_number,
    number,
    object_or_none,
    text,
    wrong,
    wrong_field,
)
from app_sdk.protocol.frozen import frozen
from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.limits import DEFAULT_LIMITS, Limits
from app_sdk.protocol.strict_json import MAX_DEPTH, JsonError, JsonValue, dumps, loads

__all__ = [
    "DEFAULT_AWAIT_SECS",
    "MAX_AWAIT_SECS",
    "Answer",
    "AnswerError",
    "AwaitCallback",
    "Mutation",
    "NewWorker",
    "Progress",
    "read_answer",
]

Operation = Literal["set", "delete", "increment"]
Entry = TypeVar("Entry")

DEFAULT_AWAIT_SECS = 24 * 3600.0
MAX_AWAIT_SECS = 365 * 24 * 3600.0

# An item stands two levels deep in an answer, and as deep in the batch that the collector gets.
_ITEM_DEPTH = MAX_DEPTH - 2


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of the app state; `value` means nothing to a delete."""

    operation: Operation
    key: str
    value: JsonValue = None


@dataclass(frozen=True, slots=True)
class NewWorker:
    """A worker, 1 to 9, to be started with a state."""

    worker_id: int
    initial_state: Json


@dataclass(frozen=True, slots=True)
class AwaitCallback:
    """The wish to be parked until somebody calls back; `resume` asks for another call after that."""

    timeout_in_secs: float = DEFAULT_AWAIT_SECS
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a worker has come, for people to see."""

    current: float | int
    total: float | int | None = None
    unit: str | None = None


@frozen
class Answer:
    """What an app answered, every field filled in; `unknown` holds what the contract does not name."""

    is_done: bool = False
    is_error: bool = False
    message: str | None = None
    updated_worker_state: Json | None = None
    app_state_mutations: tuple[Mutation, ...] = ()
    items_to_import: tuple[Json, ...] = ()
    worker_id: int | None = None
    delay_next_request_in_secs: float | None = None
    new_workers: tuple[NewWorker, ...] = ()
    wait_for_workers: bool = False
    await_callback: AwaitCallback | None = None
    progress: Progress | None = None
    subtext: str | None = None
    logs: tuple[str, ...] = ()
    output: Json | None = None
    unknown: Json = field(default_factory=dict)


def read_answer(body: bytes, limits: Limits = DEFAULT_LIMITS) -> Answer:
    """Read the body of a 2xx answer; raises AnswerError, which names the path and what was expected there."""
    if len(body) > limits.answer_bytes:
        raise AnswerError("$", f"at most {limits.answer_bytes} bytes", f"{len(body)}")
    try:
        document = loads(body)
    except JsonError as error:
        raise AnswerError(error.path, "valid JSON", error.problem) from None
    if not isinstance(document, dict):
        raise wrong((), "a JSON object", document)
    answer = _read_fields(document, limits)
    _check_combination(answer)
    return answer


def _read_fields(document: Json, limits: Limits) -> Answer:
    # Most answers have two or three of the fields: only those that are there are looked at.
    read: dict[str, Any] = {}
    unknown: Json = {}
    for name, value in document.items():
        if name not in _READERS:
            unknown[name] = value
        elif value is not None:
            read[name] = _READERS[name](document, limits)
    return Answer(**read, unknown=unknown)


def _check_combination(answer: Answer) -> None:
    for name, asks in (
        ("await_callback", answer.await_callback),
        ("wait_for_workers", answer.wait_for_workers),
    ):
        if answer.is_done and asks:
            raise AnswerError(f"$.{name}", "nothing, since is_done is true", "both")
    if answer.await_callback and answer.wait_for_workers:
        raise AnswerError("$.wait_for_workers", "nothing, since await_callback is given", "both")


def _entries(document: Json, name: str, read: Callable[[Json, Path], Entry]) -> tuple[Entry, ...]:
    entries = []
    for position, entry in enumerate(listed(document, name)):
        if not isinstance(entry, dict):
            raise wrong((name, position), "an object", entry)
        entries.append(read(entry, (name, position)))
    return tuple(entries)


def _message(value: JsonValue) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def _worker_id(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _delay(document: Json, limits: Limits) -> float | None:
    secs = number(document, "delay_next_request_in_secs")
    if secs is None:
        return None
    if secs < 0:
        raise wrong_field(document, "delay_next_request_in_secs", (), "0 seconds or more")
    return min(float(secs), limits.max_delay_secs)


def _mutation(entry: Json, path: Path) -> Mutation:
    key = entry.get("key")
    if not isinstance(key, str):
        raise wrong_field(entry, "key", path, "a string")
    match entry.get("operation"):
        case "delete":
            return Mutation("delete", key)
        case "increment":
            return Mutation("increment", key, needed_number(entry, "value", path))
        case "set":
            if "value" not in entry:
                raise wrong_field(entry, "value", path, "a value to set")
            return Mutation("set", key, entry["value"])
        case _:
            raise wrong_field(entry, "operation", path, '"set", "delete" or "increment"')


def _new_worker(entry: Json, path: Path) -> NewWorker:
    worker_id = _worker_id(entry.get("worker_id"))
    if worker_id is None or not 1 <= worker_id <= 9:
        raise wrong_field(entry, "worker_id", path, "an integer from 1 to 9")
    return NewWorker(worker_id, object_or_none(entry, "initial_state", path) or {})


def _await_callback(entry: Json | None) -> AwaitCallback | None:
    if entry is None:
        return None
    path = ("await_callback",)
    secs = number(entry, "timeout_in_secs", path)
    if secs is not None and secs <= 0:
        raise wrong_field(entry, "timeout_in_secs", path, "more than 0 seconds")
    timeout = DEFAULT_AWAIT_SECS if secs is None else min(float(secs), MAX_AWAIT_SECS)
    return AwaitCallback(timeout, flag(entry, "resume", path))


def _progress(entry: Json | None) -> Progress | None:
    if entry is None:
        return None
    path = ("progress",)
    current = needed_number(entry, "current", path)
    return Progress(current, number(entry, "total", path), text(entry, "unit", path))


def _logs(document: Json) -> tuple[str, ...]:
    value = document.get("logs")
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise wrong_field(document, "logs", (), "a string or a list of strings")
    lines = []
    for position, line in enumerate(value):
        if not isinstance(line, str):
            raise wrong(("logs", position), "a string", line)
        lines.append(line)
    return tuple(lines)


def _items(document: Json, limits: Limits) -> tuple[Json, ...]:
    entries = listed(document, "items_to_import")
    if len(entries) > limits.items_per_answer:
        raise AnswerError("$.items_to_import", f"at most {limits.items_per_answer} items", f"{len(entries)}")
    items = []
    for position, entry in enumerate(entries):
        item = _written_item(entry, position) if isinstance(entry, str) else entry
        if not isinstance(item, dict):
            raise wrong(("items_to_import", position), "an object, or a string that holds one", entry)
        if not isinstance(item.get("kind"), str):
            raise wrong_field(item, "kind", ("items_to_import", position), "a string")
        items.append(item)
    return tuple(items)


def _written_item(written: str, position: int) -> JsonValue:
    try:
        return loads(written.encode(), max_depth=_ITEM_DEPTH)
    except JsonError as error:
        path = json_path(("items_to_import", position)) + error.path.removeprefix("$")
        raise AnswerError(path, "an object, or a string that holds one", error.problem) from None


_READERS: Mapping[str, Callable[[Json, Limits], Any]] = {
    "is_done": lambda document, _: flag(document, "is_done"),
    "is_error": lambda document, _: flag(document, "is_error"),
    "message": lambda document, _: _message(document["message"]),
    "updated_worker_state": lambda document, _: object_or_none(document, "updated_worker_state"),
    "app_state_mutations": lambda document, _: _entries(document, "app_state_mutations", _mutation),
    "items_to_import": _items,
    "worker_id": lambda document, _: _worker_id(document["worker_id"]),
    "delay_next_request_in_secs": _delay,
    "new_workers": lambda document, _: _entries(document, "new_workers", _new_worker),
    "wait_for_workers": lambda document, _: flag(document, "wait_for_workers"),
    "await_callback": lambda document, _: _await_callback(object_or_none(document, "await_callback")),
    "progress": lambda document, _: _progress(object_or_none(document, "progress")),
    "subtext": lambda document, _: text(document, "subtext"),
    "logs": lambda document, _: _logs(document),
    "output": lambda document, _: object_or_none(document, "output"),
}
