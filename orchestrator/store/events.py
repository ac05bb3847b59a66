"""Statements that write events."""

from collections.abc import Sequence
from typing import Any

from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

# The output is copied within the database, whatever its size. An application's name is anybody's choice.
_PUBLISH = """
INSERT INTO events (id, workspace_id, app_pk, type, subject, data, created_at)
SELECT :id, :workspace_id, a.pk, :type, :subject,
       :before_application || {application} || :before_result
         || CASE WHEN :has_succeeded THEN coalesce(d.output, 'null') ELSE 'null' END || :after_result, :created_at
  FROM execution_details d JOIN apps a ON a.pk = :app_pk WHERE d.execution_pk = :execution_pk"""
_APPLICATION = {
    Dialect.SQLITE: "json_quote(coalesce(d.application, a.id))",
    Dialect.POSTGRESQL: "to_json(coalesce(d.application, a.id))::text",
}


def publish(tx: Transaction, rows: Sequence[dict[str, Any]]) -> int:
    """Write an event for each of the executions that end in this transaction; how many."""
    return tx.run_many(_PUBLISH.format(application=_APPLICATION[tx.dialect]), rows) if rows else 0
