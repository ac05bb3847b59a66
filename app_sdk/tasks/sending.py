"""Sending Python tasks, and asking what became of them; from any program, whoever declares and runs them."""

import atexit
import os
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from app_sdk.client import Client, Execution
from app_sdk.errors import OrchestratorError
from app_sdk.protocol.pull_options import FAILURE_PREFIX
from app_sdk.tasks.application import Application
from app_sdk.tasks.declared import PythonTask, arguments
from app_sdk.tasks.results import decoded

DEFAULT_URL = "http://127.0.0.1:8400"


class TaskStatus(BaseModel):
    """How a task stood when it was asked for. `result`: what it returned; after a FAILURE, what went wrong."""

    model_config = ConfigDict(frozen=True)

    id: str
    status: Literal["PENDING", "STARTED", "SUCCESS", "FAILURE"]
    result: Any = None

    def is_completed(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in ("SUCCESS", "FAILURE")

    def to_dict(self) -> dict[str, Any]:
        """As an object of JSON."""
        return self.model_dump()


def send_task(name: str | PythonTask[Any, Any], app: Application | str, /, *args: Any, **kwargs: Any) -> TaskStatus:
    """Have a task run by whichever worker is free, for an application; returns at once.

    It is named by its dotted path, so that it need not be imported; or given itself, and then what it is called with
    is checked. The server is that of ORCHESTRATOR_URL, the token that of ORCHESTRATOR_TOKEN.

    Raises NotFoundError for a name that no worker has registered, ValueError for arguments that do not fit, and what
    Client.launch raises.
    """
    application = app if isinstance(app, Application) else Application(app)
    input_ = arguments(name, application, args, kwargs)
    called = name.name if isinstance(name, PythonTask) else name
    return _status(_client().launch(called, input_, application=application.name))


def get_status(task_id: str, app_name: str) -> TaskStatus:
    """How a task stands. Raises NotFoundError unless this application has sent it."""
    return _status(_client().get(task_id, application=app_name))


def _client() -> Client:
    url, token = os.environ.get("ORCHESTRATOR_URL", DEFAULT_URL), os.environ.get("ORCHESTRATOR_TOKEN")
    if not token:
        raise OrchestratorError(
            "ORCHESTRATOR_TOKEN is not set: tasks are sent with a token of the role app or operator"
        )
    return _client_of(url, token, os.getpid())


@lru_cache(maxsize=8)
def _client_of(url: str, token: str, _process: int) -> Client:
    # One for each process: connections that were opened before a fork are not to be shared.
    client = Client(url, token)
    atexit.register(client.close)
    return client


def _status(execution: Execution) -> TaskStatus:
    if execution.status == "succeeded":
        return TaskStatus(id=execution.id, status="SUCCESS", result=decoded(execution.output))
    if execution.has_ended:
        return TaskStatus(id=execution.id, status="FAILURE", result=_failure(execution))
    is_at_work = any(worker["status"] == "calling" for worker in execution.workers)
    return TaskStatus(id=execution.id, status="STARTED" if is_at_work else "PENDING")


def _failure(execution: Execution) -> str | None:
    [said, *_] = [worker["message"] for worker in execution.workers if worker["worker_id"] == 0] or [None]
    message = said or execution.message
    return None if message is None else message.removeprefix(FAILURE_PREFIX)
