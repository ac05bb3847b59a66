"""Rows of workspaces and of the installation's own facts, through the ORM."""

from sqlmodel import select

from orchestrator.store.tables import Workspace
from orchestrator.store.tables_records import Setting
from orchestrator.store.transaction import Transaction


def find(tx: Transaction, workspace_id: str) -> Workspace | None:
    return tx.session.get(Workspace, workspace_id)


def every(tx: Transaction) -> list[Workspace]:
    return list(tx.session.exec(select(Workspace).order_by(Workspace.id)))


def setting(tx: Transaction, name: str) -> str | None:
    found = tx.session.get(Setting, name)
    return None if found is None else found.value


def add_setting(tx: Transaction, name: str, value: str) -> None:
    """Add one that is not there yet; the primary key refuses a second one."""
    tx.put(Setting(name=name, value=value))
