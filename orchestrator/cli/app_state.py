"""Changes to an app's state, as `app state` takes them."""

from collections.abc import Sequence

from app_sdk.protocol.strict_json import JsonError, JsonValue, loads
from orchestrator.cli.failures import Misused
from orchestrator.cli.formats import JsonObject

# What begins like this was meant to be JSON.
_JSON_STARTS = ("{", "[", '"')


def read_mutations(set_: Sequence[str], delete: Sequence[str], increment: Sequence[str]) -> list[JsonObject]:
    """The mutations that the options stand for. Raises Misused, also for a key that is named twice."""
    mutations: list[JsonObject] = []
    for option in set_:
        key, text = _split(option, "--set")
        mutations.append({"operation": "set", "key": key, "value": _value(key, text)})
    mutations.extend({"operation": "delete", "key": key} for key in delete)
    for option in increment:
        key, text = _split(option, "--increment")
        mutations.append({"operation": "increment", "key": key, "value": _number(key, text)})
    keys = [str(mutation["key"]) for mutation in mutations]
    # The options come sorted by their names, so that the order in which they were written is lost.
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise Misused(f"{twice[0]} is changed twice", "Make one change after the other, with two commands.")
    return mutations


def _split(option: str, name: str) -> tuple[str, str]:
    key, separator, text = option.partition("=")
    if not separator or not key:
        raise Misused(f"{name} {option}: write KEY=VALUE")
    return key, text


def _value(key: str, text: str) -> JsonValue:
    try:
        return loads(text.encode("utf-8", "surrogateescape"))
    except JsonError as error:
        if text.startswith(_JSON_STARTS):
            raise Misused(f"the value of {key} is not JSON: {error.problem} ({error.path})") from None
        return text


def _number(key: str, text: str) -> int | float:
    value = _value(key, text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misused(f"{key} can only be incremented by a number, not by {text}")
    return value
