"""What can be read about apps and their tasks, within what the caller can see."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.domain.errors import NotFound
from orchestrator.service.definitions import Definitions, TaskDefinition
from orchestrator.service.paging import Page, Slice, cut
from orchestrator.service.tokens import Scope
from orchestrator.store import catalog_views, lookups, record_views
from orchestrator.store.catalog_views import AppView, TaskRow
from orchestrator.store.record_views import OccurrenceView
from orchestrator.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class ShownApp:
    """An app with the ids of its tasks."""

    app: AppView
    task_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class ShownTask:
    """A task with its present definition."""

    row: TaskRow
    definition: TaskDefinition


def app(tx: Transaction, workspace_id: str, app_id: str) -> ShownApp:
    """Raises NotFound."""
    found = catalog_views.app(tx, workspace_id, app_id)
    if found is None:
        raise NotFound(f"there is no app {app_id}")
    return ShownApp(found, catalog_views.task_ids(tx, [found.pk])[found.pk])


def apps(tx: Transaction, workspace_id: str, page: Page) -> Slice[ShownApp]:
    """The workspace's apps, in the order of their ids. Raises Invalid for a foreign cursor."""
    found = catalog_views.apps(tx, workspace_id, page.text("apps"), page.limit + 1)
    tasks_of = catalog_views.task_ids(tx, [one.pk for one in found])
    shown = [ShownApp(one, tasks_of[one.pk]) for one in found]
    return cut(shown, page, "apps", lambda one: (one.app.id,))


def task(tx: Transaction, definitions: Definitions, scope: Scope, app_id: str, task_id: str) -> ShownTask:
    """Raises NotFound."""
    row = _row(tx, scope, app_id, task_id)
    return ShownTask(row, definitions.read(tx, {row.version_pk})[row.version_pk])


def tasks(tx: Transaction, definitions: Definitions, scope: Scope, app_id: str, page: Page) -> Slice[ShownTask]:
    """The app's tasks, in the order of their ids. Raises NotFound; Invalid for a foreign cursor."""
    rows = catalog_views.tasks(tx, _app_pk(tx, scope, app_id), page.text("tasks"), page.limit + 1)
    known = definitions.read(tx, {row.version_pk for row in rows})
    shown = [ShownTask(row, known[row.version_pk]) for row in rows]
    return cut(shown, page, "tasks", lambda one: (one.row.id,))


def occurrences(tx: Transaction, scope: Scope, app_id: str, task_id: str, page: Page) -> Slice[OccurrenceView]:
    """What became of the task's slots, latest first. Raises NotFound; Invalid for a foreign cursor."""
    row = _row(tx, scope, app_id, task_id)
    found = record_views.occurrences(tx, row.pk, page.number("occurrences"), page.limit + 1)
    return cut(found, page, "occurrences", lambda one: (one.slot_at,))


def _row(tx: Transaction, scope: Scope, app_id: str, task_id: str) -> TaskRow:
    found = catalog_views.task(tx, _app_pk(tx, scope, app_id), task_id)
    if found is None:
        raise NotFound(f"app {app_id} has no task {task_id}")
    return found


def _app_pk(tx: Transaction, scope: Scope, app_id: str) -> int:
    found = lookups.app_pk(tx, scope.workspace_id, app_id)
    if found is None or scope.app_pk not in (None, found):
        raise NotFound(f"there is no app {app_id}")
    return found
