"""A database that would lose what it has committed is recognised."""

import pytest

from orchestrator.store import durability
from orchestrator.store.database import Database, DatabaseOptions


async def off(url: str) -> list[str]:
    database = Database(DatabaseOptions(url, pool_size=1))
    try:
        return await database.read(durability.switched_off)
    finally:
        await database.close()


async def test_what_is_off_is_named(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The PostgreSQL of the tests may lose everything with the power: it lives as long as they do.
    assert "fsync" in await off(postgres_url)
    monkeypatch.setattr(durability, "_NEEDED", ("enable_seqscan",))
    assert await off(postgres_url) == []


async def test_sqlite_needs_nothing(tmp_path: object) -> None:
    assert await off(f"sqlite:///{tmp_path}/orchestrator.db") == []
