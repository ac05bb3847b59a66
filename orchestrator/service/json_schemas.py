"""The JSON Schemas that a manifest gives for inputs and results. Nothing is fetched that they refer to.

What takes longer than in proportion to schema and value is refused at the install, replaced, or cut off: whoever writes
a schema, or a value for it, must not hold up everybody else.
"""

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from time import thread_time
from typing import Any

from jsonschema import SchemaError, ValidationError
from jsonschema.exceptions import best_match
from jsonschema.validators import Draft202012Validator, extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.errors import Invalid

LONGEST_SECS = 2.0
"""Of processor time, for one value."""
MOST_MIXED = 100

# Without this, the library would fetch what a schema refers to.
_NOTHING_ELSE: Registry[Any] = Registry()
_SHOWN_CHARS = 300
# Expressions may take exponential time, and nobody can tell which; so may what depends on all that was seen before.
_UNBOUNDED = frozenset({"pattern", "patternProperties", "unevaluatedItems", "unevaluatedProperties"})
# Keywords whose members are names, and those whose value is no schema: `pattern` is nothing special there.
_NAMING = frozenset({"properties", "$defs", "definitions", "dependentSchemas", "dependencies"})
_DATA = frozenset({"enum", "const", "default", "examples"})

_until: ContextVar[float] = ContextVar("until")


class _TooLongError(Exception):
    """The value has had its processor time."""


def check_schema(schema: dict[str, Any], field: str) -> None:
    """Raises Invalid if this is no JSON Schema, or one that is not served."""
    rules = _rules(schema)
    if rules is None:
        raise Invalid("no JSON Schema of a draft that is known here", field=f"{field}.$schema")
    _check_bounds({key: value for key, value in schema.items() if key != "$schema"}, [], field, "schema")
    try:
        rules.check_schema(schema)
    except SchemaError as error:
        raise Invalid(f"no JSON Schema: {_shown(error.message)}", field=field + _path(error.path)) from None
    except RecursionError:
        raise Invalid("nested too deep for a JSON Schema", field=field) from None


def fault(schema: dict[str, Any], value: JsonValue) -> str | None:
    """What is wrong with the value, with its path; None if the schema allows it."""
    # A `$schema` that is met on the way would bring back the library's own keywords.
    rules = {key: inner for key, inner in schema.items() if key != "$schema"}
    validator = _bounded(_rules(schema) or Draft202012Validator)(rules, registry=_NOTHING_ELSE)
    until = _until.set(thread_time() + LONGEST_SECS)
    try:
        found = best_match(validator.iter_errors(value))
    except Unresolvable as error:
        return f"the schema refers to what is not in it: {error.ref}"
    except RecursionError:
        return "the schema refers to itself without end, or too deep"
    except _TooLongError:
        return f"it cannot be held against the schema within {LONGEST_SECS:g} s"
    finally:
        _until.reset(until)
    return None if found is None else f"{json_path(list(found.absolute_path))}: {_shown(found.message)}"


def _rules(schema: dict[str, Any]) -> Any:
    """The draft that the schema names, else the latest; None for one that is not known."""
    named = schema.get("$schema", Draft202012Validator.META_SCHEMA["$id"])
    # The default is returned as it is, whatever it is.
    return validator_for({"$schema": named}, default=None) if isinstance(named, str) else None  # type: ignore[arg-type]


@cache
def _bounded(rules: Any) -> Any:
    keywords = {name: _in_time(check) for name, check in rules.VALIDATORS.items()}
    return extend(  # type: ignore[no-untyped-call]
        rules, {**keywords, "uniqueItems": _in_time(_unique_items)}
    )


def _in_time(check: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
    def checked(validator: Any, argument: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        # Checked here too: a reference may lead to what was no schema at the install.
        if unserved := sorted(_UNBOUNDED & schema.keys()):
            yield ValidationError(f"{unserved[0]} is not served in schemas")
            return
        _check_time()
        for error in check(validator, argument, value, schema) or ():
            _check_time()
            yield error

    return checked


def _check_time() -> None:
    if thread_time() > _until.get():
        raise _TooLongError


def _unique_items(validator: Any, is_asked: bool, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """As the library's, which compares each with each."""
    if is_asked and validator.is_type(value, "array"):
        texts = {json.dumps(_plain(one), sort_keys=True) for one in value}
        if len(texts) < len(value):
            yield ValidationError("its elements are not unique")


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


def _check_bounds(value: JsonValue, path: list[str | int], field: str, kind: str) -> None:
    """Refuse what could take for ever. `kind`: the value is a `schema`, or a map of `names`, or `data`."""
    place = field + _path(path)
    match value:
        case dict():
            for key, inner in value.items():
                if key == "$schema":
                    raise Invalid("$schema is served at the top of a schema only", field=place)
                if kind == "schema" and key in _UNBOUNDED:
                    raise Invalid(f"{key} is not served in schemas: it may take for ever", field=place)
                _check_bounds(inner, [*path, key], field, _kind_of(kind, key))
        case list() if len(value) > MOST_MIXED and not _is_sortable(value):
            raise Invalid(f"a list of more than {MOST_MIXED}, not all of them texts or numbers", field=place)
        case list():
            for index, inner in enumerate(value):
                _check_bounds(inner, [*path, index], field, kind)
        case _:
            pass


def _kind_of(kind: str, key: str) -> str:
    if kind != "schema":
        return "schema" if kind == "names" else kind
    return "names" if key in _NAMING else "data" if key in _DATA else "schema"


def _is_sortable(values: list[JsonValue]) -> bool:
    """Whether the library, which looks for duplicates in lists of schemas, need not compare each with each."""
    return all(isinstance(one, str) for one in values) or all(type(one) in (int, float) for one in values)


def _path(parts: Any) -> str:
    return json_path(list(parts)).removeprefix("$")


def _shown(message: str) -> str:
    return message if len(message) <= _SHOWN_CHARS else f"{message[:_SHOWN_CHARS]}..."
