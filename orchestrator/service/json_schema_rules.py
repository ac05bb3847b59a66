"""How values are held against JSON Schemas. Nothing is fetched that these refer to.

What would take longer than in proportion to schema and value is replaced, or cut off: whoever writes a schema, or a
value for it, must not hold up everybody else.
"""

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from time import thread_time
from typing import Any

import regex
from jsonschema import ValidationError
from jsonschema.exceptions import best_match
from jsonschema.validators import Draft202012Validator, extend, validator_for
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable

from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.errors import Invalid

# Without this, the library would fetch what a schema refers to.
_NOTHING_ELSE: Registry[Any] = Registry()
_SHOWN_CHARS = 300
_LONGEST_PATTERN = 1000
# They depend on all that was seen before, in the library's own ways, which nothing bounds.
_UNBOUNDED = frozenset({"unevaluatedItems", "unevaluatedProperties"})

_until: ContextVar[float] = ContextVar("until")


class _TooLongError(Exception):
    """The value has had its processor time."""


def check_schema(schema: dict[str, Any], field: str, longest_secs: float) -> None:
    """Raises Invalid if this is no JSON Schema, or one that is not served, or takes longer."""
    rules = _rules(schema)
    if rules is None:
        raise Invalid("no JSON Schema of a draft that is known here", field=f"{field}.$schema")
    try:
        _check_dialect({key: value for key, value in schema.items() if key != "$schema"}, [], field)
        found = _first(rules, rules.META_SCHEMA, schema, REGISTRY, longest_secs)
    except RecursionError:
        raise Invalid("nested too deep for a JSON Schema", field=field) from None
    except _TooLongError:
        raise Invalid(f"it cannot be checked within {longest_secs:g} s", field=field) from None
    if found is not None:
        raise Invalid(f"no JSON Schema: {_shown(found.message)}", field=field + _path(found.absolute_path))


def fault(schema: dict[str, Any], value: JsonValue, longest_secs: float) -> str | None:
    """What is wrong with the value, with its path; None if the schema allows it."""
    # A `$schema` that is met on the way would bring back the library's own keywords.
    rules = {key: inner for key, inner in schema.items() if key != "$schema"}
    try:
        found = _first(_rules(schema) or Draft202012Validator, rules, value, _NOTHING_ELSE, longest_secs)
    except Unresolvable as error:
        return f"the schema refers to what is not in it: {error.ref}"
    except RecursionError:
        return "the schema refers to itself without end, or too deep"
    except _TooLongError:
        return f"it cannot be held against the schema within {longest_secs:g} s"
    return None if found is None else f"{json_path(list(found.absolute_path))}: {_shown(found.message)}"


def _first(rules: Any, schema: Any, value: JsonValue, known: "Registry[Any]", longest_secs: float) -> Any:
    until = _until.set(thread_time() + longest_secs)
    try:
        return best_match(_bounded(rules)(schema, registry=known).iter_errors(value))
    finally:
        _until.reset(until)


def _rules(schema: dict[str, Any]) -> Any:
    """The draft that the schema names, else the latest; None for one that is not known."""
    named = schema.get("$schema", Draft202012Validator.META_SCHEMA["$id"])
    # The default is returned as it is, whatever it is.
    return validator_for({"$schema": named}, default=None) if isinstance(named, str) else None  # type: ignore[arg-type]


@cache
def _bounded(rules: Any) -> Any:
    own = {
        "uniqueItems": _unique_items,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    }
    checks = {name: _in_time(check) for name, check in {**rules.VALIDATORS, **own}.items()}
    return extend(rules, checks)  # type: ignore[no-untyped-call]


def _in_time(check: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
    def checked(validator: Any, argument: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        # Checked here too: a reference may lead to what was no schema at the install.
        if unserved := sorted(_UNBOUNDED & schema.keys()):
            yield ValidationError(f"{unserved[0]} is not served in schemas")
            return
        _check_time()
        for error in check(validator, argument, value, schema) or ():
            _check_time()
            # The library's words hold whole values, and alternatives are all kept.
            error.message = _shown(error.message)
            yield error

    return checked


def _check_time() -> float:
    """How much is left, in seconds."""
    left = _until.get() - thread_time()
    if left <= 0:
        raise _TooLongError
    return left


def _unique_items(validator: Any, is_asked: bool, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """As the library's, which compares each with each."""
    if is_asked and validator.is_type(value, "array"):
        texts = {json.dumps(_plain(one), sort_keys=True) for one in value}
        if len(texts) < len(value):
            yield ValidationError("its elements are not unique")


def _pattern(validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """As the library's, whose expressions may take exponential time."""
    if validator.is_type(value, "string") and not _found(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "object"):
        for pattern, inner in patterns.items():
            for key in value:
                if _found(pattern, key):
                    yield from validator.descend(value[key], inner, path=key, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(value, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extras = [key for key in value if key not in known and not any(_found(one, key) for one in patterns)]
    if validator.is_type(rule, "object"):
        for key in extras:
            yield from validator.descend(value[key], rule, path=key)
    elif not rule and extras:
        yield ValidationError(f"there is no such property: {', '.join(repr(key) for key in extras[:10])}")


def _found(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=_check_time(), concurrent=True) is not None
    except TimeoutError:
        raise _TooLongError from None
    except regex.error:
        return False


def _plain(value: JsonValue) -> JsonValue:
    """The same value, with 1.0 as 1: the two are equal in JSON Schema."""
    match value:
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _check_dialect(value: JsonValue, path: list[str | int], field: str) -> None:
    """Refuse what the library would read otherwise than all the rest, and expressions that are none."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            _check_dialect(inner, [*path, index], field)
    if not isinstance(value, dict):
        return
    place = field + _path(path)
    if "$schema" in value:
        raise Invalid("$schema is served at the top of a schema only", field=place)
    named = path[-1:] in (["properties"], ["$defs"], ["definitions"])
    if not named and (unserved := sorted(_UNBOUNDED & value.keys())):
        raise Invalid(f"{unserved[0]} is not served in schemas", field=place)
    if not named and isinstance(pattern := value.get("pattern"), str):
        _check_pattern(pattern, f"{place}.pattern")
    if not named and isinstance(patterns := value.get("patternProperties"), dict):
        for one in patterns:
            _check_pattern(one, f"{place}.patternProperties")
    for key, inner in value.items():
        _check_dialect(inner, [*path, key], field)


def _check_pattern(pattern: str, field: str) -> None:
    if len(pattern) > _LONGEST_PATTERN:
        raise Invalid(f"an expression has {_LONGEST_PATTERN:,} characters at most", field=field)
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise Invalid(f"no regular expression: {error}", field=field) from None


def _path(parts: Any) -> str:
    return json_path(list(parts)).removeprefix("$")


def _shown(message: str) -> str:
    return message if len(message) <= _SHOWN_CHARS else f"{message[:_SHOWN_CHARS]}..."
