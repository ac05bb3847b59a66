"""Tasks: registered with their app's manifest, each definition kept as a version; paused and resumed by people."""

from app_sdk.protocol.manifest import AppManifest, TaskManifest
from orchestrator.domain.cron import check_cron
from orchestrator.domain.errors import Conflict, Invalid, NotFound
from orchestrator.domain.schedule import Schedule, jittered, next_slot
from orchestrator.service import occurrences, subscriptions
from orchestrator.service.json_schemas import check_schema
from orchestrator.store import task_rows
from orchestrator.store.clock import from_micros, maybe_micros, to_micros
from orchestrator.store.tables import App, Task, TaskAlias, TaskVersion
from orchestrator.store.tables import Schedule as ScheduleRow
from orchestrator.store.transaction import Transaction


def lock_schedules(tx: Transaction, app: App) -> None:
    """Lock the app's schedules before the clock is read; else a slot launched in between might become the next one."""
    task_rows.lock_schedules(tx, app.key)


def register(tx: Transaction, app: App, manifest: AppManifest) -> None:
    """Bring the app's tasks in line with its manifest; those it leaves out are removed. Raises Conflict, Invalid.

    Those of an app that is installed already are changed under the lock of their schedules.
    """
    now = to_micros(tx.now())
    known = {task.id: task for task in of_app(tx, app)}
    for definition in manifest.tasks:
        task = known.pop(definition.id, None) or Task(
            workspace_id=app.workspace_id,
            app_pk=app.key,
            id=definition.id,
            name=definition.name,
            created_at=now,
            updated_at=now,
        )
        task.name, task.updated_at = definition.name, now
        tx.put(task)
        _add_version(tx, task, definition, now)
        _set_aliases(tx, task, definition)
        _set_schedule(tx, task, definition, now)
        subscriptions.set_of_task(tx, app.workspace_id, task.key, definition.on_events)
    for task in known.values():
        _remove(tx, task, now)


def unregister_all(tx: Transaction, app: App, now: int) -> None:
    """Remove every task of an app that is deleted; `now` in microseconds."""
    for task in of_app(tx, app):
        _remove(tx, task, now)


def of_app(tx: Transaction, app: App) -> list[Task]:
    """The app's present tasks, by id."""
    return task_rows.of_app(tx, app.key)


def get(tx: Transaction, workspace_id: str, task_id: str) -> Task:
    """Raises NotFound."""
    found = task_rows.find(tx, workspace_id, task_id)
    if found is None:
        raise NotFound(f"there is no task {task_id}")
    return found


def definition(tx: Transaction, task: Task) -> TaskManifest:
    """The task's present definition."""
    assert task.version_pk is not None
    return TaskManifest.model_validate_json(task_rows.version(tx, task.version_pk).definition)


def set_paused(tx: Transaction, workspace_id: str, task_id: str, *, paused: bool) -> Task:
    """Pause or resume a task's schedule, not its launches by hand. Slots due meanwhile are recorded as skipped."""
    task = get(tx, workspace_id, task_id)
    task.is_paused = paused
    task.updated_at = to_micros(tx.now())
    tx.put(task)
    return task


def schedule_of(definition: TaskManifest, anchor_at: int) -> Schedule | None:
    """When the task is due; intervals count from `anchor_at` (microseconds)."""
    asked = definition.effective_schedule
    if asked is None:
        return None
    return occurrences.schedule_of(asked, anchor_at)


def check_schemas(manifest: AppManifest) -> None:
    """Raises Invalid for what is no JSON Schema. It may take seconds: do it before the transaction that installs."""
    for position, task in enumerate(manifest.tasks):
        for name, schema in (("input_schema", task.input_schema), ("result_schema", task.result_schema)):
            if schema is not None:
                check_schema(schema, f"$.manifest.tasks[{position}].{name}")


def _add_version(tx: Transaction, task: Task, definition: TaskManifest, now: int) -> None:
    text = definition.model_dump_json(exclude_unset=True)
    if task.version_pk is not None and task_rows.version(tx, task.version_pk).definition == text:
        return
    number = task_rows.latest_version(tx, task.key) + 1
    version = TaskVersion(task_pk=task.key, version=number, definition=text, created_at=now)
    tx.put(version)
    task.version_pk = version.pk
    tx.put(task)


def _set_aliases(tx: Transaction, task: Task, definition: TaskManifest) -> None:
    wanted = set(definition.aliases)
    for alias in task_rows.aliases_of(tx, task.key):
        if alias.alias in wanted:
            wanted.remove(alias.alias)
        else:
            tx.drop(alias)
    for name in sorted(wanted):
        if task_rows.alias(tx, task.workspace_id, name) is not None:
            raise Conflict(f"the alias {name} belongs to another task of this workspace", field="aliases")
        tx.put(TaskAlias(workspace_id=task.workspace_id, alias=name, task_pk=task.key))


def _set_schedule(tx: Transaction, task: Task, definition: TaskManifest, now: int) -> None:
    asked = definition.effective_schedule
    row = task_rows.schedule_of(tx, task.key)
    if asked is None:
        if row is not None:
            _drop_schedule(tx, row, now)
        return
    if asked.cron is not None:
        try:
            check_cron(asked.cron)
        except ValueError as error:
            raise Invalid(f"task {definition.id}: {error}", field="schedule.cron") from error
    text = asked.model_dump_json(exclude_unset=True)
    if row is not None and row.definition == text:
        return
    if row is not None:
        occurrences.settle(tx, row, from_micros(now))
    row = row or ScheduleRow(task_pk=task.key, definition=text, anchor_at=now)
    row.definition, row.anchor_at = text, now
    schedule = schedule_of(definition, now)
    slot = None if schedule is None else next_slot(schedule, from_micros(now))
    row.next_slot_at = maybe_micros(slot)
    row.due_at = maybe_micros(slot and jittered(slot, task.id, asked.jitter_secs))
    tx.put(row)


def _drop_schedule(tx: Transaction, row: ScheduleRow, now: int) -> None:
    occurrences.settle(tx, row, from_micros(now))
    tx.drop(row)


def _remove(tx: Transaction, task: Task, now: int) -> None:
    row = task_rows.schedule_of(tx, task.key)
    if row is not None:
        _drop_schedule(tx, row, now)
    for alias in task_rows.aliases_of(tx, task.key):
        tx.drop(alias)
    subscriptions.set_of_task(tx, task.workspace_id, task.key, ())
    task.removed_at = now
    tx.put(task)
