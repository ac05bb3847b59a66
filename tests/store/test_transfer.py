"""Whole tables travel between the databases: every table, every kind of value, all or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, Table, Text, insert, inspect, select
from sqlmodel import SQLModel

from orchestrator.domain.errors import Conflict, DatabaseUnavailable
from orchestrator.store import schema, transfer
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.transfer import OF_THE_DATABASE, Side, Tally, all_tables
from tests.support.fresh_database import fresh_database

Rows = list[tuple[Any, ...]]
MANY = 3
FRESH = timedelta(minutes=1)
TEXTS = ("", "Zoë 日本 🛫 \u2028", 'tab\tline\r\nback\\slash \\N \\. "quoted" \'single\', {"a": [1.0, null]}')
BIG = (2**63 - 1, -(2**63), 1_790_000_000_123_456)
SMALL = (2**31 - 1, -(2**31), 0)
FLOATS = (0.1, 1e300, 3.0)


@pytest.fixture
def filled_url(database_url: str) -> str:
    """A database with MANY rows in every table, full of values at the edges of their types."""
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    with schema.connected(options) as connection:
        for table in _copied_tables():
            connection.execute(insert(table), [_row(table, number) for number in range(MANY)])
    return database_url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Another database with the schema, on each of the two."""
    with fresh_database(request, tmp_path) as url:
        yield url


def test_every_row_of_every_table_arrives_as_it_was(filled_url: str, empty_url: str) -> None:
    with _both(filled_url, empty_url) as (source, target):
        for table in all_tables():
            _copy(source, target, table)
    assert _content(empty_url) == _content(filled_url)
    assert all(len(rows) == MANY for rows in _content(empty_url).values())


def test_no_table_of_the_database_is_forgotten(database_url: str) -> None:
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    with schema.connected(options) as connection:
        there = set(inspect(connection).get_table_names())
    assert there - {"alembic_version"} == set(all_tables()) | OF_THE_DATABASE


def test_tables_come_after_those_that_they_refer_to() -> None:
    seen: set[str] = set()
    for name in all_tables():
        seen.add(name)
        assert {key.column.table.name for key in SQLModel.metadata.tables[name].foreign_keys} <= seen


def test_both_databases_give_the_same_tally(filled_url: str, empty_url: str) -> None:
    with _both(filled_url, empty_url) as (source, target):
        for table in all_tables():
            _copy(source, target, table)
            assert _tally(source, table) == _tally(target, table)
            assert _tally(source, table).rows == MANY


@pytest.mark.parametrize("other", [(1, "a", False), (1, "b", None), (2, "a", None), (True, "a", None)])
def test_a_tally_tells_rows_apart_whatever_their_order(other: tuple[Any, ...]) -> None:
    row = (1, "a", None)
    one, same, different = Tally(), Tally(), Tally()
    for tally, rows in ((one, [row, other]), (same, [other, row]), (different, [row, row])):
        for each in rows:
            tally.add(each)
    assert one == same
    assert one != different


def test_new_rows_get_keys_above_the_copied_ones(database_url: str) -> None:
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    line = SQLModel.metadata.tables["log_lines"]
    with transfer.opened(options, "target", for_writing=True) as side:
        side.put("log_lines", [(41, 1, 0, 0, "an old line", 5)])
        side.settle()
    with schema.connected(options) as connection:
        values = {"execution_pk": 1, "worker_id": 0, "step": 0, "line": "a new line", "logged_at": 6}
        connection.execute(insert(line), values)
        assert list(connection.execute(select(line.c.pk, line.c.line).order_by(line.c.pk))) == [
            (41, "an old line"),
            (42, "a new line"),
        ]


def test_every_key_that_counts_up_goes_on(postgres_url: str) -> None:
    options = DatabaseOptions(postgres_url)
    schema.upgrade(options)
    counting = [table for table in _copied_tables() if table.autoincrement_column is not None]
    names = {table.name for table in counting}
    assert {"executions", "apps", "task_definitions", "log_lines", "import_batches"} <= names
    with transfer.opened(options, "target", for_writing=True) as side:
        for table in _copied_tables():
            keys = {table.autoincrement_column.name: 7} if table.autoincrement_column is not None else {}
            side.put(table.name, [tuple({**_row(table, 0, parent_key=7), **keys}.values())])
        side.settle()
        for table in counting:
            key = table.autoincrement_column
            assert key is not None
            sequence = "SELECT nextval(pg_get_serial_sequence(:table, :key))"
            assert side.tx.row(sequence, table=table.name, key=key.name) == (8,)


def test_a_row_that_the_target_refuses_is_told_with_its_table(database_url: str) -> None:
    options = DatabaseOptions(database_url)
    schema.upgrade(options)
    twice = ("name", "value")
    with (
        pytest.raises(Conflict, match="the target refuses a row of settings"),
        transfer.opened(options, "target", for_writing=True) as side,
    ):
        side.put("settings", [twice, twice])
    assert _content(database_url)["settings"] == []


def test_an_interrupted_copy_leaves_nothing(filled_url: str, empty_url: str) -> None:
    def interrupted() -> None:
        with _both(filled_url, empty_url) as (source, target):
            _copy(source, target, "calls")
            with source.rows("workers") as rows:
                target.put("workers", interrupt_after(next(rows)))

    def interrupt_after(row: Any) -> Iterator[Any]:
        yield row
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not any(_content(empty_url).values())
    assert all(_content(filled_url).values())


def test_text_that_only_sqlite_can_hold_is_refused(postgres_url: str) -> None:
    options = DatabaseOptions(postgres_url)
    schema.upgrade(options)
    with (
        pytest.raises(Conflict, match=r"(?s)the target refuses a row of settings: .*0x00.*column value"),
        transfer.opened(options, "target", for_writing=True) as side,
    ):
        side.put("settings", [("name", "nul \0")])


def test_the_source_cannot_be_written(sqlite_url: str) -> None:
    options = DatabaseOptions(sqlite_url)
    schema.upgrade(options)
    with (
        pytest.raises(DatabaseUnavailable, match="the source is not available: attempt to write a readonly database"),
        transfer.opened(options, "source", for_writing=False) as side,
    ):
        side.put("settings", [("name", "value")])


def test_a_printed_url_has_no_password() -> None:
    options = DatabaseOptions("postgresql://ada:secret@db.example/orchestrator?host=/run&password=secret")
    assert "secret" not in options.shown_url
    assert options.shown_url.startswith("postgresql://ada:***@db.example/orchestrator?host=")
    without = "postgresql://ada@db.example/orchestrator?host=/run"
    assert DatabaseOptions(without).shown_url == without


@contextmanager
def _both(source_url: str, target_url: str) -> Iterator[tuple[Side, Side]]:
    source, target = DatabaseOptions(source_url), DatabaseOptions(target_url)
    with (
        transfer.opened(source, "source", for_writing=False) as from_side,
        transfer.opened(target, "target", for_writing=True) as to_side,
    ):
        from_side.keep_still(FRESH)
        to_side.keep_still(FRESH)
        yield from_side, to_side


def _copy(source: Side, target: Side, table: str) -> None:
    with source.rows(table) as rows:
        target.put(table, rows)


def _tally(side: Side, table: str) -> Tally:
    tally = Tally()
    with side.rows(table) as rows:
        for row in rows:
            tally.add(row)
    return tally


def _content(url: str) -> dict[str, Rows]:
    """What the ORM's own reading says, which shares nothing with the transfer."""
    with schema.connected(DatabaseOptions(url)) as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr) for table in _copied_tables()
        }


def _copied_tables() -> list[Table]:
    return [SQLModel.metadata.tables[name] for name in all_tables()]


def _row(table: Table, number: int, parent_key: int | None = None) -> dict[str, Any]:
    return {column.name: _value(column, number, parent_key) for column in table.columns}


def _value(column: Column[Any], number: int, parent_key: int | None) -> Any:
    if column.foreign_keys:
        [key] = column.foreign_keys
        return parent_key if parent_key and key.column.name == "pk" else _value(key.column, number, None)
    if column.nullable and number == 0:
        return None
    unique = column.primary_key or column.unique or column.name in ("id", "number", "version", "workspace_id")
    match column.type:
        case Boolean():
            return number % 2 == 0
        case Float():
            return FLOATS[number]
        case Text():
            return f"{number} {TEXTS[number]}" if unique else TEXTS[number]
        case BigInteger():
            return number + 1 if column is column.table.autoincrement_column else BIG[number]
        case Integer():
            return SMALL[number]
        case other:
            raise AssertionError(f"{column}: this test knows no values of the type {other}")
