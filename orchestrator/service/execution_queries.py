"""What can be read about executions, within what the caller can see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.errors import NotFound
from orchestrator.service.paging import Page, Slice, cut
from orchestrator.service.tokens import Scope
from orchestrator.store import execution_views, record_views
from orchestrator.store.clock import maybe_micros
from orchestrator.store.execution_views import ExecutionView, Filter, Totals, WorkerView
from orchestrator.store.record_views import CallView, LogView
from orchestrator.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class ExecutionQuery:
    """Which executions are wanted; None does not restrict. `task`: an id or an alias. Times are exclusive."""

    app_id: str | None = None
    task: str | None = None
    statuses: Sequence[str] | None = None
    key: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class WholeExecution:
    """An execution with its workers."""

    execution: ExecutionView
    workers: Sequence[WorkerView]
    totals: Totals


def find(tx: Transaction, scope: Scope, execution_id: str, application: str | None = None) -> ExecutionView:
    """Raises NotFound, also for what belongs to another workspace, app, or application, where one is given."""
    found = execution_views.find(tx, scope.workspace_id, execution_id, scope.app_pk, application)
    if found is None:
        raise NotFound(f"there is no execution {execution_id}")
    return found


def whole(tx: Transaction, scope: Scope, execution_id: str, application: str | None = None) -> WholeExecution:
    """An execution with its workers, as of one instant: a transaction of its own. Raises NotFound, as `find`."""
    tx.freeze()
    found = find(tx, scope, execution_id, application)
    return WholeExecution(found, *execution_views.workers_and_totals(tx, found.pk))


def listed(tx: Transaction, scope: Scope, query: ExecutionQuery, page: Page) -> Slice[ExecutionView]:
    """Executions, newest first. Raises Invalid for a foreign cursor."""
    place = page.numbers("executions", 2)
    wanted = Filter(
        app_pks=app_pks(tx, scope, query.app_id),
        task_pks=task_pks(tx, scope, query.task),
        statuses=query.statuses,
        key=query.key,
        created_after=maybe_micros(query.created_after),
        created_before=maybe_micros(query.created_before),
    )
    before = None if place is None else (place[0], place[1])
    found = execution_views.listed(tx, scope.workspace_id, wanted, before, page.limit + 1)
    return cut(found, page, "executions", lambda one: (one.pk, one.number))


def calls(tx: Transaction, scope: Scope, execution_id: str, worker_id: int | None, page: Page) -> Slice[CallView]:
    """An execution's calls, newest first. Raises NotFound; Invalid for a foreign cursor."""
    pk = find(tx, scope, execution_id).pk
    place = page.numbers("calls", 3)
    before = None if place is None else (place[0], place[1], place[2])
    found = record_views.calls(tx, pk, worker_id, before, page.limit + 1)
    return cut(found, page, "calls", lambda call: call.place)


def logs(tx: Transaction, scope: Scope, execution_id: str, page: Page) -> Slice[LogView]:
    """An execution's log lines, newest first. Raises NotFound; Invalid for a foreign cursor."""
    pk = find(tx, scope, execution_id).pk
    found = record_views.logs(tx, pk, page.number("logs"), page.limit + 1)
    return cut(found, page, "logs", lambda line: (line.pk,))


def task_pks(tx: Transaction, scope: Scope, task: str | None) -> list[int] | None:
    """The tasks that have, or had, this id, and the one with this alias; None does not restrict."""
    return None if task is None else execution_views.tasks_called(tx, scope.workspace_id, task)


def app_pks(tx: Transaction, scope: Scope, app_id: str | None) -> list[int] | None:
    """The apps that have, or had, this id, as far as the caller can see them; None does not restrict."""
    own = None if scope.app_pk is None else [scope.app_pk]
    if app_id is None:
        return own
    named = execution_views.apps_called(tx, scope.workspace_id, app_id)
    return named if own is None else [pk for pk in named if pk in own]
