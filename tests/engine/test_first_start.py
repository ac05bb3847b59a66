"""Nodes that start for the first time at the same instant, on a database that nobody has served yet."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.domain.errors import WrongMasterKey
from orchestrator.service import vault, workspaces
from orchestrator.service.vault import Vault
from orchestrator.store import workspace_rows
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.transaction import Transaction


def overtaken(look: Callable[..., Any], other: Callable[[Transaction], object], url: str) -> Callable[..., Any]:
    """The look, but when it has found nothing for the first time, another node does `other` and commits."""
    turns = iter([True])

    def looked(tx: Transaction, name: str) -> Any:
        found = look(tx, name)
        if found is None and next(turns, False):
            database = Database(DatabaseOptions(url))
            database._transact(database._writer_engine, other)
            database._close()
        return found

    return looked


async def test_both_find_the_workspace_made(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Vault("a key")
    others = overtaken(workspace_rows.find, lambda tx: workspaces.ensure_default(tx, key), postgres_url)
    monkeypatch.setattr(workspace_rows, "find", others)
    database = Database(DatabaseOptions(postgres_url))
    await database.write(workspaces.ensure_default, key)
    assert [one.id for one in await database.read(workspaces.every)] == ["default"]
    await database.close()


async def test_of_two_master_keys_the_second_is_refused(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = overtaken(workspace_rows.setting, lambda tx: vault.check_master_key(tx, Vault("the one")), postgres_url)
    monkeypatch.setattr(workspace_rows, "setting", others)
    database = Database(DatabaseOptions(postgres_url))
    with pytest.raises(WrongMasterKey):
        await database.write(vault.check_master_key, Vault("the other"))
    await database.close()
