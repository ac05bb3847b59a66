"""Results of Python tasks, as they are sent: an output is an object, and a function returns anything."""

from typing import Any

from app_sdk.protocol.strict_json import JsonError, dumps

LIMIT_BYTES = 64 * 1024
_WRAPPED = "result"


class ResultError(ValueError):
    """What a task has returned is no result."""


def encoded(value: Any) -> Any:
    """The output that stands for what a function has returned. Raises ResultError."""
    try:
        size = len(dumps(value))
    except JsonError as error:
        raise ResultError(f"a result is JSON, and this is not: {error}") from None
    if size > LIMIT_BYTES:
        raise ResultError(
            f"the result has {size:,} bytes, and may have {LIMIT_BYTES:,}: a result is a summary of what was done; "
            "keep the data elsewhere, and return where they are"
        )
    # The server wraps what is no object; an object that looks like that is wrapped here, to tell the two apart.
    return {_WRAPPED: value} if isinstance(value, dict) and value.keys() == {_WRAPPED} else value


def decoded(output: Any) -> Any:
    """What the function had returned."""
    return output[_WRAPPED] if isinstance(output, dict) and output.keys() == {_WRAPPED} else output
