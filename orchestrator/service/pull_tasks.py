"""Workers as pull tasks: what executors and whoever created them see, and how both find them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.domain.beginning import as_object
from orchestrator.domain.errors import NotFound
from orchestrator.domain.outcome import FailureKind
from orchestrator.domain.pulling import claim_id
from orchestrator.service.definitions import Definitions, TaskDefinition
from orchestrator.service.tokens import Scope
from orchestrator.store import pull_views, pulling
from orchestrator.store.clock import to_micros
from orchestrator.store.lookups import ExecutionKey
from orchestrator.store.pull_views import PullTaskRow
from orchestrator.store.pulling import WorkerPlace
from orchestrator.store.transaction import Transaction

_TASK_ID = re.compile(r"(?P<execution>[^:]+)(?::(?P<worker>[0-9]{1,4}))?")
_REASONS = {
    FailureKind.EXECUTOR: "awf.task/failed-by-executor",
    FailureKind.INVALID_BODY: "awf.task/failed-by-executor",
    FailureKind.IN_PROGRESS_TIMEOUT: "awf.task/failed-due-to-in-progress-timeout",
}
_UNKNOWN_REASON = "awf.executor/unknown-error"


@dataclass(frozen=True, slots=True)
class PullTask:
    """A worker as a pull task. `asked_as`: the name that it was asked for by.

    `turn` and `app_state` are what a task with `pull_result` step works on: the object `task_exec_worker` of a
    webhook's payload, and the app's state as JSON text.
    """

    row: PullTaskRow
    definition: TaskDefinition
    asked_as: str | None = None
    turn: Mapping[str, Any] | None = None
    app_state: str | None = None

    @property
    def id(self) -> str:
        row = self.row
        return row.execution_id if row.worker_id == 0 else f"{row.execution_id}:{row.worker_id}"

    @property
    def called(self) -> str:
        """The definition's name: as it was asked for, else its first alias, else its id."""
        manifest = self.definition.manifest
        return self.asked_as or next(iter(manifest.aliases), self.row.task_id)

    @property
    def exec_id(self) -> str | None:
        """The id of the present claim, or of the last one that came to something; none before there was one."""
        row = self.row
        token = row.token if row.status in ("requested", "in-progress") else row.last_token
        is_told = row.status in ("requested", "in-progress", "done") and token
        return claim_id(row.uid, row.worker_id, token) if is_told and token else None

    @property
    def params(self) -> str:
        """What it has to work on, as JSON text: the input, for other workers than 0 their state as it is now."""
        return self.row.input if self.row.worker_id == 0 else self.row.state

    @property
    def attempts(self) -> int | None:
        """How many attempts were begun; None before the first."""
        row = self.row
        if row.status == "in-progress":
            return row.retry_count + 1
        # Once a result has come, the count begins anew: for the next step, if there is one.
        is_over = row.is_parked or row.outcome in ("succeeded", "failed")
        if is_over and row.last_outcome == "applied" and row.last_retry_count is not None:
            return row.last_retry_count + 1
        return row.retry_count or None

    @property
    def execute_at(self) -> int | None:
        """When it becomes ready, in microseconds, where that is known."""
        if self.row.status != "waiting" or self.row.is_parked:
            return self.row.run_at
        return self.row.due_at if self.row.due_at is not None else self.row.run_at

    @property
    def result(self) -> Any:
        """What its executor succeeded with, as it was sent; with what it was called back with, if it awaited that."""
        said, told = self._said("succeeded"), as_object(self.row.last_callback).get("output")
        own = said.get("result", said.get("output"))
        if not isinstance(told, dict):
            return own
        return {**(said.get("output") or {}), **told}

    @property
    def error(self) -> Any:
        """What its executor failed with, as it was sent."""
        return self._said("failed").get("error")

    @property
    def outcome_reason(self) -> dict[str, str] | None:
        """Why it has failed: `type` and `message`."""
        row = self.row
        if row.outcome != "failed":
            return None
        kind = next((kind for kind in _REASONS if row.last_outcome == "failed" and kind == row.last_failure), None)
        if kind is None:
            return {"type": _UNKNOWN_REASON, "message": row.execution_message or "failed"}
        return {"type": _REASONS[kind], "message": row.last_message or "failed"}

    def _said(self, outcome: str) -> dict[str, Any]:
        return dict(as_object(self.row.last_answer)) if self.row.outcome == outcome else {}


@dataclass(frozen=True, slots=True)
class Found:
    """A pull task that the caller may see."""

    key: ExecutionKey
    worker_id: int


def find(tx: Transaction, scope: Scope, task_id: str) -> Found:
    """The worker that an id names: `<execution id>` is worker 0, `<execution id>:<n>` another one. Raises NotFound."""
    # Before the look at the id: what belongs to others must not take longer to be denied than what is not there.
    bound = within(tx, scope)
    named = _TASK_ID.fullmatch(task_id)
    worker_id = 0 if named is None else int(named["worker"] or 0)
    place = None if named is None else pulling.worker(tx, scope.workspace_id, named["execution"], worker_id)
    if place is None or not _may_see(scope, bound, place):
        raise NotFound(f"there is no task {task_id}")
    return Found(place.key, worker_id)


def show(tx: Transaction, definitions: Definitions, found: Found) -> PullTask:
    return shown_of(tx, definitions, [found.key.pk])[found.key.pk, found.worker_id]


def shown_of(tx: Transaction, definitions: Definitions, pks: Iterable[int]) -> dict[tuple[int, int], PullTask]:
    """Every worker of the executions as a pull task, by (execution, worker id)."""
    rows = pull_views.of_executions(tx, pks, to_micros(tx.now()))
    known = definitions.read(tx, {row.version_pk for row in rows.values()})
    return {place: PullTask(row, known[row.version_pk]) for place, row in rows.items()}


def within(tx: Transaction, scope: Scope) -> frozenset[int] | None:
    """The tasks that a token is bound to; None where it is bound to none."""
    if scope.tasks is None:
        return None
    named = pulling.named(tx, scope.workspace_id, scope.tasks)
    return frozenset(pk for pks in named.values() for pk in pks)


def as_it_was(task: PullTask, token: int) -> PullTask:
    """The task as the end of a claim left it, which was followed by others."""
    if task.row.token == token:
        return task
    waited = replace(
        task.row, status="waiting", outcome=None, due_at=None, is_parked=False, last_token=token, token=token
    )
    return replace(task, row=waited)


def _may_see(scope: Scope, bound: frozenset[int] | None, place: WorkerPlace) -> bool:
    if scope.only_pull and not place.is_pull:
        return False
    return scope.app_pk in (None, place.key.app_pk) and (bound is None or place.key.task_pk in bound)
