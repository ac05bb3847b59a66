"""One text for every statement: how it reads on SQLite and on PostgreSQL.

Statements are written once, with `:name` parameters, `IN :names` for a list, and PostgreSQL's row locks. SQLite has
neither arrays nor row locks (its one writer is the lock), so a list travels as JSON text and the locks are left out.
"""

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import orjson

_LIST = re.compile(r"\bIN :(\w+)")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_SELECTED = re.compile(r"\bSELECT\b(.*?)(\bFROM\b)", re.DOTALL)
_ROW_LOCK = re.compile(r"\s+FOR (?:(?:NO KEY )?UPDATE|KEY SHARE)(?: OF \w+)?(?: SKIP LOCKED)?")


class Dialect(Enum):
    """The two databases, both first class."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@lru_cache(maxsize=512)
def translate(sql: str, dialect: Dialect) -> str:
    """The statement as the dialect's driver takes it."""
    if dialect is Dialect.SQLITE:
        return _ROW_LOCK.sub("", _LIST.sub(r"IN (SELECT value FROM json_each(:\1))", sql))
    sql = _LIST.sub(r"= ANY(:\1)", sql.replace("%", "%%"))
    return _PARAMETER.sub(r"%(\1)s", sql)


@lru_cache(maxsize=128)
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement as PostgreSQL itself takes it, with $1 for its first parameter, and the parameters' names."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    text = _PARAMETER.sub(number, _LIST.sub(r"= ANY(:\1)", sql))
    return text, tuple(names)


@lru_cache(maxsize=16)
def as_one_row(sql: str) -> str:
    """SQLite's form of a SELECT whose rows all come in one, as a JSON array of arrays; for integers and text."""
    translated = translate(sql, Dialect.SQLITE)
    return _SELECTED.sub(r"SELECT json_group_array(json_array(\1))\2", translated, count=1)


def bind(parameters: Mapping[str, Any], dialect: Dialect) -> Mapping[str, Any]:
    """The parameters as the dialect's driver takes them."""
    if dialect is Dialect.POSTGRESQL or not any(isinstance(value, list) for value in parameters.values()):
        return parameters
    return {
        name: orjson.dumps(value).decode() if isinstance(value, list) else value for name, value in parameters.items()
    }
