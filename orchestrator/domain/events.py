"""What is said about an execution that has ended: the event's name, and its data but for the result."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from app_sdk.protocol.event_pattern import LONGEST_KEY_BYTES
from orchestrator.domain.states import ExecutionStatus

_PREFIX = "core.task."
_LONGEST_NAME = LONGEST_KEY_BYTES - len(_PREFIX) - len(".success.v1")
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9_.-]")


def event_id(uid: str, attempt: int) -> str:
    """The event of an attempt: the same however often it is made, and without full stops, as Standard Webhooks asks."""
    return f"evt_{uid}_{attempt}"


def name_of(task_id: str, aliases: Sequence[str]) -> str:
    """What a task is called in events: its first dotted alias, else its id."""
    return next((alias for alias in aliases if "." in alias), task_id)


def routing_key(name: str, status: ExecutionStatus) -> str:
    """The event's type: at most 255 bytes of letters, digits, `_`, `.` and `-`; what is neither becomes `_`."""
    end = "success" if status is ExecutionStatus.SUCCEEDED else "failure"
    return f"{_PREFIX}{_NOT_IN_A_KEY.sub('_', name)[:_LONGEST_NAME]}.{end}.v1"


@dataclass(frozen=True, slots=True)
class Data:
    """An event's data as JSON text, but for what the database puts in: application, result, and last the message."""

    before_application: str
    before_result: str
    before_message: str


def data_of(execution_id: str, attempt: int, name: str, status: ExecutionStatus, message: str | None) -> Data:
    """The data of an end: an abort is a failure to whoever waits for the task."""
    has_succeeded = status is ExecutionStatus.SUCCEEDED
    known = {"id": execution_id, "attempt": attempt, "task": name}
    error = {"error": None if has_succeeded else message}
    return Data(
        before_application=_text(known)[:-1] + ',"application":',
        before_result=f',"status":"{"SUCCESS" if has_succeeded else "FAILURE"}","result":',
        before_message="," + _text(error)[1:-1] + ',"message":',
    )


def _text(value: Mapping[str, object]) -> str:
    return orjson.dumps(value).decode()
