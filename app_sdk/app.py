"""An app: its tasks, its manifest, and the endpoint that the orchestrator calls."""

import asyncio
import contextvars
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias, TypeVar, Unpack, overload

from pydantic import BaseModel, ValidationError

from app_sdk.asgi import Receive, Scope, Send, serve
from app_sdk.context import Context
from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.manifest import read_manifest
from app_sdk.protocol.payload import PayloadError, TaskExecWorker, WebhookPayload, read_payload
from app_sdk.protocol.signing import SignatureError, verify
from app_sdk.reply import Reply, problem
from app_sdk.results import Result
from app_sdk.task_options import AppOptions, TaskOptions, task_entry
from app_sdk.turn import answer_to_exception, answer_to_result, logger, refusal
from app_sdk.wsgi import WsgiEndpoint

SECRET_VARIABLE = "APP_SECRET_KEY"  # noqa: S105 - the name of a variable

StateT = TypeVar("StateT")
ModelT = TypeVar("ModelT", bound=BaseModel)
Clock: TypeAlias = Callable[[], float]
RunCoroutine: TypeAlias = Callable[[Coroutine[Any, Any, Result]], Result]
ReturnT = TypeVar("ReturnT", bound=Result | Awaitable[Result])

# Ten workers of several executions may call at once, and each may block.
_THREADS = 40
_NO_SECRET = (
    f"the app has no secret to check signatures with: set {SECRET_VARIABLE}, or pass secret=..., "
    "or, for experiments on your own machine, App(..., verify=False)"
)


class _Register(Protocol[StateT]):
    """Registers a function and gives it back unchanged."""

    def __call__(self, handler: Callable[[Context[StateT]], ReturnT], /) -> Callable[[Context[StateT]], ReturnT]: ...


@dataclass(frozen=True, slots=True)
class _Task:
    handler: Callable[[Context[Any]], Result | Awaitable[Result]]
    state_model: type[BaseModel] | None
    entry: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Turn:
    task: _Task
    ctx: Context[Any]


class App:
    """A collection of tasks behind one webhook endpoint; itself an ASGI application.

    Calls are signed with `secret`, or else with the environment's APP_SECRET_KEY at the time of the call.
    """

    def __init__(
        self,
        app_id: str,
        name: str,
        *,
        secret: str | None = None,
        webhook_endpoint: str | None = None,
        verify: bool = True,
        **options: Unpack[AppOptions],
    ) -> None:
        self.id = app_id
        self.name = name
        self._secret = secret
        self._webhook_endpoint = webhook_endpoint
        self._verifies = verify
        self._options = options
        self._tasks: dict[str, _Task] = {}

    @overload
    def task(self, short_id: str, **options: Unpack[TaskOptions]) -> _Register[dict[str, Any]]: ...

    @overload
    def task(self, short_id: str, *, state: type[ModelT], **options: Unpack[TaskOptions]) -> _Register[ModelT]: ...

    def task(
        self, short_id: str, *, state: type[BaseModel] | None = None, **options: Unpack[TaskOptions]
    ) -> _Register[Any]:
        """Register a function, plain or async, as the task `<app id>_<short_id>`.

        With `state`, a pydantic model, the context's state is an instance of it, and else a dict. Raises
        ManifestError, or another ValueError, for options that make no valid manifest.
        """

        def register(handler: Callable[[Context[Any]], ReturnT], /) -> Callable[[Context[Any]], ReturnT]:
            task_id = f"{self.id}_{short_id}"
            if task_id in self._tasks:
                raise ValueError(f"{self.id} already has a task {short_id!r}")
            entry = task_entry(task_id, short_id.replace("_", " ").capitalize(), options)
            if handler.__doc__:
                entry.setdefault("description", inspect.cleandoc(handler.__doc__).splitlines()[0])
            read_manifest(self._document([entry], "http://localhost"))
            self._tasks[task_id] = _Task(handler, state, entry)
            return handler

        return register

    def manifest(self, webhook_endpoint: str | None = None) -> dict[str, Any]:
        """The manifest to install; raises ManifestError, naming every field that is wrong or missing."""
        entries = [task.entry for task in self._tasks.values()]
        document = self._document(entries, webhook_endpoint or self._webhook_endpoint)
        read_manifest(document)
        return document

    async def handle(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Handle one call: check its signature, run the task, reply; plain functions run in a thread."""
        payload = self._open(body, headers)
        return payload if isinstance(payload, Reply) else Reply(HTTPStatus.OK, await self.answer(payload))

    def handle_sync(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """`handle` for a program without an event loop; plain functions run in the calling thread."""
        payload = self._open(body, headers)
        return payload if isinstance(payload, Reply) else Reply(HTTPStatus.OK, self.answer_sync(payload))

    async def answer(self, payload: WebhookPayload, clock: Clock = time.monotonic) -> bytes:
        """Run one turn of a trusted payload and give its answer; an exception of the task is one as well.

        `clock` tells seconds, from any start; the context's `time_left` goes by it.
        """
        turn = self._begin(payload, clock)
        if isinstance(turn, bytes):
            return turn
        try:
            result = await self._run(turn)
        except Exception as error:  # noqa: BLE001 - logged there, and told to the server
            return answer_to_exception(turn.ctx, error)
        return answer_to_result(turn.ctx, result)

    def answer_sync(
        self, payload: WebhookPayload, clock: Clock = time.monotonic, run: RunCoroutine = asyncio.run
    ) -> bytes:
        """`answer` for a program without an event loop; `run` runs what is async."""
        turn = self._begin(payload, clock)
        if isinstance(turn, bytes):
            return turn
        try:
            result = turn.task.handler(turn.ctx)
            ended = run(_outcome(result)) if isinstance(result, Awaitable) else result
        except Exception as error:  # noqa: BLE001 - logged there, and told to the server
            return answer_to_exception(turn.ctx, error)
        return answer_to_result(turn.ctx, ended)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ASGI."""
        await serve(self.handle, scope, receive, send)

    def wsgi(self) -> WsgiEndpoint:
        """The app as a WSGI application."""
        return WsgiEndpoint(self.handle_sync)

    def _document(self, entries: list[dict[str, Any]], endpoint: str | None) -> dict[str, Any]:
        options = dict(self._options)
        extra: Any = options.pop("extra", {})
        document: dict[str, Any] = {"id": self.id, "name": self.name} | options
        if endpoint is not None:
            document["webhook_endpoint"] = endpoint
        return document | {"tasks": entries, **extra}

    def _open(self, body: bytes, headers: Mapping[str, str]) -> WebhookPayload | Reply:
        secret = self._secret or os.environ.get(SECRET_VARIABLE)
        if self._verifies and not secret:
            logger.error(_NO_SECRET)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, _NO_SECRET)
        try:
            if self._verifies and secret:
                verify(secret, headers, body, int(time.time()))
            payload = read_payload(body)
        except SignatureError as error:
            logger.warning("%s: a call was refused: %s", self.id, error)
            return problem(HTTPStatus.UNAUTHORIZED, str(error))
        except PayloadError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        if payload.task_exec_worker is None:
            return problem(HTTPStatus.BAD_REQUEST, f"{self.id} has tasks, and nothing for {payload.kind!r}")
        return payload

    def _begin(self, payload: WebhookPayload, clock: Clock) -> _Turn | bytes:
        """The turn to run, or the answer that says why there is none."""
        worker = _worker_of(payload)
        task = self._tasks.get(worker.task_id)
        if task is None:
            has = ", ".join(self._tasks) or "none"
            return refusal(f"{self.id} has no task {worker.task_id}; its tasks: {has}", worker.worker_id)
        try:
            state = _state(task, worker)
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            problem = f"{json_path(detail['loc'])}: {detail['msg']}"
            return refusal(f"the worker's state does not fit {error.title}: {problem}", worker.worker_id)
        return _Turn(task, Context(payload, worker, state, clock))

    async def _run(self, turn: _Turn) -> Result:
        result: Result | Awaitable[Result]
        if inspect.iscoroutinefunction(turn.task.handler):
            result = turn.task.handler(turn.ctx)
        else:
            call = partial(contextvars.copy_context().run, turn.task.handler, turn.ctx)
            result = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        return await result if isinstance(result, Awaitable) else result

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_THREADS, thread_name_prefix=self.id)


def _worker_of(payload: WebhookPayload) -> TaskExecWorker:
    if payload.task_exec_worker is None:
        raise ValueError("the payload has no task_exec_worker")
    return payload.task_exec_worker


def _state(task: _Task, worker: TaskExecWorker) -> BaseModel | dict[str, Any]:
    if task.state_model is None:
        return worker.worker_state
    return task.state_model.model_validate(worker.worker_state)


async def _outcome(result: Awaitable[Result]) -> Result:
    return await result
