"""The migrations make the very tables that the code works with, on both databases."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlmodel import SQLModel

from orchestrator.store import schema, tables, tables_records
from orchestrator.store.database import DatabaseOptions


def test_the_migrations_and_the_models_agree(database_url: str) -> None:
    assert tables.Workspace.metadata is tables_records.Call.metadata is SQLModel.metadata
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    with schema.connected(options) as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_upgrading_again_changes_nothing(database_url: str) -> None:
    options = DatabaseOptions(database_url)
    assert schema.current(options) is None
    schema.upgrade(options)
    schema.upgrade(options)
    assert schema.current(options) == schema.newest()
