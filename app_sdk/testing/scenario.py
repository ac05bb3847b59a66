"""What is run: a task of an app, launched with an input, in a world where some calls go wrong."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from pydantic import BaseModel

from app_sdk.app import App
from app_sdk.items import as_json_object
from app_sdk.protocol.limits import DEFAULT_LIMITS, Limits
from app_sdk.protocol.manifest import AppManifest, TaskManifest, read_manifest
from app_sdk.testing.clock import VirtualClock
from app_sdk.testing.records import Attempt
from orchestrator.domain.app_state import encoded
from orchestrator.domain.outcome import NoResponse, Response

Respond = Callable[[Attempt], Response | NoResponse | None]
StateLike = Mapping[str, Any] | BaseModel

# A task of 10,000 calls is rare; one that never ends makes them in a second or two.
MAX_CALLS = 10_000


class RunOptions(TypedDict, total=False):
    """What can be arranged besides the input and the app state.

    `workers`: the states of further workers that start with the execution. `lose`: steps, as (worker id,
    step), for each of which one call is made and its answer lost, as in a crash of the server. `respond`:
    asked before each call; what it returns takes the place of the app's answer, None lets the app answer.
    `max_calls`: 10,000 unless told. `clock`: one that stand-ins of the test move, too. `execution_id`: "test"
    unless told. `limits`: other sizes than the usual ones.
    """

    workers: Mapping[int, StateLike]
    lose: Iterable[tuple[int, int]]
    respond: Respond
    max_calls: int
    limits: Limits
    clock: VirtualClock
    execution_id: str


@dataclass(frozen=True, slots=True)
class Launch:
    """An execution to be: its definition, the JSON texts of its workers' states, the app state."""

    manifest: AppManifest
    task: TaskManifest
    execution_id: str
    states: dict[int, str]
    app_state: dict[str, Any]
    limits: Limits


def launch_of(app: App, task: str, state: StateLike | None, app_state: StateLike | None, options: RunOptions) -> Launch:
    """What the arguments of a run mean; raises ValueError for an unknown task or an impossible worker."""
    manifest = read_manifest(app.manifest("http://127.0.0.1/webhook"))
    limits = options.get("limits", DEFAULT_LIMITS)
    states = {0: {} if state is None else state, **options.get("workers", {})}
    for worker_id in states:
        if not 0 <= worker_id < limits.workers:
            raise ValueError(f"an execution has the workers 0 to {limits.workers - 1}, not {worker_id}")
    return Launch(
        manifest=manifest,
        task=_task_named(manifest, task),
        execution_id=options.get("execution_id", "test"),
        states={
            worker_id: encoded(as_json_object(given), limits.worker_state_bytes, f"the state of worker {worker_id}")
            for worker_id, given in states.items()
        },
        app_state={} if app_state is None else as_json_object(app_state),
        limits=limits,
    )


def _task_named(manifest: AppManifest, name: str) -> TaskManifest:
    for task in manifest.tasks:
        if name in (task.id, task.id.removeprefix(f"{manifest.id}_"), *task.aliases):
            return task
    has = ", ".join(task.id for task in manifest.tasks) or "none"
    raise ValueError(f"{manifest.id} has no task {name!r}; its tasks: {has}")
