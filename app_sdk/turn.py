"""From what a task's function returned, or raised, to the answer that the server reads."""

import logging
from collections.abc import Mapping
from typing import Any, assert_never

from pydantic import BaseModel

from app_sdk.context import Context
from app_sdk.durations import in_seconds
from app_sdk.items import as_json_object
from app_sdk.protocol.strict_json import JsonError, dumps
from app_sdk.results import Await, Continue, Done, Fail, Result, Retry

logger = logging.getLogger("app_sdk")

_RESTS = ("wait_for_workers", "await_callback")
_MESSAGE_CHARS = 2_000


def answer_to_result(ctx: Context[Any], result: Result) -> bytes:
    """The answer of a turn that returned; what cannot be sent becomes an error to be retried."""
    try:
        if not isinstance(result, (Done, Continue, Await, Retry, Fail)):
            raise TypeError(f"the task returned {type(result).__name__}, not Done, Continue, Await, Retry or Fail")
        return dumps(_fields(ctx, result))
    except (JsonError, TypeError, ValueError) as error:
        return answer_to_exception(ctx, error)


def answer_to_exception(ctx: Context[Any], error: Exception) -> bytes:
    """The answer of a turn that raised: nothing that it recorded counts."""
    match error:
        case Fail():
            return refusal(error.message, ctx.worker_id)
        case Retry():
            fields = _retry(error)
        case _:
            logger.error(
                "%s, execution %s, worker %s: the task raised",
                ctx.task_id,
                ctx.execution_id,
                ctx.worker_id,
                exc_info=error,
            )
            fields = {"is_done": False, "is_error": True, "message": f"{type(error).__name__}: {error}"}
    return dumps(fields | {"worker_id": ctx.worker_id, "message": _sendable(fields["message"])})


def refusal(message: str, worker_id: int) -> bytes:
    """The answer that fails a worker for good."""
    return dumps({"is_done": True, "is_error": True, "message": _sendable(message), "worker_id": worker_id})


def _fields(ctx: Context[Any], result: Result) -> dict[str, Any]:
    fields: dict[str, Any] = {"worker_id": ctx.worker_id, "is_done": False, "is_error": False}
    if result.message is not None:
        fields["message"] = result.message
    fields |= {"updated_worker_state": _state(ctx, result)} | ctx.effects()
    match result:
        case Done():
            _check_nothing_to_wait_for(fields)
            return fields | {"is_done": True} | _output(result)
        case Continue():
            return fields
        case Await():
            for name in _RESTS:
                if name in fields:
                    raise ValueError(f"the task called {name} and returned Await; one of the two is enough")
            parking = {"timeout_in_secs": in_seconds(result.timeout), "resume": result.resume}
            return fields | {"await_callback": parking} | _output(result)
        case Retry():
            return fields | _retry(result)
        case Fail():
            resting = {name: None for name in _RESTS if name in fields}
            return fields | {"is_done": True, "is_error": True} | resting
        case _:
            assert_never(result)


def _output(result: Done | Await) -> dict[str, Any]:
    return {} if result.output is None else {"output": as_json_object(result.output)}


def _state(ctx: Context[Any], result: Result) -> dict[str, Any]:
    state = result.state if isinstance(result, Continue | Await) and result.state is not None else ctx.state
    if not isinstance(state, (Mapping, BaseModel)):
        raise TypeError(f"the worker's state is a {type(state).__name__}, not a model or an object")
    return as_json_object(state)


def _retry(retry: Retry) -> dict[str, Any]:
    fields: dict[str, Any] = {"is_done": False, "is_error": True, "message": retry.message}
    return fields if retry.after_secs is None else fields | {"delay_next_request_in_secs": retry.after_secs}


def _check_nothing_to_wait_for(fields: Mapping[str, Any]) -> None:
    for name in _RESTS:
        if name in fields:
            raise ValueError(f"the task called {name} and ended; return Continue() to be called again")


def _sendable(text: str) -> str:
    """An exception's words may hold what JSON does not, such as a file name that is not UTF-8."""
    cut = text if len(text) <= _MESSAGE_CHARS else f"{text[:_MESSAGE_CHARS]}..."
    return cut.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
