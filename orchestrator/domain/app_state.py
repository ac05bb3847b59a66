"""The mutations of an app's JSON state, applied one after the other under the lock of its row."""

import math
from collections.abc import Iterable
from typing import TypeGuard

from app_sdk.protocol import strict_json
from app_sdk.protocol.answer import Mutation
from app_sdk.protocol.strict_json import JsonError, JsonValue
from orchestrator.domain.errors import StateRefused

_INTEGERS = range(-(2**63), 2**64)
_JSON_NAMES = {type(None): "null", bool: "true or false", str: "a string", list: "a list", dict: "an object"}
_SHOWN_KEY_CHARS = 100


def mutated(state: dict[str, JsonValue], mutations: Iterable[Mutation]) -> dict[str, JsonValue]:
    """A copy of `state` with every mutation applied in order, or none: raises StateRefused naming the key."""
    changed = dict(state)
    for mutation in mutations:
        match mutation.operation:
            case "set":
                changed[mutation.key] = mutation.value
            case "delete":
                changed.pop(mutation.key, None)
            case "increment":
                changed[mutation.key] = _incremented(mutation.key, changed.get(mutation.key, 0), mutation.value)
    return changed


def encoded(state: dict[str, JsonValue], limit_bytes: int, name: str) -> str:
    """The JSON text of a state; raises StateRefused, naming its largest key, when it is over its limit."""
    try:
        text = strict_json.dumps(state)
    except JsonError as error:
        raise StateRefused(f"{name}: {error}") from error
    return within(limit_bytes, text, state, name)


def within(limit_bytes: int, text: bytes, state: dict[str, JsonValue], name: str) -> str:
    """The JSON text of a state; raises as `encoded` when it is over its limit."""
    if len(text) > limit_bytes:
        largest = _shown(max(state, key=lambda key: len(strict_json.dumps(state[key])), default=""))
        size = f"{len(text):,} bytes; its limit is {limit_bytes:,}"
        raise StateRefused(f"{name} would be {size} (its largest key is {largest!r})", key=largest)
    return text.decode()


def _incremented(key: str, current: JsonValue, by: JsonValue) -> int | float:
    if not _is_number(current):
        raise _refused(key, f"cannot be incremented: it holds {_JSON_NAMES[type(current)]}, not a number")
    if not _is_number(by):
        raise _refused(key, f"cannot be incremented by {_JSON_NAMES[type(by)]}")
    total = current + by
    fits = total in _INTEGERS if isinstance(total, int) else math.isfinite(total)
    if not fits:
        raise _refused(key, "would leave the range of numbers that JSON can carry")
    return total


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refused(key: str, why: str) -> StateRefused:
    shown = _shown(key)
    return StateRefused(f"app state key {shown!r} {why}", key=shown)


def _shown(key: str) -> str:
    return key if len(key) <= _SHOWN_KEY_CHARS else f"{key[:_SHOWN_KEY_CHARS]}..."
