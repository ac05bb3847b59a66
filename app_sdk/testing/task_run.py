"""A run of a task that a test can step through, disturb and look at; `run_task` takes it to its end."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Literal, Unpack

from app_sdk.app import App
from app_sdk.durations import Duration, in_seconds
from app_sdk.protocol.payload import read_payload
from app_sdk.testing.clock import VirtualClock
from app_sdk.testing.own_loop import OwnLoop
from app_sdk.testing.records import Call, ImportBatch, WorkerView
from app_sdk.testing.scenario import MAX_CALLS, RunOptions, StateLike, launch_of
from app_sdk.testing.simulation import Claim, Simulation
from orchestrator.domain.outcome import NoResponse, Response
from orchestrator.domain.worker import Worker


class EndlessTaskError(Exception):
    """The task made as many calls as it may and has not ended; `run` is how far it came."""

    def __init__(self, message: str, run: "TaskRun") -> None:
        super().__init__(message)
        self.run = run


def run_task(
    app: App,
    task: str,
    state: StateLike | None = None,
    app_state: StateLike | None = None,
    **options: Unpack[RunOptions],
) -> "TaskRun":
    """Launch a task, named by its id, short id or an alias, and make its calls until there is none to make.

    It has ended then, or only a callback could go on. A plain function runs in the calling thread. Raises
    EndlessTaskError; RuntimeError inside an event loop, where `run_task_async` is meant; ValueError for a
    task that the app does not have.
    """
    return TaskRun(app, task, state, app_state, **options).finish()


async def run_task_async(
    app: App,
    task: str,
    state: StateLike | None = None,
    app_state: StateLike | None = None,
    **options: Unpack[RunOptions],
) -> "TaskRun":
    """`run_task` within an event loop: a plain function runs in a thread, as it does under ASGI."""
    return await TaskRun(app, task, state, app_state, **options).finish_async()


class TaskRun:
    """An execution in virtual time: launched, and then moved on by the test, a call or a while at a time."""

    def __init__(
        self,
        app: App,
        task: str,
        state: StateLike | None = None,
        app_state: StateLike | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        self._app = app
        self.clock = options.get("clock") or VirtualClock()
        launch = launch_of(app, task, state, app_state, options)
        self._simulation = Simulation(launch, self.clock, Counter(options.get("lose", ())))
        self._respond = options.get("respond")
        self._max_calls = options.get("max_calls", MAX_CALLS)
        self._loop = OwnLoop()

    def __repr__(self) -> str:
        said = f": {self.message}" if self.message else ""
        return f"<TaskRun {self.task_id} {self.status} after {len(self.calls)} calls{said}>"

    @property
    def task_id(self) -> str:
        """The id of the task, such as `app_shop_import`."""
        return self._simulation.launch.task.id

    @property
    def status(self) -> str:
        """`running`, `succeeded`, `failed` or `aborted`."""
        return self._simulation.execution.status.value

    @property
    def message(self) -> str | None:
        """Why it did not succeed, or else what the main worker said last."""
        return self._simulation.execution.message or self._simulation.books.messages.get(0)

    @property
    def output(self) -> dict[str, Any]:
        """What the workers put out, merged."""
        return self._simulation.books.output

    @property
    def app_state(self) -> dict[str, Any]:
        """The app's state, with every mutation applied."""
        return self._simulation.books.app_state

    @property
    def batches(self) -> list[ImportBatch]:
        """What the collector took in, each batch once, in the order of delivery."""
        return list(self._simulation.books.delivered.values())

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items of all batches."""
        return [item for batch in self.batches for item in batch.items]

    @property
    def logs(self) -> list[str]:
        """Every line that was logged."""
        return self._simulation.books.logs

    @property
    def subtext(self) -> str | None:
        """The line shown next to the task."""
        return self._simulation.books.subtext

    @property
    def calls(self) -> list[Call]:
        """Every call, in the order in which they were made."""
        return self._simulation.calls

    @property
    def workers(self) -> Mapping[int, WorkerView]:
        """The workers as they are now."""
        workers = self._simulation.execution.workers
        return {worker_id: self._view(workers[worker_id]) for worker_id in sorted(workers)}

    @property
    def elapsed(self) -> timedelta:
        """The virtual time from the launch to the end, or until now."""
        return (self._simulation.execution.ended_at or self.clock.now) - self._simulation.launched_at

    @property
    def app_stopped(self) -> str | None:
        """Why the app is stopped (it answered 410), so that nothing of it is called any more."""
        return self._simulation.app_stopped

    def step(self) -> Call | None:
        """Let time pass until the next call is due, and make it; None where only a callback could go on."""
        return self._step(None)

    async def step_async(self) -> Call | None:
        """`step` within an event loop."""
        return await self._step_async(None)

    def advance(self, duration: Duration) -> None:
        """Let time pass, and make every call that falls due meanwhile. Waits and deadlines run out, too."""
        until = self.clock.now + timedelta(seconds=in_seconds(duration))
        while self._step(until):
            pass
        self.clock.advance_to(until)

    async def advance_async(self, duration: Duration) -> None:
        """`advance` within an event loop."""
        until = self.clock.now + timedelta(seconds=in_seconds(duration))
        while await self._step_async(until):
            pass
        self.clock.advance_to(until)

    def finish(self) -> "TaskRun":
        """Make every call until it has ended, or until only a callback could go on; returns itself."""
        while self._step(None):
            pass
        return self

    async def finish_async(self) -> "TaskRun":
        """`finish` within an event loop."""
        while await self._step_async(None):
            pass
        return self

    def callback(
        self,
        worker_id: int = 0,
        status: Literal["SUCCESS", "FAILURE"] = "SUCCESS",
        output: Mapping[str, Any] | None = None,
        logs: str | Iterable[str] = (),
        subtext: str | None = None,
    ) -> None:
        """Be the third party that a worker awaits; raises ValueError where it awaits none."""
        lines = [logs] if isinstance(logs, str) else list(logs)
        told: dict[str, Any] = {"status": status, "output": dict(output or {}), "logs": lines}
        self._simulation.call_back(worker_id, told if subtext is None else told | {"subtext": subtext})

    def abort(self, message: str | None = None) -> None:
        """Be the operator who aborts it; raises Conflict if it has ended. Calls in flight change nothing."""
        self._simulation.abort(message)

    def retry(self) -> None:
        """Be the operator who retries it: unfinished workers are due. Raises Conflict unless failed or aborted."""
        self._simulation.retry()

    def _step(self, until: datetime | None) -> Call | None:
        _refuse_inside_a_loop()
        claim = self._next_claim(until)
        if claim is None:
            return None
        began = self.clock.now
        outcome = self._respond(claim.attempt) if self._respond else None
        if outcome is None:
            payload = read_payload(claim.body)
            outcome = Response(200, self._app.answer_sync(payload, self.clock, self._loop.run))
        return self._close(claim, outcome, began)

    async def _step_async(self, until: datetime | None) -> Call | None:
        claim = self._next_claim(until)
        if claim is None:
            return None
        began = self.clock.now
        outcome = self._respond(claim.attempt) if self._respond else None
        if outcome is None:
            outcome = Response(200, await self._app.answer(read_payload(claim.body), self.clock))
        return self._close(claim, outcome, began)

    def _next_claim(self, until: datetime | None) -> Claim | None:
        claim = self._simulation.next_claim(until)
        if claim is not None and len(self.calls) >= self._max_calls:
            raise EndlessTaskError(self._why_endless(), self)
        return claim

    def _close(self, claim: Claim, outcome: Response | NoResponse, began: datetime) -> Call:
        return self._simulation.close(claim, outcome, self.clock.now - began)

    def _why_endless(self) -> str:
        said = "; ".join(
            self._habit_of(worker) for worker in self.workers.values() if worker.status in ("ready", "calling")
        )
        made = f"{len(self.calls):,} calls in {self.elapsed} of virtual time"
        return f"{self.task_id} has not ended after {made}; {said}. If it needs more calls, give max_calls"

    def _habit_of(self, worker: WorkerView) -> str:
        own = [call for call in reversed(self.calls) if call.worker_id == worker.worker_id]
        idle = sum(1 for _ in takewhile(lambda call: not call.changed_something, own))
        if idle > 1:
            return f"worker {worker.worker_id}: the last {idle:,} answers changed nothing"
        return f"worker {worker.worker_id}: its answers change something, and it is at step {worker.step:,}"

    def _view(self, worker: Worker) -> WorkerView:
        books, worker_id = self._simulation.books, worker.worker_id
        return WorkerView(
            worker_id=worker_id,
            status=worker.status.value,
            step=worker.step,
            retry_count=worker.retry_count,
            state=books.state(worker_id),
            output=books.outputs.get(worker_id),
            message=books.messages.get(worker_id),
            progress=books.progress.get(worker_id),
            due_at=None if worker.due_at is None else worker.due_at - self._simulation.launched_at,
        )


def _refuse_inside_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("an event loop is running here: use run_task_async, or a TaskRun's async methods")
