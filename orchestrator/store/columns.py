"""The columns that the tables are made of."""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer

BIGINT = BigInteger().with_variant(Integer, "sqlite")

# For tables whose rows are removed while something may still name their keys: SQLite would give the key of the last
# row that was removed to the next one.
NEVER_REUSED = {"sqlite_autoincrement": True}


def big_key() -> Column[int]:
    return Column(BIGINT, primary_key=True, autoincrement=True)


def big(*, nullable: bool = False, primary_key: bool = False) -> Column[int]:
    return Column(BIGINT, nullable=nullable, primary_key=primary_key, autoincrement=False)


def reference(target: str, *, primary_key: bool = False, nullable: bool = False) -> Column[int]:
    return Column(
        BIGINT,
        ForeignKey(target),
        nullable=nullable,
        primary_key=primary_key,
        autoincrement=False,
        index=not primary_key,
    )


def key_of(pk: int | None) -> int:
    """The key of a row that has been written; the ORM's type allows None for the time before."""
    if pk is None:
        raise LookupError("the row has not been written yet")
    return pk
