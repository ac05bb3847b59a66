"""The JSON Schemas that a manifest gives for inputs and results.

What reads them is loaded with the first one: most installations have none, and it takes a twentieth of a start.
"""

from typing import Any

from app_sdk.protocol.strict_json import JsonValue

LONGEST_SECS = 2.0
"""Of processor time, for one value."""
LONGEST_IN_TRANSACTION_SECS = 0.2
"""The same where others wait for the transaction's end."""


def check_schema(schema: dict[str, Any], field: str) -> None:
    """Raises Invalid if this is no JSON Schema, or one that is not served."""
    from orchestrator.service import json_schema_rules  # noqa: PLC0415 - see above

    json_schema_rules.check_schema(schema, field, LONGEST_SECS)


def fault(schema: dict[str, Any], value: JsonValue, longest_secs: float | None = None) -> str | None:
    """What is wrong with the value, with its path; None if the schema allows it."""
    from orchestrator.service import json_schema_rules  # noqa: PLC0415 - see above

    return json_schema_rules.fault(schema, value, LONGEST_SECS if longest_secs is None else longest_secs)
