"""Ids within addresses. A launcher's id, or a task's, may hold slashes; what follows an id is told apart from it."""

from starlette.convertors import Convertor, register_url_convertor


def _not_before(*words: str) -> str:
    """Any text that does not end in a slash and one of the words."""
    return rf"(?:(?!/(?:{'|'.join(words)})$).)*"


class _Id(Convertor[str]):
    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _ExecutionId(_Id):
    regex = _not_before("calls", "logs", "events", "abort", "retry", "resume")


class _TaskId(_Id):
    regex = _not_before("run", "pause", "resume", "occurrences")


# `{execution_id:execution}` ends its address; before one of those words it is `{execution_id:path}`.
register_url_convertor("execution", _ExecutionId())
register_url_convertor("task", _TaskId())

EXECUTION = "/v1/executions/{execution_id:execution}"
EXECUTION_THEN = "/v1/executions/{execution_id:path}"
TASK = "/v1/apps/{app_id}/tasks/{task_id:task}"
TASK_THEN = "/v1/apps/{app_id}/tasks/{task_id:path}"
