"""Statements over many rows at once: every value arrives, on both databases, however many rows there are."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.store import row_sets, transaction
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.dialect import Dialect, as_one_row
from orchestrator.store.faults import is_of_data
from orchestrator.store.reads import Read
from orchestrator.store.row_sets import row_set
from orchestrator.store.transaction import Transaction

PUT = """
INSERT INTO things (pk, small, flag, label)
SELECT * FROM :rows AS r (pk bigint, small int, flag boolean, label text) WHERE true
ON CONFLICT (pk) DO UPDATE SET label = excluded.label"""
RELABEL = """
UPDATE things SET label = r.label FROM :rows AS r (pk bigint, label text, was text)
 WHERE things.pk = r.pk AND things.label = r.was"""
GROW = "UPDATE things SET small = r.small FROM :rows AS r (pk bigint, small int) WHERE things.pk = r.pk"
READ = "SELECT pk, small, flag, label FROM things WHERE pk IN :pks"

LABELS = ("", "plain", 'quotes " and \\ and %', "naïve ☃ 🚀", "line\nbreak\t\x01\x7f", "NULL", "{}", "x" * 70_000, None)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(database_url, pool_size=1))
    await database.write(
        lambda tx: tx.run("CREATE TABLE things (pk bigint PRIMARY KEY, small int, flag boolean, label text)")
    )
    yield database
    await database.close()


def thing(number: int) -> dict[str, Any]:
    return {
        "pk": 2**62 + number,
        "small": None if number % 5 == 0 else -number,
        "flag": None if number % 7 == 0 else number % 2 == 0,
        "label": LABELS[number % len(LABELS)],
    }


def same_thing(number: int) -> dict[str, Any]:
    return {"pk": number, "small": 7, "flag": None, "label": "the same"}


def found(tx: Transaction, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pks = [row["pk"] for row in rows]
    read = Read(READ, {"pks": pks}, at_once=True)
    tx.read(read)
    told = [dict(zip(("pk", "small", "flag", "label"), row, strict=True)) for row in read.rows]
    return sorted(
        ({**row, "flag": None if row["flag"] is None else bool(row["flag"])} for row in told), key=lambda row: row["pk"]
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3, 40, 255, 256, 257, 600])
@pytest.mark.parametrize("make", [thing, same_thing])
async def test_every_value_of_every_row_arrives(
    database: Database, count: int, make: Callable[[int], dict[str, Any]]
) -> None:
    rows = [make(number) for number in range(count)]

    def use_case(tx: Transaction) -> None:
        assert tx.run_all(PUT, rows) == count
        assert found(tx, rows) == rows

    await database.write(use_case)


async def test_the_number_of_rows_tells_which_guards_held(database: Database) -> None:
    rows = [{**thing(number), "label": "old"} for number in range(40)]
    news = [{"pk": row["pk"], "label": "new", "was": "old" if at % 4 else "moved on"} for at, row in enumerate(rows)]

    def use_case(tx: Transaction) -> None:
        tx.run_all(PUT, rows)
        assert tx.run_all(RELABEL, news) == 30
        assert [row["label"] for row in found(tx, rows)] == ["new" if at % 4 else "old" for at in range(40)]

    await database.write(use_case)


async def test_each_of_several_statements_tells_how_many_rows_it_wrote(database: Database) -> None:
    rows = [{**thing(number), "label": "old"} for number in range(40)]
    moved = [{"pk": row["pk"], "label": "new", "was": "old" if at else "moved on"} for at, row in enumerate(rows[:10])]
    grown = [{"pk": row["pk"], "small": 7} for row in rows[10:]]
    other = [{**same_thing(1), "label": "other"}]

    def use_case(tx: Transaction) -> None:
        tx.run_all(PUT, rows)
        tx.put_off(PUT, other)
        assert tx.run_each((RELABEL, moved), (RELABEL, []), (GROW, grown)) == [9, 0, 30]
        assert found(tx, other) == other
        assert [row["label"] for row in found(tx, rows)] == ["old"] + ["new"] * 9 + ["old"] * 30
        assert {row["small"] for row in found(tx, rows[10:])} == {7}
        assert tx.run_each((RELABEL, []), (GROW, grown[:1])) == [0, 1]
        assert tx.run_each((RELABEL, []), (GROW, [])) == [0, 0]

    await database.write(use_case)


async def test_a_row_that_is_there_already_is_met_by_the_statement(database: Database) -> None:
    row = thing(1)

    def use_case(tx: Transaction) -> None:
        tx.run_all(PUT, [row])
        tx.run_all(PUT, [{**row, "small": 99, "label": "changed"}])
        assert found(tx, [row]) == [{**row, "label": "changed"}]

    await database.write(use_case)


def test_a_statement_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="has no rows"):
        row_set("UPDATE things SET label = :label")


def test_only_the_selected_columns_are_packed() -> None:
    sql = "SELECT a, b\n  FROM t WHERE a IN (SELECT value FROM other)"
    assert as_one_row(sql) == (
        "SELECT json_group_array(json_array( a, b\n  ))FROM t WHERE a IN (SELECT value FROM other)"
    )


@given(st.integers(0, 700))
def test_the_parts_of_a_list_are_all_of_it(count: int) -> None:
    rows = [{"pk": number, "label": str(number), "was": None} for number in range(count)]
    parts = [parameters for _, parameters in row_set(RELABEL).parts(rows)]
    assert [value for part in parts for value in part] == [value for row in rows for value in row.values()]


async def test_what_is_put_off_goes_with_the_next_statement_over_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [{**thing(number), "pk": number} for number in range(5)]
    sent = Mock(wraps=row_sets.together)
    monkeypatch.setattr(transaction, "together", sent)

    def use_case(tx: Transaction) -> None:
        rows = [{**thing(number), "label": "old"} for number in range(3)]
        tx.run_all(PUT, rows)
        tx.put_off(PUT, others)
        tx.put_off(PUT, [])
        news = [{"pk": row["pk"], "label": "new", "was": "old"} for row in rows[:2]]
        assert tx.run_all(RELABEL, news) == 2
        assert [row["label"] for row in found(tx, rows)] == ["new", "new", "old"]
        assert found(tx, others) == others

    await database.write(use_case)
    # The rows to begin with, then the two together; SQLite has no round trips to save.
    sizes = [len(call.args[0]) for call in sent.call_args_list]
    assert sizes == ([1, 2] if database.dialect is Dialect.POSTGRESQL else [])


async def test_a_number_that_no_column_holds_is_a_fault_of_the_data(postgres_url: str) -> None:
    database = Database(DatabaseOptions(postgres_url, pool_size=1))
    await database.write(
        lambda tx: tx.run("CREATE TABLE things (pk bigint PRIMARY KEY, small int, flag boolean, label text)")
    )
    with pytest.raises(psycopg.DataError) as refused:
        await database.write(lambda tx: tx.run_all(PUT, [{**thing(1), "small": 2**31}]))
    assert is_of_data(refused.value)
    await database.close()


@pytest.mark.parametrize("then", ["rows", "run", "run_many", "now", "session", "nothing", "settle"])
async def test_what_is_put_off_comes_before_anything_else(database: Database, then: str) -> None:
    rows = [{**thing(number), "label": "first"} for number in range(3)]
    deletion = "DELETE FROM things WHERE label = :label"

    def use_case(tx: Transaction) -> None:
        tx.put_off(PUT, rows)
        match then:
            case "rows":
                assert tx.rows("SELECT count(*) FROM things") == [(3,)]
            case "run":
                assert tx.run(deletion, label="first") == 3
            case "run_many":
                assert tx.run_many(deletion, [{"label": "first"}]) == 3
            case "now":
                tx.now()
            case "session":
                assert tx.session.connection().exec_driver_sql("SELECT count(*) FROM things").scalar() == 3
            case "settle":
                tx.settle()
            case _:
                assert then == "nothing"

    await database.write(use_case)

    left = await database.read(lambda tx: tx.rows("SELECT count(*) FROM things"))
    assert left == [(0 if then in ("run", "run_many") else 3,)]
