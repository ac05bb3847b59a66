"""Write apps that an orchestrator calls, and programs that launch their tasks.

    from app_sdk import App, Context, Done

    app = App("app_hello", "Hello")

    @app.task("greet")
    def greet(ctx: Context) -> Done:
        return Done(f"Hello, {ctx.state.get('name', 'world')}!")

`app` is an ASGI application: serve it with `uvicorn hello:app`, or mount it in FastAPI or Starlette.
"""

from app_sdk.app import App
from app_sdk.client import Client, Execution
from app_sdk.context import Context, NotSentError
from app_sdk.errors import (
    ApiError,
    AuthError,
    ConflictError,
    NotFoundError,
    OrchestratorError,
    ServerError,
    TooLargeError,
    UnreachableError,
    ValidationError,
    WaitTimeoutError,
)
from app_sdk.protocol.manifest import ManifestError
from app_sdk.results import Await, Continue, Done, Fail, Result, Retry
from app_sdk.tasks.application import Application
from app_sdk.tasks.declared import PythonTask, ScheduledTask, on_event, task
from app_sdk.tasks.sending import TaskStatus, get_status, send_task

__all__ = [
    "ApiError",
    "App",
    "Application",
    "AuthError",
    "Await",
    "Client",
    "ConflictError",
    "Context",
    "Continue",
    "Done",
    "Execution",
    "Fail",
    "ManifestError",
    "NotFoundError",
    "NotSentError",
    "OrchestratorError",
    "PythonTask",
    "Result",
    "Retry",
    "ScheduledTask",
    "ServerError",
    "TaskStatus",
    "TooLargeError",
    "UnreachableError",
    "ValidationError",
    "WaitTimeoutError",
    "get_status",
    "on_event",
    "send_task",
    "task",
]
