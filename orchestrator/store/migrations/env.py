"""How Alembic reaches the database: through the connection that `store.schema` hands over."""

from alembic import context
from sqlmodel import SQLModel

from orchestrator.store import tables, tables_callbacks, tables_events, tables_executions, tables_records

FILLED = (
    tables,
    tables_callbacks,
    tables_events,
    tables_executions,
    tables_records,
)  # importing them is what fills the metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
