"""The JSON Schemas that a manifest gives for inputs and results. Nothing is fetched that they refer to."""

from typing import Any

from jsonschema import SchemaError
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.errors import Invalid

# Without this, the library would fetch what a schema refers to.
_NOTHING_ELSE: Registry[Any] = Registry()
_SHOWN_CHARS = 300


def check_schema(schema: dict[str, Any], field: str) -> None:
    """Raises Invalid if this is no JSON Schema."""
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise Invalid(f"no JSON Schema: {_shown(error.message)}", field=field + _path(error.path)) from None


def fault(schema: dict[str, Any], value: JsonValue) -> str | None:
    """What is wrong with the value, with its path; None if the schema allows it."""
    validator = validator_for(schema)(schema, registry=_NOTHING_ELSE)
    try:
        found = best_match(validator.iter_errors(value))
    except Unresolvable as error:
        return f"the schema refers to what is not in it: {error.ref}"
    return None if found is None else f"{json_path(list(found.absolute_path))}: {_shown(found.message)}"


def _path(parts: Any) -> str:
    return json_path(list(parts)).removeprefix("$")


def _shown(message: str) -> str:
    return message if len(message) <= _SHOWN_CHARS else f"{message[:_SHOWN_CHARS]}..."
