"""Rows of apps, through the ORM: installing and administering an app is never hot."""

from sqlmodel import col, select

from orchestrator.store.tables import App, AppState
from orchestrator.store.tables_executions import Execution
from orchestrator.store.transaction import Transaction


def find(tx: Transaction, workspace_id: str, app_id: str) -> App | None:
    return tx.session.exec(
        select(App).where(App.workspace_id == workspace_id, App.id == app_id, col(App.deleted_at).is_(None))
    ).first()


def every(tx: Transaction, workspace_id: str) -> list[App]:
    wanted = select(App).where(App.workspace_id == workspace_id, col(App.deleted_at).is_(None)).order_by(App.id)
    return list(tx.session.exec(wanted))


def state_of(tx: Transaction, app_pk: int) -> AppState:
    """The row of an app's state; there is one for every app."""
    return tx.session.get_one(AppState, app_pk)


def live_execution(tx: Transaction, app_pk: int) -> str | None:
    """The id of an execution of the app that is pending or running, if there is one."""
    wanted = select(Execution.id).where(Execution.app_pk == app_pk, col(Execution.status).in_(["pending", "running"]))
    return tx.session.exec(wanted.limit(1)).first()
