"""What a task's function is given: the worker's turn, what is known, and what the turn wants to happen."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Generic

from pydantic import BaseModel
from typing_extensions import TypeVar

from app_sdk.app_state import AppState
from app_sdk.durations import Duration, in_seconds
from app_sdk.items import Items, as_json_object
from app_sdk.protocol.payload import Callback, TaskExecWorker, WebhookPayload, WorkerResult

StateT = TypeVar("StateT", default=dict[str, Any])

DEFAULT_TIMEOUT_SECS = 20.0


class NotSentError(LookupError):
    """The server that called does not send this; ours does."""


class Context(Generic[StateT]):
    """One turn of one worker.

    `state` is the worker's own state: change it, and the next turn begins with it. What else is recorded here
    (items, changes of the app state, new workers, a delay ...) takes effect all together, when the answer is
    applied.
    """

    def __init__(
        self,
        payload: WebhookPayload,
        turn: TaskExecWorker,
        state: StateT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.payload = payload
        self.state = state
        self.items = Items()
        self.app_state = AppState(payload.app_state)
        self._turn = turn
        self._clock = clock
        self._received_at = clock()
        self._recorded: dict[str, Any] = {}
        self._new_workers: dict[int, dict[str, Any]] = {}
        self._logs: list[str] = []

    @property
    def task_id(self) -> str:
        """The task's id, such as `app_shop_import`."""
        return self._turn.task_id

    @property
    def execution_id(self) -> str:
        """The id of the launch that this turn belongs to."""
        return self._turn.task_exec_id

    @property
    def worker_id(self) -> int:
        """Which worker this is: 0, the main one, to 9."""
        return self._turn.worker_id

    @property
    def step(self) -> int:
        """The number of this turn, from 0; a repeated call has the number of the first."""
        if self._turn.step is None:
            raise NotSentError("this server does not number the steps")
        return self._turn.step

    @property
    def key(self) -> str:
        """The same in every call of this turn, and in no other turn: what makes side effects idempotent."""
        return f"{self.execution_id}:{self.worker_id}:{self.step}"

    @property
    def retry_count(self) -> int:
        """How many calls of this worker have gone wrong in a row before this one."""
        return self._turn.retry_count

    @property
    def workers(self) -> Mapping[int, str]:
        """The status of every worker of the execution, by id."""
        return self._turn.workers

    @property
    def worker_results(self) -> Mapping[int, WorkerResult] | None:
        """After `wait_for_workers`: how the other workers ended. None in any other turn."""
        return self._turn.worker_results

    @property
    def callback(self) -> Callback | None:
        """After `await_callback(resume=True)`: what the third party said. None in any other turn."""
        return self._turn.callback

    @property
    def callback_url(self) -> str:
        """Where a third party calls back for this turn, without a token; see `await_callback`."""
        if self._turn.callback_url is None:
            raise NotSentError("this server offers no callback URL")
        return self._turn.callback_url

    def time_left(self) -> float:
        """Seconds until the server gives this call up; negative after that."""
        allowed = self._turn.timeout_in_ms
        timeout_secs = DEFAULT_TIMEOUT_SECS if allowed is None else allowed / 1000
        return timeout_secs - (self._clock() - self._received_at)

    def spawn(self, worker_id: int, state: Mapping[str, Any] | BaseModel | None = None) -> None:
        """Start worker 1 to 9 with a state: one that is done starts again, one still going is left alone."""
        if not 1 <= worker_id <= 9:
            raise ValueError(f"workers that can be started are 1 to 9, not {worker_id}")
        if worker_id in self._new_workers:
            raise ValueError(f"this turn has already started worker {worker_id}")
        self._new_workers[worker_id] = {} if state is None else as_json_object(state)

    def delay(self, duration: Duration) -> None:
        """Have the next turn no earlier than this from now; a timedelta or seconds, 30 days at most."""
        self._recorded["delay_next_request_in_secs"] = in_seconds(duration)

    def wait_for_workers(self) -> None:
        """Have the next turn, with `worker_results`, when every other worker has ended or waits too."""
        self._rest("wait_for_workers", True)

    def await_callback(self, timeout_in_secs: Duration = 86_400, *, resume: bool = False) -> None:
        """Park the worker until somebody calls back, or the time is over and it has failed; as returning `Await` does.

        The callback ends the worker; with `resume` it is called again, and its context has `callback`.
        """
        self._rest("await_callback", {"timeout_in_secs": in_seconds(timeout_in_secs), "resume": resume})

    def progress(self, current: float, total: float | None = None, unit: str | None = None) -> None:
        """Tell operators how far the worker has come."""
        told = {"current": current, "total": total, "unit": unit}
        self._recorded["progress"] = {name: value for name, value in told.items() if value is not None}

    def subtext(self, text: str) -> None:
        """Show a line of text next to the task."""
        self._recorded["subtext"] = text

    def log(self, line: str) -> None:
        """Add a line to the execution's log."""
        self._logs.append(line)

    def effects(self) -> dict[str, Any]:
        """What the turn recorded, as fields of the answer."""
        fields = dict(self._recorded)
        if self.app_state.mutations:
            fields["app_state_mutations"] = self.app_state.mutations
        if len(self.items):
            fields["items_to_import"] = list(self.items)
        if self._new_workers:
            fields["new_workers"] = [
                {"worker_id": worker_id, "initial_state": state} for worker_id, state in self._new_workers.items()
            ]
        if self._logs:
            fields["logs"] = list(self._logs)
        return fields

    def _rest(self, name: str, value: Any) -> None:
        other = {"wait_for_workers": "await_callback", "await_callback": "wait_for_workers"}[name]
        if other in self._recorded:
            raise ValueError("a worker rests for the other workers or for a callback, not for both at once")
        self._recorded[name] = value
