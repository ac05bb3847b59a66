"""Whose fault an error of the database is: its own, as while it is away, the data's, or a statement's."""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError

DRIVER_ERRORS = (DBAPIError, psycopg.Error, sqlite3.Error)

# The server is a standby, or was made read-only: so it is for a moment in a failover.
READ_ONLY = "25006"
# Connection, serialization, resources, object in use, operator intervention, system error.
_UNAVAILABLE_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
# Of the class of transaction states, which is otherwise our own fault: it was idle or open for too long.
_IDLE = "25P03"
_UNAVAILABLE = frozenset({READ_ONLY, _IDLE, "25P04"})
# A value that its type cannot hold, a constraint, a row too long for its index.
_DATA_CLASSES = frozenset({"22", "23", "54"})
_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code for an error that it has sent."""
    return getattr(_original(error), "sqlstate", None)


def has_stood_still(error: BaseException | None) -> bool:
    """Whether PostgreSQL has ended a transaction because nothing came from us; what we met after that hides it."""
    while error is not None:
        if sqlstate(error) == _IDLE:
            return True
        error = error.__cause__ or error.__context__
    return False


def is_unavailable(error: Exception) -> bool:
    """Whether the database is away, full, overloaded or read-only, rather than the data or the statement wrong."""
    original = _original(error)
    if isinstance(original, sqlite3.OperationalError):
        # Without a code from the file system or the locks it is our own SQL that is wrong.
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in _SQLITE_UNAVAILABLE
    code = sqlstate(error)
    if code is None:
        return isinstance(original, psycopg.OperationalError | psycopg.InterfaceError)
    return code[:2] in _UNAVAILABLE_CLASSES or code in _UNAVAILABLE


def is_of_data(error: Exception) -> bool:
    """Whether what was to be written is refused, and would be again: by the database, or before it saw any of it."""
    original = _original(error)
    if not isinstance(original, DRIVER_ERRORS):
        return True
    code = sqlstate(error)
    if code is None:
        # What the drivers refuse by themselves, as NUL in a text; and all that SQLite refuses.
        of_data = psycopg.DataError | psycopg.IntegrityError | sqlite3.DataError | sqlite3.IntegrityError
        return isinstance(original, of_data)
    return code[:2] in _DATA_CLASSES


def _original(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error
