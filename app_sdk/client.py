"""Talking to an orchestrator from a program: install, launch, look, wait, abort, retry, resume, call back."""

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Self, TypedDict, Unpack
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from app_sdk.errors import ConflictError, OrchestratorError, ServerError, UnreachableError, WaitTimeoutError, error_of
from app_sdk.items import as_json_object
from app_sdk.protocol.strict_json import dumps

if TYPE_CHECKING:
    import httpx

_FIRST_POLL_SECS = 0.1
_LONGEST_POLL_SECS = 2.0
_POLL_GROWTH = 1.5
_LAUNCH_PAUSES_SECS = (0.5, 2.0)
_PASSING = (502, 503, 504)
_IN_PROGRESS = "urn:orchestrator:problem:idempotency-in-progress"

Status = Literal["pending", "running", "succeeded", "failed", "aborted"]


class Execution(BaseModel):
    """One launch of a task, as the orchestrator tells it; further fields are kept as attributes."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    task_id: str
    status: Status
    message: str | None = None
    output: dict[str, Any] | None = None
    workers: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether it has succeeded, failed or been aborted."""
        return self.status in ("succeeded", "failed", "aborted")


class LaunchOptions(TypedDict):
    """What a launch may say besides the task and its input; `id` is the execution's, `application` who it is for."""

    multiple_exec_key: NotRequired[str]
    run_at: NotRequired[datetime]
    id: NotRequired[str]
    name: NotRequired[str]
    workers: NotRequired[list[dict[str, Any]]]
    application: NotRequired[str]


class ResumeOptions(TypedDict):
    """What the execution that goes on from an earlier call may be given of its own."""

    id: NotRequired[str]
    name: NotRequired[str]


CallbackStatus = Literal["SUCCESS", "FAILURE"]


class CallbackOptions(TypedDict):
    """What a callback may say besides its status; the keys of its output win over the task's own."""

    output: NotRequired[Mapping[str, Any] | None]
    logs: NotRequired[str | list[str] | None]
    subtext: NotRequired[str | None]


class Client:
    """An orchestrator's HTTP API, with a token; use it as a context manager, or close it.

    Every method raises UnreachableError where nobody answers, and a kind of ApiError for a refusal.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_secs: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Most processes that import the SDK serve an app only, and start a tenth of a second earlier without it.
        import httpx  # noqa: PLC0415

        headers = {"Authorization": f"Bearer {token}", "User-Agent": "app_sdk"}
        self._unanswered = httpx.TransportError
        self._http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_secs)
        self._sleep = sleep
        self._clock = clock

    def install(self, manifest: Mapping[str, Any], secret_key: str | None = None) -> dict[str, Any]:
        """Install an app; the result has its secret, which is not shown again."""
        body = {"manifest": dict(manifest)} | ({} if secret_key is None else {"secret_key": secret_key})
        return self._call("POST", "/v1/apps", body)

    def launch(
        self,
        task_id: str,
        state: Mapping[str, Any] | BaseModel | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[LaunchOptions],
    ) -> Execution:
        """Launch a task, named by its id or an alias, with an input.

        The same `idempotency_key` again gives the same execution; one is made where none is given. So a launch that
        is not answered, or whose outcome the server does not know, is sent up to three times and happens once.
        Raises ConflictError where another one runs and the task's overlap policy forbids a second.
        """
        body: dict[str, Any] = {"task_id": task_id} | options
        if state is not None:
            body["state"] = as_json_object(state)
        if "run_at" in options:
            body["run_at"] = _rfc3339(options["run_at"])
        return self._launch("/v1/executions", body, idempotency_key)

    def get(self, execution_id: str, *, application: str | None = None) -> Execution:
        """The execution as it is now; raises NotFoundError where there is none, or it is not this application's."""
        query = "" if application is None else f"?application={quote(application, safe='')}"
        return Execution.model_validate(self._call("GET", _path(execution_id) + query))

    def wait(self, execution_id: str, timeout_secs: float) -> Execution:
        """Wait until the execution has ended, however it did, also across a restart of the orchestrator.

        Raises WaitTimeoutError after `timeout_secs`.
        """
        deadline = self._clock() + timeout_secs
        pause_secs = _FIRST_POLL_SECS
        while True:
            seen = self._look(execution_id)
            if isinstance(seen, Execution) and seen.has_ended:
                return seen
            left_secs = deadline - self._clock()
            if left_secs <= 0:
                what = f"is still {seen.status}" if isinstance(seen, Execution) else f"could not be seen ({seen})"
                raise WaitTimeoutError(f"{execution_id} {what} after {timeout_secs:g} s")
            # Many waiters that began together are not to ask together.
            jitter = random.uniform(0.8, 1.0)  # noqa: S311 - no secret
            self._sleep(min(pause_secs * jitter, left_secs))
            pause_secs = min(pause_secs * _POLL_GROWTH, _LONGEST_POLL_SECS)

    def abort(self, execution_id: str, message: str | None = None) -> Execution:
        """Abort an execution: nothing of it is called or applied any more."""
        body = {} if message is None else {"message": message}
        return Execution.model_validate(self._call("POST", f"{_path(execution_id)}/abort", body))

    def retry(self, execution_id: str) -> Execution:
        """Have a failed or aborted execution go on where it was."""
        return Execution.model_validate(self._call("POST", f"{_path(execution_id)}/retry", {}))

    def resume(
        self, execution_id: str, call: str, *, idempotency_key: str | None = None, **options: Unpack[ResumeOptions]
    ) -> Execution:
        """Launch anew from an earlier call, named as the list of calls has it ("0.12"), as everything stood then.

        What later answers imported and changed stays; the result's `resumed_from` tells how much that is. It is sent
        again as `launch` is.
        """
        return self._launch(f"{_path(execution_id)}/resume", {"call": call} | options, idempotency_key)

    def call_back(
        self, task_id: str, status: CallbackStatus = "SUCCESS", **said: Unpack[CallbackOptions]
    ) -> dict[str, Any]:
        """Be the third party that a worker awaits; returns the worker's id, status, subtext and output.

        `task_id`: an execution's id (worker 0), `<id>:<worker>` or `<id>:<worker>:<step>`. To say the same again is
        safe. Raises ConflictError where another callback came before, or none is awaited; ApiError (410) after the
        timeout.
        """
        body = {"taskId": task_id, "status": status} | {name: told for name, told in said.items() if told is not None}
        return self._call("POST", "/external-events/callback", body)

    def set_subtext(self, task_id: str, subtext: str) -> dict[str, Any]:
        """Set the line that people see beside a worker and its execution; `task_id` as in `call_back`."""
        return self._call("PUT", f"/v1/event-workflow-tasks/{quote(task_id, safe='')}", {"subtext": subtext})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _launch(self, path: str, body: Mapping[str, Any], idempotency_key: str | None) -> Execution:
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        for pause_secs in _LAUNCH_PAUSES_SECS:
            try:
                return Execution.model_validate(self._call("POST", path, body, headers))
            except (UnreachableError, ServerError, ConflictError) as error:
                if not _may_be_sent_again(error):
                    raise
            self._sleep(pause_secs)
        return Execution.model_validate(self._call("POST", path, body, headers))

    def _look(self, execution_id: str) -> Execution | UnreachableError | ServerError:
        try:
            return self.get(execution_id)
        except (UnreachableError, ServerError) as error:
            return error

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        content = None if body is None else dumps(body)
        sent = dict(headers or {}) | ({} if body is None else {"Content-Type": "application/json"})
        try:
            response = self._http.request(method, path, content=content, headers=sent)
        except self._unanswered as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(f"no answer from {self._http.base_url}: {reason}") from error
        if not response.is_success:
            raise error_of(response)
        return _object_in(response)


def _may_be_sent_again(error: UnreachableError | ServerError | ConflictError) -> bool:
    """Whether a request with an Idempotency-Key may fare better: what was in the way passes."""
    if isinstance(error, ConflictError):
        # An earlier one of these requests is still being served.
        return error.type == _IN_PROGRESS
    return isinstance(error, UnreachableError) or error.status in _PASSING


def _object_in(response: "httpx.Response") -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise OrchestratorError(f"{response.url} did not answer a JSON object; is the URL an orchestrator's?")
    return document


def _path(execution_id: str) -> str:
    return f"/v1/executions/{quote(execution_id, safe='')}"


def _rfc3339(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("run_at needs a time zone")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
