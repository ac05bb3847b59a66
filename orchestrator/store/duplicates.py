"""What an error of the database means to those who asked for something."""

from sqlalchemy.exc import DBAPIError

_UNIQUE_VIOLATION = "23505"


def is_duplicate(error: Exception) -> bool:
    """True if somebody else wrote the same unique thing at the same instant, as on PostgreSQL only."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None) == _UNIQUE_VIOLATION
