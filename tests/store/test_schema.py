"""The migrations make the very tables that the code works with, on both databases."""

import time

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

from orchestrator.domain.errors import DatabaseOutdated, DatabaseUnavailable
from orchestrator.store import migration_scripts, schema, tables, tables_records
from orchestrator.store.database import Database, DatabaseOptions


def test_the_migrations_and_the_models_agree(database_url: str) -> None:
    assert tables.Workspace.metadata is tables_records.Call.metadata is SQLModel.metadata
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    with schema.connected(options) as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
        # Which columns make the key, it does not compare.
        keys = {name: inspect(connection).get_pk_constraint(name) for name in SQLModel.metadata.tables}
        assert {name: key["constrained_columns"] for name, key in keys.items()} == {
            name: [column.name for column in table.primary_key] for name, table in SQLModel.metadata.tables.items()
        }


def test_the_newest_revision_is_that_of_the_last_script() -> None:
    assert migration_scripts.head() == schema.NEWEST


def test_upgrading_again_changes_nothing(database_url: str) -> None:
    options = DatabaseOptions(database_url)
    assert schema.current(options) is None
    schema.upgrade(options)
    schema.upgrade(options)
    assert schema.current(options) == schema.NEWEST


def test_an_upgrade_that_is_cut_off_leaves_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = DatabaseOptions(database_url)

    def cut_off(_connection: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(migration_scripts, "_note_served", cut_off)
        with pytest.raises(InterruptedError):
            schema.upgrade(options)
    with schema.connected(options) as connection:
        assert inspect(connection).get_table_names() == []
    schema.upgrade(options)
    schema.check(options)


def become_newer(options: DatabaseOptions, *, serves: list[str]) -> None:
    """What the upgrade of a version that this one has never heard of leaves behind."""
    with schema.connected(options) as connection:
        connection.execute(text("ALTER TABLE workers ADD COLUMN of_the_next_version INTEGER"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("DELETE FROM served_revisions"))
        for revision in serves:
            connection.execute(text("INSERT INTO served_revisions VALUES (:revision)"), {"revision": revision})


def become_newest(options: DatabaseOptions) -> None:
    """What the version after that leaves behind, which no longer serves this one."""
    with schema.connected(options) as connection:
        connection.execute(text("DELETE FROM served_revisions WHERE revision <> '9999'"))


def test_a_newer_schema_that_serves_this_version_is_worked_on_and_left_as_it_is(database_url: str) -> None:
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    become_newer(options, serves=["9999", schema.NEWEST])
    schema.check(options)
    schema.upgrade(options)
    assert schema.current(options) == "9999"


def test_one_that_does_not_is_refused(database_url: str) -> None:
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    become_newer(options, serves=["9999"])
    for look in (schema.check, schema.upgrade):
        with pytest.raises(DatabaseOutdated, match="of a newer version, which no longer serves this one"):
            look(options)


async def test_a_running_program_sees_whether_the_schema_still_serves_it(database_url: str) -> None:
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    database = Database(options)
    try:
        assert await database.read(schema.serves, schema.NEWEST)
        become_newer(options, serves=["9999", schema.NEWEST])
        assert await database.read(schema.serves, schema.NEWEST)
        become_newest(options)
        assert not await database.read(schema.serves, schema.NEWEST)
    finally:
        await database.close()


def test_an_empty_database_is_told_what_to_do(database_url: str) -> None:
    with pytest.raises(DatabaseOutdated, match=r"at revision none, .* run `orchestrator db upgrade`"):
        schema.check(DatabaseOptions(database_url))


HOLD = "LOCK TABLE served_revisions IN ACCESS EXCLUSIVE MODE"


def there_is_something_to_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The upgrade is done, though it will find nothing new: only a schema at the newest revision is left alone."""
    monkeypatch.setattr(schema, "NEWEST", "the one after")


def test_an_upgrade_gives_way_and_says_so(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = DatabaseOptions(postgres_url)
    schema.upgrade(options)
    pauses: list[float] = []
    there_is_something_to_migrate(monkeypatch)
    monkeypatch.setattr(schema, "LOCK_PATIENCE_MS", 20)
    monkeypatch.setattr(time, "sleep", pauses.append)
    with psycopg.connect(postgres_url) as other:
        other.execute(HOLD)
        with pytest.raises(DatabaseUnavailable, match="nothing was changed: look for a long one in pg_stat_activity"):
            schema.upgrade(options)
    assert pauses == [schema.PAUSE_SECS] * (schema.LOCK_TRIES - 1)


def test_an_upgrade_gets_its_lock_at_last(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = DatabaseOptions(postgres_url)
    schema.upgrade(options)
    waited: list[float] = []

    def give_way(secs: float) -> None:
        waited.append(secs)
        other.rollback()

    there_is_something_to_migrate(monkeypatch)
    monkeypatch.setattr(schema, "LOCK_PATIENCE_MS", 20)
    with psycopg.connect(postgres_url) as other:
        other.execute(HOLD)
        monkeypatch.setattr(time, "sleep", give_way)
        schema.upgrade(options)
    assert waited == [schema.PAUSE_SECS]


# What a renewed claim changes; PostgreSQL then writes a row beside the old one, and touches no index.
RENEWED = {"step", "token", "retry_count", "idle_steps", "node", "lease_until", "claimed_at"}


def test_no_index_knows_what_a_renewed_claim_changes() -> None:
    indexes = SQLModel.metadata.tables["workers"].indexes
    assert {column.name for index in indexes for column in index.columns}.isdisjoint(RENEWED)
    assert not any(name in str(index.dialect_options["postgresql"]["where"]) for index in indexes for name in RENEWED)


def test_hot_tables_have_room_and_are_vacuumed_early(postgres_url: str) -> None:
    options = DatabaseOptions(postgres_url)
    schema.upgrade(options)
    with schema.connected(options) as connection:
        found = connection.exec_driver_sql("SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL")
        parameters = {name: dict(option.split("=") for option in given) for name, given in found}
    for table in ("workers", "worker_states", "app_states"):
        assert 50 <= int(parameters[table]["fillfactor"]) <= 70
    for table in ("workers", "worker_states", "executions", "import_batches", "calls"):
        assert float(parameters[table]["autovacuum_vacuum_scale_factor"]) <= 0.02
