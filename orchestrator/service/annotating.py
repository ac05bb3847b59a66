"""Annotate: what people and third parties write beside an execution."""

from orchestrator.service import execution_queries
from orchestrator.service.tokens import Scope
from orchestrator.store import executions
from orchestrator.store.transaction import Transaction


def set_subtext(tx: Transaction, scope: Scope, execution_id: str, subtext: str) -> None:
    """Set the line that operators see beside an execution, whatever its status. Raises NotFound."""
    executions.set_subtext(tx, execution_queries.find(tx, scope, execution_id).pk, subtext)
