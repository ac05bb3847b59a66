"""Which errors of the drivers are the database's own, which are the data's, and which are neither's."""

import sqlite3

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import OperationalError

from orchestrator.domain.errors import StateRefused
from orchestrator.store.faults import is_of_data, is_unavailable

AWAY = [
    "08006",  # connection_failure
    "25006",  # read_only_sql_transaction
    "25P03",  # idle_in_transaction_session_timeout
    "40001",  # serialization_failure
    "40003",  # statement_completion_unknown
    "53100",  # disk_full
    "53200",  # out_of_memory
    "53300",  # too_many_connections
    "55P03",  # lock_not_available
    "57014",  # query_canceled
    "57P01",  # admin_shutdown
    "57P03",  # cannot_connect_now
    "58030",  # io_error
]
OF_DATA = [
    "22001",  # string_data_right_truncation
    "22021",  # character_not_in_repertoire
    "23505",  # unique_violation
    "23514",  # check_violation
    "54000",  # program_limit_exceeded
]
OF_NEITHER = [
    "25001",  # active_sql_transaction
    "25P02",  # in_failed_sql_transaction
    "42501",  # insufficient_privilege
    "42P01",  # undefined_table
    "XX000",  # internal_error
    "XX001",  # data_corrupted
]


@pytest.mark.parametrize(
    ("code", "away", "of_data"),
    [
        *((code, True, False) for code in AWAY),
        *((code, False, True) for code in OF_DATA),
        *((code, False, False) for code in OF_NEITHER),
    ],
)
def test_what_postgresql_says(code: str, away: bool, of_data: bool) -> None:
    error = errors.lookup(code)("says the test")
    wrapped = OperationalError("SELECT 1", {}, error)
    for one in (error, wrapped):
        assert (is_unavailable(one), is_of_data(one)) == (away, of_data)


def test_a_transaction_that_took_too_long() -> None:
    class TransactionTimeout(psycopg.OperationalError):
        sqlstate = "25P04"

    assert is_unavailable(TransactionTimeout())
    assert not is_of_data(TransactionTimeout())


@pytest.mark.parametrize(
    ("error", "away", "of_data"),
    [
        (psycopg.OperationalError("connection refused"), True, False),
        (psycopg.InterfaceError("the connection is closed"), True, False),
        (psycopg.DataError("cannot contain NUL (0x00) bytes"), False, True),
        (psycopg.ProgrammingError("no such parameter"), False, False),
        (sqlite3.IntegrityError("NOT NULL constraint failed"), False, True),
        (sqlite3.DataError("string or blob too big"), False, True),
        (sqlite3.OperationalError("no such table: x"), False, False),
        (OverflowError("Python int too large to convert to SQLite INTEGER"), False, True),
        (StateRefused("not a number"), False, True),
    ],
)
def test_what_comes_without_a_code(error: Exception, away: bool, of_data: bool) -> None:
    assert (is_unavailable(error), is_of_data(error)) == (away, of_data)


def test_a_full_disk_under_sqlite() -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert is_unavailable(error)
    assert not is_of_data(error)
