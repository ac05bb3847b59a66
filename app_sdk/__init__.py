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

__all__ = [
    "ApiError",
    "App",
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
    "Result",
    "Retry",
    "ServerError",
    "TooLargeError",
    "UnreachableError",
    "ValidationError",
    "WaitTimeoutError",
]
