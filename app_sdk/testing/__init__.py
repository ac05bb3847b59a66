"""Run a task to its end in a unit test: no server, no sleeping, and the server's own decisions.

    from app_sdk.testing import run_task

    def test_the_import_ends() -> None:
        run = run_task(app, "import", state={"dataset": "x"})
        assert run.status == "succeeded", run.message
        assert len(run.items) == 250

Delays, backoffs and Retry-After advance a virtual clock. Workers that are due at the same instant are claimed
together, as on a server: each sees the app state as it was at that instant, and `set` of what was read loses
what the others did.
"""

from app_sdk.testing.clock import VirtualClock
from app_sdk.testing.records import Attempt, Call, ImportBatch, WorkerView
from app_sdk.testing.scenario import RunOptions
from app_sdk.testing.task_run import EndlessTaskError, TaskRun, run_task, run_task_async
from orchestrator.domain.outcome import FailureKind, NoResponse, Response

__all__ = [
    "Attempt",
    "Call",
    "EndlessTaskError",
    "FailureKind",
    "ImportBatch",
    "NoResponse",
    "Response",
    "RunOptions",
    "TaskRun",
    "VirtualClock",
    "WorkerView",
    "run_task",
    "run_task_async",
]
