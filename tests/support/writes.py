"""What stands between the engine and its database."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from orchestrator.store.database import Database

Write = Callable[..., Awaitable[Any]]


def stand_before_writes(patch: pytest.MonkeyPatch, database: Database, around: Write) -> None:
    """Let `around(write, use_case, *args)` answer for every write, whichever thread it is decided in."""
    for name in ("write", "write_here"):
        patch.setattr(database, name, partial(around, getattr(database, name)))
