"""Rows of tasks, their versions, aliases and schedules, through the ORM."""

from sqlmodel import col, func, select

from orchestrator.store.tables import Schedule, Task, TaskAlias, TaskVersion
from orchestrator.store.transaction import Transaction

_LOCK_SCHEDULES = """
SELECT s.task_pk FROM schedules s JOIN task_definitions t ON t.pk = s.task_pk
 WHERE t.app_pk = :app_pk ORDER BY s.task_pk FOR UPDATE OF s"""


def find(tx: Transaction, workspace_id: str, task_id: str) -> Task | None:
    return tx.session.exec(
        select(Task).where(Task.workspace_id == workspace_id, Task.id == task_id, col(Task.removed_at).is_(None))
    ).first()


def of_app(tx: Transaction, app_pk: int) -> list[Task]:
    wanted = select(Task).where(Task.app_pk == app_pk, col(Task.removed_at).is_(None)).order_by(Task.id)
    return list(tx.session.exec(wanted))


def version(tx: Transaction, version_pk: int) -> TaskVersion:
    """A version that is known to exist."""
    return tx.session.get_one(TaskVersion, version_pk)


def latest_version(tx: Transaction, task_pk: int) -> int:
    """The number of a task's newest version; 0 if it has none."""
    return tx.session.exec(select(func.max(TaskVersion.version)).where(TaskVersion.task_pk == task_pk)).one() or 0


def aliases_of(tx: Transaction, task_pk: int) -> list[TaskAlias]:
    return list(tx.session.exec(select(TaskAlias).where(TaskAlias.task_pk == task_pk).order_by(TaskAlias.alias)))


def alias(tx: Transaction, workspace_id: str, name: str) -> TaskAlias | None:
    return tx.session.get(TaskAlias, (workspace_id, name))


def lock_schedules(tx: Transaction, app_pk: int) -> None:
    """Lock the schedules of an app's tasks, so that no node moves them on meanwhile: to be taken before the app."""
    tx.rows(_LOCK_SCHEDULES, app_pk=app_pk)


def schedule_of(tx: Transaction, task_pk: int) -> Schedule | None:
    return tx.session.get(Schedule, task_pk)
